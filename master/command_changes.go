package master

import "github.com/dsorchard/granary"

type (
	// beginChangeLog begins the change log of a cluster in which no settings of it were made yet.
	beginChangeLog struct{ Settings granary.ChangeLog }

	// trimChanges takes the changes of all entries up to UpTo, which has some, out of the log, and forgets where directories were that
	// were removed in one of them: at most goneMax.
	trimChanges struct {
		UpTo granary.Index
		Gone []granary.InodeID
	}
)

func (*beginChangeLog) item() {}
func (*trimChanges) item()    {}

// Tags of the items of the change log.
const (
	tagBeginChangeLog = 60
	tagTrimChanges    = 61
)

// putChangesItem encodes the items of the change log.
func putChangesItem(e *encoder, it item) error {
	switch it := it.(type) {
	case *beginChangeLog:
		e.u8(tagBeginChangeLog)
		e.i64(int64(it.Settings.Keep))
		e.u64(it.Settings.MaxBytes)
	case *trimChanges:
		e.u8(tagTrimChanges)
		e.u64(uint64(it.UpTo))
		e.u64(uint64(len(it.Gone)))
		for _, id := range it.Gone {
			e.u64(uint64(id))
		}
	default:
		return granary.Errorf(granary.KindInternal, "command", "", "item %T is unknown", it)
	}
	return nil
}

// takeChangesItem decodes what putChangesItem made.
func takeChangesItem(d *decoder, tag uint8) (item, error) {
	switch tag {
	case tagBeginChangeLog:
		return &beginChangeLog{granary.ChangeLog{Keep: granary.Time(d.i64()), MaxBytes: d.u64()}}, nil
	case tagTrimChanges:
		it := &trimChanges{UpTo: granary.Index(d.u64())}
		for range d.count() {
			it.Gone = append(it.Gone, granary.InodeID(d.u64()))
		}
		return it, nil
	}
	return nil, granary.Errorf(granary.KindInvalid, "command", "", "item tag %d is unknown", tag)
}

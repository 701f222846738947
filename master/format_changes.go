package master

import (
	"encoding/binary"

	"github.com/dsorchard/granary"
)

// What follows tableChange in a key.
const (
	changesOfEntry   = 0 // and the index of the entry: its changes
	changesGone      = 1 // and the inode of a directory that was removed: where it was
	changesSettings  = 2 // how long changes are kept, and from where on there are
	changesKeyLength = 10
)

func keyChanges(index granary.Index) []byte {
	return binary.BigEndian.AppendUint64([]byte{tableChange, changesOfEntry}, uint64(index))
}

func keyGone(dir granary.InodeID) []byte {
	return binary.BigEndian.AppendUint64([]byte{tableChange, changesGone}, uint64(dir))
}

func keyChangeLog() []byte { return []byte{tableChange, changesSettings} }

// changesID is the index, or the inode, of such a key; 0 for that of the settings.
func changesID(k []byte) uint64 {
	if len(k) != changesKeyLength {
		return 0
	}
	return binary.BigEndian.Uint64(k[2:])
}

// changeLogRecord is how long changes are kept, and of which entries there are any.
type changeLogRecord struct {
	Settings granary.ChangeLog
	Set      bool          // by a leader, or by command: else there is no log yet
	From     granary.Index // what entries after this one changed is kept
	Trimmed  uint64        // bytes of what was kept before, as entryRecord.Total counts them
}

func (r *changeLogRecord) put(e *encoder) {
	e.i64(int64(r.Settings.Keep))
	e.u64(r.Settings.MaxBytes)
	e.bool(r.Set)
	e.u64(uint64(r.From))
	e.u64(r.Trimmed)
}

func (r *changeLogRecord) take(d *decoder) {
	r.Settings = granary.ChangeLog{Keep: granary.Time(d.i64()), MaxBytes: d.u64()}
	r.Set, r.From, r.Trimmed = d.bool(), granary.Index(d.u64()), d.u64()
}

// on reports whether changes are being kept.
func (r *changeLogRecord) on() bool { return r.Settings.Keep > 0 }

// entryChanges is what one entry changed.
type entryChanges struct {
	Total   uint64       // bytes of changes that all entries up to this one made
	Time    granary.Time // of the entry
	Count   uint64
	Changes []byte // as encodeChange made them, one after the other
}

func (r *entryChanges) put(e *encoder) {
	e.u64(r.Total)
	e.i64(int64(r.Time))
	e.u64(r.Count)
	e.blob(r.Changes)
}

func (r *entryChanges) take(d *decoder) {
	r.Total, r.Time, r.Count, r.Changes = d.u64(), granary.Time(d.i64()), d.u64(), d.blob()
}

// goneRecord is where a directory was that is no more. The header's index is that of its removal.
type goneRecord struct {
	Parent   granary.InodeID
	Name     string
	Mode     uint32
	UID, GID uint32
	index    granary.Index
}

func (r *goneRecord) put(e *encoder) {
	e.u64(uint64(r.Parent))
	e.str(r.Name)
	e.u64(uint64(r.Mode))
	e.u64(uint64(r.UID))
	e.u64(uint64(r.GID))
}

func (r *goneRecord) take(d *decoder) {
	r.index = d.index
	r.Parent, r.Name, r.Mode, r.UID, r.GID = granary.InodeID(d.u64()), d.str(), d.u32(), d.u32(), d.u32()
}

// changeRecord is one change.
type changeRecord struct {
	Kind      granary.ChangeKind
	Replaced  bool
	Exchanged bool
	Implicit  bool
	Type      granary.FileType
	Inode     granary.InodeID
	Parent    granary.InodeID
	Name      string // of changes of names; Named says that it is there, for it may be ""
	Named     bool
	OldParent granary.InodeID // of a rename
	OldName   string
	Size      uint64
	ETag      string
	Version   granary.ObjectVersion
	UID       uint32
	Attribute string
	Origin    granary.Origin
}

// Bits that say what a stored change has.
const (
	changeNamed = 1 << iota
	changeReplaced
	changeExchanged
	changeImplicit
	changeSized
	changeTagged // ETag and Version
	changeUser
	changeOrigin // only of mutations that earlier releases do not read
)

func (r *changeRecord) bits() uint8 {
	var bits uint8
	for i, is := range [...]bool{r.Named, r.Replaced, r.Exchanged, r.Implicit, r.Size != 0, r.ETag != "" || r.Version != 0, r.UID != 0, r.Origin != 0} {
		if is {
			bits |= 1 << i
		}
	}
	return bits
}

// encodeChange appends a change. The order of what follows the bits is theirs.
func encodeChange(e *encoder, r *changeRecord) {
	bits := r.bits()
	e.b = append(e.b, uint8(r.Kind), bits, uint8(r.Type))
	e.u64(uint64(r.Inode))
	e.u64(uint64(r.Parent))
	if r.Named {
		e.str(r.Name)
	}
	if bits&changeSized != 0 {
		e.u64(r.Size)
	}
	if bits&changeTagged != 0 {
		e.str(r.ETag)
		e.u64(uint64(r.Version))
	}
	if bits&changeUser != 0 {
		e.u64(uint64(r.UID))
	}
	if bits&changeOrigin != 0 {
		e.u8(uint8(r.Origin))
	}
	switch r.Kind {
	case granary.ChangeRename:
		e.u64(uint64(r.OldParent))
		e.str(r.OldName)
	case granary.ChangeXattr:
		e.str(r.Attribute)
	}
}

// decodeChange takes the next change.
func decodeChange(d *decoder) (r changeRecord) {
	r.Kind = granary.ChangeKind(d.u8())
	bits := d.u8()
	r.Type, r.Inode, r.Parent = granary.FileType(d.u8()), granary.InodeID(d.u64()), granary.InodeID(d.u64())
	r.Named, r.Replaced = bits&changeNamed != 0, bits&changeReplaced != 0
	r.Exchanged, r.Implicit = bits&changeExchanged != 0, bits&changeImplicit != 0
	if r.Named {
		r.Name = d.str()
	}
	if bits&changeSized != 0 {
		r.Size = d.u64()
	}
	if bits&changeTagged != 0 {
		r.ETag, r.Version = d.str(), granary.ObjectVersion(d.u64())
	}
	if bits&changeUser != 0 {
		r.UID = d.u32()
	}
	if bits&changeOrigin != 0 {
		r.Origin = granary.Origin(d.u8())
	}
	switch r.Kind {
	case granary.ChangeRename:
		r.OldParent, r.OldName = granary.InodeID(d.u64()), d.str()
	case granary.ChangeXattr:
		r.Attribute = d.str()
	}
	return r
}

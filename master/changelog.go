package master

import (
	"bytes"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// changeLog is the change log as apply sees it: what the entry has changed so far, which is written with the entry, as one value. To
// note a change costs no read, and on the way of a mutation nothing but the bytes of the change.
type changeLog struct {
	settings, keptSettings changeLogRecord

	enc          encoder // changes of the entry, one after the other …
	count        uint64  // … and how many
	keptLen      int     // what items of the entry noted that were kept
	keptCount    uint64
	total        uint64        // entryChanges.Total of the last entry that has any
	cut, keptCut granary.Index // what entries up to this one changed goes with the batch; 0: nothing goes
	written      bool          // the batch has changes
}

// load reads what a store has.
func (l *changeLog) load(db *pebble.DB) error {
	*l = changeLog{}
	b := readKey(db, keyChangeLog())
	if b == nil {
		return nil
	}
	settings, err := unmarshal[changeLogRecord](b)
	if err != nil {
		return errStore(keyChangeLog(), err)
	}
	l.settings, l.keptSettings, l.total = *settings, *settings, settings.Trimmed
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: keyChanges(0), UpperBound: keyGone(0)})
	if err != nil {
		return errStore(keyChanges(0), err)
	}
	if it.Last() {
		last, err := unmarshal[entryChanges](bytes.Clone(it.Value()))
		if err != nil {
			return firstError(errStore(keyChanges(0), err), it.Close())
		}
		l.total = last.Total
	}
	return it.Close()
}

// keep makes what the item noted part of the entry.
func (l *changeLog) keep() {
	l.keptSettings, l.keptLen, l.keptCount, l.keptCut = l.settings, len(l.enc.b), l.count, l.cut
}

// drop forgets what the item noted.
func (l *changeLog) drop() {
	l.settings, l.enc.b, l.count, l.cut = l.keptSettings, l.enc.b[:l.keptLen], l.keptCount, l.keptCut
}

// begin begins a batch.
func (l *changeLog) begin() { l.cut, l.keptCut, l.written = 0, 0, false }

// writeChanges adds to the entry what it changed.
func (t *txn) writeChanges() {
	l := &t.log
	if l.count > 0 && l.settings.on() && t.index > l.settings.From {
		l.total += uint64(len(l.enc.b))
		store(t, keyChanges(t.index), &entryChanges{Total: l.total, Time: t.head.Time, Count: l.count, Changes: l.enc.b})
		l.written = true
	}
	l.enc.b, l.count = l.enc.b[:0], 0
	l.keep()
}

// note notes a change.
func (t *txn) note(r *changeRecord) {
	r.UID, r.Origin = t.cred.UID, t.origin
	encodeChange(&t.log.enc, r)
	t.log.count++
}

// logs reports whether changes in a directory are kept. Those of uploads are not: they are nobody's business before
// they are objects.
func (t *txn) logs(dir *inodeRecord) bool {
	return t.log.settings.on() && !dir.holdsUploads() && !dir.isUpload()
}

// noteName notes what was done to a name that leads, or led, to an inode.
func (t *txn) noteName(kind granary.ChangeKind, dir *inodeRecord, name string, r *inodeRecord) {
	if t.logs(dir) {
		t.note(&changeRecord{Kind: kind, Type: r.Type, Inode: r.Inode, Parent: dir.Inode, Name: name, Named: true,
			Implicit: r.Flags&granary.FlagImplicit != 0})
	}
}

// noteMade notes that an inode got a name.
func (t *txn) noteMade(kind granary.ChangeKind, dir *inodeRecord, name string, r *inodeRecord, size uint64, xattrs []granary.Xattr, replaced bool) {
	if !t.logs(dir) {
		return
	}
	c := changeRecord{Kind: kind, Type: r.Type, Inode: r.Inode, Parent: dir.Inode, Name: name, Named: true, Replaced: replaced,
		Size: size, Version: r.Object, Implicit: r.Flags&granary.FlagImplicit != 0}
	for i := range xattrs {
		if xattrs[i].Name == granary.XattrETag {
			c.ETag = string(xattrs[i].Value)
		}
	}
	t.note(&c)
}

// noteRemoved notes that a directory was removed, and where it was.
func (t *txn) noteRemoved(kind granary.ChangeKind, dir *inodeRecord, name string, r *inodeRecord) {
	t.noteName(kind, dir, name, r)
	t.noteGone(dir, name, r)
}

// noteGone keeps where a directory was, so that what was changed in it can be told under its path.
func (t *txn) noteGone(dir *inodeRecord, name string, r *inodeRecord) {
	if t.logs(dir) {
		store(t, keyGone(r.Inode), &goneRecord{Parent: dir.Inode, Name: name, Mode: r.Mode, UID: r.UID, GID: r.GID})
	}
}

// noteVersion notes what became of a version of an object. Inode 0 is a delete marker's.
func (t *txn) noteVersion(kind granary.ChangeKind, dir *inodeRecord, name string, inode granary.InodeID, number granary.ObjectVersion) {
	if t.logs(dir) {
		t.note(&changeRecord{Kind: kind, Type: granary.TypeRegular, Inode: inode, Parent: dir.Inode, Name: name, Named: true, Version: number})
	}
}

// noteInode notes a change of an inode, under the directory that it has its last name in.
func (t *txn) noteInode(kind granary.ChangeKind, r *inodeRecord, attribute string) {
	dataset := r.Inode.Dataset()
	switch {
	case !t.log.settings.on() || r.Nlink == 0 || r.Flags&granary.FlagPart != 0:
		return
	case r.Inode == dataset.System() || r.IsDir() && r.isUpload():
		return
	}
	c := changeRecord{Kind: kind, Type: r.Type, Inode: r.Inode, Parent: r.Parent, Attribute: attribute}
	if kind == granary.ChangeWrite {
		c.Size = r.Size
	}
	t.note(&c)
}

// noteRename notes that an entry was renamed.
func (t *txn) noteRename(op *granary.Rename, srcDir *inodeRecord, srcName string, dstDir *inodeRecord, dstName string, src *inodeRecord, replaced bool) {
	if t.logs(srcDir) && t.logs(dstDir) {
		t.note(&changeRecord{Kind: granary.ChangeRename, Type: src.Type, Inode: src.Inode, Parent: dstDir.Inode, Name: dstName, Named: true,
			OldParent: srcDir.Inode, OldName: srcName, Replaced: replaced, Exchanged: op.Exchange, Version: src.Object})
	}
}

// setChangeLog changes how long changes are kept, by command.
func (t *txn) setChangeLog(op *granary.SetChangeLog) granary.Result {
	const name = "set change log"
	if err := t.onlySuper(name, ""); err != nil {
		return granary.Result{Err: err}
	}
	if err := op.Settings.Validate(); err != nil {
		return failed(granary.KindInvalid, name, "", "%w", err)
	}
	t.changeLogging(op.Settings)
	return granary.Result{}
}

// beginChangeLog begins the log of a cluster that has none yet. In any other it has no effect.
func (t *txn) beginChangeLog(it *beginChangeLog) granary.Result {
	if !t.log.settings.Set {
		t.changeLogging(it.Settings)
	}
	return granary.Result{}
}

// changeLogging applies settings. A log that begins has what comes after this entry; of one that ends nothing is left.
func (t *txn) changeLogging(s granary.ChangeLog) {
	l := &t.log
	if !l.settings.on() || s.Keep == 0 {
		l.settings.From, l.settings.Trimmed, l.cut = t.index, l.total, t.index
	}
	l.settings.Settings, l.settings.Set = s, true
	store(t, keyChangeLog(), &l.settings)
}

// goneMax bounds the directories that one entry forgets.
const goneMax = 1000

// trimChanges takes the oldest changes out of the log, up to an entry that has some, and forgets where directories were that
// were removed in entries of which there are no changes any more.
func (t *txn) trimChanges(it *trimChanges) granary.Result {
	const name = "trim change log"
	l := &t.log
	if len(it.Gone) > goneMax {
		return failed(granary.KindTooLarge, name, "", "%d directories, of %d at most", len(it.Gone), goneMax)
	}
	if it.UpTo > l.settings.From {
		last := fetch[entryChanges](t, keyChanges(it.UpTo))
		if last == nil {
			return failed(granary.KindStale, name, "", "entry %d has no changes", it.UpTo)
		}
		l.settings.From, l.settings.Trimmed, l.cut = it.UpTo, last.Total, it.UpTo
		store(t, keyChangeLog(), &l.settings)
	}
	for _, id := range it.Gone {
		if r := fetch[goneRecord](t, keyGone(id)); r != nil && r.index <= l.settings.From {
			t.del(keyGone(id))
		}
	}
	return granary.Result{}
}

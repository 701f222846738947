package master

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
)

// versionRecord is an earlier version of an object, or a delete marker.
type versionRecord struct {
	Inode granary.InodeID // 0: a delete marker
	NoID  bool
	Time  granary.Time // a delete marker: when it was made
}

func (r *versionRecord) put(e *encoder) {
	e.u64(uint64(r.Inode))
	e.bool(r.NoID)
	e.i64(int64(r.Time))
}

func (r *versionRecord) take(d *decoder) {
	r.Inode, r.NoID, r.Time = granary.InodeID(d.u64()), d.bool(), granary.Time(d.i64())
}

// attr is what is told of a delete marker.
func (r *versionRecord) attr(number granary.ObjectVersion) granary.Attr {
	a := granary.Attr{Object: number, Flags: granary.FlagVersions, Mtime: r.Time, Ctime: r.Time, Btime: r.Time}
	if r.NoID {
		a.Flags |= granary.FlagNoID
	}
	return a
}

// What follows a name in the keys of table V: its versions by number, the highest first, or which of them has no id. A NUL of
// the name is followed by 0xff, so that the keys of one name lie together, and those of all names in the names' order.
const (
	versionsNumbered = "\x00\x01"
	versionsNoID     = "\x00\x02"
)

// keyVersionsOf begins the keys of the numbered versions of a name.
func keyVersionsOf(dir granary.InodeID, name string) []byte {
	return append(keyVersionName(dir, name), versionsNumbered...)
}

func keyVersionName(dir granary.InodeID, name string) []byte {
	return append(key(tableVersion, uint64(dir)), strings.ReplaceAll(name, "\x00", "\x00\xff")...)
}

func keyVersion(dir granary.InodeID, name string, number granary.ObjectVersion) []byte {
	return binary.BigEndian.AppendUint64(keyVersionsOf(dir, name), ^uint64(number))
}

func keyNoID(dir granary.InodeID, name string) []byte {
	return append(keyVersionName(dir, name), versionsNoID...)
}

// versionName takes the key of a version apart; false for one that says which has no id.
func versionName(k []byte) (name string, number granary.ObjectVersion, ok bool) {
	rest := string(k[9:])
	for i := 0; i+1 < len(rest); i++ {
		if rest[i] != 0 || rest[i+1] == 0xff {
			continue
		}
		name = strings.ReplaceAll(rest[:i], "\x00\xff", "\x00")
		if rest[i:i+2] == versionsNumbered && len(rest) == i+10 {
			return name, granary.ObjectVersion(^binary.BigEndian.Uint64(k[len(k)-8:])), true
		}
		return name, 0, false
	}
	return rest, 0, false
}

// versioning says what a bucket does with the versions of its objects. It is stored with whether the dataset is deleted.
type versioning uint8

const (
	versioningEnabled versioning = 1 << (iota + 1)
	versioningSuspended
	versioningLocks // versions may be locked

	versioningOn = versioningEnabled | versioningSuspended
)

// versioning returns what becomes of the files of a directory that are replaced or unlinked. Parts of uploads are no objects.
func (t *txn) versioning(dir *inodeRecord) versioning {
	id := dir.Inode.Dataset()
	v := t.datasets.get(t, id).Versioning
	if v == 0 || dir.holdsUploads() || dir.isUpload() {
		return 0
	}
	return v
}

// setVersioning changes what a bucket does with versions.
func (t *txn) setVersioning(op string, r *inodeRecord, x *granary.Xattr) *granary.Error {
	id := r.Inode.Dataset()
	if !r.isDatasetRoot() || id == granary.RootDataset {
		return granary.Errorf(granary.KindInvalid, op, x.Name, "it is of the root of a bucket")
	}
	if err := t.reachDataset(op, id); err != nil { // who holds a directory decides there what becomes of files
		return err
	}
	d := t.datasets.get(t, id)
	next := d.Versioning
	switch {
	case x.Name == granary.XattrObjectLock:
		if d.Versioning&versioningEnabled == 0 {
			return granary.Errorf(granary.KindInvalid, op, x.Name, "versions are locked only where versioning is enabled")
		}
		next |= versioningLocks
	case string(x.Value) == granary.VersioningEnabled:
		next = next&^versioningOn | versioningEnabled
	case string(x.Value) == granary.VersioningSuspended && d.Versioning&versioningLocks != 0:
		return granary.Errorf(granary.KindInvalid, op, x.Name, "where versions may be locked, versioning stays enabled")
	case string(x.Value) == granary.VersioningSuspended:
		next = next&^versioningOn | versioningSuspended
	default:
		return granary.Errorf(granary.KindInvalid, op, x.Name, "%q", x.Value)
	}
	d.Versioning = next
	t.datasets.touch(id)
	return nil
}

// number gives out the number of a version. An entry makes fewer than versionsEntryMax.
func (t *txn) number() granary.ObjectVersion {
	if t.numbered++; t.numbered >= versionsEntryMax {
		panic("master: an entry makes too many versions")
	}
	return granary.ObjectVersion(uint64(t.index)*versionsEntryMax + t.numbered)
}

const versionsEntryMax = 1 << 10

// enumerate makes a file the newest version of an object.
func (t *txn) enumerate(r *inodeRecord, v versioning) {
	if v&versioningOn == 0 || r.Type != granary.TypeRegular {
		return
	}
	r.Object = t.number()
	r.Flags = r.Flags&^granary.FlagNoID | granary.FlagVersions
	if v&versioningSuspended != 0 {
		r.Flags |= granary.FlagNoID
	}
	t.touch(r)
}

// retire takes a name from a file that is replaced or unlinked, and keeps the file as an earlier version if its bucket says so.
// The caller has seen that it may (mayRetire).
func (t *txn) retire(dir *inodeRecord, name string, r *inodeRecord, v versioning) {
	t.removeName(dir, name, r)
	t.placesLost(dir.Inode, name, r)
	if v&versioningOn == 0 || r.Type != granary.TypeRegular || v&versioningSuspended != 0 && r.Unnumbered() {
		t.lose(r)
		return
	}
	t.keepVersion(dir, name, r.Object, &versionRecord{Inode: r.Inode, NoID: r.Unnumbered()})
	r.Nlink++
	t.touch(r)
}

// mayRetire refuses to replace or unlink a locked file that would be lost, and what would take away a locked one that has no id.
func (t *txn) mayRetire(op, subject string, dir *inodeRecord, name string, r *inodeRecord, v versioning) *granary.Error {
	if v&versioningEnabled != 0 {
		return nil
	}
	if r != nil {
		return t.unlocked(op, subject, r, false)
	}
	return nil
}

// supersede is called when a name gets another newest version in a bucket whose versioning is suspended: of the versions without an id
// one is left.
func (t *txn) supersede(dir *inodeRecord, name string, v versioning) {
	if v&versioningSuspended == 0 || dir.Versions == 0 {
		return
	}
	if n := fetch[numberRecord](t, keyNoID(dir.Inode, name)); n != nil {
		t.dropVersion(dir, name, granary.ObjectVersion(n.Number))
	}
}

// deleteMarker records a delete marker as the newest version.
func (t *txn) deleteMarker(dir *inodeRecord, name string, v versioning) granary.Attr {
	t.supersede(dir, name, v)
	number := t.number()
	m := &versionRecord{NoID: v&versioningSuspended != 0, Time: t.now}
	t.keepVersion(dir, name, number, m)
	return m.attr(number)
}

// keepVersion records an earlier version, or a delete marker.
func (t *txn) keepVersion(dir *inodeRecord, name string, number granary.ObjectVersion, r *versionRecord) {
	store(t, keyVersion(dir.Inode, name, number), r)
	if r.NoID {
		store(t, keyNoID(dir.Inode, name), &numberRecord{uint64(number)})
	}
	dir.Versions++
	dir.Flags |= granary.FlagVersions
	t.touch(dir)
}

// forgetVersion takes the record of a version away. What becomes of its inode is the caller's to say.
func (t *txn) forgetVersion(dir *inodeRecord, name string, number granary.ObjectVersion, r *versionRecord) {
	t.del(keyVersion(dir.Inode, name, number))
	if r.NoID {
		t.del(keyNoID(dir.Inode, name))
	}
	if dir.Versions--; dir.Versions == 0 {
		dir.Flags &^= granary.FlagVersions
	}
	t.touch(dir)
}

// dropVersion takes an earlier version away for good.
func (t *txn) dropVersion(dir *inodeRecord, name string, number granary.ObjectVersion) {
	r := fetch[versionRecord](t, keyVersion(dir.Inode, name, number))
	t.forgetVersion(dir, name, number, r)
	if r.Inode == 0 {
		return
	}
	file := t.inode(r.Inode)
	file.Nlink--
	file.Ctime = t.now
	t.touch(file)
	t.lose(file)
}

// newestVersion returns the version before the newest, or the newest if the name leads to no file; nil if there is none.
func (t *txn) newestVersion(dir *inodeRecord, name string) (*versionRecord, granary.ObjectVersion) {
	if dir.Versions == 0 {
		return nil, 0
	}
	var found *versionRecord
	var number granary.ObjectVersion
	prefix := keyVersionsOf(dir.Inode, name)
	t.scan(prefix, keyEnd(prefix), func(k, v []byte) bool {
		r, err := unmarshal[versionRecord](v)
		must(err)
		found = r
		_, number, _ = versionName(k)
		return false
	})
	return found, number
}

// restoreVersion makes the newest of the earlier versions the object again, if it is none that was deleted. The name leads to no file.
func (t *txn) restoreVersion(dir *inodeRecord, name string) {
	r, number := t.newestVersion(dir, name)
	if r == nil || r.Inode == 0 {
		return
	}
	t.forgetVersion(dir, name, number, r)
	file := t.inode(r.Inode)
	file.Nlink--
	t.addName(dir, name, file)
	t.placesMade(dir.Inode, name)
	t.noteVersion(granary.ChangeRestore, dir, name, file.Inode, number)
}

// unlinkVersion takes one version of an object away for good.
func (t *txn) unlinkVersion(op *granary.Unlink, steps []step) granary.Result {
	last := steps[len(steps)-1]
	dir, name := last.dir, last.name.raw
	if err := t.mayAdd("unlink", op.Name, dir); err != nil {
		return granary.Result{Err: err}
	}
	r := t.target(dir, last.name, true)
	if err := t.guard("unlink", dir, name, r); err != nil {
		return granary.Result{Err: err}
	}
	if r == dir { // the object is a mark, and has no id
		if op.Object != granary.NoID {
			return failed(granary.KindNotFound, "unlink", op.Name, "no such version")
		}
		return t.unmark(steps)
	}
	if r != nil && r.Type == granary.TypeRegular && (r.Object == op.Object && !r.Unnumbered() || op.Object == granary.NoID && r.Unnumbered()) {
		return t.unlinkNewest(op, steps, r)
	}
	number := op.Object
	if number == granary.NoID {
		n := fetch[numberRecord](t, keyNoID(dir.Inode, name))
		if n == nil {
			return failed(granary.KindNotFound, "unlink", op.Name, "no version is without an id")
		}
		number = granary.ObjectVersion(n.Number)
	}
	v := fetch[versionRecord](t, keyVersion(dir.Inode, name, number))
	if v == nil || v.NoID != (op.Object == granary.NoID) {
		return failed(granary.KindNotFound, "unlink", op.Name, "no such version")
	}
	attr := v.attr(number)
	if v.Inode != 0 {
		file := t.inode(v.Inode)
		if err := t.unlocked("unlink", op.Name, file, op.Bypass); err != nil {
			return granary.Result{Err: err}
		}
		attr = file.Attr
	}
	t.dropVersion(dir, name, number)
	t.noteVersion(granary.ChangeRemoveVersion, dir, name, v.Inode, number)
	if r == nil {
		t.restoreVersion(dir, name)
	}
	t.prune(steps)
	return granary.Result{Attr: attr, Marker: v.Inode == 0}
}

// unlinkNewest takes the newest version of an object away for good.
func (t *txn) unlinkNewest(op *granary.Unlink, steps []step, r *inodeRecord) granary.Result {
	last := steps[len(steps)-1]
	if err := t.mayRemove("unlink", op.Name, last.dir, r); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.unlocked("unlink", op.Name, r, op.Bypass); err != nil {
		return granary.Result{Err: err}
	}
	t.removeName(last.dir, last.name.raw, r)
	t.placesLost(last.dir.Inode, last.name.raw, r)
	attr := r.Attr
	t.noteVersion(granary.ChangeRemoveVersion, last.dir, last.name.raw, r.Inode, r.Object)
	t.lose(r)
	t.restoreVersion(last.dir, last.name.raw)
	t.prune(steps)
	return granary.Result{Attr: attr}
}

// markToFile makes a file of the object that is a mark on its directory, so that it can become an earlier version.
func (t *txn) markToFile(dir *inodeRecord) *inodeRecord {
	r := &inodeRecord{Attr: granary.Attr{Inode: t.nextInode(dir.Inode.Dataset()), Mode: 0o644, UID: dir.UID, GID: dir.GID, Policy: dir.Policy}}
	t.addInode(r, granary.TypeRegular)
	prefix := keyXattr(dir.Inode, xattrStore)
	t.scan(prefix, keyEnd(prefix), func(k, v []byte) bool {
		x, err := unmarshal[bytesRecord](v)
		must(err)
		if err := t.storeXattr("create", r, string(k[9:]), x.Bytes); err != nil {
			panic("master: a directory has more attributes than a file may: " + err.Error())
		}
		return true
	})
	t.clearMark(dir)
	t.addName(dir, "", r)
	return r
}

// parseRetention takes the value of XattrRetention apart.
func parseRetention(value string) (mode string, until granary.Time, ok bool) {
	mode, text, _ := strings.Cut(value, " ")
	n, err := strconv.ParseInt(text, 10, 64)
	return mode, granary.Time(n), err == nil && (mode == granary.RetentionGovernance || mode == granary.RetentionCompliance)
}

// retention returns the retention of a file that is in force; "" for none.
func (t *txn) retention(r *inodeRecord) (mode string, until granary.Time) {
	if r.Flags&granary.FlagRetention == 0 {
		return "", 0
	}
	x := fetch[bytesRecord](t, keyXattr(r.Inode, granary.XattrRetention))
	if x == nil {
		return "", 0
	}
	mode, until, _ = parseRetention(string(x.Bytes))
	if until <= t.now {
		return "", 0
	}
	return mode, until
}

// unlocked refuses to change or take away a version of an object that is locked.
func (t *txn) unlocked(op, subject string, r *inodeRecord, bypass bool) *granary.Error {
	if r.Flags&(granary.FlagRetention|granary.FlagLegalHold) == 0 {
		return nil
	}
	if r.Flags&granary.FlagLegalHold != 0 {
		if x := fetch[bytesRecord](t, keyXattr(r.Inode, granary.XattrLegalHold)); x != nil && string(x.Bytes) == granary.LegalHoldOn {
			return granary.Errorf(granary.KindNotOwner, op, subject, "the object is under legal hold")
		}
	}
	mode, until := t.retention(r)
	if mode == "" || mode == granary.RetentionGovernance && bypass {
		return nil
	}
	return granary.Errorf(granary.KindNotOwner, op, subject, "the object is retained until %s, in the mode %s", until.Std().UTC().Format("2006-01-02T15:04:05Z"), mode)
}

// mayRelock refuses a change of a lock that would make less of it than it may. x is nil for the removal.
func (t *txn) mayRelock(op string, r *inodeRecord, name string, x *granary.Xattr, bypass bool) *granary.Error {
	switch {
	case name == granary.XattrLegalHold && r.Type != granary.TypeRegular, name == granary.XattrRetention && r.Type != granary.TypeRegular:
		return granary.Errorf(granary.KindInvalid, op, name, "only files are locked")
	case name != granary.XattrRetention && name != granary.XattrLegalHold:
		return nil
	case t.datasets.get(t, r.Inode.Dataset()).Versioning&versioningLocks == 0:
		return granary.Errorf(granary.KindInvalid, op, name, "the bucket has no versions that may be locked")
	case name == granary.XattrLegalHold:
		return nil
	}
	next, until := "", granary.Time(0)
	if x != nil {
		var ok bool
		if next, until, ok = parseRetention(string(x.Value)); !ok {
			return granary.Errorf(granary.KindInvalid, op, name, "%q", x.Value)
		}
	}
	mode, end := t.retention(r)
	more := until >= end && (next == mode || next == granary.RetentionCompliance)
	if mode == "" || more || mode == granary.RetentionGovernance && bypass {
		return nil
	}
	return granary.Errorf(granary.KindNotOwner, op, name, "the object is retained until %s, in the mode %s", end.Std().UTC().Format("2006-01-02T15:04:05Z"), mode)
}

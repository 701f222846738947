package master

import (
	"maps"

	"github.com/dsorchard/granary"
)

// loadVersion takes a record of table V into account.
func (a *audit) loadVersion(k, b []byte) {
	dir := granary.InodeID(keyID(k, 0))
	name, number, ok := versionName(k)
	start := string(keyVersionName(dir, name))
	if !ok {
		if string(k[len(start):]) != versionsNoID {
			a.bad("key %q is no version's", k)
		}
		a.unnumbered[start] = granary.ObjectVersion(decoded[numberRecord](a, k, b).Number)
		return
	}
	r := decoded[versionRecord](a, k, b)
	a.versions[dir]++
	if r.NoID {
		if _, twice := a.withoutID[start]; twice {
			a.bad("two versions of %q in directory %d have no id", name, dir)
		}
		a.withoutID[start] = number
	}
	if r.Inode == 0 {
		return
	}
	a.names[r.Inode]++
	file := a.inodes[r.Inode]
	if file == nil || file.Type != granary.TypeRegular || file.Object != number || file.Unnumbered() != r.NoID {
		a.bad("version %d of %q in directory %d leads to inode %d, which is none or another", number, name, dir, r.Inode)
	}
}

// checkVersions verifies that directories know how many earlier versions they hold, that what says which version has no id is
// right, and that where no file has the name the newest version is a delete marker.
func (a *audit) checkVersions() {
	for id, r := range a.inodes {
		if r.IsDir() && r.Versions != a.versions[id] || r.Flags&granary.FlagVersions == 0 && (r.Object != 0 || r.Versions != 0) {
			a.bad("inode %d: version %d, %d earlier versions; counted %d", id, r.Object, r.Versions, a.versions[id])
		}
	}
	for id := range a.versions {
		if a.inodes[id] == nil {
			a.bad("versions lie in directory %d, which does not exist", id)
		}
	}
	if !maps.Equal(a.unnumbered, a.withoutID) {
		a.bad("versions without an id are %v, said to be %v", a.withoutID, a.unnumbered)
	}
}

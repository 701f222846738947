package master

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// bucketWith makes a bucket in a state of versioning, "" for none.
func bucketWith(m *machine, name, state string) granary.InodeID {
	m.t.Helper()
	root := m.ok(&granary.Create{Parent: granary.BucketsInode, Name: name, Type: granary.TypeDirectory, Mode: 0o755}).Attr.Inode
	setVersioning(m, root, state)
	return root
}

func setVersioning(m *machine, root granary.InodeID, state string) {
	m.t.Helper()
	if state != "" {
		m.ok(&granary.SetXattr{Inode: root, Xattr: granary.Xattr{Name: granary.XattrVersioning, Value: []byte(state)}})
	}
}

func putKey(m *machine, root granary.InodeID, key string) granary.Attr {
	m.t.Helper()
	return m.ok(&granary.Create{Parent: root, Name: key, Key: true, Type: granary.TypeRegular, Replace: true, Content: &granary.Content{Inline: []byte(key)}}).Attr
}

// modelVersion is a version of an object as S3 knows it; number 0 is that of a version of before.
type modelVersion struct {
	number granary.ObjectVersion
	noID   bool
	marker bool
	inode  granary.InodeID
}

// versionModel has the versions of each key, the newest first.
type versionModel struct {
	state string
	keys  map[string][]modelVersion
}

// push makes a version the newest; of those without an id one is left.
func (v *versionModel) push(key string, n modelVersion) {
	if n.noID {
		v.keys[key] = slices.DeleteFunc(v.keys[key], func(o modelVersion) bool { return o.noID })
	}
	v.keys[key] = append([]modelVersion{n}, v.keys[key]...)
}

func (v *versionModel) lines() []string {
	var keys, lines []string
	for key := range v.keys {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		for i, n := range v.keys[key] {
			lines = append(lines, versionLine(key, n, i == 0))
		}
	}
	return lines
}

func versionLine(key string, n modelVersion, latest bool) string {
	return fmt.Sprintf("%q %d noid=%t marker=%t inode=%d latest=%t", key, n.number, n.noID, n.marker, n.inode, latest)
}

func listVersionLines(m *machine, q granary.List) []string {
	m.t.Helper()
	var lines []string
	for range 1000 {
		l := ask[*granary.Listing](m, &q)
		for _, i := range l.Items {
			if i.IsPrefix {
				lines = append(lines, i.Key+" *")
				continue
			}
			lines = append(lines, versionLine(i.Key, modelVersion{i.Attr.Object, i.Attr.Unnumbered(), i.Marker, i.Attr.Inode}, i.Latest))
		}
		if !l.Truncated {
			return lines
		}
		q.StartAfter, q.StartAt = l.Next, l.NextAt
	}
	m.t.Fatal("the listing does not end")
	return nil
}

// TestVersionsAgainstModel puts, deletes and lists versions under any keys, in all states of versioning.
func TestVersionsAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		defer m.close()
		root := bucketWith(m, "bucket", "")
		model := &versionModel{keys: map[string][]modelVersion{}}
		key := rapid.SampledFrom([]string{"a", "a/b", "a/", "a//", "b\x00", "b", "c/d/e"})
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			k := key.Draw(rt, "key")
			switch rapid.IntRange(0, 6).Draw(rt, "action") {
			case 0, 1, 2:
				model.put(m, root, k, rapid.Bool().Draw(rt, "empty"))
			case 3, 4:
				model.remove(m, root, k)
			case 5:
				model.removeVersion(rt, m, root, k)
			case 6:
				model.state = rapid.SampledFrom([]string{granary.VersioningEnabled, granary.VersioningSuspended}).Draw(rt, "state")
				setVersioning(m, root, model.state)
			}
		}
		if got, want := listVersionLines(m, granary.List{Root: root, Versions: true, Limit: 2}), model.lines(); !slices.Equal(got, want) {
			rt.Fatalf("listed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		model.lookups(rt, m, root)
		m.check()
	})
}

func (v *versionModel) put(m *machine, root granary.InodeID, key string, empty bool) {
	op := &granary.Create{Parent: root, Name: key, Key: true, Type: granary.TypeRegular, Replace: true}
	if !empty {
		op.Content = &granary.Content{Inline: []byte("x")}
	}
	a := m.ok(op).Attr
	n := modelVersion{number: a.Object, noID: v.state != granary.VersioningEnabled, inode: a.Inode}
	if n.noID != a.Unnumbered() || (v.state == "") != (a.Object == 0) {
		m.t.Fatalf("in state %q: %+v", v.state, a)
	}
	v.push(key, n)
	v.relearn(m, root, key)
}

// relearn takes over the inode of an object that was a mark on its directory, and is a file now.
func (v *versionModel) relearn(m *machine, root granary.InodeID, key string) {
	for i, n := range v.keys[key] {
		if n.noID && n.number == 0 && !n.marker {
			found := ask[*granary.Found](m, &granary.Lookup{Base: root, Path: key, Key: true, Object: granary.NoID})
			v.keys[key][i].inode = found.Entry.Attr.Inode
		}
	}
}

func (v *versionModel) remove(m *machine, root granary.InodeID, key string) {
	r := m.do(&granary.Unlink{Parent: root, Name: key, Key: true, Prune: true})
	if v.state == "" {
		if _, there := v.keys[key]; there != (r.Err == nil) || r.Marker {
			m.t.Fatalf("delete of %q: %+v", key, r)
		}
		delete(v.keys, key)
		return
	}
	if r.Err != nil || !r.Marker {
		m.t.Fatalf("delete of %q: %+v", key, r)
	}
	v.push(key, modelVersion{number: r.Attr.Object, noID: v.state != granary.VersioningEnabled, marker: true})
	v.relearn(m, root, key)
}

func (v *versionModel) removeVersion(t *rapid.T, m *machine, root granary.InodeID, key string) {
	all := v.keys[key]
	if len(all) == 0 {
		m.fails(granary.KindNotFound, &granary.Unlink{Parent: root, Name: key, Key: true, Object: granary.NoID})
		return
	}
	i := rapid.IntRange(0, len(all)-1).Draw(t, "version")
	id := all[i].number
	if all[i].noID {
		id = granary.NoID
	}
	r := m.ok(&granary.Unlink{Parent: root, Name: key, Key: true, Prune: true, Object: id})
	if r.Marker != all[i].marker {
		t.Fatalf("%q: %+v is removed as %+v", key, all[i], r)
	}
	if v.keys[key] = slices.Delete(all, i, i+1); len(v.keys[key]) == 0 {
		delete(v.keys, key)
	}
}

func (v *versionModel) lookups(t *rapid.T, m *machine, root granary.InodeID) {
	for key, all := range v.keys {
		for i, n := range all {
			q := &granary.Lookup{Base: root, Path: key, Key: true, Markers: true, Object: n.number}
			if n.noID {
				q.Object = granary.NoID
			}
			if found := ask[*granary.Found](m, q); found.Marker != n.marker || found.Entry.Attr.Inode != n.inode {
				t.Fatalf("%q: %+v is %+v", key, n, found)
			}
			if q.Object = 0; i == 0 {
				if found := ask[*granary.Found](m, q); found.Marker != n.marker || found.Entry.Attr.Inode != n.inode {
					t.Fatalf("%q: the newest, %+v, is %+v", key, n, found)
				}
			}
		}
	}
}

// TestVersionsThroughDirectories is what other doors do in a bucket with versions.
func TestVersionsThroughDirectories(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	root := bucketWith(m, "bucket", granary.VersioningEnabled)
	first := putKey(m, root, "d/a")
	dir := ask[*granary.Found](m, &granary.Lookup{Base: root, Path: "d"}).Entry.Attr.Inode
	m.ok(&granary.Create{Parent: dir, Name: "tmp", Type: granary.TypeRegular})
	second := m.ok(&granary.Rename{SrcParent: dir, SrcName: "tmp", DstParent: dir, DstName: "a"}).Attr
	if second.Object <= first.Object {
		t.Fatalf("%+v after %+v", second, first)
	}
	if r := m.ok(&granary.Unlink{Parent: dir, Name: "a"}); !r.Marker {
		t.Fatalf("%+v", r)
	}
	m.fails(granary.KindNotEmpty, &granary.Rmdir{Parent: root, Name: "d"})
	m.fails(granary.KindNotOwner, &granary.RemoveTree{Parent: root, Name: "d"})
	m.fails(granary.KindNotEmpty, &granary.Rmdir{Parent: granary.BucketsInode, Name: "bucket"})
	m.ok(&granary.Rename{SrcParent: root, SrcName: "d", DstParent: root, DstName: "e"})
	lines := listVersionLines(m, granary.List{Root: root, Versions: true})
	if len(lines) != 3 || !strings.HasPrefix(lines[0], `"e/a"`) || !strings.Contains(lines[0], "marker=true") {
		t.Fatal(lines)
	}
	if got := listVersionLines(m, granary.List{Root: root, Versions: true, Delimiter: "/"}); !slices.Equal(got, []string{"e/ *"}) {
		t.Fatal(got)
	}
	m.ok(&granary.Create{Parent: root, Name: "f", Type: granary.TypeDirectory})
	if got := listVersionLines(m, granary.List{Root: root, Versions: true, Delimiter: "/", StartAfter: "e/zzz"}); len(got) != 0 {
		t.Fatal(got)
	}
	m.check()
}

// TestLockedVersions: what is locked stays as it is, whatever door is tried.
func TestLockedVersions(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	root := bucketWith(m, "bucket", "")
	lock := func(id granary.InodeID, name, value string) *granary.SetXattr {
		return &granary.SetXattr{Inode: id, Xattr: granary.Xattr{Name: name, Value: []byte(value)}}
	}
	until := func(mode string, ns granary.Time) string { return fmt.Sprintf("%s %d", mode, m.time+ns) }
	m.fails(granary.KindInvalid, lock(root, granary.XattrObjectLock, "on"))
	setVersioning(m, root, granary.VersioningEnabled)
	a := putKey(m, root, "a")
	m.fails(granary.KindInvalid, lock(a.Inode, granary.XattrLegalHold, granary.LegalHoldOn))
	m.ok(lock(root, granary.XattrObjectLock, "on"))
	m.fails(granary.KindInvalid, lock(root, granary.XattrVersioning, granary.VersioningSuspended))
	m.fails(granary.KindInvalid, &granary.RemoveXattr{Inode: root, Name: granary.XattrVersioning})

	m.fails(granary.KindInvalid, lock(a.Inode, granary.XattrRetention, "FOREVER"))
	m.ok(lock(a.Inode, granary.XattrRetention, until(granary.RetentionCompliance, 1e9)))
	size := uint64(0)
	refused := []granary.Op{
		&granary.Unlink{Parent: root, Name: "a", Key: true, Object: a.Object},
		&granary.Unlink{Parent: root, Name: "a", Key: true, Object: a.Object, Bypass: true},
		&granary.SetAttr{Inode: a.Inode, Size: &size},
		&granary.Commit{Inode: a.Inode, Content: granary.Content{Inline: []byte("y")}},
		&granary.Allocate{Inode: a.Inode, Length: 1, Mode: granary.AllocatePunch, KeepSize: true},
		&granary.Rename{SrcParent: root, SrcName: "a", DstParent: root, DstName: "b"},
		&granary.RemoveXattr{Inode: a.Inode, Name: granary.XattrRetention, Bypass: true},
		lock(a.Inode, granary.XattrRetention, until(granary.RetentionCompliance, 1e6)),
		lock(a.Inode, granary.XattrRetention, until(granary.RetentionGovernance, 2e9)),
	}
	for _, op := range refused {
		m.fails(granary.KindNotOwner, op)
	}
	m.ok(lock(a.Inode, granary.XattrRetention, until(granary.RetentionCompliance, 2e9)))
	m.ok(&granary.Unlink{Parent: root, Name: "a"})
	m.fails(granary.KindNotOwner, &granary.Unlink{Parent: root, Name: "a", Key: true, Object: a.Object})
	m.ok(&granary.Create{Parent: root, Name: "d", Type: granary.TypeDirectory, Mode: 0o755})
	putKey(m, root, "d/x")
	m.fails(granary.KindNotOwner, &granary.Rename{SrcParent: root, SrcName: "d", DstParent: root, DstName: "e"})

	m.time += 3e9
	m.ok(lock(a.Inode, granary.XattrLegalHold, granary.LegalHoldOn))
	m.fails(granary.KindNotOwner, &granary.Unlink{Parent: root, Name: "a", Key: true, Object: a.Object, Bypass: true})
	m.ok(lock(a.Inode, granary.XattrLegalHold, "OFF"))
	m.ok(&granary.Unlink{Parent: root, Name: "a", Key: true, Object: a.Object})

	b := putKey(m, root, "b")
	m.ok(lock(b.Inode, granary.XattrRetention, until(granary.RetentionGovernance, 1e9)))
	m.fails(granary.KindNotOwner, &granary.Unlink{Parent: root, Name: "b", Key: true, Object: b.Object})
	m.fails(granary.KindNotOwner, lock(b.Inode, granary.XattrRetention, until(granary.RetentionGovernance, 1e6)))
	m.ok(&granary.Unlink{Parent: root, Name: "b", Key: true, Object: b.Object, Bypass: true})
	m.check()
}

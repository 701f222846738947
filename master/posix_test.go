package master

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// posixRun does the same to a state and to the model.
type posixRun struct {
	*rapid.T
	m  *machine
	fs *posixFS
}

// TestPosixModel has several users do random things, and expects the results of the model and after each step the same
// inodes with the same attributes. Then the log is applied anew in other batches, and from a checkpoint on.
func TestPosixModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := &posixRun{rt, newMachine(t), &posixFS{}}
		defer p.m.close()
		p.begin()
		actions := map[string]func(*rapid.T){
			"create": p.create, "create again": p.create, "tmpfile": p.tmpfile, "release": p.release, "link": p.link, "unlink": p.unlink, "rmdir": p.rmdir,
			"rename": p.rename, "rename again": p.rename, "chmod": p.chmod, "chown": p.chown, "truncate": p.truncate, "write": p.write,
			"utimes": p.utimes, "xattr": p.xattr, "lookup": p.lookup, "readdir": p.readdir,
		}
		for name, f := range actions {
			actions[name] = func(rt *rapid.T) { p.T = rt; f(rt) }
		}
		copied := 0
		actions["checkpoint"] = func(rt *rapid.T) {
			if copied == 0 {
				copied = p.checkpoint(rt)
			}
		}
		actions["reclaim"] = func(*rapid.T) { p.m.drain(5); p.fs.reclaim() }
		actions[""] = func(rt *rapid.T) { p.T = rt; p.compare() }
		rt.Repeat(actions)
		p.T = rt
		if err := p.m.s.check(); err != nil {
			rt.Fatal(err)
		}
		p.replay(t, nil, "meta", 0)
		if copied > 0 {
			p.replay(t, p.m.fs, "copies/one", copied)
		}
	})
}

// begin makes directories of all sorts, in which ordinary users can do something.
func (p *posixRun) begin() {
	root := ask[*granary.Found](p.m, &granary.Lookup{Base: granary.RootInode}).Entry.Attr
	p.fs.root = &posixNode{id: root.Inode, typ: root.Type, mode: root.Mode, atime: root.Atime, mtime: root.Mtime, ctime: root.Ctime, btime: root.Btime,
		entries: map[string]*posixNode{}, xattrs: map[string]string{}}
	b := ask[*granary.Found](p.m, &granary.Lookup{Base: granary.BucketsInode}).Entry.Attr
	buckets := &posixNode{id: b.Inode, typ: b.Type, mode: b.Mode, atime: b.Atime, mtime: b.Mtime, ctime: b.Ctime, btime: b.Btime,
		up: p.fs.root, entries: map[string]*posixNode{}, xattrs: map[string]string{}}
	p.fs.root.entries[granary.BucketsName] = buckets
	p.fs.all = []*posixNode{p.fs.root}
	p.tick()
	p.check(p.m.do(&granary.SetAttr{Inode: root.Inode, Mode: ptr(uint32(0o777))}), p.fs.chmod(granary.Cred{}, p.fs.root, 0o777), p.fs.root)
	p.made(granary.Cred{GID: 27}, p.fs.root, "a", granary.TypeDirectory, 0o777, true, "")
	p.made(granary.Cred{GID: 27}, p.fs.root, "b", granary.TypeDirectory, 0o1777, true, "")
	p.made(granary.Cred{GID: 27}, p.fs.root, "c", granary.TypeDirectory, 0o2775, true, "")
}

// tick gives the model the time that the next entry will have.
func (p *posixRun) tick() { p.fs.now = p.m.time + 1000 }

// check compares the outcome of an operation.
func (p *posixRun) check(r granary.Result, want granary.Kind, n *posixNode) {
	p.Helper()
	if kindOf(r) != want {
		p.Fatalf("%v, want %v", r.Err, want)
	}
	if want == success && n != nil && r.Attr.Inode != 0 {
		p.same(&r.Attr, n)
	}
}

// same compares attributes.
func (p *posixRun) same(a *granary.Attr, n *posixNode) {
	p.Helper()
	want := granary.Attr{Inode: n.id, Type: n.typ, Mode: n.mode, Nlink: uint32(n.names), UID: n.uid, GID: n.gid, Rdev: n.rdev, Size: n.size,
		Allocated: a.Allocated, Atime: n.atime, Mtime: n.mtime, Ctime: n.ctime, Btime: n.btime,
		Version: a.Version, ContentVersion: a.ContentVersion, Policy: a.Policy, Parent: a.Parent, Entries: uint64(len(n.entries))}
	if n.isDir() {
		for _, child := range n.entries {
			if child.isDir() {
				want.Subdirs++
			}
		}
		want.Nlink = 2 + uint32(want.Subdirs)
		if n.up != nil {
			want.Parent = n.up.id
		}
	}
	if *a != want {
		p.Fatalf("%+v, want\n%+v", *a, want)
	}
}

// compare looks at every inode that ever was, and at the entries of all directories.
func (p *posixRun) compare() {
	for _, n := range p.fs.all {
		a, err := p.m.query(&granary.Lookup{Base: n.id, Xattrs: true})
		if n.gone != granary.IsKind(err, granary.KindNotFound) || !n.gone && err != nil {
			p.Fatalf("inode %d: %v, gone is %v", n.id, err, n.gone)
		}
		if n.gone {
			continue
		}
		found := a.(*granary.Found)
		p.same(&found.Entry.Attr, n)
		xattrs := map[string]string{}
		for _, x := range found.Xattrs {
			xattrs[x.Name] = string(x.Value)
		}
		if found.Entry.Target != n.target || !maps.Equal(xattrs, n.xattrs) {
			p.Fatalf("inode %d: %q, %q; want %q, %q", n.id, found.Entry.Target, xattrs, n.target, n.xattrs)
		}
		if n.isDir() {
			p.listed(ask[*granary.Directory](p.m, &granary.ReadDir{Inode: n.id}), n)
		}
	}
}

func (p *posixRun) listed(got *granary.Directory, d *posixNode) {
	for _, e := range got.Entries {
		child := d.entries[e.Name]
		if child == nil {
			p.Fatalf("%q should not be in directory %d", e.Name, d.id)
		}
		p.same(&e.Attr, child)
	}
	if len(got.Entries) != len(d.entries) || got.More {
		p.Fatalf("directory %d has %d entries, want %d", d.id, len(got.Entries), len(d.entries))
	}
}

// checkpoint copies the state, and returns how many entries are in it.
func (p *posixRun) checkpoint(rt *rapid.T) int {
	if err := p.m.fs.MkdirAll("copies", 0o755); err != nil {
		rt.Fatal(err)
	}
	if err := p.m.s.checkpoint(p.m.fs.PathJoin("copies", "one")); err != nil {
		rt.Fatal(err)
	}
	return len(p.m.log)
}

// replay applies the log from an entry on, some entries at a time, and expects the state that the run ended with.
func (p *posixRun) replay(t *testing.T, fs vfs.FS, dir string, at int) {
	if fs == nil {
		fs = vfs.NewMem()
	}
	s, err := openState(dir, stateOptions{FS: fs, CacheBytes: 1 << 20, DigestEvery: 16})
	if err != nil {
		p.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	for at < len(p.m.log) {
		end := min(at+rapid.IntRange(1, 30).Draw(p.T, "batch"), len(p.m.log))
		s.apply(p.m.log[max(0, at-2):end]) // some of them once more
		at = end
	}
	if got, want := dump(s), dump(p.m.s); got != want {
		p.Fatalf("another state:\n%s\nwant:\n%s", got, want)
	}
}

// What the actions draw.

func (p *posixRun) cred() granary.Cred {
	return rapid.SampledFrom([]granary.Cred{{UID: 1000, GID: 1000}, {UID: 1001, GID: 1001, Groups: []uint32{27, 100}}, {UID: 1002, GID: 1000, Groups: []uint32{100}}, {}}).Draw(p.T, "cred")
}

func (p *posixRun) name(label string) string {
	return rapid.SampledFrom([]string{"a", "b", "c", "b-"}).Draw(p.T, label)
}

func (p *posixRun) flag(label string) bool { return rapid.IntRange(0, 3).Draw(p.T, label) == 3 }

func (p *posixRun) mode() uint32 {
	return rapid.SampledFrom([]uint32{0o644, 0o755, 0o777, 0o666, 0o700, 0o750, 0o1777, 0o2775, 0o4755, 0o6711, 0o2644, 0o611, 0o077, 0o7777}).Draw(p.T, "mode")
}

// node draws any inode, of which some are no more.
func (p *posixRun) node(label string) *posixNode { return rapid.SampledFrom(p.fs.all).Draw(p.T, label) }

// dir mostly draws a directory.
func (p *posixRun) dir(label string) *posixNode {
	if rapid.IntRange(0, 19).Draw(p.T, label+" is any") == 19 {
		return p.node(label)
	}
	return rapid.SampledFrom(slices.DeleteFunc(slices.Clone(p.fs.all), func(n *posixNode) bool { return !n.isDir() || n.gone })).Draw(p.T, label)
}

// path is of names that are mostly there.
func (p *posixRun) path(d *posixNode) []string {
	var names []string
	for range rapid.IntRange(0, 3).Draw(p.T, "length") {
		name := p.name("component")
		if d != nil && len(d.entries) > 0 && !p.flag("any") {
			name = rapid.SampledFrom(slices.Sorted(maps.Keys(d.entries))).Draw(p.T, "entry")
		}
		if d != nil {
			d = d.entries[name]
		}
		names = append(names, name)
	}
	return names
}

// The actions.

func (p *posixRun) made(c granary.Cred, d *posixNode, name string, typ granary.FileType, mode uint32, exclusive bool, target string) {
	p.tick()
	count := len(p.fs.all)
	n, k := p.fs.create(c, d, name, typ, mode, exclusive)
	created := len(p.fs.all) > count
	r := p.m.doAs(c, &granary.Create{Parent: d.id, Name: name, Type: typ, Mode: mode, UID: c.UID, GID: c.GID, Exclusive: exclusive, Target: target, Rdev: 7})
	if created {
		n.id, n.rdev, n.target, n.size = r.Attr.Inode, 7, target, uint64(len(target))
	}
	if r.Created != created {
		p.Fatalf("%+v: made is %v", r, created)
	}
	p.check(r, k, n)
}

func (p *posixRun) create(*rapid.T) {
	typ := rapid.SampledFrom([]granary.FileType{granary.TypeRegular, granary.TypeRegular, granary.TypeDirectory, granary.TypeDirectory,
		granary.TypeSymlink, granary.TypeFifo, granary.TypeSocket, granary.TypeBlockDevice}).Draw(p.T, "type")
	mode, target := p.mode()&^rapid.SampledFrom([]uint32{0, 0o022, 0o077}).Draw(p.T, "umask"), "" // umask(2) is the caller's
	switch typ {
	case granary.TypeDirectory:
		mode &= 0o1777 // as mkdir(2)
	case granary.TypeSymlink:
		mode, target = 0o777, "a/b"
	}
	p.made(p.cred(), p.dir("dir"), p.name("name"), typ, mode, p.flag("exclusive"), target)
}

func (p *posixRun) tmpfile(*rapid.T) {
	c, d, mode := p.cred(), p.dir("dir"), p.mode()
	p.tick()
	n, k := p.fs.tmpfile(c, d, mode)
	r := p.m.doAs(c, &granary.Create{Parent: d.id, Type: granary.TypeRegular, Mode: mode, UID: c.UID, GID: c.GID, Anonymous: true})
	if n != nil {
		n.id = r.Attr.Inode
	}
	p.check(r, k, n)
}

func (p *posixRun) release(*rapid.T) {
	c, n := p.cred(), p.node("file")
	p.tick()
	p.check(p.m.doAs(c, &granary.Release{Inode: n.id}), p.fs.release(n), nil)
}

func (p *posixRun) link(*rapid.T) {
	c, n, d, name := p.cred(), p.node("file"), p.dir("dir"), p.name("name")
	p.tick()
	p.check(p.m.doAs(c, &granary.Link{Inode: n.id, Parent: d.id, Name: name}), p.fs.link(c, n, d, name), n)
}

func (p *posixRun) unlink(*rapid.T) {
	c, d, name := p.cred(), p.dir("dir"), p.name("name")
	n := d.entries[name]
	p.tick()
	p.check(p.m.doAs(c, &granary.Unlink{Parent: d.id, Name: name}), p.fs.remove(c, d, name, false), n)
}

func (p *posixRun) rmdir(*rapid.T) {
	c, d, name := p.cred(), p.dir("dir"), p.name("name")
	p.tick()
	p.check(p.m.doAs(c, &granary.Rmdir{Parent: d.id, Name: name}), p.fs.remove(c, d, name, true), nil)
}

func (p *posixRun) rename(*rapid.T) {
	c, d, e := p.cred(), p.dir("from"), p.dir("to")
	op := &granary.Rename{SrcParent: d.id, DstParent: e.id, SrcName: p.name("old"), DstName: p.name("new"), NoReplace: p.flag("noreplace"), Exchange: p.flag("exchange")}
	n := d.entries[op.SrcName]
	p.tick()
	k := p.fs.rename(c, d, op.SrcName, e, op.DstName, op.NoReplace, op.Exchange)
	p.check(p.m.doAs(c, op), k, n)
}

func (p *posixRun) chmod(*rapid.T) {
	c, n, mode := p.cred(), p.node("inode"), p.mode()
	p.tick()
	p.check(p.m.doAs(c, &granary.SetAttr{Inode: n.id, Mode: &mode}), p.fs.chmod(c, n, mode), n)
}

func (p *posixRun) chown(*rapid.T) {
	c, n := p.cred(), p.node("inode")
	id := func(label string, ids ...uint32) *uint32 {
		return rapid.Ptr(rapid.SampledFrom(ids), false).Draw(p.T, label)
	}
	uid, gid := rapid.Ptr(rapid.SampledFrom([]uint32{0, 1000, 1001, 1002}), true).Draw(p.T, "uid"), id("gid", 0, 27, 100, 1000, 1001)
	if uid != nil && p.flag("owner alone") {
		gid = nil
	}
	p.tick()
	p.check(p.m.doAs(c, &granary.SetAttr{Inode: n.id, UID: uid, GID: gid}), p.fs.chown(c, n, uid, gid), n)
}

func (p *posixRun) truncate(*rapid.T) {
	c, n, opened := p.cred(), p.node("file"), p.flag("opened")
	size := rapid.SampledFrom([]uint64{0, 3, 20, 1 << 20, granary.FileSizeMax, granary.FileSizeMax + 1}).Draw(p.T, "size")
	p.tick()
	p.check(p.m.doAs(c, &granary.SetAttr{Inode: n.id, Size: &size, Opened: opened}), p.fs.truncate(c, n, size, opened), n)
}

func (p *posixRun) write(*rapid.T) {
	c, n, offset := p.cred(), p.node("file"), rapid.IntRange(-1, 30).Draw(p.T, "offset")
	p.tick()
	at, k := p.fs.write(c, n, offset, 5)
	r := p.m.doAs(c, &granary.Commit{Inode: n.id, Content: granary.Content{Inline: []byte("hello"), InlineOffset: uint64(max(offset, 0))}, AtEnd: offset < 0})
	p.check(r, k, n)
	if offset < 0 && k == success && r.Offset != at {
		p.Fatalf("appended at %d, want %d", r.Offset, at)
	}
}

func (p *posixRun) utimes(*rapid.T) {
	c, n := p.cred(), p.node("inode")
	op := &granary.SetAttr{Inode: n.id, AtimeNow: p.flag("atime now"), MtimeNow: p.flag("mtime now")}
	if p.flag("touch") {
		op.AtimeNow, op.MtimeNow = true, true
	}
	if !op.AtimeNow {
		op.Atime = ptr(granary.Time(5))
	}
	if !op.MtimeNow && p.flag("mtime") {
		op.Mtime = ptr(granary.Time(-7))
	}
	p.tick()
	p.check(p.m.doAs(c, op), p.fs.utimes(c, n, op.Atime, op.Mtime, op.AtimeNow, op.MtimeNow), n)
}

func (p *posixRun) xattr(*rapid.T) {
	c, n := p.cred(), p.node("inode")
	name := rapid.SampledFrom([]string{"user.a", "user.b", "trusted.a", "security.a"}).Draw(p.T, "name")
	p.tick()
	if p.flag("remove") {
		p.check(p.m.doAs(c, &granary.RemoveXattr{Inode: n.id, Name: name}), p.fs.xattr(c, n, name, nil, false, false), n)
		return
	}
	create, replace := p.flag("create"), false
	if !create {
		replace = p.flag("replace")
	}
	value := []byte(p.name("value"))
	r := p.m.doAs(c, &granary.SetXattr{Inode: n.id, Xattr: granary.Xattr{Name: name, Value: value}, CreateOnly: create, ReplaceOnly: replace})
	p.check(r, p.fs.xattr(c, n, name, value, create, replace), n)
}

func (p *posixRun) lookup(*rapid.T) {
	c, base := p.cred(), p.dir("base")
	names, access := p.path(base), granary.Access(rapid.IntRange(0, 7).Draw(p.T, "access"))
	n, rest, k := p.fs.lookup(c, base, names, access)
	a, _, err := p.m.s.queryFor(p.Context(), &c, &granary.Lookup{Base: base.id, Path: strings.Join(names, "/"), Access: access}, allUp{})
	if granary.KindOf(err) != k {
		p.Fatalf("%v, want %v", err, k)
	}
	if found, ok := a.(*granary.Found); ok && k == success {
		p.same(&found.Entry.Attr, n)
		if found.Rest != strings.Join(rest, "/") {
			p.Fatalf("%q is left, want %q", found.Rest, rest)
		}
	}
}

func (p *posixRun) readdir(*rapid.T) {
	c, d := p.cred(), p.dir("dir")
	k := d.search(granary.Cred{})
	if k == success && !d.permits(c, granary.AccessRead) {
		k = eacces
	}
	a, _, err := p.m.s.queryFor(p.Context(), &c, &granary.ReadDir{Inode: d.id}, allUp{})
	if granary.KindOf(err) != k {
		p.Fatalf("%v, want %v", err, k)
	}
	if k == success {
		p.listed(a.(*granary.Directory), d)
	}
}

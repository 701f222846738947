package master

import (
	"maps"
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

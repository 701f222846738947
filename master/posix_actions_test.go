package master

import (
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// What the actions draw.

// pick draws one of some things, the last as often as the first.
func pick[T any](p *posixRun, label string, from []T) T {
	return from[int(rapid.Uint16().Draw(p.T, label))%len(from)]
}

// users are the superuser, and others that share groups with each other.
func users() []granary.Cred {
	return []granary.Cred{{UID: 1000, GID: 1000}, {UID: 1001, GID: 1001, Groups: []uint32{27, 100}}, {UID: 1002, GID: 1000, Groups: []uint32{100}}, {}}
}

func (p *posixRun) cred() granary.Cred { return pick(p, "cred", users()) }

// credFor draws the owner more often than others.
func (p *posixRun) credFor(n *posixNode) granary.Cred {
	if c := p.cred(); n == nil || p.flag("anybody") {
		return c
	}
	for _, c := range users() {
		if c.UID == n.uid {
			return c
		}
	}
	return p.cred()
}

func (p *posixRun) name(label string) string { return pick(p, label, []string{"a", "b", "c", "b-"}) }

// entry draws a name that mostly is in a directory.
func (p *posixRun) entry(d *posixNode, label string) string {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(d.entries)), func(name string) bool { return name == granary.BucketsName })
	if len(names) == 0 || p.flag("any "+label) {
		return p.name(label)
	}
	return pick(p, label, names)
}

func (p *posixRun) flag(label string) bool { return pick(p, label, []bool{false, false, false, true}) }

func (p *posixRun) mode() uint32 {
	return pick(p, "mode", []uint32{0o644, 0o755, 0o777, 0o666, 0o700, 0o750, 0o1777, 0o2775, 0o4755, 0o6711, 0o2644, 0o611, 0o077, 0o7777})
}

// node draws any inode, of which some are no more.
func (p *posixRun) node(label string) *posixNode {
	n := pick(p, label, p.fs.all)
	if n.gone && !p.flag("gone") {
		n = pick(p, label, p.fs.all)
	}
	return n
}

// dir mostly draws a directory.
func (p *posixRun) dir(label string) *posixNode {
	if rapid.IntRange(0, 19).Draw(p.T, label+" is any") == 19 {
		return p.node(label)
	}
	return pick(p, label, slices.DeleteFunc(slices.Clone(p.fs.all), func(n *posixNode) bool { return !n.isDir() || n.gone }))
}

// file mostly draws a regular file.
func (p *posixRun) file(label string) *posixNode {
	files := slices.DeleteFunc(slices.Clone(p.fs.all), func(n *posixNode) bool { return n.typ != granary.TypeRegular || n.gone })
	if len(files) == 0 || p.flag(label+" is any") {
		return p.node(label)
	}
	return pick(p, label, files)
}

// path is of names that are mostly there.
func (p *posixRun) path(d *posixNode) []string {
	var names []string
	for range rapid.IntRange(0, 3).Draw(p.T, "length") {
		name := p.name("component")
		if d != nil {
			name = p.entry(d, "entry")
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
	typ := pick(p, "type", []granary.FileType{granary.TypeRegular, granary.TypeRegular, granary.TypeDirectory, granary.TypeDirectory,
		granary.TypeSymlink, granary.TypeFifo, granary.TypeSocket, granary.TypeBlockDevice})
	mode, target := p.mode()&^pick(p, "umask", []uint32{0, 0o022, 0o077}), "" // umask(2) is the caller's
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
	c, n := p.cred(), p.file("file")
	p.tick()
	p.check(p.m.doAs(c, &granary.Release{Inode: n.id}), p.fs.release(n), nil)
}

func (p *posixRun) link(*rapid.T) {
	n, d, name := p.file("file"), p.dir("dir"), p.name("name")
	c := p.credFor(n)
	p.tick()
	p.check(p.m.doAs(c, &granary.Link{Inode: n.id, Parent: d.id, Name: name}), p.fs.link(c, n, d, name), n)
}

func (p *posixRun) unlink(*rapid.T) {
	d := p.dir("dir")
	name := p.entry(d, "name")
	c, n := p.credFor(d), d.entries[name]
	p.tick()
	p.check(p.m.doAs(c, &granary.Unlink{Parent: d.id, Name: name}), p.fs.remove(c, d, name, false), n)
}

func (p *posixRun) rmdir(*rapid.T) {
	d := p.dir("dir")
	c, name := p.credFor(d), p.entry(d, "name")
	p.tick()
	p.check(p.m.doAs(c, &granary.Rmdir{Parent: d.id, Name: name}), p.fs.remove(c, d, name, true), nil)
}

func (p *posixRun) rename(*rapid.T) {
	d, e := p.dir("from"), p.dir("to")
	op := &granary.Rename{SrcParent: d.id, DstParent: e.id, SrcName: p.entry(d, "old"), DstName: p.name("new"), NoReplace: p.flag("noreplace"), Exchange: p.flag("exchange")}
	n := d.entries[op.SrcName]
	c := p.credFor(n)
	p.tick()
	k := p.fs.rename(c, d, op.SrcName, e, op.DstName, op.NoReplace, op.Exchange)
	p.check(p.m.doAs(c, op), k, n)
}

func (p *posixRun) chmod(*rapid.T) {
	n, mode := p.node("inode"), p.mode()
	c := p.credFor(n)
	p.tick()
	p.check(p.m.doAs(c, &granary.SetAttr{Inode: n.id, Mode: &mode}), p.fs.chmod(c, n, mode), n)
}

func (p *posixRun) chown(*rapid.T) {
	n := p.node("inode")
	c := p.credFor(n)
	var uid *uint32
	gid := ptr(pick(p, "gid", []uint32{0, 27, 100, 1000, 1001, n.gid}))
	if p.flag("owner") {
		uid = ptr(pick(p, "uid", []uint32{0, 1000, 1001, 1002, n.uid}))
	}
	if uid != nil && p.flag("owner alone") {
		gid = nil
	}
	p.tick()
	p.check(p.m.doAs(c, &granary.SetAttr{Inode: n.id, UID: uid, GID: gid}), p.fs.chown(c, n, uid, gid), n)
}

func (p *posixRun) truncate(*rapid.T) {
	n, opened := p.file("file"), p.flag("opened")
	c := p.credFor(n)
	size := pick(p, "size", []uint64{0, 3, 20, 1 << 20, granary.FileSizeMax, granary.FileSizeMax + 1})
	p.tick()
	p.check(p.m.doAs(c, &granary.SetAttr{Inode: n.id, Size: &size, Opened: opened}), p.fs.truncate(c, n, size, opened), n)
}

func (p *posixRun) write(*rapid.T) {
	c, n, offset := p.cred(), p.file("file"), rapid.IntRange(-1, 30).Draw(p.T, "offset")
	p.tick()
	at, k := p.fs.write(c, n, offset, 5)
	r := p.m.doAs(c, &granary.Commit{Inode: n.id, Content: granary.Content{Inline: []byte("hello"), InlineOffset: uint64(max(offset, 0))}, AtEnd: offset < 0})
	p.check(r, k, n)
	if offset < 0 && k == success && r.Offset != at {
		p.Fatalf("appended at %d, want %d", r.Offset, at)
	}
}

func (p *posixRun) utimes(*rapid.T) {
	n := p.node("inode")
	c := p.credFor(n)
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
	n := p.node("inode")
	c := p.credFor(n)
	name := pick(p, "name", []string{"user.a", "user.b", "trusted.a", "security.a"})
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
	a, _, err := p.m.s.queryFor(p.Context(), 0, &c, &granary.Lookup{Base: base.id, Path: strings.Join(names, "/"), Access: access, Xattrs: true}, allUp{})
	if granary.KindOf(err) != k {
		p.Fatalf("%v, want %v", err, k)
	}
	if found, ok := a.(*granary.Found); ok && k == success {
		p.same(&found.Entry.Attr, n)
		xattrs := map[string]string{}
		for _, x := range found.Xattrs {
			xattrs[x.Name] = string(x.Value)
		}
		if want := n.visible(c); !maps.Equal(xattrs, want) {
			p.Fatalf("%q, want %q", xattrs, want)
		}
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
	a, _, err := p.m.s.queryFor(p.Context(), 0, &c, &granary.ReadDir{Inode: d.id}, allUp{})
	if granary.KindOf(err) != k {
		p.Fatalf("%v, want %v", err, k)
	}
	if k == success {
		p.listed(a.(*granary.Directory), d)
	}
}

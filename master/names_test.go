package master

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// node is an inode of the model, which knows nothing of keys and counters.
type node struct {
	id       granary.InodeID
	dir      bool
	children map[string]*node
	up       *node // of a directory
	names    int
}

func (n *node) inside(top *node) bool {
	for ; n != nil; n = n.up {
		if n == top {
			return true
		}
	}
	return false
}

// namesModel is a file system of pointers.
type namesModel struct {
	root *node
	dirs []*node // all that ever were
	all  []*node // files that ever were
}

func (nm *namesModel) alive(d *node) bool { return d.inside(nm.root) }

func (nm *namesModel) create(parent *node, name string, dir bool, exclusive, replace bool) (granary.Kind, *node) {
	if !nm.alive(parent) {
		return granary.KindNotFound, nil
	}
	if old := parent.children[name]; old != nil {
		switch {
		case exclusive || dir:
			return granary.KindExists, nil
		case old.dir:
			return granary.KindIsDir, nil
		case !replace:
			return granary.KindNone, nil
		}
		old.names--
	}
	n := &node{dir: dir, names: 1}
	if dir {
		n.children, n.up = map[string]*node{}, parent
	}
	parent.children[name] = n
	return granary.KindNone, n
}

func (nm *namesModel) unlink(parent *node, name string) granary.Kind {
	switch n := parent.children[name]; {
	case !nm.alive(parent) || n == nil:
		return granary.KindNotFound
	case n.dir:
		return granary.KindIsDir
	default:
		n.names--
		delete(parent.children, name)
		return granary.KindNone
	}
}

func (nm *namesModel) rmdir(parent *node, name string) granary.Kind {
	switch n := parent.children[name]; {
	case !nm.alive(parent) || n == nil:
		return granary.KindNotFound
	case !n.dir:
		return granary.KindNotDir
	case len(n.children) > 0:
		return granary.KindNotEmpty
	default:
		delete(parent.children, name)
		n.up = nil
		return granary.KindNone
	}
}

func (nm *namesModel) removeTree(parent *node, name string) granary.Kind {
	n := parent.children[name]
	if !nm.alive(parent) || n == nil {
		return granary.KindNotFound
	}
	delete(parent.children, name)
	n.drop()
	return granary.KindNone
}

// drop takes the names of everything below, which reclaim will have done in the end.
func (n *node) drop() {
	if !n.dir {
		n.names--
		return
	}
	n.up = nil
	for _, child := range n.children {
		child.drop()
	}
}

func (nm *namesModel) link(n, parent *node, name string, replace bool) granary.Kind {
	if n.names == 0 || !nm.alive(parent) {
		return granary.KindNotFound
	}
	old := parent.children[name]
	switch {
	case old != nil && !replace:
		return granary.KindExists
	case old != nil && old.dir:
		return granary.KindIsDir
	case old == n:
		return granary.KindNone
	case old != nil:
		old.names--
	}
	n.names++
	parent.children[name] = n
	return granary.KindNone
}

func (nm *namesModel) rename(src *node, a string, dst *node, b string, noReplace, exchange bool) granary.Kind {
	if noReplace && exchange {
		return granary.KindInvalid
	}
	if !nm.alive(src) || src.children[a] == nil || !nm.alive(dst) {
		return granary.KindNotFound
	}
	n, old := src.children[a], dst.children[b]
	switch {
	case noReplace && old != nil:
		return granary.KindExists
	case exchange && old == nil:
		return granary.KindNotFound
	case n.dir && n != old && dst.inside(n), exchange && old.dir && n != old && src.inside(old):
		return granary.KindInvalid
	case old != nil && old.dir && src.inside(old) && !exchange:
		return granary.KindNotEmpty
	case n == old:
		return granary.KindNone
	case exchange:
		src.children[a], dst.children[b] = old, n
		for _, moved := range []struct{ n, up *node }{{old, src}, {n, dst}} {
			if moved.n.dir {
				moved.n.up = moved.up
			}
		}
		return granary.KindNone
	case old == nil:
	case old.dir && !n.dir:
		return granary.KindIsDir
	case !old.dir && n.dir:
		return granary.KindNotDir
	case old.dir && len(old.children) > 0:
		return granary.KindNotEmpty
	case old.dir:
		old.up = nil
	default:
		old.names--
	}
	delete(src.children, a)
	dst.children[b] = n
	if n.dir {
		n.up = dst
	}
	return granary.KindNone
}

// compare walks both trees.
func (nm *namesModel) compare(rt *rapid.T, m *machine, d *node, path string) {
	a := ask[*granary.Directory](m, &granary.ReadDir{Inode: d.id})
	var got []string
	for _, e := range a.Entries {
		if d == nm.root && e.Name == granary.BucketsName {
			continue
		}
		got = append(got, e.Name)
		child := d.children[e.Name]
		if child == nil || child.id != e.Attr.Inode || child.dir != e.Attr.IsDir() || !child.dir && uint32(child.names) != e.Attr.Nlink {
			rt.Fatalf("%s%s is %+v, want %+v", path, e.Name, e.Attr, child)
		}
		if child.dir {
			nm.compare(rt, m, child, path+e.Name+"/")
		}
	}
	slices.Sort(got)
	if want := slices.Sorted(maps.Keys(d.children)); !slices.Equal(got, want) {
		rt.Fatalf("%s holds %q, want %q", path, got, want)
	}
}

// TestNamesAgainstModel compares the outcome of every operation on names, and the tree after it.
func TestNamesAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		defer m.close()
		nm := &namesModel{root: &node{id: granary.RootInode, dir: true, children: map[string]*node{}}}
		nm.dirs = []*node{nm.root}
		// Operations on directories that were removed are part of it.
		dir := func(label string) *node { return rapid.SampledFrom(nm.dirs).Draw(rt, label) }
		name := func(label string) string { return rapid.SampledFrom([]string{"a", "a-", "b", "c"}).Draw(rt, label) }
		flag := func(label string) bool { return rapid.Bool().Draw(rt, label) }
		want := func(rt *rapid.T, r granary.Result, k granary.Kind) {
			if kindOf(r) != k {
				rt.Fatalf("%v, want %v", r.Err, k)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				op := &granary.Create{Parent: 0, Name: name("name"), Type: granary.TypeRegular, Exclusive: flag("exclusive"), Replace: flag("replace")}
				d := dir("dir")
				op.Parent = d.id
				k, n := nm.create(d, op.Name, false, op.Exclusive, op.Replace)
				r := m.do(op)
				want(rt, r, k)
				if n != nil {
					n.id = r.Attr.Inode
					nm.all = append(nm.all, n)
				}
			},
			"mkdir": func(rt *rapid.T) {
				d, na := dir("dir"), name("name")
				k, n := nm.create(d, na, true, true, false)
				r := m.do(&granary.Create{Parent: d.id, Name: na, Type: granary.TypeDirectory, Mode: 0o755})
				want(rt, r, k)
				if n != nil {
					n.id = r.Attr.Inode
					nm.dirs = append(nm.dirs, n)
				}
			},
			"unlink": func(rt *rapid.T) {
				d, na := dir("dir"), name("name")
				want(rt, m.do(&granary.Unlink{Parent: d.id, Name: na}), nm.unlink(d, na))
			},
			"rmdir": func(rt *rapid.T) {
				d, na := dir("dir"), name("name")
				want(rt, m.do(&granary.Rmdir{Parent: d.id, Name: na}), nm.rmdir(d, na))
			},
			"removeTree": func(rt *rapid.T) {
				d, na := dir("dir"), name("name")
				want(rt, m.do(&granary.RemoveTree{Parent: d.id, Name: na}), nm.removeTree(d, na))
				if flag("reclaim") {
					m.drain(3)
				}
			},
			"rename": func(rt *rapid.T) {
				op := &granary.Rename{SrcName: name("src"), DstName: name("dst"), NoReplace: flag("noreplace"), Exchange: flag("exchange")}
				a, b := dir("from"), dir("to")
				op.SrcParent, op.DstParent = a.id, b.id
				want(rt, m.do(op), nm.rename(a, op.SrcName, b, op.DstName, op.NoReplace, op.Exchange))
			},
			"link": func(rt *rapid.T) {
				if len(nm.all) == 0 {
					rt.Skip("no files yet")
				}
				n, d, na, replace := rapid.SampledFrom(nm.all).Draw(rt, "file"), dir("dir"), name("name"), flag("replace")
				m.drain(7) // the model counts the names in removed trees as gone
				want(rt, m.do(&granary.Link{Inode: n.id, Parent: d.id, Name: na, Replace: replace}), nm.link(n, d, na, replace))
			},
			"reclaim": func(rt *rapid.T) { m.item(&reclaim{Limit: rapid.IntRange(1, 5).Draw(rt, "limit")}) },
			"": func(rt *rapid.T) {
				if err := m.s.check(); err != nil {
					rt.Fatal(err)
				}
			},
		})
		m.drain(10)
		if err := m.s.check(); err != nil {
			rt.Fatal(err)
		}
		nm.compare(rt, m, nm.root, "/")
	})
}

func TestReadDirPages(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	d := m.ok(&granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory}).Attr.Inode
	for _, n := range []string{"x", "x-", "y"} {
		m.ok(&granary.Create{Parent: d, Name: n, Type: granary.TypeRegular})
	}
	m.ok(&granary.Create{Parent: d, Name: "w", Type: granary.TypeDirectory})
	m.ok(&granary.Create{Parent: d, Name: "l", Type: granary.TypeSymlink, Target: "to/there"})
	var got []string
	q := &granary.ReadDir{Inode: d, Limit: 2}
	for {
		a := ask[*granary.Directory](m, q)
		for _, e := range a.Entries {
			got = append(got, e.Name+e.Target)
			q.After, q.AfterDir = e.Name, e.Attr.IsDir()
		}
		if !a.More {
			break
		}
	}
	if want := []string{"lto/there", "w", "x", "x-", "y"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	f := ask[*granary.Found](m, &granary.Lookup{Base: granary.RootInode, Path: "d/l/more/still"})
	if f.Entry.Target != "to/there" || f.Rest != "more/still" || f.Parent != d {
		t.Fatalf("%+v", f)
	}
	if _, err := m.query(&granary.Lookup{Base: granary.RootInode, Path: "d/x/more"}); !granary.IsKind(err, granary.KindNotDir) {
		t.Fatal(err)
	}
}

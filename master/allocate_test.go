package master

import (
	"testing"

	"github.com/dsorchard/granary"
)

func TestAllocateRules(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Content: &granary.Content{Inline: []byte("content")}}).Attr
	m.fails(granary.KindInvalid, &granary.Allocate{Inode: f.Inode})
	m.fails(granary.KindInvalid, &granary.Allocate{Inode: f.Inode, Length: 1, Mode: granary.AllocateZero + 1})
	m.fails(granary.KindIsDir, &granary.Allocate{Inode: granary.RootInode, Length: 1})
	m.fails(granary.KindNotFound, &granary.Allocate{Inode: f.Inode + 99, Length: 1})
	m.fails(granary.KindFileTooLarge, &granary.Allocate{Inode: f.Inode, Offset: granary.FileSizeMax, Length: 1})
	m.fails(granary.KindFileTooLarge, &granary.Allocate{Inode: f.Inode, Offset: 1, Length: 1<<64 - 1})

	etag := func() *granary.Found {
		m.ok(&granary.SetXattr{Inode: f.Inode, Xattr: granary.Xattr{Name: granary.XattrETag, Value: []byte("e")}})
		return ask[*granary.Found](m, &granary.Lookup{Base: f.Inode})
	}
	for _, c := range []struct {
		name    string
		op      granary.Allocate
		changes bool
		size    uint64
		inline  string
	}{
		{"what is there already", granary.Allocate{Length: 7}, false, 7, "content"},
		{"beyond the end, keeping the size", granary.Allocate{Length: 100, KeepSize: true}, false, 7, "content"},
		{"a hole beyond the end", granary.Allocate{Offset: 7, Length: 100, Mode: granary.AllocatePunch}, false, 7, "content"},
		{"beyond the end", granary.Allocate{Offset: 7, Length: 3}, true, 10, "content"},
		{"a hole in the middle", granary.Allocate{Offset: 1, Length: 2, Mode: granary.AllocatePunch}, true, 10, "c\x00\x00tent"},
		{"zeros at the end", granary.Allocate{Offset: 5, Length: 9, Mode: granary.AllocateZero}, true, 14, "c\x00\x00te"},
		{"all of it", granary.Allocate{Length: 100, Mode: granary.AllocateZero, KeepSize: true}, true, 14, ""},
	} {
		before := etag()
		op := c.op
		op.Inode = f.Inode
		r := m.ok(&op)
		after := ask[*granary.Found](m, &granary.Lookup{Base: f.Inode, Xattrs: true, Layout: &granary.Range{Length: 100}})
		a := after.Entry.Attr
		changed := a.ContentVersion != before.Entry.Attr.ContentVersion
		if r.Offset != op.Length || r.Attr != a || a.Size != c.size || string(after.Layout.Inline) != c.inline {
			t.Errorf("%s: %+v, inline %q", c.name, r, after.Layout.Inline)
		}
		if changed != c.changes || (len(after.Xattrs) == 0) != c.changes || (a.Mtime > before.Entry.Attr.Ctime) != c.changes {
			t.Errorf("%s: content changed: %t, %d attributes left, mtime %d", c.name, changed, len(after.Xattrs), a.Mtime)
		}
		m.check()
	}
}

// TestAllocateIsBounded punches a file of many pieces, step by step, also while a large truncation is being completed.
func TestAllocateIsBounded(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	f := bigFile(m, "big", 1000)
	shown := func() int {
		return len(ask[*granary.Found](m, &granary.Lookup{Base: f, Layout: &granary.Range{Length: 1 << 60}}).Layout.Extents)
	}
	punch := func(offset uint64) (steps int) {
		for end := 1000 * windowSize; offset < end; steps++ {
			left := shown()
			r := m.ok(&granary.Allocate{Inode: f, Offset: offset, Length: end - offset, Mode: granary.AllocatePunch})
			if n := left - shown(); n > allocateKeysMax || r.Offset == 0 {
				t.Fatalf("one step removed %d extents, of %d bytes", n, r.Offset)
			}
			m.check()
			offset += r.Offset
		}
		return steps
	}
	if steps := punch(600*windowSize + 5); steps < 1 || shown() != 1801 {
		t.Fatalf("%d extents are left after %d steps", shown(), steps)
	}
	m.ok(&granary.SetAttr{Inode: f, Size: ptr(uint64(15))})
	m.ok(&granary.SetAttr{Inode: f, Size: ptr(1000 * windowSize)})
	if shown() != 2 || !m.s.pendingReclaim() {
		t.Fatalf("%d extents are left", shown())
	}
	m.ok(&granary.Allocate{Inode: f, Offset: 5, Length: 100 * windowSize, Mode: granary.AllocateZero})
	m.check()
	if n := shown(); n != 1 {
		t.Fatalf("%d extents are left", n)
	}
	m.drain(0)
	m.check()
	if steps := punch(0); steps != 1 || shown() != 0 {
		t.Fatalf("%d extents are left after %d steps", shown(), steps)
	}
}

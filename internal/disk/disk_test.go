package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/dsorchard/granary/internal/disk"
	"github.com/dsorchard/granary/internal/disk/disktest"
)

func TestOS(t *testing.T) {
	disktest.Run(t, func(t *testing.T) disk.FS {
		d, err := disk.OS(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

func TestMem(t *testing.T) {
	disktest.Run(t, func(*testing.T) disk.FS { return disk.NewMem(disk.MemOptions{Capacity: 4 << 20}) })
}

func TestFaulty(t *testing.T) {
	disktest.Run(t, func(*testing.T) disk.FS {
		return disk.NewFaulty(disk.NewMem(disk.MemOptions{}), func(disk.Call) disk.Fault { return disk.Fault{} })
	})
}

func TestOSNeedsADirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := disk.OS(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// TestOSSymlinks checks that a symbolic link does not lead out, should someone have left one.
func TestOSSymlinks(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	d, err := disk.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create("link/a"); err == nil {
		t.Fatal("a file was made outside")
	}
	names, err := os.ReadDir(outside)
	if err != nil || len(names) != 0 {
		t.Fatal(names, err)
	}
}

// TestFaults injects each kind of fault.
func TestFaults(t *testing.T) {
	var next disk.Fault
	var trace []string
	d := disk.NewFaulty(disk.NewMem(disk.MemOptions{}), func(c disk.Call) disk.Fault {
		trace = append(trace, c.String())
		fault := next
		next = disk.Fault{}
		return fault
	})
	next = disk.Fault{Err: syscall.ENOSPC}
	if _, err := d.Create("a"); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	f, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	next = disk.Fault{Err: syscall.EIO, Short: 3}
	if n, err := f.WriteAt([]byte("abcdef"), 0); n != 3 || !errors.Is(err, syscall.EIO) {
		t.Fatal(n, err)
	}
	if size, err := f.Size(); size != 3 || err != nil {
		t.Fatal(size, err)
	}
	next = disk.Fault{Err: syscall.EIO, Done: true}
	if n, err := f.WriteAt([]byte("abcdef"), 0); n != 6 || !errors.Is(err, syscall.EIO) {
		t.Fatal(n, err)
	}
	b := make([]byte, 6)
	next = disk.Fault{Flip: []int{0, 9, 1000}}
	if n, err := f.ReadAt(b, 0); n != 6 || err != nil || string(b) != "``cdef" {
		t.Fatalf("%d %v %q", n, err, b)
	}
	if n, err := f.ReadAt(b, 0); n != 6 || err != nil || string(b) != "abcdef" {
		t.Fatalf("%d %v %q", n, err, b)
	}
	next = disk.Fault{Err: syscall.EIO}
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	waited := false
	next = disk.Fault{Wait: func() { waited = true }}
	if err := f.Sync(); err != nil || !waited {
		t.Fatal(err, waited)
	}
	next = disk.Fault{Err: syscall.EIO, Done: true}
	if err := d.Rename("a", "b"); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if names, err := d.ReadDir("."); err != nil || !slices.Equal(names, []string{"b"}) {
		t.Fatal(names, err)
	}
	next = disk.Fault{Err: syscall.EIO}
	if err := f.Close(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	d.SetHook(nil)
	if err := f.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Fatal(err)
	}
	want := []string{"create a", "create a", "writeat a 0+6", "size a", "writeat a 0+6", "readat a 0+6", "readat a 0+6",
		"sync a", "sync a", "rename a b", "readdir .", "close a"}
	if !slices.Equal(trace, want) {
		t.Fatalf("trace is %q", trace)
	}
}

func TestFaultOfEveryCall(t *testing.T) {
	d := disk.NewFaulty(disk.NewMem(disk.MemOptions{}), nil)
	f, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	calls := map[disk.Op]func() error{
		disk.OpCreate:    func() error { _, err := d.Create("b"); return err },
		disk.OpOpen:      func() error { _, err := d.Open("a"); return err },
		disk.OpRemove:    func() error { return d.Remove("none") },
		disk.OpRename:    func() error { return d.Rename("a", "a") },
		disk.OpMkdirAll:  func() error { return d.MkdirAll("d") },
		disk.OpReadDir:   func() error { _, err := d.ReadDir("."); return err },
		disk.OpSyncDir:   func() error { return d.SyncDir(".") },
		disk.OpLock:      func() error { _, err := d.Lock("l"); return err },
		disk.OpUsage:     func() error { _, err := d.Usage(); return err },
		disk.OpReadAt:    func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
		disk.OpWriteAt:   func() error { _, err := f.WriteAt([]byte("x"), 0); return err },
		disk.OpSync:      f.Sync,
		disk.OpTruncate:  func() error { return f.Truncate(0) },
		disk.OpSize:      func() error { _, err := f.Size(); return err },
		disk.OpAllocated: func() error { _, err := f.Allocated(); return err },
	}
	for op, call := range calls {
		injected := fmt.Errorf("injected: %w", syscall.EIO)
		var seen disk.Call
		d.SetHook(func(c disk.Call) disk.Fault {
			seen = c
			return disk.Fault{Err: injected}
		})
		if err := call(); !errors.Is(err, injected) || seen.Op != op {
			t.Errorf("%s: %v, as %v", op, err, seen)
		}
	}
}

// TestFull fills a disk, which writes what fits, and finds room again where a file was removed.
func TestFull(t *testing.T) {
	d := disk.NewMem(disk.MemOptions{Capacity: 64 << 10})
	f, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.WriteAt(make([]byte, 100<<10), 0)
	if n != 64<<10 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(n, err)
	}
	if u, err := d.Usage(); err != nil || u.Free != 0 || u.Total != 64<<10 {
		t.Fatal(u, err)
	}
	if n, err := f.WriteAt([]byte("over what is there"), 0); n != 18 || err != nil {
		t.Fatal(n, err)
	}
	if err := d.Remove("a"); err != nil {
		t.Fatal(err)
	}
	g, err := d.Create("b")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("an open file gave its room back: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(io.NewSectionReader(g, 0, 1)); err != nil {
		t.Fatal(err)
	}
}

// A write past the system's memory and the ones before and after it are one file: aligned or not, over what was there, and at a hole.
func TestOSDirectWrite(t *testing.T) {
	d, err := disk.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	src := rand.NewChaCha8([32]byte{1})
	for _, w := range []struct{ off, size int }{
		{0, 16384}, {16384, 4 << 20}, {16384 + 4<<20, 3<<20 + 777}, {8 << 20, 4 << 20}, {8<<20 - 100, 50}, {1 << 20, 2<<20 + 1}, {20 << 20, 5 << 20}, {30<<20 + 1, 4 << 20},
	} {
		p := disk.Memory(w.size)
		if _, err := src.Read(p); err != nil {
			t.Fatal(err)
		}
		if grow := w.off + w.size - len(want); grow > 0 {
			want = append(want, make([]byte, grow)...)
		}
		copy(want[w.off:], p)
		if n, err := f.WriteAt(p, int64(w.off)); n != len(p) || err != nil {
			t.Fatal(w, n, err)
		}
		got := make([]byte, len(want))
		if n, err := f.ReadAt(got, 0); n != len(got) || err != nil || !bytes.Equal(got, want) {
			t.Fatal("after", w, "other bytes:", n, err)
		}
		if n, err := f.Size(); n != int64(len(want)) || err != nil {
			t.Fatal(n, err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteAt(disk.Memory(4<<20), 0); n != 0 || !errors.Is(err, fs.ErrClosed) {
		t.Error(n, err)
	}
}

// A write longer than what goes to the kernel at once lands whole, and one that fails says how much of it did.
func TestOSLongWrite(t *testing.T) {
	d, err := disk.OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 1<<20+7)
	for i := range want {
		want[i] = byte(i * 7 >> 3)
	}
	if n, err := f.WriteAt(want, 12_345); n != len(want) || err != nil {
		t.Fatal(n, err)
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 12_345); err != nil || string(got) != string(want) {
		t.Error("other bytes", err)
	}
	if n, err := f.WriteAt(nil, 0); n != 0 || err != nil {
		t.Error("nothing:", n, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := f.WriteAt(want, 0); n != 0 || !errors.Is(err, fs.ErrClosed) {
		t.Error(n, err)
	}
}

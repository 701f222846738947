package disk

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestReadAtOnce gives what memory holds, and nothing if it lacks a page or the file ends.
func TestReadAtOnce(t *testing.T) {
	fs, err := OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file, err := fs.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := make([]byte, 1<<20+77)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(want) // never fails
	if _, err := file.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
	read := func(off int, sizes ...int) bool {
		t.Helper()
		var parts [][]byte
		for _, n := range sizes {
			parts = append(parts, make([]byte, n))
		}
		ok := file.(AtOnceReader).ReadAtOnce(parts, int64(off))
		for _, p := range parts {
			if ok && !bytes.Equal(p, want[off:off+len(p)]) {
				t.Fatalf("other bytes at %d", off)
			}
			off += len(p)
		}
		return ok
	}
	if !read(0, 100) {
		t.Skip("the file system has no such reads")
	}
	if !read(5000, 32<<10, 16, 32<<10, 16, 1) || !read(len(want)-70_000, 70_000-1, 1) {
		t.Error("what was just written is not in memory")
	}
	if read(len(want)-10, 10, 1) {
		t.Error("bytes behind the end")
	}
	if err := file.(Uncacher).Uncache(512<<10, 4096); err != nil {
		t.Fatal(err)
	}
	if read(512<<10, 100) {
		t.Skip("the file system keeps all in memory")
	}
	if read(500<<10, 32<<10, 16) || read(512<<10+4095, 1) {
		t.Error("a page was read that is not in memory")
	}
	if read(512<<10, 100) {
		t.Error("who asks for what is not in memory has it brought there")
	}
	if !read(500<<10, 12<<10) || !read(516<<10, 12<<10) {
		t.Error("its neighbours are gone")
	}
	if _, err := file.ReadAt(make([]byte, 100), 512<<10); err != nil {
		t.Fatal(err)
	}
	if !read(500<<10, 32<<10, 16) {
		t.Error("what was read is not in memory")
	}
}

package disk

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A large read of what the system's memory does not have leaves little of it there; the next one all of it. Both give what the file holds, and so
// do those that are small, that begin or end anywhere, and that reach beyond the end.
func TestColdReads(t *testing.T) {
	want := make([]byte, 9<<20+77)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(want) // never fails
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	c := NewColdFile(f)
	defer c.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := control(f, func(fd int) error { return uncache(fd, 0, 0) }); err != nil {
		t.Fatal(err)
	}
	kept := func(off, length int) int {
		var found unix.Cachestat_t
		if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{Off: uint64(off), Len: uint64(length)}, &found, 0); err != nil {
			t.Skipf("the system does not tell what its memory holds: %v", err)
		}
		return int(found.Cache)
	}
	if kept(0, len(want)) != 0 {
		t.Skip("the file system keeps all in memory")
	}
	var r ColdReader
	read := func(off, size int) {
		t.Helper()
		p := make([]byte, size)
		n, err := r.ReadAt(c, p, int64(off))
		there := want[off:min(off+size, len(want))]
		if !bytes.Equal(p[:n], there) || (err != nil) != (n < size) {
			t.Errorf("%d bytes at %d: %d, %v", size, off, n, err)
		}
	}
	const large = 3<<20 + 5
	read(4099, large)
	if pages := kept(0, len(want)); pages > 3 && c.direct.file != nil {
		t.Errorf("%d pages stay in memory after the first read", pages)
	}
	read(4099, large)
	if pages := kept(8192, large-8192); pages < (large-8192)/4096 {
		t.Errorf("%d pages stay in memory after the second read", pages)
	}
	read(4<<20, 4<<20)
	read(5<<20+100, coldMin)
	read(6<<20+1, 100)
	read(len(want)-coldMin, coldMin)
	read(len(want)-coldMin-3, coldMin+9000)
}

package disk

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

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
	// Where pages go to pages nothing is copied.
	straight := make([]byte, 4<<20+4096)
	straight = straight[(4099-int(uintptr(unsafe.Pointer(&straight[0]))))&4095:][:4<<20]
	if n, err := r.ReadAt(c, straight, 4<<20+4099); n != len(straight) || err != nil || !bytes.Equal(straight, want[4<<20+4099:][:4<<20]) {
		t.Errorf("%d bytes to where pages lie: %v", n, err)
	}
	if err := control(f, func(fd int) error { return uncache(fd, 0, 0) }); err != nil {
		t.Fatal(err)
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

// What has just been written is in memory, here and there, and is read from there; what follows it was not read before for that.
func TestColdReadsStayCold(t *testing.T) {
	const size, piece = 48 << 20, 1 << 20
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, bytes.Repeat([]byte("granary "), size/8), 0o600); err != nil {
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
	kept := func() int {
		var found unix.Cachestat_t
		if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{Len: size}, &found, 0); err != nil {
			t.Skipf("the system does not tell what its memory holds: %v", err)
		}
		return int(found.Cache)
	}
	p := make([]byte, piece)
	for _, at := range []int64{2, 3, 20} { // as if written
		if _, err := f.ReadAt(p[:piece/2], at*piece); err != nil {
			t.Fatal(err)
		}
	}
	before := kept()
	if before == 0 || before > size/2/4096 {
		t.Skipf("the file system has %d pages of it in memory", before)
	}
	var r ColdReader
	stream := func() {
		for off := int64(0); off < size; off += piece {
			if _, err := r.ReadAt(c, p, off); err != nil {
				t.Fatal(err)
			}
		}
	}
	stream()
	if c.direct.file == nil {
		t.Skip("the file system has no direct reads")
	}
	if after := kept(); after > 2*before+2*size/piece { // a mark of each piece, and all of the three
		t.Errorf("%d pages stay in memory after the first read, which were %d", after, before)
	}
	stream()
	if after := kept(); after < size/4096 {
		t.Errorf("%d pages stay in memory after the second read", after)
	}
}

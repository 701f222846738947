package disk

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// A direct read gives what was written, synced or not, whatever becomes of the name, and however it is aligned.
func TestReadDirect(t *testing.T) {
	fsys, err := OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := make([]byte, 100_000)
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	if _, err := f.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		p := make([]byte, 64<<10)
		for _, at := range []struct{ off, size int }{{0, 64 << 10}, {4096, 4096}, {8192, 1000}, {77, 8192}, {98304, 4096}, {65536, 64 << 10}, {102400, 4096}} {
			n, err := f.(DirectReader).ReadDirect(p[:at.size], int64(at.off))
			there := want[min(at.off, len(want)):min(at.off+at.size, len(want))]
			if n != len(there) || !bytes.Equal(p[:n], there) || (err != nil) != (n < at.size) || err != nil && err != io.EOF {
				t.Errorf("%d bytes at %d: %d of %d, %v", at.size, at.off, n, len(there), err)
			}
		}
	}
	check()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	other, err := fsys.Create("g")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := fsys.Rename("g", "f"); err != nil {
		t.Fatal(err)
	}
	check()
}

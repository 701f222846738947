package disk

import (
	"bytes"
	"testing"
)

// Letting go of what is in memory loses nothing, synced or not.
func TestUncache(t *testing.T) {
	fsys, err := OS(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f, err := fsys.Create("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := bytes.Repeat([]byte("granary "), 4096)
	for range 2 {
		if _, err := f.WriteAt(want, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.(Uncacher).Uncache(0, int64(len(want))); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("reads otherwise: %v", err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

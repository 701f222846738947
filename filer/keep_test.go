package filer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
)

// A file that was looked up to be opened can be opened when another client has taken its name away in between, and is not kept for
// longer than a moment.
func TestLookupKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, f := testFS(t, Options{})
		id := f.put(t, granary.RootInode, "a", "content that is read")
		e, err := fs.LookupKept(t.Context(), granary.RootInode, "a")
		if err != nil || e.Attr.Inode != id {
			t.Fatalf("%+v, %v", e, err)
		}
		if _, err := f.Do(t.Context(), granary.Cred{}, &granary.Unlink{Parent: granary.RootInode, Name: "a"}); err != nil {
			t.Fatal(err)
		}
		h, err := fs.Open(t.Context(), granary.Cred{}, id, OpenFlags{Read: true})
		if err != nil {
			t.Fatalf("open after the unlink: %v", err)
		}
		got := make([]byte, 7)
		if _, err := h.ReadAt(t.Context(), got, 0); err != nil || string(got) != "content" {
			t.Errorf("%q, %v", got, err)
		}
		time.Sleep(keptFor) // in the bubble's time
		synctest.Wait()
		if !f.exists(id) {
			t.Error("it went while it was open")
		}
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(keptFor) // in the bubble's time
		synctest.Wait()
		if f.exists(id) {
			t.Error("it is still kept")
		}
	})
}

package filer

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// TestFilesAreDefragmented: a file that random writes have cut finely is written anew by a worker that nobody asks, and reads as
// before.
func TestFilesAreDefragmented(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes to disks")
	}
	c, blocks, store := stackOf(t)
	upkeep := granary.DefaultUpkeep()
	set := func(young time.Duration) {
		upkeep.YoungAge = granary.Time(young)
		if _, err := c.Do(t.Context(), granary.Cred{}, &granary.SetUpkeep{Upkeep: upkeep}); err != nil {
			t.Fatal(err)
		}
	}
	set(time.Hour)
	u, err := c.NewUpload(t.Context(), client.UploadOptions{Create: granary.Create{Parent: granary.RootInode, Name: "f"}})
	if err != nil {
		t.Fatal(err)
	}
	want := noise(1, 8<<20)
	if _, err := u.Write(want); err != nil {
		t.Fatal(err)
	}
	r, err := u.Finish(nil)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 100 {
		off, p := random.IntN(len(want)-4096), noise(uint64(100+i), 4096)
		copy(want[off:], p)
		if _, err := c.WriteRanges(t.Context(), granary.Cred{}, r.Attr, []client.Range{{Offset: uint64(off), Data: p}}, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	layout := func() *granary.Layout {
		found, err := client.Ask[*granary.Found](t.Context(), c, &granary.Lookup{Base: r.Attr.Inode, Layout: &granary.Range{Length: granary.ExtentWindowSize}})
		if err != nil {
			t.Fatal(err)
		}
		return found.Layout
	}
	before := layout()
	if len(before.Extents) <= granary.WindowExtentsMax {
		t.Fatalf("it has %d extents", len(before.Extents))
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- client.NewWorker(c, client.WorkerOptions{Server: store.ServerID(), Shards: blocks}).Run(ctx)
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	set(0)
	for give := time.Now().Add(time.Minute); ; {
		l := layout()
		if len(l.Extents) < len(before.Extents)/2 {
			break
		}
		if time.Now().After(give) {
			t.Fatalf("it still has %d extents", len(l.Extents))
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	l := layout()
	got := make([]byte, len(want))
	if err := c.ReadLayout(t.Context(), l, got, 0); err != nil || !bytes.Equal(got, want) || l.ContentVersion != before.ContentVersion {
		t.Fatalf("version %d became %d, the content is the same: %t, %v", before.ContentVersion, l.ContentVersion, bytes.Equal(got, want), err)
	}
}

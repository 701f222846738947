package client

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
)

// An upload that waits for memory, of which a segment lies in a row that is flushed and one that is not full, goes on: once the first is
// durable it has the second flushed.
func TestUploadHurriesEachRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := policy(1, 0)
		p.Chunking = granary.ChunkingFixed
		f, c := newCluster(t, 1, 1, p, func(o *Options) {
			o.RowSize, o.UploadBytes = 3<<19, 3<<20 // a row is full with two chunks, and the memory with three
		})
		first := make(chan struct{})
		var once sync.Once
		f.shards.onAppend = func(*granary.Append) fakeFate {
			once.Do(func() { <-first })
			return fateServed
		}
		done := make(chan error, 1)
		data := noise(1, 8<<20)
		u, err := c.NewUpload(t.Context(), UploadOptions{ // of known size: the segment's chunks lie in one arena
			Create: granary.Create{Parent: granary.RootInode, Name: "a"}, Size: int64(len(data)),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Abort()
		go func() {
			_, err := u.Write(data)
			if err == nil {
				_, err = u.Finish(nil)
			}
			done <- err
		}()
		synctest.Wait() // the first row is on its way, and the fourth chunk waits for memory
		close(first)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Hour):
			t.Fatal("the upload waits for a row that nobody has flushed")
		}
		mustRead(t, c, "a", data)
	})
}

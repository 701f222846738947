package client

import (
	"errors"
	"fmt"
	"testing"

	"github.com/dsorchard/granary"
)

// TestLastXattrs: what an upload is given at its end is asked for when all of its bytes are stored; and if it cannot be told, there is no file.
func TestLastXattrs(t *testing.T) {
	f, c := newCluster(t, 1, 6, policy(4, 2), nil)
	stored := func() int64 {
		f.shards.mu.Lock()
		defer f.shards.mu.Unlock()
		return f.shards.stored
	}
	for _, size := range []int{100, 200_000, 3 << 20, 42 << 20} {
		for _, failed := range []error{errors.New("no sum"), nil} {
			name := fmt.Sprint(size, failed)
			u, err := c.NewUpload(t.Context(), UploadOptions{Create: granary.Create{Parent: granary.RootInode, Name: name}})
			if err != nil {
				t.Fatal(err)
			}
			before := stored()
			data := noise(uint64(len(name)+size), size)
			if _, err := u.Write(data); err != nil {
				t.Fatal(err)
			}
			_, err = u.Finish(func() ([]granary.Xattr, error) {
				if more := stored() - before; size > 4096 && more < int64(size) {
					t.Errorf("%d bytes of %d are stored", more, size)
				}
				return []granary.Xattr{{Name: granary.XattrETag, Value: []byte("e")}}, failed
			})
			if !errors.Is(err, failed) {
				t.Fatalf("%s: %v", name, err)
			}
			u.Abort()
			if failed == nil {
				mustRead(t, c, name, data)
			} else if _, err := Ask[*granary.Found](t.Context(), c, &granary.Lookup{Base: granary.RootInode, Path: name}); !granary.IsKind(err, granary.KindNotFound) {
				t.Fatalf("%s is there: %v", name, err)
			}
		}
	}
}

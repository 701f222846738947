package s3

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/internal/wire"
	"github.com/dsorchard/granary/master"
	"github.com/dsorchard/granary/volume"
)

// testStore is the store of a whole cluster in this process, which can be told to fail.
type testStore struct {
	fsStore
	failRead      func(path string, off int64) error // before the bytes at off
	slow          chan struct{}                      // if set, Compose waits for it
	blocks        *volume.Client
	beforeCompose func()
}

// newTestStore starts a master and a volume server with one disk.
func newTestStore(t *testing.T) *testStore {
	t.Helper()
	dir := t.TempDir()
	disks, err := volume.Open(volume.Options{Dirs: []string{filepath.Join(dir, "disk")}, ReserveBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	blocks := volume.NewClient()
	blocks.Attach("volume:1", disks)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m, err := master.Open(master.Options{
		Dir: filepath.Join(dir, "master"), GRPCAddr: "master:1", Listener: listener, Shards: blocks, ServerDownAfter: time.Minute,
		RootUser: granary.User{AccessKey: testAccessKey, SecretKey: testSecretKey, Name: "root", Root: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	beating := make(chan error, 1)
	go func() {
		beating <- disks.Heartbeats(ctx, "volume:1", "", "", []string{"master:1"}, func(string) (volume.Master, func() error, error) {
			return m, func() error { return nil }, nil
		})
	}()
	c, err := client.Open(ctx, client.Options{
		Masters: []string{"master:1"}, Shards: blocks, Name: "test",
		Dial: func(string) (wire.Master, func() error, error) { return m, func() error { return nil }, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	fs := filer.New(filer.Options{Client: c})
	t.Cleanup(func() {
		for _, end := range []func() error{
			func() error { return fs.Close(ctx) }, c.Close, func() error { stop(); return <-beating }, m.Close, blocks.Close, disks.Close,
		} {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
	})
	return &testStore{fsStore: fsStore{fs}, blocks: blocks}
}

// OpenKey implements store.
func (s *testStore) OpenKey(ctx context.Context, root granary.InodeID, key string, version granary.ObjectVersion) (object, error) {
	o, err := s.fsStore.OpenKey(ctx, root, key, version)
	if err != nil || s.failRead == nil {
		return o, err
	}
	return &failingObject{object: o, key: key, fail: s.failRead}, nil
}

// Compose implements store.
func (s *testStore) Compose(ctx context.Context, o filer.UploadOptions, parts filer.Parts) (*filer.Info, error) {
	if s.slow != nil {
		<-s.slow
	}
	if f := s.beforeCompose; f != nil {
		f()
	}
	return s.fsStore.Compose(ctx, o, parts)
}

type failingObject struct {
	object
	key  string
	fail func(path string, off int64) error
}

// NewReader implements object.
func (o *failingObject) NewReader(off, length int64) io.ReadCloser {
	return &failingReader{ReadCloser: o.object.NewReader(off, length), o: o, off: off}
}

type failingReader struct {
	io.ReadCloser
	o   *failingObject
	off int64
}

// Read implements io.Reader, in small steps.
func (r *failingReader) Read(p []byte) (int, error) {
	if err := r.o.fail(r.o.key, r.off); err != nil {
		return 0, err
	}
	n, err := r.ReadCloser.Read(p[:min(len(p), 1000)])
	r.off += int64(n)
	return n, err
}

package filer

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/internal/wire"
	"github.com/dsorchard/granary/master"
	"github.com/dsorchard/granary/volume"
)

// stack is a whole cluster in this process: one master, one volume server with three disks (2+1).
func stack(t *testing.T) *client.Client {
	t.Helper()
	c, _, _ := stackOf(t)
	return c
}

// stackOf also returns what a worker needs.
func stackOf(t *testing.T) (*client.Client, *volume.Client, *volume.Store) {
	t.Helper()
	open, blocks, store := cluster(t)
	c := open(client.Options{Name: "test"})
	waitForSpace(t, c)
	return c, blocks, store
}

// cluster is stackOf without a client: it returns what opens one, until the test ends.
func cluster(t *testing.T) (open func(client.Options) *client.Client, blocks *volume.Client, store *volume.Store) {
	t.Helper()
	dir := t.TempDir()
	var err error
	store, err = volume.Open(volume.Options{
		Dirs: []string{filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")}, ReserveBytes: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	blocks = volume.NewClient()
	blocks.Attach("volume:1", store)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m, err := master.Open(master.Options{
		Dir: filepath.Join(dir, "master"), GRPCAddr: "master:1", Listener: listener, Shards: blocks, HeartbeatTimeout: 200 * time.Millisecond,
		ServerDownAfter: time.Minute, // however busy the machine is
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	beating := make(chan error, 1)
	go func() {
		beating <- store.Heartbeats(ctx, "volume:1", "", "", []string{"master:1"}, func(string) (volume.Master, func() error, error) { return m, func() error { return nil }, nil })
	}()
	var clients []*client.Client
	t.Cleanup(func() {
		ends := []func() error{func() error { stop(); return <-beating }, m.Close, blocks.Close, store.Close}
		for _, c := range clients {
			ends = append([]func() error{c.Close}, ends...)
		}
		for _, end := range ends {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
	})
	open = func(o client.Options) *client.Client {
		o.Masters, o.Shards, o.RowSize = []string{"master:1"}, blocks, 1<<20
		o.Dial = func(string) (wire.Master, func() error, error) { return m, func() error { return nil }, nil }
		c, err := client.Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
		return c
	}
	return open, blocks, store
}

// waitGone waits until the master has dropped a file that nobody has open any more.
func waitGone(t *testing.T, fs *FS, id granary.InodeID) {
	t.Helper()
	for {
		_, err := fs.GetAttr(t.Context(), id)
		if granary.IsKind(err, granary.KindNotFound) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("the file stays")
		}
	}
}

// waitForSpace waits until the master has heard of the disks: until a first block is stored.
func waitForSpace(t *testing.T, c *client.Client) {
	t.Helper()
	for give := time.Now().Add(time.Minute); ; {
		u, err := c.NewUpload(t.Context(), client.UploadOptions{
			NoInline: true, Create: granary.Create{Parent: granary.RootInode, Name: "first", Replace: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write([]byte("block")); err != nil {
			t.Fatal(err)
		}
		_, err = u.Finish(nil)
		if err == nil {
			return
		}
		if !granary.IsKind(err, granary.KindNoSpace) || time.Now().After(give) {
			t.Fatal(err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// noise returns n bytes that neither compress nor repeat.
func noise(seed uint64, n int) []byte {
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	p := make([]byte, n)
	src.Read(p)
	return p
}

// TestStack runs the FS over a real client, master and volume server.
func TestStack(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes to disks")
	}
	c := stack(t)
	fs := New(Options{Client: c, WriteBuffer: 8 << 20})
	t.Cleanup(func() {
		if err := fs.Close(context.Background()); err != nil { // the test's own context has ended
			t.Error(err)
		}
	})
	forAll := uint32(0o777) // the tests' files are an ordinary user's
	if _, err := fs.SetAttr(t.Context(), granary.Cred{}, &granary.SetAttr{Inode: granary.RootInode, Mode: &forAll}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]func(t *testing.T, c *client.Client, fs *FS){
		"stream": stackStream, "random": stackRandom, "append": stackAppend, "names": stackNames,
		"uploads": stackUploads, "small": stackSmall, "buckets": stackBuckets,
		"homes": stackHomes, "quota": stackQuota, "owners": stackOwners,
	} {
		t.Run(name, func(t *testing.T) { test(t, c, fs) })
	}
}

// stackStream writes a large file in sequence, and reads it through another FS: close-to-open.
func stackStream(t *testing.T, c *client.Client, fs *FS) {
	h := mustCreate(t, fs, "stream", readWrite())
	data := noise(1, 12<<20+12345)
	for off := 0; off < len(data); off += 128 << 10 {
		if _, err := h.WriteAt(t.Context(), data[off:min(off+128<<10, len(data))], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, len(data))
	if n, err := h.ReadAt(t.Context(), got, 0); n != len(data) || err != nil || !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes before the close: %v", n, err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := New(Options{Client: c})
	defer other.Close(t.Context())
	file, err := other.OpenFile(t.Context(), granary.RootInode, "/stream", true)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, file.NewReader(0, -1)); err != nil || !bytes.Equal(b.Bytes(), data) {
		t.Fatalf("read %d bytes after the close: %v", b.Len(), err)
	}
}

// stackRandom compares a file under random writes, reads and truncations with a slice.
func stackRandom(t *testing.T, _ *client.Client, fs *FS) {
	h := mustCreate(t, fs, "random", readWrite())
	r := rand.New(rand.NewPCG(1, 2))
	var model []byte
	for step := range 150 {
		switch k := r.IntN(10); {
		case k < 5:
			off, p := r.IntN(300<<10), noise(uint64(step), 1+r.IntN(20<<10))
			if _, err := h.WriteAt(t.Context(), p, int64(off)); err != nil {
				t.Fatal(err)
			}
			model = append(model, make([]byte, max(off+len(p)-len(model), 0))...)
			copy(model[off:], p)
		case k < 6:
			size := uint64(r.IntN(320 << 10))
			if _, err := fs.SetAttr(t.Context(), granary.Cred{}, &granary.SetAttr{Inode: h.Inode(), Size: &size}); err != nil {
				t.Fatal(err)
			}
			model = append(model[:min(len(model), int(size))], make([]byte, max(int(size)-len(model), 0))...)
		case k < 7:
			mustFlush(t, h)
		default:
			off, p := r.IntN(300<<10), make([]byte, 1+r.IntN(100<<10))
			n, err := h.ReadAt(t.Context(), p, int64(off))
			if err != nil && err != io.EOF {
				t.Fatal(err)
			}
			if want := model[min(off, len(model)):min(off+len(p), len(model))]; !bytes.Equal(p[:n], want) {
				t.Fatalf("step %d: %d bytes at %d are not what was written", step, len(p), off)
			}
		}
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := fs.Open(t.Context(), granary.Cred{}, h.Inode(), readWrite())
	if err != nil {
		t.Fatal(err)
	}
	if readAll(t, again) != string(model) {
		t.Fatal("after the close: not what was written")
	}
	if err := again.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// stackAppend appends from two FS by turns: every record is there once, whole.
func stackAppend(t *testing.T, c *client.Client, fs *FS) {
	h := mustCreate(t, fs, "log", OpenFlags{Read: true, Append: true})
	second := New(Options{Client: c})
	defer second.Close(t.Context())
	g, err := second.Open(t.Context(), granary.Cred{}, h.Inode(), OpenFlags{Append: true})
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for i := range 40 {
		w, record := h, "first"+itoa(i)+"\n"
		if i%2 == 1 {
			w, record = g, "second"+itoa(i)+string(noise(9, 300))+"\n"
		}
		mustWrite(t, w, record, 0)
		if i%3 == 0 {
			mustWrite(t, w, "!", 0)
			record += "!"
		}
		mustFlush(t, w)
		want += record
	}
	for _, h := range []*Handle{h, g} {
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h, err = fs.Open(t.Context(), granary.Cred{}, h.Inode(), OpenFlags{Read: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	if got := readAll(t, h); got != want {
		t.Fatalf("%d bytes, want %d", len(got), len(want))
	}
}

// stackNames unlinks and replaces what is open, and keeps an explicit mtime.
func stackNames(t *testing.T, _ *client.Client, fs *FS) {
	ctx := t.Context()
	h := mustCreate(t, fs, "doomed", readWrite())
	mustWrite(t, h, "without a name", 0)
	if err := fs.Unlink(ctx, granary.Cred{}, granary.RootInode, "doomed"); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, h, string(noise(3, 10000)), 14)
	mustFlush(t, h)
	if got := readAll(t, h); got != "without a name"+string(noise(3, 10000)) {
		t.Fatalf("%d bytes", len(got))
	}
	if err := h.Close(ctx); err != nil {
		t.Fatal(err)
	}
	waitGone(t, fs, h.Inode())

	h = mustCreate(t, fs, "target", readWrite())
	mustWrite(t, h, "replaced", 0)
	n := mustCreate(t, fs, "new", readWrite())
	mustWrite(t, n, "the new one", 0)
	mtime := granary.Time(1_000_000_007)
	if _, err := fs.SetAttr(ctx, granary.Cred{}, &granary.SetAttr{Inode: n.Inode(), Mtime: &mtime}); err != nil {
		t.Fatal(err)
	}
	if err := fs.Rename(ctx, granary.Cred{}, granary.RootInode, "new", granary.RootInode, "target", RenameFlags{}); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, h); got != "replaced" {
		t.Fatalf("read %q", got)
	}
	for _, h := range []*Handle{h, n} {
		if err := h.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	e, err := fs.Lookup(ctx, granary.RootInode, "target")
	if err != nil || e.Attr.Inode != n.Inode() || e.Attr.Mtime != mtime || e.Attr.Size != 11 {
		t.Fatalf("%+v: %v", e, err)
	}
}

// stackUploads uploads files of every size, reads ranges of them, copies them, and composes one of parts.
func stackUploads(t *testing.T, _ *client.Client, fs *FS) {
	parts := Parts{Name: "id"}
	var whole []byte
	for i, size := range []int{0, 100, 5 << 10, 3 << 20} {
		data := noise(uint64(100+i), size)
		path := "/up/load" + itoa(i)
		info := stackUpload(t, fs, UploadOptions{Root: granary.RootInode, Path: path}, data)
		if info.Attr.Size != uint64(size) {
			t.Fatalf("%d bytes, want %d", info.Attr.Size, size)
		}
		copied, err := fs.Copy(t.Context(), CopyOptions{SrcRoot: granary.RootInode, SrcPath: path, DstRoot: granary.RootInode, DstPath: "/copies" + path})
		if err != nil || copied.Attr.Size != uint64(size) {
			t.Fatalf("copy of %d bytes: %+v, %v", size, copied, err)
		}
		stackRead(t, fs, granary.RootInode, path, data)
		stackRead(t, fs, granary.RootInode, "/copies"+path, data)
		stackUpload(t, fs, UploadOptions{Root: granary.RootDataset.System(), Path: "/id/part" + itoa(i), NoInline: true}, data)
		parts.Names, whole = append(parts.Names, "part"+itoa(i)), append(whole, data...)
	}
	upload, err := fs.Stat(t.Context(), granary.RootDataset.System(), "/id", StatOptions{})
	if err != nil {
		t.Fatal(err)
	}
	parts.Dir, parts.Version = upload.Attr.Inode, upload.Attr.Version
	info, err := fs.Compose(t.Context(), UploadOptions{Root: granary.RootInode, Path: "/composed", Xattrs: []granary.Xattr{{Name: granary.XattrETag, Value: []byte("e-4")}}}, parts)
	if err != nil || info.ETag() != "e-4" {
		t.Fatalf("%+v: %v", info, err)
	}
	stackRead(t, fs, granary.RootInode, "/composed", whole)
	if _, err := fs.Stat(t.Context(), granary.RootDataset.System(), "/id", StatOptions{}); !granary.IsKind(err, granary.KindNotFound) {
		t.Fatalf("the upload is still there: %v", err)
	}
	h, err := fs.Open(t.Context(), granary.Cred{}, info.Attr.Inode, readWrite()) // a write waits for the parts to be put together
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, h, "changed", 3)
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	copy(whole[3:], "changed")
	stackRead(t, fs, granary.RootInode, "/composed", whole)
}

func stackUpload(t *testing.T, fs *FS, o UploadOptions, data []byte) *Info {
	t.Helper()
	u, err := fs.Upload(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort()
	if _, err := u.Write(data); err != nil {
		t.Fatal(err)
	}
	info, err := u.Commit(nil)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func stackRead(t *testing.T, fs *FS, root granary.InodeID, path string, want []byte) {
	t.Helper()
	file, err := fs.OpenFile(t.Context(), root, path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := io.ReadAll(file.NewReader(0, -1))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes, want %d: %v", path, len(got), len(want), err)
	}
	if part, err := io.ReadAll(file.NewReader(50, 3000)); err != nil || !bytes.Equal(part, want[min(50, len(want)):min(3050, len(want))]) {
		t.Fatalf("%s: a range of %d bytes: %v", path, len(part), err)
	}
}

// stackBuckets copies between buckets, which are datasets, and finds symbolic links of a mount.
func stackBuckets(t *testing.T, _ *client.Client, fs *FS) {
	ctx := t.Context()
	roots := map[string]granary.InodeID{}
	for _, name := range []string{"one", "two"} {
		if err := fs.CreateBucket(ctx, granary.Cred{}, name); err != nil {
			t.Fatal(err)
		}
		root, err := fs.Bucket(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		roots[name] = root
	}
	wantKind(t, fs.CreateBucket(ctx, granary.Cred{}, "one"), granary.KindExists)
	data := noise(7, 2<<20)
	stackUpload(t, fs, UploadOptions{Root: roots["one"], Path: "a/b/key"}, data)
	if _, err := fs.Copy(ctx, CopyOptions{SrcRoot: roots["one"], SrcPath: "a/b/key", DstRoot: roots["two"], DstPath: "key"}); err != nil {
		t.Fatal(err)
	}
	stackRead(t, fs, roots["two"], "/key", data)
	if _, err := fs.Symlink(ctx, granary.Cred{}, roots["two"], "out", "../../stream"); err != nil {
		t.Fatal(err)
	}
	_, err := fs.OpenFile(ctx, roots["two"], "/out", true)
	wantKind(t, err, granary.KindNotFound)
	wantKind(t, fs.DeleteBucket(ctx, "two"), granary.KindNotEmpty)
	for _, name := range []string{"key", "out"} {
		if err := fs.Remove(ctx, roots["two"], name, RemoveOptions{Prune: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := fs.Remove(ctx, roots["one"], "a/b/key", RemoveOptions{Prune: true}); err != nil {
		t.Fatal(err)
	}
	_, err = fs.Stat(ctx, roots["one"], "/a", StatOptions{})
	wantKind(t, err, granary.KindNotFound)
	for _, name := range []string{"one", "two"} {
		if err := fs.DeleteBucket(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
}

// stackHomes uploads by long paths: dataset and policy are those of the deepest directory there is.
func stackHomes(t *testing.T, c *client.Client, fs *FS) {
	ctx := t.Context()
	if err := fs.CreateBucket(ctx, granary.Cred{}, "bb"); err != nil {
		t.Fatal(err)
	}
	bucket, err := fs.Bucket(ctx, "bb")
	if err != nil {
		t.Fatal(err)
	}
	fixed, err := fs.MkdirAll(ctx, granary.Cred{}, bucket, "/fixed", 0o755)
	if err != nil {
		t.Fatal(err)
	}
	for ino, m := range map[granary.InodeID]int{bucket: 1, fixed.Attr.Inode: 2} {
		policy := granary.Policy{DataShards: 1, ParityShards: m, InlineMax: 8}
		if _, err := c.Do(ctx, granary.Cred{}, &granary.SetPolicy{Inode: ino, Policy: policy}); err != nil {
			t.Fatal(err)
		}
	}
	small, large := noise(50, 100), noise(51, 20<<20)
	for path, parity := range map[string]int{"new/small": 1, "fixed/small": 2, "fixed/new/large": 2} {
		data := small
		if strings.HasSuffix(path, "large") {
			data = large
		}
		for i, o := range []UploadOptions{{Root: granary.RootInode, Path: "/buckets/bb/" + path}, {Root: bucket, Path: path}} {
			data[0], data[1] = byte(i), byte(len(path)) // nothing that the store has
			info := stackUpload(t, fs, o, data)
			l := stackLayout(t, c, info.Attr.Inode)
			if info.Attr.Inode.Dataset() != bucket.Dataset() || len(l.Blocks) == 0 {
				t.Fatalf("%s: inode %v, %d blocks", o.Path, info.Attr.Inode, len(l.Blocks))
			}
			for _, v := range l.Volumes {
				if v.ParityShards != parity {
					t.Errorf("%s: %d parity shards, want %d", o.Path, v.ParityShards, parity)
				}
			}
		}
		stackRead(t, fs, bucket, path, data)
		copied, err := fs.Copy(ctx, CopyOptions{SrcRoot: bucket, SrcPath: path, DstRoot: granary.RootInode, DstPath: "/buckets/bb/copies/" + path})
		if err != nil || copied.Attr.Inode.Dataset() != bucket.Dataset() {
			t.Fatalf("%s: %+v, %v", path, copied, err)
		}
	}
	part := stackUpload(t, fs, UploadOptions{Root: bucket.Dataset().System(), Path: "part", NoInline: true}, noise(52, 100))
	for _, v := range stackLayout(t, c, part.Attr.Inode).Volumes {
		if v.ParityShards != 1 {
			t.Errorf("a part: %d parity shards, want the bucket's", v.ParityShards)
		}
	}
	stackUpload(t, fs, UploadOptions{Root: bucket, Path: "pruned/a"}, small)
	u, err := fs.Upload(ctx, UploadOptions{Root: bucket, Path: "pruned/b"})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort()
	if err := fs.Remove(ctx, bucket, "pruned/a", RemoveOptions{Prune: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(noise(53, 20<<20)); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Commit(nil); err != nil {
		t.Fatalf("into a directory pruned meanwhile: %v", err)
	}
	for path, want := range map[string]granary.Kind{"/buckets/nope/x": granary.KindNotFound, "/buckets/nope/x/y": granary.KindNotFound, "/buckets/x": granary.KindNotOwner} {
		_, err := fs.Upload(ctx, UploadOptions{Root: granary.RootInode, Path: path})
		wantKind(t, err, want)
	}
}

func stackLayout(t *testing.T, c *client.Client, ino granary.InodeID) *granary.Layout {
	t.Helper()
	found, err := client.Ask[*granary.Found](t.Context(), c, &granary.Lookup{Base: ino, Layout: &granary.Range{Length: 64 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	return found.Layout
}

// stackQuota fills a dataset up to its quota: what does not fit is refused when it is made durable, and statfs says how
// much is left.
func stackQuota(t *testing.T, c *client.Client, fs *FS) {
	root := granary.Cred{}
	r, err := c.Do(t.Context(), root, &granary.CreateDataset{Parent: granary.RootInode, Name: "limited", Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	ds := r.Attr.Inode
	if _, err := c.Do(t.Context(), root, &granary.SetQuota{Dataset: ds.Dataset(), Limit: granary.Quota{Bytes: 100_000, Inodes: 5}}); err != nil {
		t.Fatal(err)
	}
	h, _, err := fs.Create(t.Context(), root, ds, "fits", 0o644, 0, true, readWrite())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(t.Context(), noise(1, 90_000), 0); err != nil {
		t.Fatal(err)
	}
	mustFlush(t, h)
	if _, err := h.WriteAt(t.Context(), noise(2, 10_001), 90_000); err != nil {
		t.Fatal(err)
	}
	if err := h.Flush(t.Context()); Errno(err) != syscall.EDQUOT {
		t.Fatalf("one byte too much: %v", err)
	}
	if err := h.Close(t.Context()); Errno(err) != syscall.EDQUOT {
		t.Fatalf("its close: %v", err)
	}
	a, err := fs.GetAttr(t.Context(), h.Inode())
	if err != nil || a.Size != 90_000 {
		t.Fatalf("%d bytes, %v", a.Size, err)
	}
	if st, err := fs.StatFS(t.Context(), a.Inode); err != nil || st.Bytes != 100_000 || st.BytesFree != 10_000 || st.Files != 3 || st.FilesFree != 2 {
		t.Fatalf("%+v, %v", st, err)
	}
	for i, want := range []granary.Kind{granary.KindNone, granary.KindNone, granary.KindQuota} {
		if _, err := fs.Mkdir(t.Context(), root, ds, string(rune('a'+i)), 0o755, 0); granary.KindOf(err) != want {
			t.Fatalf("directory %d: %v", i, err)
		}
	}
	if err := fs.Rename(t.Context(), root, granary.RootInode, "limited", granary.BucketsInode, "x", RenameFlags{}); Errno(err) != syscall.EXDEV {
		t.Fatalf("a dataset moved: %v", err)
	}
}

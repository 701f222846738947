package s3

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// fakeStore is a store in memory. It keeps the contract of filer.FS, and is strict where the gateway
// could lean on luck: parts of Compose must not be inline, and paths must be clean.
type fakeStore struct {
	mu       sync.Mutex
	users    map[string]granary.User
	buckets  map[string]granary.DatasetID
	nodes    map[granary.InodeID]*fakeNode
	counters map[granary.DatasetID]uint64
	version  granary.Index
	now      granary.Time

	failRead func(path string, off int64) error // before the bytes at off
	slow     chan struct{}                      // if set, Compose waits for it

	beforeCompose func()
}

type fakeNode struct {
	attr    granary.Attr
	name    string
	data    []byte
	xattrs  []granary.Xattr
	entries map[string]*fakeNode
	noInl   bool
}

func newFakeStore() *fakeStore {
	return &fakeStore{
		users:    map[string]granary.User{testAccessKey: {AccessKey: testAccessKey, SecretKey: testSecretKey, Name: "root", Root: true}},
		buckets:  map[string]granary.DatasetID{},
		nodes:    map[granary.InodeID]*fakeNode{},
		counters: map[granary.DatasetID]uint64{},
		now:      granary.Time(1_700_000_000_123_456_789),
	}
}

func fakeErr(k granary.Kind, subject string) error { return granary.Errorf(k, "fake", subject, "") }

func (f *fakeStore) tick() {
	f.version++
	f.now += 1_000_000
}

func (f *fakeStore) newNode(d granary.DatasetID, ino granary.InodeID, typ granary.FileType, xattrs []granary.Xattr) *fakeNode {
	f.tick()
	if ino == 0 {
		f.counters[d]++
		ino = d.Inode(granary.InodeCounterFirst + f.counters[d])
	}
	n := &fakeNode{xattrs: slices.Clone(xattrs), attr: granary.Attr{
		Inode: ino, Type: typ, Nlink: 1, Mtime: f.now, Btime: f.now, Ctime: f.now, Version: f.version, ContentVersion: f.version,
	}}
	if typ == granary.TypeDirectory {
		n.entries = map[string]*fakeNode{}
	}
	f.nodes[ino] = n
	return n
}

func (n *fakeNode) info() *filer.Info {
	attr := n.attr
	attr.Size = uint64(len(n.data))
	return &filer.Info{Name: n.name, Attr: attr, Xattrs: slices.Clone(n.xattrs)}
}

func (n *fakeNode) xattr(name string) string {
	for _, x := range n.xattrs {
		if x.Name == name {
			return string(x.Value)
		}
	}
	return ""
}

func components(path string) []string {
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return nil
	}
	parts := strings.Split(path, "/")
	for _, p := range parts {
		if p == "" || p == "." || p == ".." {
			panic("fake: a path that is not clean: " + path)
		}
	}
	return parts
}

// find walks a path.
func (f *fakeStore) find(root granary.InodeID, path string) (*fakeNode, error) {
	n := f.nodes[root]
	if n == nil {
		return nil, fakeErr(granary.KindNotFound, path)
	}
	for _, c := range components(path) {
		if n.entries == nil {
			return nil, fakeErr(granary.KindNotDir, path)
		}
		if n = n.entries[c]; n == nil {
			return nil, fakeErr(granary.KindNotFound, path)
		}
	}
	return n, nil
}

// parentOf walks to the directory of a path, making it if asked to.
func (f *fakeStore) parentOf(root granary.InodeID, path string, make bool) (*fakeNode, string, error) {
	parts := components(path)
	n := f.nodes[root]
	if n == nil || len(parts) == 0 {
		return nil, "", fakeErr(granary.KindNotFound, path)
	}
	for _, c := range parts[:len(parts)-1] {
		next := n.entries[c]
		switch {
		case next == nil && !make:
			return nil, "", fakeErr(granary.KindNotFound, path)
		case next == nil:
			next = f.newNode(root.Dataset(), 0, granary.TypeDirectory, nil)
			next.attr.Flags, next.name = granary.FlagImplicit, c
			n.entries[c] = next
		case next.entries == nil:
			return nil, "", fakeErr(granary.KindNotDir, path)
		}
		n = next
	}
	return n, parts[len(parts)-1], nil
}

func (f *fakeStore) matches(n *fakeNode, m *granary.Precondition) error {
	switch {
	case m == nil:
		return nil
	case m.Absent && n != nil, (m.Present || m.ETag != "" || m.Version != 0) && n == nil,
		n != nil && m.ETag != "" && m.ETag != granary.ETagOf(&n.attr, n.xattr(granary.XattrETag)),
		n != nil && m.Version != 0 && m.Version != n.attr.Version:
		return fakeErr(granary.KindPrecondition, "")
	}
	return nil
}

func (f *fakeStore) User(_ context.Context, accessKey string) (granary.User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u, ok := f.users[accessKey]
	if !ok {
		return u, fakeErr(granary.KindNotFound, accessKey)
	}
	return u, nil
}

func (f *fakeStore) Buckets(context.Context) ([]granary.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var entries []granary.Entry
	for name, d := range f.buckets {
		entries = append(entries, granary.Entry{Name: name, Attr: f.nodes[d.Root()].attr})
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
	return entries, nil
}

func (f *fakeStore) Bucket(_ context.Context, name string) (granary.InodeID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.buckets[name]
	if !ok {
		return 0, fakeErr(granary.KindNotFound, name)
	}
	return d.Root(), nil
}

func (f *fakeStore) CreateBucket(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.buckets[name]; ok {
		return fakeErr(granary.KindExists, name)
	}
	d := granary.DatasetID(len(f.buckets) + 2)
	f.buckets[name] = d
	f.newNode(d, d.Root(), granary.TypeDirectory, nil)
	f.newNode(d, d.System(), granary.TypeDirectory, nil)
	return nil
}

func (f *fakeStore) DeleteBucket(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.buckets[name]
	if !ok {
		return fakeErr(granary.KindNotFound, name)
	}
	if len(f.nodes[d.Root()].entries) > 0 || len(f.nodes[d.System()].entries) > 0 {
		return fakeErr(granary.KindNotEmpty, name)
	}
	delete(f.buckets, name)
	return nil
}

func (f *fakeStore) Stat(_ context.Context, root granary.InodeID, path string, _ filer.StatOptions) (*filer.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(root, path)
	if err != nil {
		return nil, err
	}
	return n.info(), nil
}

type fakeObject struct {
	f    *fakeStore
	path string
	info *filer.Info
	data []byte
}

func (f *fakeStore) OpenFile(_ context.Context, root granary.InodeID, path string, _ bool) (object, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(root, path)
	if err != nil {
		return nil, err
	}
	if n.attr.IsDir() {
		return nil, fakeErr(granary.KindIsDir, path)
	}
	return &fakeObject{f, path, n.info(), n.data}, nil
}

func (o *fakeObject) Stat() *filer.Info { return o.info }
func (o *fakeObject) Close() error      { return nil }
func (o *fakeObject) NewReader(off, length int64) io.ReadCloser {
	return io.NopCloser(&fakeReader{o: o, off: off, end: off + length})
}

type fakeReader struct {
	o        *fakeObject
	off, end int64
}

func (r *fakeReader) Read(p []byte) (int, error) {
	if r.off == r.end {
		return 0, io.EOF
	}
	if r.o.f.failRead != nil {
		if err := r.o.f.failRead(r.o.path, r.off); err != nil {
			return 0, err
		}
	}
	n := copy(p[:min(len(p), 4096)], r.o.data[r.off:r.end])
	r.off += int64(n)
	return n, nil
}

type fakeUpload struct {
	f    *fakeStore
	o    filer.UploadOptions
	buf  bytes.Buffer
	done bool
}

func (f *fakeStore) Upload(_ context.Context, o filer.UploadOptions) (upload, error) {
	components(o.Path)
	return &fakeUpload{f: f, o: o}, nil
}

func (u *fakeUpload) Write(p []byte) (int, error) { return u.buf.Write(p) }
func (u *fakeUpload) Abort()                      { u.done = true }
func (u *fakeUpload) Commit(xattrs []granary.Xattr) (*filer.Info, error) {
	if u.done {
		panic("fake: commit after abort")
	}
	u.done = true
	u.f.mu.Lock()
	defer u.f.mu.Unlock()
	return u.f.publish(u.o, slices.Concat(u.o.Xattrs, xattrs), u.buf.Bytes())
}

func (f *fakeStore) publish(o filer.UploadOptions, xattrs []granary.Xattr, data []byte) (*filer.Info, error) {
	parent, name, err := f.parentOf(o.Root, o.Path, true)
	if err != nil {
		return nil, err
	}
	old := parent.entries[name]
	if err := f.matches(old, o.Match); err != nil {
		return nil, err
	}
	if old != nil && old.attr.IsDir() {
		return nil, fakeErr(granary.KindIsDir, o.Path)
	}
	if old != nil {
		delete(f.nodes, old.attr.Inode)
	}
	n := f.newNode(o.Root.Dataset(), 0, granary.TypeRegular, xattrs)
	n.name, n.data, n.noInl = name, bytes.Clone(data), o.NoInline
	parent.attr.Version = f.version
	parent.entries[name] = n
	return n.info(), nil
}

func (f *fakeStore) Copy(_ context.Context, o filer.CopyOptions) (*filer.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	src, err := f.find(o.SrcRoot, o.SrcPath)
	if err != nil {
		return nil, err
	}
	if err := f.matches(src, o.SrcMatch); err != nil {
		return nil, err
	}
	xattrs := o.Xattrs
	if !o.ReplaceXattrs {
		panic("fake: the gateway always replaces")
	}
	return f.publish(filer.UploadOptions{Root: o.DstRoot, Path: o.DstPath, Match: o.Match}, xattrs, src.data)
}

func (f *fakeStore) Compose(_ context.Context, o filer.UploadOptions, parts filer.Parts) (*filer.Info, error) {
	if f.slow != nil {
		<-f.slow
	}
	if f.beforeCompose != nil {
		f.beforeCompose()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, err := f.find(o.Root.Dataset().System(), parts.Name)
	switch {
	case err != nil || dir.attr.Inode != parts.Dir:
		return nil, fakeErr(granary.KindNotFound, parts.Name)
	case dir.attr.Version != parts.Version:
		return nil, fakeErr(granary.KindStale, parts.Name)
	}
	var data []byte
	for _, name := range parts.Names {
		n := dir.entries[name]
		if n == nil || !n.noInl {
			return nil, fakeErr(granary.KindInvalid, name)
		}
		data = append(data, n.data...)
	}
	info, err := f.publish(o, o.Xattrs, data)
	if err == nil {
		f.forget(dir)
		delete(f.nodes[o.Root.Dataset().System()].entries, parts.Name)
	}
	return info, err
}

func (f *fakeStore) Remove(_ context.Context, root granary.InodeID, path string, o filer.RemoveOptions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	parent, name, err := f.parentOf(root, path, false)
	if err != nil {
		return err
	}
	n := parent.entries[name]
	switch {
	case n == nil:
		return fakeErr(granary.KindNotFound, path)
	case len(n.entries) > 0 && !o.Recursive && n.attr.Flags&granary.FlagMarker == 0:
		return fakeErr(granary.KindNotEmpty, path)
	}
	if err := f.matches(n, o.Match); err != nil {
		return err
	}
	f.tick()
	if n.attr.IsDir() && o.Prune && n.attr.Flags&granary.FlagMarker != 0 {
		n.attr.Flags, n.xattrs = granary.FlagImplicit, nil
		path += "/x"
	} else {
		f.forget(n)
		delete(parent.entries, name)
	}
	for i := strings.LastIndex(path, "/"); o.Prune && i > 0; i = strings.LastIndex(path, "/") {
		path = path[:i]
		dir, err := f.find(root, path)
		if err != nil || len(dir.entries) > 0 || dir.attr.Flags&granary.FlagImplicit == 0 {
			break
		}
		up, name, _ := f.parentOf(root, path, false)
		delete(up.entries, name)
	}
	return nil
}

func (f *fakeStore) forget(n *fakeNode) {
	delete(f.nodes, n.attr.Inode)
	for _, e := range n.entries {
		f.forget(e)
	}
}

func (f *fakeStore) MakeDir(_ context.Context, o filer.DirOptions) (*filer.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	parent, name, err := f.parentOf(o.Root, o.Path, true)
	if err != nil {
		return nil, err
	}
	if old := parent.entries[name]; old != nil {
		if !old.attr.IsDir() || o.Flags&granary.FlagMarker == 0 || old.attr.Flags&granary.FlagMarker != 0 {
			return nil, fakeErr(granary.KindExists, o.Path)
		}
		old.attr.Flags, old.xattrs = granary.FlagMarker, append(old.xattrs, o.Xattrs...)
		return old.info(), nil
	}
	n := f.newNode(o.Root.Dataset(), 0, granary.TypeDirectory, o.Xattrs)
	n.name, n.attr.Flags = name, o.Flags
	parent.entries[name] = n
	return n.info(), nil
}

func (f *fakeStore) ReadDir(_ context.Context, ino granary.InodeID, fn func(granary.Entry) bool) error {
	f.mu.Lock()
	n := f.nodes[ino]
	var entries []granary.Entry
	if n != nil {
		for name, e := range n.entries {
			entries = append(entries, granary.Entry{Name: name, Attr: e.attr})
		}
	}
	f.mu.Unlock()
	if n == nil {
		return fakeErr(granary.KindNotFound, ino.String())
	}
	for _, e := range entries {
		if !fn(e) {
			break
		}
	}
	return nil
}

func (f *fakeStore) List(_ context.Context, q *granary.List) (*granary.Listing, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	root := f.nodes[q.Root]
	if root == nil {
		return nil, fakeErr(granary.KindNotFound, q.Root.String())
	}
	all := map[string]*fakeNode{}
	root.walk("", all)
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	listing := &granary.Listing{}
	for _, k := range keys {
		if k <= q.StartAfter || !strings.HasPrefix(k, q.Prefix) {
			continue
		}
		item := granary.ListItem{Key: k, Attr: all[k].info().Attr, ETag: all[k].xattr(granary.XattrETag)}
		if i := strings.Index(k[len(q.Prefix):], q.Delimiter); q.Delimiter != "" && i >= 0 {
			item = granary.ListItem{Key: k[:len(q.Prefix)+i+len(q.Delimiter)], IsPrefix: true}
			if n := len(listing.Items); n > 0 && listing.Items[n-1] == item {
				continue
			}
		}
		if len(listing.Items) == q.Limit {
			listing.Truncated, listing.Next = true, listing.Items[q.Limit-1].Key
			if listing.Items[q.Limit-1].IsPrefix {
				listing.Next += afterAll
			}
			break
		}
		listing.Items = append(listing.Items, item)
	}
	return listing, nil
}

func (n *fakeNode) walk(path string, all map[string]*fakeNode) {
	for name, e := range n.entries {
		if !e.attr.IsDir() {
			all[path+name] = e
			continue
		}
		if e.attr.Flags&granary.FlagMarker != 0 {
			all[path+name+"/"] = e
		}
		e.walk(path+name+"/", all)
	}
}

func (f *fakeStore) SetXattr(_ context.Context, _ granary.Cred, op *granary.SetXattr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[op.Inode]
	if n == nil {
		return fakeErr(granary.KindNotFound, op.Inode.String())
	}
	n.xattrs = slices.DeleteFunc(n.xattrs, func(x granary.Xattr) bool { return x.Name == op.Xattr.Name })
	n.xattrs = append(n.xattrs, op.Xattr)
	return nil
}

func (f *fakeStore) RemoveXattr(_ context.Context, _ granary.Cred, ino granary.InodeID, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[ino]
	if n == nil {
		return fakeErr(granary.KindNotFound, ino.String())
	}
	before := len(n.xattrs)
	n.xattrs = slices.DeleteFunc(n.xattrs, func(x granary.Xattr) bool { return x.Name == name })
	if len(n.xattrs) == before {
		return fakeErr(granary.KindNoData, name)
	}
	return nil
}

package web

import (
	"bytes"
	"context"
	"io"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// fakeStore is a store in memory. It is strict where the door relies on strictness: paths must be
// clean, an upload is nowhere to be seen before its commit, and ended uploads and files are not used.
type fakeStore struct {
	mu       sync.Mutex
	nodes    map[string]*node // by clean path
	last     uint64
	open     int // files and uploads not given up
	statFS   func(ctx context.Context) error
	readFail func(off int64) error // of files, by offset
	writeErr error
}

type node struct {
	attr   granary.Attr
	data   []byte
	target string
	xattrs []granary.Xattr
}

func newFakeStore() *fakeStore {
	f := &fakeStore{nodes: map[string]*node{}}
	f.add("/", granary.TypeDirectory, nil)
	f.nodes["/"].attr.Inode = granary.RootInode
	return f
}

// testTime is when everything was made.
const testTime = granary.Time(1_790_000_000_123_456_789)

func (f *fakeStore) add(p string, typ granary.FileType, data []byte, xattrs ...granary.Xattr) *node {
	f.last++
	n := &node{data: data, xattrs: xattrs}
	n.attr = granary.Attr{
		Inode: granary.RootDataset.Inode(100 + f.last), Type: typ, Mode: 0o644, Size: uint64(len(data)), Mtime: testTime,
		Version: granary.Index(f.last), ContentVersion: granary.Index(f.last),
	}
	f.nodes[p] = n
	return n
}

func (f *fakeStore) link(p, target string) {
	f.add(p, granary.TypeSymlink, nil).target = target
}

func (f *fakeStore) has(p string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes[p] != nil
}

func (f *fakeStore) data(p string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[p]; n != nil {
		return string(n.data)
	}
	return "<absent>"
}

func (f *fakeStore) xattr(p, name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.nodes[p].xattrs {
		if x.Name == name {
			return string(x.Value)
		}
	}
	return "<absent>"
}

func (f *fakeStore) paths() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for p := range f.nodes {
		list = append(list, p)
	}
	sort.Strings(list)
	return list
}

// find walks a path; symbolic links on the way are not known here.
func (f *fakeStore) find(p string, follow bool) (string, *node, error) {
	if p != path.Clean(p) || p[0] != '/' || strings.ContainsRune(p, 0) {
		panic("a path that is not clean: " + p)
	}
	for dir := path.Dir(p); dir != "/"; dir = path.Dir(dir) {
		if n := f.nodes[dir]; n != nil && !n.attr.IsDir() {
			return p, nil, granary.Errorf(granary.KindNotDir, "find", dir, "")
		}
	}
	n := f.nodes[p]
	if n == nil {
		return p, nil, granary.Errorf(granary.KindNotFound, "find", p, "")
	}
	if follow && n.target != "" {
		return f.find(path.Join(path.Dir(p), n.target), true)
	}
	return p, n, nil
}

func (n *node) info(p string) *filer.Info {
	return &filer.Info{Name: path.Base(p), Attr: n.attr, Target: n.target, Xattrs: n.xattrs}
}

func (f *fakeStore) Stat(ctx context.Context, root granary.InodeID, p string, o filer.StatOptions) (*filer.Info, error) {
	p = path.Join(f.pathOf(root), p)
	f.mu.Lock()
	defer f.mu.Unlock()
	p, n, err := f.find(p, o.Follow)
	if err != nil {
		return nil, err
	}
	return n.info(p), nil
}

func (f *fakeStore) OpenFile(ctx context.Context, root granary.InodeID, p string, follow bool) (file, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, n, err := f.find(p, follow)
	switch {
	case err != nil:
		return nil, err
	case n.attr.IsDir():
		return nil, granary.Errorf(granary.KindIsDir, "open", p, "")
	}
	f.open++
	return &fakeFile{store: f, node: *n, path: p}, nil
}

func (f *fakeStore) match(p string, m *granary.Precondition) error {
	n := f.nodes[p]
	failed := granary.Errorf(granary.KindPrecondition, "match", p, "")
	switch {
	case m == nil:
		return nil
	case m.Absent && n != nil, m.Present && n == nil:
		return failed
	case m.ETag != "" && (n == nil || n.info(p).ETag() != m.ETag):
		return failed
	case m.Version != 0 && (n == nil || n.attr.Version != m.Version):
		return failed
	}
	return nil
}

func (f *fakeStore) Upload(ctx context.Context, o filer.UploadOptions) (upload, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
	return &fakeUpload{store: f, o: o, ctx: ctx}, nil
}

func (f *fakeStore) SetAttr(ctx context.Context, cred granary.Cred, op *granary.SetAttr) (granary.Attr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		if n.attr.Inode == op.Inode && op.Mtime != nil {
			n.attr.Mtime = *op.Mtime
			return n.attr, nil
		}
	}
	return granary.Attr{}, granary.Errorf(granary.KindNotFound, "setattr", op.Inode.String(), "")
}

func (f *fakeStore) Remove(ctx context.Context, root granary.InodeID, p string, o filer.RemoveOptions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, _, err := f.find(p, false); err != nil {
		return err
	}
	if err := f.match(p, o.Match); err != nil {
		return err
	}
	var below []string
	for q := range f.nodes {
		if strings.HasPrefix(q, p+"/") {
			below = append(below, q)
		}
	}
	if len(below) > 0 && !o.Recursive {
		return granary.Errorf(granary.KindNotEmpty, "remove", p, "")
	}
	for _, q := range append(below, p) {
		delete(f.nodes, q)
	}
	return nil
}

func (f *fakeStore) RenamePath(ctx context.Context, cred granary.Cred, root granary.InodeID, src, dst string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, _, err := f.find(src, false); err != nil {
		return err
	}
	for p, n := range f.nodes {
		if p == src || strings.HasPrefix(p, src+"/") {
			delete(f.nodes, p)
			f.nodes[dst+p[len(src):]] = n
		}
	}
	return nil
}

func (f *fakeStore) Rename(ctx context.Context, cred granary.Cred, srcParent granary.InodeID, srcName string, dstParent granary.InodeID, dstName string, flags filer.RenameFlags) error {
	dst := path.Join(f.pathOf(dstParent), dstName)
	if flags.NoReplace && f.has(dst) {
		return granary.Errorf(granary.KindExists, "rename", dst, "")
	}
	return f.RenamePath(ctx, cred, granary.RootInode, path.Join(f.pathOf(srcParent), srcName), dst)
}

func (f *fakeStore) pathOf(ino granary.InodeID) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, n := range f.nodes {
		if n.attr.Inode == ino {
			return p
		}
	}
	panic("no such inode")
}

func (f *fakeStore) Page(ctx context.Context, ino granary.InodeID, cursor string, limit int) ([]granary.Entry, bool, error) {
	dir := f.pathOf(ino)
	f.mu.Lock()
	defer f.mu.Unlock()
	var entries []granary.Entry
	for p, n := range f.nodes {
		e := granary.Entry{Name: path.Base(p), Attr: n.attr, Target: n.target}
		if p != "/" && path.Dir(p) == dir && cursorOf(&e) > cursor {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b granary.Entry) int { return strings.Compare(cursorOf(&a), cursorOf(&b)) })
	if len(entries) > limit {
		return entries[:limit], true, nil
	}
	return entries, false, nil
}

func (f *fakeStore) MkdirAll(ctx context.Context, cred granary.Cred, root granary.InodeID, p string, mode uint32) (*filer.Info, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, _, err := f.find(p, false); err != nil && !granary.IsKind(err, granary.KindNotFound) {
		return nil, err
	}
	f.makeParents(p)
	if f.nodes[p] == nil {
		f.add(p, granary.TypeDirectory, nil)
	}
	return f.nodes[p].info(p), nil
}

func (f *fakeStore) makeParents(p string) {
	for dir := path.Dir(p); f.nodes[dir] == nil; dir = path.Dir(dir) {
		f.add(dir, granary.TypeDirectory, nil)
	}
}

func (f *fakeStore) StatFS(ctx context.Context, _ granary.InodeID) (*granary.FSStats, error) {
	if f.statFS != nil {
		return nil, f.statFS(ctx)
	}
	return &granary.FSStats{}, nil
}

type fakeFile struct {
	store  *fakeStore
	node   node
	path   string
	closed bool
}

func (f *fakeFile) Stat() *filer.Info { return f.node.info(f.path) }

func (f *fakeFile) ReadAt(p []byte, off int64) (int, error) {
	if f.closed {
		panic("read of a closed file")
	}
	for i := range p {
		if fail := f.store.readFail; fail != nil {
			if err := fail(off + int64(i)); err != nil {
				return i, err
			}
		}
		if off+int64(i) >= int64(len(f.node.data)) {
			return i, io.EOF
		}
		p[i] = f.node.data[off+int64(i)]
	}
	return len(p), nil
}

func (f *fakeFile) NewReader(off, length int64) io.ReadCloser {
	if length < 0 {
		length = int64(len(f.node.data)) - off
	}
	return io.NopCloser(io.NewSectionReader(f, off, length))
}

func (f *fakeFile) Close() error {
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	if f.closed {
		panic("closed twice")
	}
	f.closed = true
	f.store.open--
	return nil
}

type fakeUpload struct {
	store *fakeStore
	o     filer.UploadOptions
	ctx   context.Context
	data  bytes.Buffer
	ended bool
}

func (u *fakeUpload) Write(p []byte) (int, error) {
	if u.ended {
		panic("write to an upload that has ended")
	}
	if err := u.store.writeErr; err != nil {
		return 0, err
	}
	return u.data.Write(p)
}

func (u *fakeUpload) Commit(xattrs []granary.Xattr) (*filer.Info, error) {
	u.store.mu.Lock()
	defer u.store.mu.Unlock()
	p := u.o.Path
	if _, n, err := u.store.find(p, false); err != nil && !granary.IsKind(err, granary.KindNotFound) {
		return nil, err
	} else if n != nil && n.attr.IsDir() {
		return nil, granary.Errorf(granary.KindIsDir, "create", p, "")
	}
	if err := u.store.match(p, u.o.Match); err != nil {
		return nil, err
	}
	u.ended = true
	u.store.open--
	u.store.makeParents(p)
	n := u.store.add(p, granary.TypeRegular, u.data.Bytes(), append(slices.Clone(u.o.Xattrs), xattrs...)...)
	return n.info(p), nil
}

func (u *fakeUpload) Abort() {
	u.store.mu.Lock()
	defer u.store.mu.Unlock()
	if !u.ended {
		u.ended = true
		u.store.open--
	}
}

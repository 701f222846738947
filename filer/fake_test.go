package filer

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// fake is a store in memory: names, attributes and bytes, with hooks for faults. Every change of a file's content
// makes new blocks, so a layout goes on serving the version that it was fetched for.
type fake struct {
	mu      sync.Mutex
	index   granary.Index
	clock   granary.Time
	inodes  map[granary.InodeID]*fakeInode
	blocks  map[granary.BlockID][]byte
	next    uint64
	session map[granary.InodeID]bool // anonymous, of the session

	sessions atomic.Uint64           // that have ended
	open     map[granary.InodeID]int // how often
	holders  map[string]*granary.Holder

	inlineMax  int
	blockSize  int
	extentsMax int    // in one layout; 0 for any number
	copyMax    uint64 // bytes that one CopyRange takes; 0 for any number

	writes   []fakeWrite                               // what WriteRanges was called with
	ops      []granary.Op                              // what Do and DoAll were called with
	keeps    bool                                      // the newest is known of all
	beside   map[granary.InodeID][]granary.InodeID     // what Beside answers
	prefetch []span                                    // what Prefetch was called with
	onWrite  func(ranges []client.Range) error         // before WriteRanges takes effect, without the lock
	onOp     func(op granary.Op) error                 // before an op takes effect, with the lock
	onQuery  func(q granary.Query)                     // without the lock
	onRead   func(l *granary.Layout, off uint64) error // without the lock
	atOnce   func(off uint64) int                      // how many bytes ReadAtOnce gives; nil: none
}

// Lock grants everything, in the session at hand.
func (f *fake) Lock(context.Context, granary.Cred, granary.AcquireLock) (client.Held, error) {
	return client.Held{Session: f.Session()}, nil
}

func (f *fake) Unlock(context.Context, granary.Cred, granary.ReleaseLock) error { return nil }

func (f *fake) TestLock(context.Context, granary.GetLock) (*granary.Lock, error) { return nil, nil }

func (f *fake) Session() granary.SessionID { return granary.SessionID(f.sessions.Load()) + 1 }

type fakeWrite struct {
	ranges []span
	atEnd  bool
	mtime  *granary.Time
	cred   granary.Cred
}

type fakeInode struct {
	attr    granary.Attr
	target  string
	data    []byte
	extents []granary.Extent
	names   map[string]granary.InodeID
	xattrs  map[string][]byte
}

const fakeFirst = 100

func newFake() *fake {
	f := &fake{
		inodes:  map[granary.InodeID]*fakeInode{},
		blocks:  map[granary.BlockID][]byte{},
		next:    fakeFirst,
		session: map[granary.InodeID]bool{},
		open:    map[granary.InodeID]int{},
		holders: map[string]*granary.Holder{},
		clock:   1_000_000, inlineMax: 16, blockSize: 1 << 10,
	}
	f.add(granary.RootInode, granary.TypeDirectory)
	b := f.add(granary.BucketsInode, granary.TypeDirectory)
	b.attr.Parent = granary.RootInode
	f.inodes[granary.RootInode].names[granary.BucketsName] = granary.BucketsInode
	return f
}

// testFS returns a FS over a fake, which is closed when the test ends.
func testFS(t *testing.T, o Options) (*FS, *fake) {
	t.Helper()
	f := newFake()
	if o.FlushAfter == 0 {
		o.FlushAfter = time.Hour // nothing is flushed unless the test says so
	}
	fs := newFS(o, f)
	t.Cleanup(func() { fs.Close(t.Context()) })
	return fs, f
}

func (f *fake) add(id granary.InodeID, typ granary.FileType) *fakeInode {
	in := &fakeInode{attr: granary.Attr{Inode: id, Type: typ, Nlink: 1, Mtime: f.clock, Ctime: f.clock}}
	if typ == granary.TypeDirectory {
		in.names = map[string]granary.InodeID{}
	}
	in.xattrs = map[string][]byte{}
	f.inodes[id] = in
	return in
}

func fakeErr(kind granary.Kind, op, subject string) *granary.Error {
	return granary.Errorf(kind, op, subject, "")
}

// step begins a new entry.
func (f *fake) step() {
	f.index++
	f.clock += granary.Time(time.Millisecond)
}

func (f *fake) touch(in *fakeInode) { in.attr.Version, in.attr.Ctime = f.index, f.clock }

// setData gives a file new content.
func (f *fake) setData(in *fakeInode, data []byte) {
	in.data, in.extents = data, nil
	in.attr.Size, in.attr.ContentVersion, in.attr.Mtime = uint64(len(data)), f.index, f.clock
	f.touch(in)
	if len(data) <= f.inlineMax {
		return
	}
	for off := 0; off < len(data); off += f.blockSize {
		f.next++
		id := granary.BlockID(f.next)
		f.blocks[id] = bytes.Clone(data[off:min(off+f.blockSize, len(data))])
		in.extents = append(in.extents, granary.Extent{Offset: uint64(off), Length: uint64(len(f.blocks[id])), Block: id})
	}
}

// moveBlocks gives every block of a file a new id, as the movers do.
func (f *fake) moveBlocks(id granary.InodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.inodes[id]
	for i := range in.extents {
		x := &in.extents[i]
		f.next++
		f.blocks[granary.BlockID(f.next)] = f.blocks[x.Block]
		delete(f.blocks, x.Block)
		x.Block = granary.BlockID(f.next)
	}
}

// put makes or changes a file as another client would.
func (f *fake) put(t *testing.T, parent granary.InodeID, name, data string) granary.InodeID {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.step()
	dir := f.inodes[parent]
	id, ok := dir.names[name]
	if !ok {
		f.next++
		id = parent.Dataset().Inode(f.next)
		dir.names[name] = id
		f.add(id, granary.TypeRegular)
	}
	f.setData(f.inodes[id], []byte(data))
	return id
}

// stored returns the committed bytes of a file.
func (f *fake) stored(id granary.InodeID) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if in := f.inodes[id]; in != nil {
		return string(in.data)
	}
	return "gone"
}

func (f *fake) attr(id granary.InodeID) granary.Attr {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inodes[id].attr
}

func (f *fake) exists(id granary.InodeID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inodes[id] != nil
}

func (f *fake) writesSeen() []fakeWrite {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.writes)
}

func (f *fake) Query(ctx context.Context, q granary.Query) (granary.Answer, error) {
	if f.onQuery != nil {
		f.onQuery(q)
	}
	if err := ctx.Err(); err != nil {
		return nil, granary.Errorf(granary.KindUnavailable, "query", "", "%w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch q := q.(type) {
	case *granary.Lookup:
		return f.lookup(q)
	case *granary.ReadDir:
		return f.readDir(q)
	case *granary.ResolveIdentity:
		h, ok := f.holders[q.AccessKey]
		switch {
		case !ok:
			return nil, fakeErr(granary.KindNotFound, "holder", q.AccessKey)
		case h.Version == q.Known:
			return &granary.Holder{Version: h.Version, Unchanged: true}, nil
		}
		return h, nil
	case *granary.StatFS:
		return &granary.FSStats{Files: uint64(len(f.inodes))}, nil
	}
	return nil, granary.Errorf(granary.KindNotSupported, "query", "", "%T", q)
}

func (f *fake) lookup(q *granary.Lookup) (granary.Answer, error) {
	id, parent, rest, name := q.Base, granary.InodeID(0), q.Path, ""
	in := f.inodes[id]
	for rest != "" {
		if in == nil {
			break
		}
		if in.names == nil {
			return nil, fakeErr(granary.KindNotDir, "lookup", q.Path)
		}
		name, rest, _ = strings.Cut(rest, "/")
		parent = id
		var ok bool
		if id, ok = in.names[name]; !ok {
			return nil, fakeErr(granary.KindNotFound, "lookup", q.Path)
		}
		if in = f.inodes[id]; in != nil && in.attr.Type == granary.TypeSymlink {
			break
		}
	}
	if in == nil {
		return nil, fakeErr(granary.KindNotFound, "lookup", id.String())
	}
	if q.Open && in.attr.Type == granary.TypeRegular && rest == "" {
		if in.attr.Nlink == 0 && f.open[id] == 0 {
			return nil, fakeErr(granary.KindNotFound, "lookup", id.String())
		}
		f.open[id]++
	}
	found := &granary.Found{Entry: granary.Entry{Name: name, Attr: in.attr, Target: in.target}, Parent: parent, Rest: rest}
	if q.Xattrs {
		for k, v := range in.xattrs {
			found.Xattrs = append(found.Xattrs, granary.Xattr{Name: k, Value: v})
		}
		slices.SortFunc(found.Xattrs, func(a, b granary.Xattr) int { return strings.Compare(a.Name, b.Name) })
	}
	if q.Layout != nil && in.attr.Type == granary.TypeRegular {
		found.Layout = f.layout(in, *q.Layout)
	}
	return found, nil
}

func (f *fake) layout(in *fakeInode, r granary.Range) *granary.Layout {
	l := &granary.Layout{Size: in.attr.Size, ContentVersion: in.attr.ContentVersion}
	if len(in.extents) == 0 {
		l.Inline = in.data
		return l
	}
	for _, x := range in.extents {
		if x.Offset+x.Length <= r.Offset || x.Offset >= r.Offset+r.Length {
			continue
		}
		if f.extentsMax > 0 && len(l.Extents) == f.extentsMax {
			l.Truncated = true
			break
		}
		l.Extents = append(l.Extents, x)
	}
	return l
}

func (f *fake) readDir(q *granary.ReadDir) (granary.Answer, error) {
	in := f.inodes[q.Inode]
	if in == nil || in.names == nil {
		return nil, fakeErr(granary.KindNotDir, "readdir", q.Inode.String())
	}
	key := func(name string, dir bool) string {
		if dir {
			return name + "/"
		}
		return name
	}
	var names []string
	for name, id := range in.names {
		if key(name, f.inodes[id].names != nil) > key(q.After, q.AfterDir) {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		return strings.Compare(key(a, f.inodes[in.names[a]].names != nil), key(b, f.inodes[in.names[b]].names != nil))
	})
	d := &granary.Directory{}
	for _, name := range names {
		if len(d.Entries) == 3 { // small pages
			d.More = true
			break
		}
		c := f.inodes[in.names[name]]
		d.Entries = append(d.Entries, granary.Entry{Name: name, Attr: c.attr, Target: c.target})
	}
	return d, nil
}

// Beside returns what the test says.
func (f *fake) Beside(id granary.InodeID, n int, _ uint64) []granary.InodeID {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.beside[id]
	return list[:min(n, len(list))]
}

// Closed takes back one opening by a Lookup or Create.
func (f *fake) OpenKept(id granary.InodeID, may func(*granary.Attr) bool) (granary.Attr, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	in := f.inodes[id]
	if !f.keeps || in == nil || !may(&in.attr) {
		return granary.Attr{}, false
	}
	f.open[id]++
	return in.attr, true
}

func (f *fake) Closed(id granary.InodeID, nameless bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open[id]--; f.open[id] > 0 {
		return
	}
	if f.open[id] < 0 {
		panic("closed more often than opened")
	}
	delete(f.open, id)
	if in := f.inodes[id]; in != nil {
		f.drop(in)
	}
}

func (f *fake) WriteRanges(ctx context.Context, cred granary.Cred, attr granary.Attr, ranges []client.Range, atEnd bool, mtime *granary.Time) (granary.Result, error) {
	if f.onWrite != nil {
		if err := f.onWrite(ranges); err != nil {
			return granary.Result{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.step()
	w := fakeWrite{atEnd: atEnd, mtime: mtime, cred: cred}
	for _, r := range ranges {
		w.ranges = append(w.ranges, span{r.Offset, r.Offset + uint64(len(r.Data))})
	}
	f.writes = append(f.writes, w)
	in := f.inodes[attr.Inode]
	if in == nil {
		return granary.Result{}, fakeErr(granary.KindNotFound, "commit", attr.Inode.String())
	}
	data, base := bytes.Clone(in.data), uint64(0)
	if atEnd {
		base = uint64(len(data))
	}
	for _, r := range ranges {
		end := base + r.Offset + uint64(len(r.Data))
		data = append(data, make([]byte, max(int(end)-len(data), 0))...)
		copy(data[base+r.Offset:], r.Data)
	}
	f.setData(in, data)
	if mtime != nil {
		in.attr.Mtime = *mtime
	}
	return granary.Result{Attr: in.attr, Offset: base}, nil
}

func (f *fake) ReadLayout(ctx context.Context, l *granary.Layout, p []byte, off uint64) error {
	if f.onRead != nil {
		if err := f.onRead(l, off); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if off+uint64(len(p)) > l.Size {
		return fakeErr(granary.KindInternal, "read", "beyond the size")
	}
	clear(p)
	if off < uint64(len(l.Inline)) {
		copy(p, l.Inline[off:])
	}
	covered := len(l.Extents) == 0
	for _, x := range l.Extents {
		from, to := max(x.Offset, off), min(x.Offset+x.Length, off+uint64(len(p)))
		if from >= to {
			continue
		}
		b, ok := f.blocks[x.Block]
		if !ok {
			return fakeErr(granary.KindStale, "read", "a block has moved")
		}
		covered = true
		copy(p[from-off:to-off], b[from-x.Offset:])
	}
	if !covered && l.Truncated {
		return fakeErr(granary.KindInternal, "read", "beyond the layout")
	}
	return nil
}

func (f *fake) ReadAtOnce(l *granary.Layout, buf []byte, off, end uint64) []byte {
	if f.atOnce == nil || off >= end {
		return nil
	}
	p := buf[:min(len(buf), int(end-off), f.atOnce(off))]
	if err := f.ReadLayout(context.Background(), l, p, off); err != nil {
		return nil
	}
	return p
}

func (f *fake) Prefetch(l *granary.Layout, off, length uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.prefetch = append(f.prefetch, span{off, off + length})
}

// fakeUpload gathers bytes, and publishes them as an anonymous inode.
type fakeUpload struct {
	f    *fake
	ctx  context.Context
	o    client.UploadOptions
	data bytes.Buffer
	done bool
}

func (f *fake) NewUpload(ctx context.Context, o client.UploadOptions) (uploader, error) {
	return &fakeUpload{f: f, ctx: ctx, o: o}, nil
}

// Policy and ClassPolicy know the default policy alone, and no class.
func (f *fake) Policy(context.Context, granary.PolicyID) (granary.Policy, error) {
	return granary.DefaultPolicy(), nil
}

func (f *fake) ClassPolicy(_ context.Context, _ granary.PolicyID, class string) (granary.PolicyID, error) {
	return 0, fakeErr(granary.KindNotSupported, "storage class", class)
}

func (u *fakeUpload) Write(p []byte) (int, error) { return u.data.Write(p) }

func (u *fakeUpload) Finish(xattrs func() ([]granary.Xattr, error)) (granary.Result, error) {
	op := u.o.Create
	if xattrs != nil {
		last, err := xattrs()
		if err != nil {
			return granary.Result{}, err
		}
		op.Xattrs = append(slices.Clone(op.Xattrs), last...)
	}
	op.Content = &granary.Content{Inline: u.data.Bytes()}
	u.done = true
	return u.f.Do(u.ctx, u.o.Cred, &op)
}

func (u *fakeUpload) Abort() { u.done = true }

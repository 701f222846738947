package filer

import (
	"context"
	"io"
	"slices"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/seal"
)

// streamStep is how many bytes a stream hands on at a time.
const streamStep = 256 << 10

// atOnceLeast is the least stream of which is read what is there at once. Chunks of shorter ones are better kept in the cache.
const atOnceLeast = 64 << 10

// File is one version of a regular file, open for reading. If the content changes, what would mix
// two versions fails with KindStale. It is safe for concurrent use.
type File struct {
	Info *Info // as it was when the file was opened; with Xattrs

	fs   *FS
	path string          // that it was opened by
	ctx  context.Context // of the one who opened it
	stop context.CancelFunc

	record *seal.Record // how it is encrypted; nil: it is plain

	mu      sync.Mutex
	layouts layouts
	content *seal.Content // decrypts it; nil: it is plain, or locked
	asIs    bool          // what is stored is to be read
}

// OpenFile opens a regular file for reading, with one query for path, attributes, xattrs and the
// first layout. The context bounds the life of the File.
func (fs *FS) OpenFile(ctx context.Context, root granary.InodeID, path string, follow bool) (*File, error) {
	rel, err := relative("open", path)
	if err != nil {
		return nil, err
	}
	return fs.open(ctx, root, rel, path, follow, granary.Lookup{})
}

// OpenKey is OpenFile for a version of the object of a key; 0 for the newest. One that is encrypted with a customer's key is opened, too; it
// is read after Unlock.
func (fs *FS) OpenKey(ctx context.Context, root granary.InodeID, key string, object granary.ObjectVersion) (*File, error) {
	rel, err := relativeOrKey("open", key, true)
	if err != nil {
		return nil, err
	}
	return fs.openLocked(ctx, root, rel, key, true, granary.Lookup{Key: true, Object: object})
}

// open opens what a path or key leads to, which errors call by a name. It can be read at once.
func (fs *FS) open(ctx context.Context, root granary.InodeID, rel, path string, follow bool, q granary.Lookup) (*File, error) {
	f, err := fs.openLocked(ctx, root, rel, path, follow, q)
	if err != nil || f.record == nil {
		return f, err
	}
	if err := f.Unlock(nil); err != nil {
		_ = f.Close() // never fails
		return nil, err
	}
	return f, nil
}

// Unlock has the file decrypted, with a customer's key, or one of the cluster if it is nil: KindPermission if that is not the one, and
// KindInvalid for a customer's key that is not wanted. What is plain needs no key.
func (f *File) Unlock(customer *seal.Key) error {
	if f.record == nil {
		if customer != nil {
			return granary.Errorf(granary.KindInvalid, "decrypt", f.path, "the content is not encrypted with a key of the customer")
		}
		return nil
	}
	data, err := f.fs.dataKey(f.ctx, f.record, customer)
	if err != nil {
		return undecryptable(f.path, err)
	}
	content, err := f.record.Content(data)
	if err != nil {
		return undecryptable(f.path, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content = content
	return nil
}

// stored returns the file as it is stored: of one that is encrypted, ciphertext is read.
func (f *File) stored() *File {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &File{Info: f.Info, fs: f.fs, path: f.path, ctx: f.ctx, stop: f.stop, layouts: layouts{slices.Clone(f.layouts.list)}, asIs: true}
}

// openLocked is open, but that what is encrypted is not read before Unlock.
func (fs *FS) openLocked(ctx context.Context, root granary.InodeID, rel, path string, follow bool, q granary.Lookup) (*File, error) {
	found, err := fs.findFile(ctx, root, rel, follow, q)
	if err != nil {
		return nil, err
	}
	if err := openable(&found.Entry.Attr); err != nil {
		return nil, err
	}
	if found.Layout == nil || found.Layout.ContentVersion != found.Entry.Attr.ContentVersion {
		return nil, granary.Errorf(granary.KindInternal, "open", path, "the answer has no layout of its version")
	}
	record, err := recordOf(found)
	if err != nil {
		return nil, err
	}
	f := &File{Info: infoOf(found), fs: fs, path: path, record: record}
	f.layouts.add(windowOf(found, 0, layoutSpan))
	f.ctx, f.stop = context.WithCancel(ctx)
	return f, nil
}

// findFile walks to a file. What is dirty here is flushed first.
func (fs *FS) findFile(ctx context.Context, root granary.InodeID, rel string, follow bool, q granary.Lookup) (*granary.Found, error) {
	q.Xattrs, q.Layout, q.Stored, q.Access = true, &granary.Range{Length: layoutSpan}, true, granary.AccessRead
	w := walker{m: fs.store, root: root}
	found, err := w.walk(ctx, rel, follow, q)
	if err != nil {
		return nil, err
	}
	flushed, err := fs.flushInode(ctx, found.Entry.Attr.Inode)
	if err != nil || !flushed {
		return found, err
	}
	w = walker{m: fs.store, root: root}
	return w.walk(ctx, rel, follow, q)
}

// flushInode commits what is dirty of an inode, and reports whether there was anything.
func (fs *FS) flushInode(ctx context.Context, ino granary.InodeID) (bool, error) {
	in := fs.peek(ino)
	if in == nil {
		return false, nil
	}
	defer fs.put(in)
	in.mu.Lock()
	pending := in.pending()
	in.mu.Unlock()
	return pending, in.flush(ctx)
}

// Size returns the length of the file in bytes.
func (f *File) Size() int64 { return int64(f.Info.Attr.Size) }

// ReadAt implements io.ReaderAt.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, granary.Errorf(granary.KindInvalid, "read", f.Info.Name, "at offset %d", off)
	}
	if err := f.locked(); err != nil {
		return 0, err
	}
	n := int(min(int64(len(p)), max(f.Size()-off, 0)))
	if err := f.fs.readWindows(f.ctx, f, p[:n], uint64(off)); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// locked refuses to read what is encrypted and was not unlocked.
func (f *File) locked() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.record == nil || f.content != nil {
		return nil
	}
	return granary.Errorf(granary.KindPermission, "read", f.path, "its content is encrypted, and no key was given")
}

// Close gives the file up: reads under way end.
func (f *File) Close() error {
	f.stop()
	return nil
}

// window implements windows. Every window is of the version that was opened.
func (f *File) window(ctx context.Context, off uint64) (window, error) {
	if w, ok := f.cached(off); ok {
		return f.opened(w), nil
	}
	w, _, err := fetchWindow(ctx, f.fs.store, f.Info.Attr.Inode, off)
	switch {
	case granary.IsKind(err, granary.KindNotFound):
		return window{}, granary.Errorf(granary.KindStale, "read", f.Info.Name, "it was removed: %w", err)
	case err != nil:
		return window{}, err
	case w.layout.ContentVersion != f.Info.Attr.ContentVersion:
		return window{}, granary.Errorf(granary.KindStale, "read", f.Info.Name, "its content has changed")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.layouts.add(w)
	w.content, w.encrypted = f.content, w.encrypted && !f.asIs
	return w, nil
}

// opened returns a window as it is to be read.
func (f *File) opened(w window) window {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.content, w.encrypted = f.content, w.encrypted && !f.asIs
	return w
}

func (f *File) cached(off uint64) (window, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.layouts.find(off)
}

// name implements windows.
func (f *File) name() string { return f.path }

// forget implements windows.
func (f *File) forget(w window) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.layouts.remove(w.layout)
}

// NewReader returns a stream of length bytes from off (to the end of the file if length is
// negative), which reads ahead. It implements io.WriterTo. A range beyond the end is cut there.
func (f *File) NewReader(off, length int64) io.ReadCloser {
	off = min(max(off, 0), f.Size())
	end := f.Size()
	if length >= 0 && length < end-off {
		end = off + length
	}
	return &reader{file: f, off: off, end: end, ahead: off}
}

// reader is a stream of a range of a File.
type reader struct {
	file  *File
	off   int64
	end   int64
	ahead int64 // fetched up to here
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.off >= r.end {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	r.readAhead()
	n, err := r.file.ReadAt(p[:min(int64(len(p)), r.end-r.off)], r.off)
	r.off += int64(n)
	return n, err
}

// readAhead keeps a good piece of what follows on its way.
func (r *reader) readAhead() {
	r.ahead = max(r.ahead, r.off)
	if r.end-r.off <= streamStep || r.ahead >= min(r.off+readAheadMin, r.end) {
		return
	}
	if w, ok := r.file.cached(uint64(r.ahead)); ok {
		until := w.prefetch(r.file.fs.store, uint64(r.ahead), uint64(min(r.off+readAheadMax, r.end)))
		r.ahead = max(r.ahead, int64(until))
	}
}

// WriteTo implements io.WriterTo.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	left := r.end - r.off
	if left <= 0 {
		return 0, nil
	}
	buf := r.file.fs.buffers.get(int(min(streamStep, left)))
	defer r.file.fs.buffers.put(buf)
	buf = buf[:cap(buf)]
	var written int64
	for {
		p, err := r.next(buf, left >= atOnceLeast)
		if len(p) > 0 {
			m, werr := w.Write(p)
			written += int64(m)
			if werr != nil {
				return written, werr
			}
		}
		switch {
		case err == io.EOF:
			return written, nil
		case err != nil:
			return written, err
		}
	}
}

// next returns what comes next, in buf: what is to be had at once, if that is tried, and else what a Read gives.
func (r *reader) next(buf []byte, atOnce bool) ([]byte, error) {
	if atOnce && r.off < r.end {
		p, err := r.file.atOnce(buf, uint64(r.off), uint64(r.end))
		if len(p) > 0 || err != nil {
			r.off += int64(len(p))
			return p, err
		}
	}
	n, err := r.Read(buf)
	return buf[:n], err
}

// atOnce returns bytes from off on and before end, in buf, as far as they can be had without waiting.
func (f *File) atOnce(buf []byte, off, end uint64) ([]byte, error) {
	if err := f.ctx.Err(); err != nil {
		return nil, canceled(f.ctx, "read", f.path)
	}
	w, err := f.window(f.ctx, off)
	if err != nil {
		return nil, nil // who reads it otherwise will hear, or wait
	}
	if w.encrypted {
		return nil, nil
	}
	return f.fs.store.ReadAtOnce(w.layout, buf, off, min(end, w.end, w.layout.Size)), nil
}

// Close implements io.Closer. The File stays open.
func (r *reader) Close() error {
	r.off = r.end
	return nil
}

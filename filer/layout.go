package filer

import (
	"context"
	"math"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/seal"
)

const (
	layoutSpan   = 64 << 20 // bytes of a file whose layout is fetched at once
	layoutsMax   = 8        // windows kept for one inode
	staleRetries = 3        // layouts fetched anew because blocks have moved, for one place of a file
)

// window is a layout and the range of the file that it covers.
type window struct {
	span
	layout    *granary.Layout
	encrypted bool          // what is stored is ciphertext …
	content   *seal.Content // … which this decrypts; nil: it is not to be read
}

// windowOf makes a window of the answer to a question for the span from off.
func windowOf(found *granary.Found, off, length uint64) window {
	l := found.Layout
	w := window{span: span{off, off + length}, layout: l, encrypted: found.Entry.Attr.Flags&granary.FlagEncrypted != 0}
	switch {
	case l.Truncated && len(l.Extents) > 0:
		last := l.Extents[len(l.Extents)-1]
		w.end = last.Offset + last.Length
	case l.Truncated:
		w.end = off
	case w.end >= l.Size:
		w.end = math.MaxUint64 // zeros, as far as anybody may look
	}
	return w
}

func (w window) contains(off uint64) bool { return w.off <= off && off < w.end }

// read reads the part of p that the window covers, and returns how much that is. Bytes after the
// end of the file are zeros.
func (w window) read(ctx context.Context, c content, p []byte, off uint64) (int, error) {
	p = p[:min(uint64(len(p)), w.end-off)]
	inside := p[:min(uint64(len(p)), max(w.layout.Size, off)-off)]
	if len(inside) > 0 {
		if w.encrypted && w.content == nil {
			return 0, granary.Errorf(granary.KindInternal, "read", "", "what is stored is ciphertext, and nothing is there to decrypt it")
		}
		if err := c.ReadLayout(ctx, w.layout, inside, off); err != nil {
			return 0, err
		}
		if w.encrypted {
			if err := w.content.Decrypt(inside, off); err != nil {
				return 0, err
			}
		}
	}
	clear(p[len(inside):])
	return len(p), nil
}

// prefetch starts reading what the window has of a range, and returns where that ends.
func (w window) prefetch(c content, off, end uint64) uint64 {
	end = min(end, w.end, w.layout.Size)
	if end > off {
		c.Prefetch(w.layout, off, end-off)
	}
	return end
}

// fetchWindow asks for the window that covers off, and for the attributes as they are at the time.
func fetchWindow(ctx context.Context, m metadata, ino granary.InodeID, off uint64) (window, *granary.Found, error) {
	start := off - off%granary.ExtentWindowSize
	for {
		found, err := ask[*granary.Found](ctx, m, &granary.Lookup{
			Base: ino, Stored: true, Layout: &granary.Range{Offset: start, Length: layoutSpan},
		})
		if err != nil {
			return window{}, nil, err
		}
		if found.Layout == nil {
			return window{}, nil, granary.Errorf(granary.KindInternal, "layout", ino.String(), "the answer has none")
		}
		w := windowOf(found, start, layoutSpan)
		if w.contains(off) {
			return w, found, nil
		}
		if start == off {
			return window{}, nil, granary.Errorf(granary.KindInternal, "layout", ino.String(), "nothing is known at offset %d", off)
		}
		start = off
	}
}

// windows gives the windows of one file.
type windows interface {
	// window returns the window that covers off.
	window(ctx context.Context, off uint64) (window, error)
	// forget makes the next call of window ask again.
	forget(w window)
	// name names the file in errors.
	name() string
}

// readWindows fills p. Windows that turn out to be out of date are fetched again, and so are those of volumes whose servers do
// not answer, as long as the FS has patience.
func (fs *FS) readWindows(ctx context.Context, ws windows, p []byte, off uint64) error {
	var wait stall
	defer wait.end()
	for retries := 0; len(p) > 0; {
		w, err := ws.window(ctx, off)
		if err != nil {
			return err
		}
		n, err := w.read(ctx, fs.store, p, off)
		if err == nil {
			p, off, retries = p[n:], off+uint64(n), 0
			continue
		}
		if granary.IsKind(err, granary.KindStale) && retries < staleRetries {
			retries++
			ws.forget(w)
			continue
		}
		if wait.fs == nil {
			wait = fs.newStall(time.Now())
		}
		err = unreadable(ws.name(), off, err)
		if !wait.again(ctx, "read", err) {
			return err
		}
		ws.forget(w) // it may have been repaired elsewhere
	}
	return nil
}

// unreadable names the file that could not be read. Blocks that are not where an answer said that was asked for just now have not
// moved: they are gone, at least as long as their disks are.
func unreadable(name string, off uint64, err error) error {
	kind := granary.KindOf(err)
	if kind == granary.KindStale {
		kind = granary.KindUnavailable
	}
	return granary.Errorf(kind, "read", name, "at offset %d: %w", off, err)
}

// layouts are windows of one file, all of one content version (invariant 5).
type layouts struct{ list []window }

func (l *layouts) clear() { l.list = nil }

func (l *layouts) find(off uint64) (window, bool) {
	for _, w := range l.list {
		if w.contains(off) {
			return w, true
		}
	}
	return window{}, false
}

// add keeps a window, in place of the oldest if there are too many.
func (l *layouts) add(w window) {
	if len(l.list) >= layoutsMax {
		l.list = append(l.list[:0:0], l.list[1:]...)
	}
	l.list = append(l.list, w)
}

func (l *layouts) remove(layout *granary.Layout) {
	kept := l.list[:0:0]
	for _, w := range l.list {
		if w.layout != layout {
			kept = append(kept, w)
		}
	}
	l.list = kept
}

package filer

import (
	"context"
	"io"

	"github.com/dsorchard/granary"
)

const (
	readAheadAfter = 256 << 10 // bytes read in sequence before reading ahead begins
	readAheadMin   = 8 << 20   // bytes ahead of a reader of a stream at which more is fetched
	readAheadMax   = 16 << 20  // bytes ahead of the reader up to which is fetched
	readAheadSlack = 1 << 20   // how far from its place a read may be and still count as the next

	// A reader who jumps by the same distance stridesAfter times is taken to go on. What it reads next is fetched stridesAhead jumps ahead,
	// if it reads so much at a time that whole chunks are read for it anyway.
	stridesAfter = 2
	stridesAhead = 4
	strideLeast  = 64 << 10
)

// read reads len(p) bytes at off, fewer only at the end of the file, with io.EOF.
//
// What is dirty is copied first, and the store is asked for the gaps after that. So each byte is one
// that the file had at some time during the read: dirty data that is committed meanwhile is in p
// already, and the store's answer is at least as new as what was known then.
func (in *inode) read(ctx context.Context, p []byte, off uint64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	in.mu.Lock()
	n := in.clip(len(p), off)
	gaps := []span{{off, off + uint64(n)}}[:min(n, 1)]
	for _, d := range in.all() {
		gaps = d.fill(p, off, gaps)
	}
	unborn := in.fs.held.isUnborn(in.id)
	in.mu.Unlock()
	if unborn { // all that there is was dirty
		for _, g := range gaps {
			clear(p[g.off-off : g.end-off])
		}
		gaps = nil
	}
	for _, g := range gaps {
		if err := in.fs.readWindows(ctx, in, p[g.off-off:g.end-off], g.off); err != nil {
			return 0, err
		}
	}
	if len(gaps) > 0 { // the file may have turned out to be shorter
		in.mu.Lock()
		n = in.clip(n, off)
		in.mu.Unlock()
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// clip returns how many of n bytes at off lie in the file. The caller holds mu.
func (in *inode) clip(n int, off uint64) int {
	size := in.size()
	return int(min(uint64(n), max(size, off)-off))
}

// window implements windows.
func (in *inode) window(ctx context.Context, off uint64) (window, error) {
	in.mu.Lock()
	w, ok := in.layouts.find(off)
	in.mu.Unlock()
	if ok {
		return w, nil
	}
	if w, ok := in.earlyWindow(ctx, off); ok {
		return w, nil
	}
	in.askBeside()
	w, found, err := fetchWindow(ctx, in.fs.store, in.id, off)
	switch {
	case granary.IsKind(err, granary.KindNotFound):
		return window{}, granary.Errorf(granary.KindStale, "read", in.id.String(), "the file was removed elsewhere: %w", err)
	case err != nil:
		return window{}, err
	}
	if w.encrypted {
		if w.content, err = in.fs.contentOf(ctx, found); err != nil {
			return window{}, err
		}
	}
	in.learn(found, w)
	return w, nil
}

// name implements windows.
func (in *inode) name() string { return in.id.String() }

// forget implements windows.
func (in *inode) forget(w window) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.layouts.remove(w.layout)
}

// learn takes over what the store answered, unless newer is known.
func (in *inode) learn(found *granary.Found, w window) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.adopt(found.Entry.Attr)
	if w.layout != nil && w.layout.ContentVersion == in.attr.ContentVersion {
		in.layouts.add(w)
	}
}

package filer

import (
	"context"
	"sync"

	"github.com/dsorchard/granary"
)

const (
	earlyMax   = 256     // files that are remembered, whether or not they have been read since
	earlyOnce  = 32      // that are asked for together
	earlySaved = 64      // that may be asked for, at most
	earlyNext  = 8       // that a file allows for that is read after another of its directory
	earlyUsed  = 2       // that one allows for which turned out to be of use
	earlySize  = 1 << 20 // bytes of a file, at most
)

// early is about small files that are read one after the other, as who walks a tree reads them. For each the masters have to be asked where its
// content lies, and then volume servers for that. So where one file of a directory is read after another, it is asked about more of them at once,
// and their content is fetched. How many depends on how many of those before were of use.
//
// A layout is of a content version. It is used for a file that has the very version, as a layout that was asked for when the file was opened is: it
// says what is in the file, however old it is. Blocks that have moved meanwhile are asked for anew (KindStale).
type early struct {
	mu     sync.Mutex
	dir    granary.InodeID // of the file that was asked about last
	credit int             // files that may be asked about
	files  map[granary.InodeID]*earlyFile
	order  []*earlyFile // the oldest first
}

// earlyFile is what was asked about a file.
type earlyFile struct {
	id    granary.InodeID
	done  chan struct{}  // closed when there is an answer; nil for what was asked about when it was wanted
	found *granary.Found // nil if none could be had
	used  bool           // it has been taken
}

func newEarly() *early { return &early{files: map[granary.InodeID]*earlyFile{}} }

// allow returns how many files may be asked about, now that one of a directory had to be.
func (e *early) allow(dir, file granary.InodeID) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.files[file] == nil {
		e.remember(&earlyFile{id: file, used: true})
	}
	if dir != e.dir {
		e.dir = dir
	} else {
		e.credit = min(e.credit+earlyNext, earlySaved)
	}
	return min(e.credit, earlyOnce)
}

// add takes in files that are to be asked about, and returns those that were not yet.
func (e *early) add(ids []granary.InodeID) (files []*earlyFile) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range ids {
		if e.files[id] != nil || e.credit == 0 {
			continue
		}
		e.credit--
		f := &earlyFile{id: id, done: make(chan struct{})}
		e.remember(f)
		files = append(files, f)
	}
	return files
}

// remember takes in a file, in place of the oldest if there are too many. The caller holds mu.
func (e *early) remember(f *earlyFile) {
	e.files[f.id] = f
	e.order = append(e.order, f)
	for len(e.order) > earlyMax {
		delete(e.files, e.order[0].id)
		e.order[0] = nil
		e.order = e.order[1:]
	}
}

// take returns what was asked about a file, once; nil for nothing. There may be no answer yet.
func (e *early) take(id granary.InodeID) *earlyFile {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.files[id]
	if f == nil || f.used {
		return nil
	}
	f.used = true
	e.credit = min(e.credit+earlyUsed, earlySaved)
	return f
}

// earlyWindow returns the window that was asked for before anybody wanted it, if there is one, and it is of what the file holds.
func (in *inode) earlyWindow(ctx context.Context, off uint64) (window, bool) {
	f := in.fs.early.take(in.id)
	if f == nil {
		return window{}, false
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return window{}, false
	}
	if f.found == nil {
		return window{}, false
	}
	w := windowOf(f.found, 0, layoutSpan)
	in.mu.Lock()
	defer in.mu.Unlock()
	if w.encrypted || !w.contains(off) || w.layout.ContentVersion != in.attr.ContentVersion {
		return window{}, false
	}
	in.layouts.add(w)
	return w, true
}

// askBeside asks about files that may be read next, now that nothing was known of this one.
func (in *inode) askBeside() {
	fs := in.fs
	in.mu.Lock()
	dir := in.attr.Parent
	in.mu.Unlock()
	if dir == 0 || fs.ctx.Err() != nil {
		return
	}
	n := fs.early.allow(dir, in.id)
	if n == 0 {
		return
	}
	for _, f := range fs.early.add(fs.store.Beside(in.id, n, earlySize)) {
		fs.wg.Go(func() { fs.askEarly(f) })
	}
}

// askEarly asks about a file, and begins to fetch its content. Questions that are asked at the same time share a call.
func (fs *FS) askEarly(f *earlyFile) {
	defer close(f.done)
	found, err := ask[*granary.Found](fs.ctx, fs.store, &granary.Lookup{Base: f.id, Stored: true, Layout: &granary.Range{Length: layoutSpan}})
	if err != nil || found.Layout == nil || found.Entry.Attr.Type != granary.TypeRegular {
		return // who reads it will hear
	}
	f.found = found
	fs.store.Prefetch(found.Layout, 0, min(found.Layout.Size, earlySize))
}

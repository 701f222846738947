package filer

import (
	"context"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// inode is what the FS holds of a file that is open here or has dirty data here. All handles share
// it (invariant 1).
//
// Locks are taken in this order: slot, mu, FS.mu.
type inode struct {
	fs *FS
	id granary.InodeID

	// slot holds a token while somebody commits dirty data, or changes size or mtime (invariant 2).
	// It is a channel, so that waiting for it ends with a context.
	slot chan struct{}

	refs   int  // under FS.mu: handles, calls under way, a place in FS.dirty
	queued bool // under FS.mu: a background flush is about to run or runs

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when dirty data has gone or an error has come
	attr    granary.Attr  // the newest committed one known; Version 0 for none
	layouts layouts
	handles int
	opened  bool // with the master, which keeps the file for us without a name until the state goes
	// anonymous says that the session keeps the file until it is released or gets its first name.
	anonymous bool

	// Dirty data. Appends begin where the file seemed to end, and never overlap other dirty data: a
	// write that would, waits until they are committed. What is being committed flies: it still
	// serves reads, is never changed, and comes back if the commit fails.
	dirty, appends             dirty
	dirtyFlying, appendsFlying dirty

	cred      granary.Cred  // of the last writer
	since     time.Time     // of the oldest dirty data; zero if there is none
	wrote     granary.Time  // of the newest write, by our clock
	keepMtime *granary.Time // set explicitly after the newest write: the flush must leave it
	hurry     bool          // a writer waits for room
	listed    bool          // is in FS.dirty
	charged   int64         // bytes of memory that FS.memory counts for this inode

	failures uint64        // background or foreground flushes that failed
	err      error         // of the last of them
	unseen   bool          // no handle has returned err yet
	retryAt  time.Time     // when the background may try again
	backoff  time.Duration // its last pause
	stalled  time.Time     // when volume servers began not to answer; zero if they do
}

// Bits of a mode.
const (
	setuid      = 0o4000
	setgid      = 0o2000
	runsAsGroup = setgid | 0o010
)

// get returns the state of an inode, made if need be. Whoever gets it puts it.
func (fs *FS) get(id granary.InodeID) *inode {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	in := fs.inodes[id]
	if in == nil {
		in = &inode{fs: fs, id: id, slot: make(chan struct{}, 1), changed: make(chan struct{})}
		for _, d := range in.all() {
			d.size, d.buffers = fs.pieceSize, fs.buffers
		}
		fs.inodes[id] = in
	}
	in.refs++
	return in
}

// peek returns the state of an inode if there is one, and otherwise nil. Whoever gets it puts it.
func (fs *FS) peek(id granary.InodeID) *inode {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	in := fs.inodes[id]
	if in != nil {
		in.refs++
	}
	return in
}

// put gives the state back; with its last user it goes, and the file is not open here any more.
func (fs *FS) put(in *inode) {
	fs.mu.Lock()
	in.refs--
	last := in.refs == 0
	if last {
		delete(fs.inodes, in.id)
	}
	fs.mu.Unlock()
	if last && in.opened {
		fs.store.Closed(in.id, in.nameless())
	}
}

// opens takes in that the master counts the file as open here: once, however many handles there are.
func (fs *FS) opens(in *inode) {
	in.mu.Lock()
	again := in.opened
	in.opened = true
	in.mu.Unlock()
	if again {
		fs.store.Closed(in.id, false)
	}
}

func (in *inode) all() [4]*dirty {
	return [4]*dirty{&in.dirty, &in.appends, &in.dirtyFlying, &in.appendsFlying}
}

// acquire takes the slot. The master knows the file then.
func (in *inode) acquire(ctx context.Context, op string) error {
	if err := in.fs.held.known(ctx, in.id); err != nil {
		return err
	}
	select {
	case in.slot <- struct{}{}:
		return nil
	default:
	}
	ctx, done := killable(ctx)
	defer done()
	select {
	case in.slot <- struct{}{}:
		return nil
	case <-ctx.Done():
		return canceled(ctx, op, in.id.String())
	}
}

func (in *inode) release() { <-in.slot }

// The methods below need mu.

// nameless reports whether the file is known to have no name: for ever, unless it is anonymous and linked.
func (in *inode) nameless() bool { return in.attr.Version != 0 && in.attr.Nlink == 0 }

// pending reports whether there is anything not yet committed.
func (in *inode) pending() bool {
	for _, d := range in.all() {
		if !d.empty() {
			return true
		}
	}
	return false
}

// size returns the size of the file as seen here.
func (in *inode) size() uint64 {
	size := in.attr.Size
	for _, d := range in.all() {
		size = max(size, d.end())
	}
	return size
}

// appendStart returns where the appends not yet committed begin, if there are any.
func (in *inode) appendStart() (uint64, bool) {
	for _, d := range [...]*dirty{&in.appendsFlying, &in.appends} {
		if !d.empty() {
			return d.pieces[0].off, true
		}
	}
	return 0, false
}

// appendEnd returns where the next append goes, as seen here.
func (in *inode) appendEnd() uint64 {
	if end := max(in.appends.end(), in.appendsFlying.end()); end > 0 {
		return end
	}
	return in.size()
}

// adopt takes over attributes that came from the store, unless newer ones are known.
func (in *inode) adopt(a granary.Attr) {
	if a.Inode != in.id || a.Version < in.attr.Version {
		return
	}
	if a.ContentVersion != in.attr.ContentVersion {
		in.layouts.clear()
	}
	in.attr = a
}

// view returns the attributes as seen here.
func (in *inode) view() granary.Attr {
	a := in.attr
	if !in.pending() {
		return a
	}
	a.Size = in.size()
	a.Mtime = max(a.Mtime, in.wrote)
	if in.keepMtime != nil {
		a.Mtime = *in.keepMtime
	}
	a.Ctime = max(a.Ctime, in.wrote)
	if in.cred.UID != 0 {
		a.Mode &^= setuid // the commit takes them
		if a.Mode&runsAsGroup == runsAsGroup {
			a.Mode &^= setgid
		}
	}
	return a
}

// settle accounts for a change of the dirty data, and tells who waits for one.
func (in *inode) settle() {
	pending := in.pending()
	if !pending {
		in.since, in.keepMtime, in.hurry = time.Time{}, nil, false
	}
	in.charge(pending)
	close(in.changed)
	in.changed = make(chan struct{})
}

// charge tells the FS how much memory the dirty data takes now, and whether there is any.
func (in *inode) charge(pending bool) {
	mem := in.mem()
	if pending && in.fs.held.isUnborn(in.id) {
		pending = false // it is in the log, which is told in time
	}
	if mem == in.charged && pending == in.listed {
		return
	}
	in.fs.account(in, mem-in.charged, pending)
	in.charged = mem
}

// late reports whether there is something dirty that the file will not be made with, since the master is being told of it already.
func (in *inode) late() bool {
	return !(in.dirty.empty() && in.appends.empty()) && in.fs.held.flies(in.id)
}

// mem returns the bytes of memory that dirty data takes.
func (in *inode) mem() int64 {
	var mem int64
	for _, d := range in.all() {
		mem += d.mem
	}
	return mem
}

// fail records the error of a flush. A file that is no more is stale, not unknown, to its handles.
func (in *inode) fail(err error) {
	in.failures++
	if granary.IsKind(err, granary.KindNotFound) {
		err = granary.Errorf(granary.KindStale, "flush", in.id.String(), "the file was removed elsewhere: %w", err)
	}
	in.err, in.unseen = err, true
	in.backoff = min(max(2*in.backoff, in.fs.flushAfter), retryMax)
	in.retryAt = time.Now().Add(in.backoff)
}

// merge returns attributes that came from the store as seen here.
func (fs *FS) merge(a granary.Attr) granary.Attr {
	in := fs.peek(a.Inode)
	if in == nil {
		return a
	}
	defer fs.put(in)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.adopt(a)
	return in.view()
}

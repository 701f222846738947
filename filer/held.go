package filer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// holder is a store in which directories can be held: a client.
type holder interface {
	// Held is the session that holds directories, and until when it certainly lives. Without a session it is 0.
	Held() (granary.SessionID, time.Time)
	DoIn(ctx context.Context, id granary.SessionID, requests []granary.Request) ([]granary.Result, error)
	Stage(ctx context.Context, attr granary.Attr, ranges []client.Range) (staged, error)
}

// staged is a client.Staged.
type staged interface {
	Content(ctx context.Context) (*granary.Content, error)
	Again(ctx context.Context, r granary.Result) (bool, error)
	Committed()
	Release()
}

func (s clientStore) Stage(ctx context.Context, attr granary.Attr, ranges []client.Range) (staged, error) {
	return s.Client.Stage(ctx, attr, ranges)
}

// holdings are the directories that a FS holds: what is done in them is done here, and logged; the log is told to the master in
// its order, in groups. Whatever is not certain here is done as ever, after all that is logged was told, while the directory is
// frozen: nobody else here does anything in it.
//
// Of what is in a directory that is held the FS knows all names. Of an inode it decides here only if it made it and nobody else can
// have come to know of it: it is own. Until it is told, it is unborn: its content is in the write buffer, its attributes are here.
//
// Locks are taken in this order: telling, inode.slot, inode.mu, mu, FS.mu.
type holdings struct {
	fs    *FS
	by    holder
	shown atomic.Pointer[func([]granary.InodeID, bool)] // see FS.Changed

	telling sync.Mutex // held by who tells the log
	wake    chan struct{}
	wanted  chan granary.InodeID // directories to be taken

	mu      sync.Mutex
	changed *sync.Cond // something was thawed, taken, given back, or has left
	session granary.SessionID
	ordered uint64        // requests told
	fence   granary.Index // the newest token
	last    granary.Time  // the newest stamp
	dirs    map[granary.InodeID]*heldDir
	nodes   map[granary.InodeID]*heldNode
	shared  map[granary.InodeID]struct{} // inodes that are not own any more, though a name says so
	log     []*logged
	told    uint64 // how many have left the log
	pressed bool   // it is to be told soon
	broken  bool   // something was lost: the directories are given back
	lost    error  // what was not told, and nobody has been told so yet
	leases  []idLease

	plain   map[granary.InodeID]int  // operations under way in directories that are not held
	taking  map[granary.InodeID]bool // directories that are being taken
	tallies map[granary.InodeID]*tally
	cooling map[granary.InodeID]time.Time // until when not to ask for a directory
}

// heldDir is a directory that is held.
type heldDir struct {
	id     granary.InodeID
	attr   granary.Attr
	names  map[string]heldName
	frozen bool
	stale  bool // attr may be older than what the master has
	used   time.Time
}

// heldName is a name in a directory that is held.
type heldName struct {
	inode granary.InodeID
	typ   granary.FileType
	own   bool
}

// heldNode is an inode of which something is logged.
type heldNode struct {
	birth   *logged // its Create, if that is logged
	attr    granary.Attr
	target  string
	pending int  // requests in the log that concern it
	grouped bool // it has the group of its directory, whoever makes it
	flying  bool // its Create is being told: what it is made with is settled
}

// logged is a request that was done and is to be told.
type logged struct {
	granary.Request
	since  time.Time
	inodes [2]granary.InodeID
	in     *inode // of an unborn file
}

type idLease struct {
	dataset   granary.DatasetID
	next, end granary.InodeID
}

type tally struct {
	since time.Time
	made  int
}

const (
	logMax       = 8192 // requests that are logged at most: who wants to log another waits
	logPressed   = 1024 // from so many on they are told without delay
	tellMax      = 512  // requests in one go
	takeAfter    = 4    // files made in a directory …
	takeWithin   = 2 * time.Second
	takeAgain    = 5 * time.Second  // after others wanted it
	takeNever    = 10 * time.Second // after it was refused
	heldMax      = 2000             // directories
	heldNamesMax = 500_000          // names in all of them
	leaseCount   = 1 << 14
	talliesMax   = 1024
	cutOffPause  = 20 * time.Millisecond
)

func newHoldings(fs *FS, by holder) *holdings {
	h := &holdings{
		fs: fs, by: by, wake: make(chan struct{}, 1), wanted: make(chan granary.InodeID, 64),
		dirs: map[granary.InodeID]*heldDir{}, nodes: map[granary.InodeID]*heldNode{}, shared: map[granary.InodeID]struct{}{},
		plain: map[granary.InodeID]int{}, taking: map[granary.InodeID]bool{},
		tallies: map[granary.InodeID]*tally{}, cooling: map[granary.InodeID]time.Time{},
	}
	h.changed = sync.NewCond(&h.mu)
	return h
}

// errNoIDs says that inode ids are to be leased first.
var errNoIDs = errors.New("no inode ids are left")

// names does an operation on names in directories. If all of them are held, quick does it if it can, with mu held; else usual
// does, while nobody else does anything in them, and then learn notes what it has done. Victims are the names, in the order of the
// directories, that it removes, moves or replaces.
func (h *holdings) names(ctx context.Context, ids []granary.InodeID, quick func(dirs []*heldDir) (bool, error), usual func() error, learn func(dirs []*heldDir), victims ...string) error {
	if h == nil {
		return usual()
	}
	named := ids
	ids = slices.Compact(slices.Clone(ids))
	for {
		dirs, leave, err := h.enter(ctx, ids)
		if err != nil {
			return err
		}
		if dirs == nil {
			defer leave()
			for i, name := range victims {
				if err := h.letGo(ctx, named[i], name); err != nil {
					return err
				}
			}
			return usual()
		}
		if len(h.log) >= logMax {
			leave()
			if err := h.tell(ctx); err != nil {
				return err
			}
			continue
		}
		ok, err := quick(dirs)
		if errors.Is(err, errNoIDs) {
			leave()
			if err := h.lease(ctx, ids[0].Dataset()); err != nil {
				return err
			}
			continue
		}
		if ok || err != nil {
			leave()
			return err
		}
		all := h.withVictims(dirs, victims)
		if all == nil { // one of them is busy
			h.changed.Wait()
			leave()
			continue
		}
		for _, d := range all {
			d.frozen = true
		}
		leave()
		return h.frozen(ctx, all, usual, func() {
			if learn != nil {
				learn(dirs)
			}
		})
	}
}

// withVictims adds to directories those in them that an operation removes, moves or replaces, as far as they are held: nothing is
// to be made in them meanwhile. nil if one is frozen. mu is held.
func (h *holdings) withVictims(dirs []*heldDir, victims []string) []*heldDir {
	all := slices.Clone(dirs)
	for i, name := range victims {
		if e, ok := dirs[min(i, len(dirs)-1)].names[name]; ok {
			switch d := h.dirs[e.inode]; {
			case d == nil || slices.Contains(all, d):
			case d.frozen:
				return nil
			default:
				all = append(all, d)
			}
		}
	}
	return all
}

// letGo gives a directory back that is to be removed, moved or replaced from a directory that is not held: what was done in it is
// told before, and nothing is done in it meanwhile that would not be.
func (h *holdings) letGo(ctx context.Context, dir granary.InodeID, name string) error {
	h.mu.Lock()
	some := len(h.dirs) > 0
	h.mu.Unlock()
	if !some {
		return nil
	}
	found, err := ask[*granary.Found](ctx, h.fs.store, &granary.Lookup{Base: dir, Path: name})
	if err != nil || !found.Entry.Attr.IsDir() {
		return nil // what is wrong, the operation says
	}
	id := found.Entry.Attr.Inode
	h.mu.Lock()
	held := h.dirs[id] != nil || h.taking[id]
	h.cool(id, takeAgain)
	h.mu.Unlock()
	if !held {
		return nil
	}
	return h.release(ctx, []granary.InodeID{id})
}

// frozen does an operation as usual in directories that are frozen.
func (h *holdings) frozen(ctx context.Context, dirs []*heldDir, usual func() error, learn func()) error {
	err := h.tell(ctx)
	if err == nil {
		err = usual()
	}
	h.mu.Lock()
	var unsure []granary.InodeID
	for _, d := range dirs {
		d.frozen, d.stale = false, true
		if err != nil && unknown(err) {
			unsure = append(unsure, d.id)
		}
	}
	if err == nil {
		learn()
	}
	h.changed.Broadcast()
	h.mu.Unlock()
	if unsure != nil {
		err = errors.Join(err, h.release(ctx, unsure))
	}
	return err
}

// unknown reports whether an operation that failed may have been done.
func unknown(err error) bool {
	switch granary.KindOf(err) {
	case granary.KindIndeterminate, granary.KindExpired, granary.KindCanceled, granary.KindInternal, granary.KindUnavailable:
		return true
	}
	return false
}

// enter begins an operation in directories. If all are held, mu is held until leave is called. If none is, dirs is nil, and none of
// them is taken before leave is called. Those of some are given back.
func (h *holdings) enter(ctx context.Context, ids []granary.InodeID) (dirs []*heldDir, leave func(), err error) {
	h.mu.Lock()
	for {
		if err := h.settled(ctx, ids); err != nil {
			h.mu.Unlock()
			return nil, nil, err
		}
		var held []granary.InodeID
		dirs = nil
		for _, id := range ids {
			if d := h.dirs[id]; d != nil {
				dirs, held = append(dirs, d), append(held, id)
				d.used = time.Now()
			}
		}
		switch len(dirs) {
		case len(ids):
			return dirs, h.mu.Unlock, nil
		case 0:
			for _, id := range ids {
				h.plain[id]++
			}
			h.mu.Unlock()
			return nil, func() { h.left(ids) }, nil
		}
		h.mu.Unlock()
		if err := h.release(ctx, held); err != nil {
			return nil, nil, err
		}
		h.mu.Lock()
	}
}

func (h *holdings) left(ids []granary.InodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range ids {
		if h.plain[id]--; h.plain[id] == 0 {
			delete(h.plain, id)
		}
	}
	h.changed.Broadcast()
}

// settled waits until none of some directories is frozen or being taken, and it is certain that what is held is held. mu is held.
func (h *holdings) settled(ctx context.Context, ids []granary.InodeID) error {
	for {
		busy, held := false, false
		for _, id := range ids {
			d := h.dirs[id]
			held = held || d != nil
			busy = busy || d != nil && d.frozen || h.taking[id]
		}
		switch {
		case busy:
			h.changed.Wait()
			continue
		case !held:
			return nil
		}
		session, until := h.by.Held()
		if session == h.session && time.Now().Before(until) {
			return nil
		}
		if session != h.session && session != 0 {
			h.lose(errSessionOver)
			continue
		}
		h.mu.Unlock() // the master has not been heard for long: perhaps the session is over
		select {
		case <-time.After(cutOffPause):
		case <-ctx.Done():
		case <-h.fs.ctx.Done():
		}
		h.mu.Lock()
		if ctx.Err() != nil || h.fs.ctx.Err() != nil {
			return granary.Errorf(granary.KindUnavailable, "hold", "", "the master does not answer")
		}
	}
}

// dir returns a directory if it is held, with mu held until leave is called.
func (h *holdings) dir(ctx context.Context, id granary.InodeID) (d *heldDir, leave func(), err error) {
	if h == nil {
		return nil, nil, nil
	}
	h.mu.Lock()
	if h.dirs[id] == nil && !h.taking[id] {
		h.mu.Unlock()
		return nil, nil, nil
	}
	if err := h.settled(ctx, []granary.InodeID{id}); err != nil {
		h.mu.Unlock()
		return nil, nil, err
	}
	if d = h.dirs[id]; d == nil {
		h.mu.Unlock()
		return nil, nil, nil
	}
	d.used = time.Now()
	return d, h.mu.Unlock, nil
}

// unborn returns what is known of an inode that the master has not been told of.
func (h *holdings) unborn(id granary.InodeID) (attr granary.Attr, target string, ok bool) {
	if h == nil {
		return granary.Attr{}, "", false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.nodes[id]
	if n == nil || n.birth == nil {
		return granary.Attr{}, "", false
	}
	return n.attr, n.target, true
}

func (h *holdings) isUnborn(id granary.InodeID) bool {
	_, _, ok := h.unborn(id)
	return ok
}

// known returns when the master knows all that was done to an inode here.
func (h *holdings) known(ctx context.Context, id granary.InodeID) error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	pending := h.nodes[id] != nil
	h.mu.Unlock()
	if !pending {
		return nil
	}
	return h.tell(ctx)
}

// stamp returns the time of what is being done: never the same twice. mu is held.
func (h *holdings) stamp(d *heldDir) granary.Time {
	h.last = max(granary.TimeOf(time.Now()), h.last+1, d.attr.Ctime+1)
	return h.last
}

// add logs a request. mu is held.
func (h *holdings) add(cred granary.Cred, op granary.Op, at granary.Time, inodes ...granary.InodeID) *logged {
	l := &logged{Request: granary.Request{Cred: cred, Op: op, Under: &granary.Under{At: at}}, since: time.Now()}
	copy(l.inodes[:], inodes)
	for _, id := range inodes {
		n := h.nodes[id]
		if n == nil {
			n = &heldNode{}
			h.nodes[id] = n
		}
		n.pending++
	}
	h.log = append(h.log, l)
	if len(h.log) == logPressed {
		h.press()
	}
	return l
}

// press has the log told soon. mu is held.
func (h *holdings) press() {
	h.pressed = true
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// hurry is press for who does not hold mu.
func (h *holdings) hurry() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.log) > 0 {
		h.press()
	}
}

// own reports whether nobody else can know of what a name leads to. mu is held.
func (h *holdings) own(e heldName) bool {
	_, shared := h.shared[e.inode]
	return e.own && !shared
}

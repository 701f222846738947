package client

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
)

// kept is what the session has been told and may show again without asking (granary.Attend): attributes, targets and extended
// attributes of inodes, which inode a name leads to, that there is nothing by a name, and listings.
//
// Each is one state's, and shown only while the lease lasts. The leader tells of what others change before anybody sees it. What the
// session changes itself it does not show from the moment on when the change is sent (busy); when it is answered, what is kept is
// made what it is then, or dropped.
//
// An answer that comes after it was told that something of it has changed, or after a mutation of the session was answered
// that changed it later, is not kept (recent). What was told while an answer was on its way says nothing of when the answer was
// made; so that is dropped in any case.
type kept struct {
	limit int64 // bytes; 0: nothing is kept
	now   func() time.Duration

	hits, misses atomic.Uint64
	attending    chan struct{} // of one place: a session attends

	mu         sync.Mutex
	attendance uint64                                   // 0: none
	opens      bool                                     // files may be opened untold
	until      time.Duration                            // of the lease, by now
	told       func(inodes []granary.InodeID, all bool) // nil: nobody else is told
	things     map[thing]*item
	lru        item // the newest is lru.next, the oldest lru.prev
	used       int64
	busy       map[thing]int // mutations of the session that are under way and change it
	flights    int           // answers and results under way
	recent     map[thing]granary.Index
	epoch      uint64 // of recent: what began in an earlier one is not kept
	credit     int    // entries that may be listed ahead: see scan
	listing    map[granary.InodeID]chan struct{}
}

// changes are of what others keep too: these inodes, or all.
type changes struct {
	inodes []granary.InodeID
	all    bool
}

// thing is an inode, with name "", or a name in a directory.
type thing struct {
	inode granary.InodeID
	name  string
}

// item is what is kept of a thing.
type item struct {
	key        thing
	prev, next *item
	size       int64
	index      granary.Index // of the state that it is of …
	whole      bool          // … which has all of that entry; else what one of its mutations left, and others may have come after that

	child granary.InodeID // of a name: what it leads to; 0: there is nothing by it

	known     bool // of an inode: attributes and target
	attr      granary.Attr
	target    string
	hasXattrs bool
	xattrs    []granary.Xattr
	pages     map[string]*page // of a directory, by what they follow
}

// page is a part of a listing.
type page struct {
	names  []string
	inodes []granary.InodeID
	more   bool
}

const (
	itemSize  = 400 // bytes, about, of an item without its texts
	entrySize = 40  // of one in a page
	recentMax = 1 << 16

	// toldOf is in recent what was told: whatever index an answer has.
	toldOf = granary.Index(math.MaxUint64)
)

func newKept(limit int64) *kept {
	k := &kept{
		limit: limit, now: bootTime, attending: make(chan struct{}, 1),
		things: map[thing]*item{}, busy: map[thing]int{}, recent: map[thing]granary.Index{},
		listing: map[granary.InodeID]chan struct{}{},
	}
	k.lru.prev, k.lru.next = &k.lru, &k.lru
	return k
}

// bootTime is a clock that also counts while the host is suspended: so do leases.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("granary client: there is no clock: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// keepable reports whether answers to a query can be kept, if nobody is named who asks: then no access is refused.
func keepable(q granary.Query) bool {
	switch q := q.(type) {
	case *granary.Lookup:
		return granary.NameKept(q.Path) && q.Layout == nil && !q.Open && !q.Key && !q.Nearest && !q.Markers && q.Object == 0
	case *granary.ReadDir:
		return true
	}
	return false
}

// lease returns how long what is kept may be shown from now on.
func (k *kept) lease() time.Duration {
	if k.limit == 0 {
		return 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.left()
}

func (k *kept) left() time.Duration {
	if k.attendance == 0 {
		return 0
	}
	return max(k.until-k.now(), 0)
}

func (k *kept) stats() KeptStats {
	k.mu.Lock()
	defer k.mu.Unlock()
	return KeptStats{Hits: k.hits.Load(), Misses: k.misses.Load(), Items: len(k.things), Bytes: k.used, Max: k.limit}
}

// answer answers a query from what is kept, if it can; an error is the answer too.
func (k *kept) answer(q granary.Query) (a granary.Answer, err error, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.left() > 0 {
		switch q := q.(type) {
		case *granary.Lookup:
			a, err, ok = k.lookup(q)
		case *granary.ReadDir:
			a, ok = k.readDir(q)
		}
	}
	if ok {
		k.hits.Add(1)
	} else {
		k.misses.Add(1)
	}
	return a, err, ok
}

func (k *kept) lookup(q *granary.Lookup) (granary.Answer, error, bool) {
	id := q.Base
	if q.Path != "" {
		name := k.get(thing{q.Base, q.Path})
		switch {
		case name == nil && k.absent(q.Base, q.Path):
			return nil, notFound(q.Path), true
		case name == nil:
			return nil, nil, false
		case name.child == 0:
			return nil, notFound(q.Path), true
		}
		id = name.child
	}
	i := k.get(thing{inode: id})
	if i == nil || !i.known || q.Xattrs && !i.hasXattrs {
		return nil, nil, false
	}
	found := &granary.Found{Entry: granary.Entry{Name: q.Path, Attr: i.attr, Target: i.target}, Parent: q.Base}
	if q.Path == "" {
		found.Parent = i.attr.Parent
	}
	if q.Xattrs {
		found.Xattrs = i.xattrs
	}
	return found, nil, true
}

func notFound(name string) error {
	return granary.Errorf(granary.KindNotFound, "lookup", name, "")
}

func (k *kept) readDir(q *granary.ReadDir) (granary.Answer, bool) {
	dir := k.get(thing{inode: q.Inode})
	if dir == nil || dir.pages[pageKey(q)] == nil {
		return nil, false
	}
	p := dir.pages[pageKey(q)]
	d := &granary.Directory{More: p.more, Entries: make([]granary.Entry, len(p.names))}
	for n, name := range p.names {
		i := k.get(thing{inode: p.inodes[n]})
		if i == nil || !i.known || k.busy[thing{q.Inode, name}] > 0 {
			return nil, false
		}
		d.Entries[n] = granary.Entry{Name: name, Attr: i.attr, Target: i.target}
	}
	return d, true
}

// pageKey says what a page follows, and how long it may be.
func pageKey(q *granary.ReadDir) string {
	key := string(rune(q.Limit)) + q.After
	if q.AfterDir {
		key += "/"
	}
	return key
}

// get returns what is kept of a thing, if it may be shown.
func (k *kept) get(key thing) *item {
	i := k.things[key]
	if i == nil || k.busy[key] > 0 {
		return nil
	}
	i.unlink()
	k.push(i)
	return i
}

// The methods below need mu too.

func (i *item) unlink() { i.prev.next, i.next.prev = i.next, i.prev }

func (k *kept) push(i *item) {
	i.prev, i.next = &k.lru, k.lru.next
	i.prev.next, i.next.prev = i, i
}

// make returns what is kept of a thing, made if need be.
func (k *kept) make(key thing) *item {
	i := k.things[key]
	if i == nil {
		i = &item{key: key}
		k.things[key] = i
	} else {
		i.unlink()
	}
	k.push(i)
	return i
}

// weigh accounts for a change of an item's size. What was used longest ago goes.
func (k *kept) weigh(i *item) {
	size := int64(itemSize + len(i.key.name) + len(i.target))
	for _, x := range i.xattrs {
		size += int64(entrySize + len(x.Name) + len(x.Value))
	}
	for _, p := range i.pages {
		for _, name := range p.names {
			size += int64(entrySize + len(name))
		}
	}
	k.used += size - i.size
	i.size = size
	for k.used > k.limit && k.lru.prev != &k.lru {
		k.drop(k.lru.prev.key)
	}
}

func (k *kept) drop(key thing) {
	if i := k.things[key]; i != nil {
		i.unlink()
		delete(k.things, key)
		k.used -= i.size
	}
}

func (k *kept) dropAll() {
	clear(k.things)
	k.lru.prev, k.lru.next = &k.lru, &k.lru
	k.used = 0
}

// setName keeps what a name leads to.
func (k *kept) setName(key thing, child granary.InodeID, index granary.Index) *item {
	i := k.make(key)
	i.child, i.index, i.whole = child, index, false
	k.weigh(i)
	return i
}

// setInode keeps the attributes of an inode.
func (k *kept) setInode(a *granary.Attr, target string, index granary.Index) *item {
	i := k.make(thing{inode: a.Inode})
	if i.known && i.index > index {
		return i
	}
	i.known, i.attr, i.target, i.index, i.whole = true, *a, target, index, false
	k.weigh(i)
	return i
}

// passage is an answer or result under way.
type passage struct {
	attendance uint64
	epoch      uint64
}

// depart begins a passage: from now on it is noted what changes.
func (k *kept) depart() passage {
	if k.flights++; k.flights == 1 {
		clear(k.recent)
	}
	return passage{k.attendance, k.epoch}
}

// changed notes that something is different from an entry on.
func (k *kept) changed(key thing, index granary.Index) {
	if k.flights == 0 {
		return
	}
	if len(k.recent) >= recentMax {
		clear(k.recent)
		k.epoch++
	}
	k.recent[key] = max(k.recent[key], index)
}

// fits reports whether what a passage brought may be kept, as far as the session's attendance goes.
func (k *kept) fits(f passage) bool {
	return f.attendance != 0 && f.attendance == k.attendance && f.epoch == k.epoch
}

// begin begins the passage of an answer.
func (k *kept) begin() passage {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.depart()
}

// end ends the passage of an answer, and keeps it if that may be done. A nil answer is none.
func (k *kept) end(f passage, q granary.Query, answer granary.Answer, index granary.Index) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flights--
	if !k.fits(f) {
		return
	}
	switch a := answer.(type) {
	case *granary.Found:
		if a.Attendance == f.attendance {
			k.keepFound(q.(*granary.Lookup), a, index)
		}
	case *granary.Directory:
		if a.Attendance == f.attendance {
			k.keepListed(q.(*granary.ReadDir), a, index)
		}
	}
}

// newer reports whether an answer is the newest known of a thing.
func (k *kept) newest(key thing, index granary.Index) bool {
	i := k.things[key]
	return k.recent[key] <= index && (i == nil || i.index <= index)
}

func (k *kept) keepFound(q *granary.Lookup, a *granary.Found, index granary.Index) {
	name := thing{q.Base, q.Path}
	if q.Path != "" && k.newest(name, index) {
		k.setName(name, a.Entry.Attr.Inode, index).whole = true
	}
	if a.Missing || !k.newest(thing{inode: a.Entry.Attr.Inode}, index) {
		return
	}
	i := k.setInode(&a.Entry.Attr, a.Entry.Target, index)
	i.whole = true
	if q.Xattrs {
		i.hasXattrs, i.xattrs = true, a.Xattrs
		k.weigh(i)
	}
}

func (k *kept) keepListed(q *granary.ReadDir, a *granary.Directory, index granary.Index) {
	p := &page{more: a.More, names: make([]string, len(a.Entries)), inodes: make([]granary.InodeID, len(a.Entries))}
	for n := range a.Entries {
		e := &a.Entries[n]
		p.names[n], p.inodes[n] = e.Name, e.Attr.Inode
		if name := (thing{q.Inode, e.Name}); granary.NameKept(e.Name) && k.newest(name, index) {
			k.setName(name, e.Attr.Inode, index).whole = true
		}
		if k.newest(thing{inode: e.Attr.Inode}, index) {
			k.setInode(&e.Attr, e.Target, index).whole = true
		}
	}
	if q.Ahead && a.More { // something may have been left out
		return
	}
	if key := (thing{inode: q.Inode}); k.newest(key, index) {
		dir := k.make(key)
		if dir.pages == nil {
			dir.pages = map[string]*page{}
		}
		dir.pages[pageKey(q)] = p
		k.weigh(dir)
	}
}

// take takes in an answer to a call of Attend that was made under an attendance, at a time. It returns the number that is to be
// acknowledged, and what others are to be told before that is.
func (k *kept) take(n *granary.Notices, under uint64, sent time.Duration) (taken uint64, c changes) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.attendance != under {
		return 0, changes{all: true} // it was given up meanwhile
	}
	if n.Attendance != under {
		k.dropAll()
		k.attendance, k.opens, k.until, c.all = n.Attendance, n.Opens, 0, true
	}
	for _, change := range n.Changes {
		key := thing{change.Inode, change.Name}
		k.changed(key, toldOf)
		k.drop(key)
		if change.Name == "" {
			c.inodes = append(c.inodes, change.Inode)
		}
	}
	k.until = max(k.until, sent+time.Duration(n.Lease))
	return n.Number, c
}

// attends returns the attendance; 0 for none.
func (k *kept) attends() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.attendance
}

// giveUp ends the attendance: what is kept may not be shown any more.
func (k *kept) giveUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropAll()
	k.attendance, k.until = 0, 0
}

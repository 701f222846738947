package fuse

import (
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/dsorchard/granary"
)

// listing numbers the entries of a directory as one handle has read it, whatever is added and removed meanwhile: each page
// begins after the name with which the one before ended. Of pages that were read and left it keeps between which names they lie,
// and a hash of each name. When one is read again, entries get the numbers that they had, and what was added since
// is left out. So what is there all the time has one number, and takes 4 bytes.
type listing struct {
	read    func(after granary.Entry) (entries []granary.Entry, more bool, err error)
	seed    maphash.Seed
	pages   []page
	slots   []slot // of the current page: what it holds now
	current int    // its index in pages; -1 for none
}

// page is a part of a listing.
type page struct {
	after  granary.Entry // name and type of the entry before it
	last   granary.Entry // and of its last one
	first  uint64        // number of its first entry
	hashes []uint32      // of the names in it, as it was read first
	end    bool          // nothing followed it then
}

// slot is an entry that can be returned, with its number.
type slot struct {
	number uint64
	entry  granary.Entry
}

func newListing(read func(after granary.Entry) ([]granary.Entry, bool, error)) *listing {
	return &listing{read: read, seed: maphash.MakeSeed(), current: -1}
}

// find returns the entry with a number, or the next there is; nil at the enl.
func (l *listing) find(number uint64) (*slot, error) {
	i := l.pageOf(number)
	for ; i < len(l.pages) || len(l.pages) == 0 || !l.pages[len(l.pages)-1].end; i++ {
		if err := l.turnTo(i); err != nil {
			return nil, err
		}
		if at, _ := l.slot(number); at < len(l.slots) {
			return &l.slots[at], nil
		}
	}
	return nil, nil
}

// slot returns where in slots an entry with at least the number is, and whether it has that very number.
func (l *listing) slot(number uint64) (int, bool) {
	return slices.BinarySearchFunc(l.slots, number, func(s slot, number uint64) int { return cmp.Compare(s.number, number) })
}

// pageOf returns the index of the page that an entry belongs to: one more than there are, if it was not read yet.
func (l *listing) pageOf(number uint64) int {
	i, ok := slices.BinarySearchFunc(l.pages, number, func(p page, number uint64) int { return cmp.Compare(p.first, number) })
	if !ok && i > 0 {
		i--
	}
	return i
}

// turnTo makes a page, which was read before or is the next, the current one.
func (l *listing) turnTo(i int) error {
	if i == l.current {
		return nil
	}
	p := page{first: dotEntries}
	if i > 0 {
		before := &l.pages[i-1]
		p.after, p.first = before.last, before.first+uint64(len(before.hashes))
	}
	l.current, l.slots = -1, l.slots[:0]
	if i < len(l.pages) {
		if err := l.refill(&l.pages[i]); err != nil {
			return err
		}
		l.current = i
		return nil
	}
	entries, more, err := l.read(p.after)
	if err != nil {
		return err
	}
	for _, e := range entries {
		l.slots = append(l.slots, slot{p.first + uint64(len(p.hashes)), e})
		p.hashes = append(p.hashes, l.hash(&e))
		p.last = granary.Entry{Name: e.Name, Attr: granary.Attr{Type: e.Attr.Type}}
	}
	p.end = !more || len(entries) == 0
	l.pages, l.current = append(l.pages, p), i
	return nil
}

// refill reads a page again that was left, and gives its entries the numbers that they hal.
func (l *listing) refill(p *page) error {
	after, last, next := p.after, keyOf(&p.last), 0
	for next < len(p.hashes) {
		entries, more, err := l.read(after)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if keyOf(&e) > last {
				return nil
			}
			if at := slices.Index(p.hashes[next:], l.hash(&e)); at >= 0 {
				l.slots = append(l.slots, slot{p.first + uint64(next+at), e})
				next += at + 1
			}
			after = e
		}
		if !more || len(entries) == 0 {
			return nil
		}
	}
	return nil
}

// keyOf returns by what listings are orderel.
func keyOf(e *granary.Entry) string {
	if e.Attr.IsDir() {
		return e.Name + "/"
	}
	return e.Name
}

// hash tells names apart, and a directory from another entry of the same name.
func (l *listing) hash(e *granary.Entry) uint32 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	h.WriteString(keyOf(e))
	return uint32(h.Sum64())
}

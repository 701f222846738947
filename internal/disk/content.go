package disk

import (
	"bytes"
	"maps"
)

// pageSize is what a Mem allocates by: a page that nothing was written to is a hole.
const pageSize = 4096

type page [pageSize]byte

// content is what a file of a Mem holds: as it is, as of the last sync, and the changes between.
// A page that both share is copied before it is changed.
type content struct {
	pages  map[int64]*page // by offset/pageSize
	size   int64
	synced map[int64]*page
	length int64              // as of the last sync
	dirty  map[int64]struct{} // pages that may differ from the synced ones
	since  []change           // since the last sync, in order
}

// change is a write, or a truncation if data is nil.
type change struct {
	data []byte
	off  int64 // of the write; the size to truncate to
}

func newContent() *content {
	return &content{pages: make(map[int64]*page), synced: make(map[int64]*page), dirty: make(map[int64]struct{})}
}

func (c *content) allocatedPages() int64 { return int64(len(c.pages)) }

// readAt returns the number of bytes before the end.
func (c *content) readAt(p []byte, off int64) int {
	if off >= c.size {
		return 0
	}
	p = p[:min(int64(len(p)), c.size-off)]
	for done := 0; done < len(p); {
		at := off + int64(done)
		within := int(at % pageSize)
		n := min(len(p)-done, pageSize-within)
		if pg := c.pages[at/pageSize]; pg != nil {
			copy(p[done:done+n], pg[within:])
		} else {
			clear(p[done : done+n])
		}
		done += n
	}
	return len(p)
}

// writeAt writes as much of p as room new pages allow. It returns how many bytes that was and how many pages
// it took.
func (c *content) writeAt(p []byte, off, room int64) (done int, taken int64) {
	for done < len(p) {
		at := off + int64(done)
		index, within := at/pageSize, int(at%pageSize)
		if c.pages[index] == nil {
			if taken >= room {
				break
			}
			taken++
		}
		n := min(len(p)-done, pageSize-within)
		copy(c.writable(index)[within:], p[done:done+n])
		done += n
	}
	if done > 0 {
		c.size = max(c.size, off+int64(done))
		c.since = append(c.since, change{data: bytes.Clone(p[:done]), off: off})
	}
	return done, taken
}

// writable returns a page that is not shared with the synced content.
func (c *content) writable(index int64) *page {
	pg := c.pages[index]
	switch {
	case pg == nil:
		pg = new(page)
	case pg == c.synced[index]:
		clone := *pg
		pg = &clone
	}
	c.pages[index] = pg
	c.dirty[index] = struct{}{}
	return pg
}

// truncate returns how many pages it gave back.
func (c *content) truncate(size int64) (freed int64) {
	c.since = append(c.since, change{off: size})
	if size < c.size {
		for index := range c.pages {
			if index*pageSize >= size {
				delete(c.pages, index)
				c.dirty[index] = struct{}{}
				freed++
			}
		}
		if c.pages[size/pageSize] != nil { // what lies past the end must read as zeros if the file grows again
			clear(c.writable(size / pageSize)[size%pageSize:])
		}
	}
	c.size = size
	return freed
}

func (c *content) sync() {
	for index := range c.dirty {
		if pg := c.pages[index]; pg != nil {
			c.synced[index] = pg
		} else {
			delete(c.synced, index)
		}
	}
	clear(c.dirty)
	c.since, c.length = nil, c.size
}

// durable returns a file that holds, synced, what the last sync left.
func (c *content) durable() *content {
	d := newContent()
	d.size, d.length = c.length, c.length
	d.pages, d.synced = maps.Clone(c.synced), maps.Clone(c.synced)
	return d
}

package filer

import (
	"slices"
	"sort"
	"sync"

	"github.com/dsorchard/granary/client"
)

// buffers is pooled memory in a few sizes.
type buffers struct{ pools [len(bufferSizes)]sync.Pool }

// bufferSizes are the sizes of pooled memory. A buffer that outgrows its size moves to the next, so
// at most an eighth of a stream's bytes is copied twice.
var bufferSizes = [...]int{4 << 10, 32 << 10, 256 << 10, 2 << 20, 8 << 20}

// get returns an empty buffer with room for n bytes.
func (b *buffers) get(n int) []byte {
	for i, size := range bufferSizes {
		if n <= size {
			if p, ok := b.pools[i].Get().(*[]byte); ok {
				return (*p)[:0]
			}
			return make([]byte, 0, size)
		}
	}
	return make([]byte, 0, n)
}

// put gives a buffer back, which nobody may use any more.
func (b *buffers) put(p []byte) {
	for i, size := range bufferSizes {
		if cap(p) == size {
			b.pools[i].Put(&p)
			return
		}
	}
}

// span is a range of a file, in bytes.
type span struct{ off, end uint64 }

// piece is a run of bytes of a file in one buffer.
type piece struct {
	off  uint64
	data []byte
}

func (p *piece) end() uint64 { return p.off + uint64(len(p.data)) }

// dirty holds the bytes of a file that have been written over others, by offset. It is not safe for
// concurrent use.
type dirty struct {
	pieces  []piece // ascending, not overlapping; neighbours may touch
	size    int     // of a full piece
	fulls   int
	buffers *buffers
	mem     int64 // bytes of all buffers, used or not
}

func (d *dirty) empty() bool { return len(d.pieces) == 0 }

// end returns the end of the last piece, or 0.
func (d *dirty) end() uint64 {
	if d.empty() {
		return 0
	}
	return d.pieces[len(d.pieces)-1].end()
}

// full reports whether there is a full piece.
func (d *dirty) full() bool { return d.fulls > 0 }

// count counts the full pieces anew, after some have gone.
func (d *dirty) count() {
	d.fulls = 0
	for _, p := range d.pieces {
		if len(p.data) >= d.size {
			d.fulls++
		}
	}
}

// find returns the index of the first piece that ends after off.
func (d *dirty) find(off uint64) int {
	return sort.Search(len(d.pieces), func(i int) bool { return d.pieces[i].end() > off })
}

// write puts bytes over what is there.
func (d *dirty) write(p []byte, off uint64) {
	for len(p) > 0 {
		var n int
		i := d.find(off)
		if i < len(d.pieces) && d.pieces[i].off <= off {
			n = copy(d.pieces[i].data[off-d.pieces[i].off:], p)
		} else {
			n = len(p)
			if i < len(d.pieces) {
				n = int(min(uint64(n), d.pieces[i].off-off))
			}
			n = d.add(i, p[:n], off)
		}
		p, off = p[n:], off+uint64(n)
	}
}

// add puts bytes where there are none, before piece i, and returns how many fitted into one piece.
func (d *dirty) add(i int, p []byte, off uint64) int {
	if i > 0 && d.pieces[i-1].end() == off && len(d.pieces[i-1].data) < d.size {
		last := &d.pieces[i-1]
		n := min(len(p), d.size-len(last.data))
		d.grow(last, len(last.data)+n)
		last.data = append(last.data, p[:n]...)
		if len(last.data) >= d.size {
			d.fulls++
		}
		return n
	}
	n := min(len(p), d.size)
	data := append(d.buffers.get(n), p[:n]...)
	d.insert(i, piece{off: off, data: data})
	return n
}

func (d *dirty) insert(i int, p piece) {
	d.pieces = slices.Insert(d.pieces, i, p)
	d.mem += int64(cap(p.data))
	if len(p.data) >= d.size {
		d.fulls++
	}
}

// grow makes room for n bytes in all.
func (d *dirty) grow(p *piece, n int) {
	if n <= cap(p.data) {
		return
	}
	larger := append(d.buffers.get(n), p.data...)
	d.mem += int64(cap(larger) - cap(p.data))
	d.buffers.put(p.data)
	p.data = larger
}

// fill copies what it holds of the gaps into p, whose first byte is that of offset base, and returns
// the gaps that remain.
func (d *dirty) fill(p []byte, base uint64, gaps []span) []span {
	if d.empty() {
		return gaps
	}
	var left []span
	for _, g := range gaps {
		for i := d.find(g.off); i < len(d.pieces) && d.pieces[i].off < g.end; i++ {
			s := &d.pieces[i]
			from, to := max(g.off, s.off), min(g.end, s.end())
			if g.off < from {
				left = append(left, span{g.off, from})
			}
			copy(p[from-base:to-base], s.data[from-s.off:to-s.off])
			g.off = to
		}
		if g.off < g.end {
			left = append(left, g)
		}
	}
	return left
}

// trim forgets what lies at or after size.
func (d *dirty) trim(size uint64) {
	i := d.find(size)
	if i < len(d.pieces) && d.pieces[i].off < size {
		d.pieces[i].data = d.pieces[i].data[:size-d.pieces[i].off]
		i++
	}
	for _, p := range d.pieces[i:] {
		d.free(p)
	}
	d.pieces = slices.Delete(d.pieces, i, len(d.pieces))
	d.count()
}

func (d *dirty) free(p piece) {
	d.mem -= int64(cap(p.data))
	d.buffers.put(p.data)
}

// clear forgets everything.
func (d *dirty) clear() { d.trim(0) }

// take moves pieces out: all of them, or only the full ones.
func (d *dirty) take(all bool) dirty {
	taken := dirty{size: d.size, buffers: d.buffers}
	kept := d.pieces[:0:0]
	for _, p := range d.pieces {
		if all || len(p.data) >= d.size {
			taken.pieces = append(taken.pieces, p)
			taken.mem += int64(cap(p.data))
		} else {
			kept = append(kept, p)
		}
	}
	d.pieces = kept
	d.mem -= taken.mem
	d.count()
	taken.count()
	return taken
}

// restore puts pieces that were taken back under what has been written since, and empties old.
func (d *dirty) restore(old *dirty) {
	for _, p := range old.pieces {
		old.mem -= int64(cap(p.data))
		if i := d.find(p.off); i == len(d.pieces) || d.pieces[i].off >= p.end() {
			d.insert(i, p)
			continue
		}
		for _, g := range d.gaps(span{p.off, p.end()}) {
			d.write(p.data[g.off-p.off:g.end-p.off], g.off)
		}
		d.buffers.put(p.data)
	}
	old.pieces = nil
	old.count()
}

// gaps returns the parts of s that no piece covers.
func (d *dirty) gaps(s span) []span {
	var gaps []span
	for i := d.find(s.off); i < len(d.pieces) && d.pieces[i].off < s.end; i++ {
		if s.off < d.pieces[i].off {
			gaps = append(gaps, span{s.off, d.pieces[i].off})
		}
		s.off = d.pieces[i].end()
	}
	if s.off < s.end {
		gaps = append(gaps, s)
	}
	return gaps
}

// join makes one piece of neighbours that touch, up to the size of a full one.
func (d *dirty) join() {
	if len(d.pieces) < 2 {
		return
	}
	joined := d.pieces[:1]
	for _, p := range d.pieces[1:] {
		last := &joined[len(joined)-1]
		if n := len(last.data) + len(p.data); last.end() == p.off && n <= d.size {
			d.grow(last, n)
			last.data = append(last.data, p.data...)
			d.free(p)
			continue
		}
		joined = append(joined, p)
	}
	clear(d.pieces[len(joined):])
	d.pieces = joined
	d.count()
}

// shift moves every piece by delta bytes, which may be negative in two's complement.
func (d *dirty) shift(delta uint64) {
	for i := range d.pieces {
		d.pieces[i].off += delta
	}
}

// ranges returns the pieces as a client takes them.
func (d *dirty) ranges() []client.Range {
	ranges := make([]client.Range, len(d.pieces))
	for i, p := range d.pieces {
		ranges[i] = client.Range{Offset: p.off, Data: p.data}
	}
	return ranges
}

// drop forgets the first n pieces.
func (d *dirty) drop(n int) {
	for _, p := range d.pieces[:n] {
		d.free(p)
	}
	d.pieces = slices.Delete(d.pieces, 0, n)
	d.count()
}

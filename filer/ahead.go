package filer

import "sync"

// readAhead notices how a file is read, and says what will be wanted next: by a reader in sequence, more the longer that goes on; by one who jumps
// by the same distance again and again, either way, what is there; by one who reads at random, nothing.
type readAhead struct {
	mu    sync.Mutex
	next  uint64 // where the sequence goes on
	run   uint64 // bytes of the sequence, but for the read that began it elsewhere
	until uint64 // read ahead up to here

	from   uint64 // where the sequence began
	step   uint64 // from the one before, in two's complement
	steps  int    // how many were as long, in a row
	jumped bool   // there was one before
}

// note takes in that n bytes at off were read, and returns the ranges to fetch now, and whether that is what follows in sequence.
func (r *readAhead) note(off uint64, n int) (ranges []span, sequence bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := off + uint64(n)
	if off+readAheadSlack < r.next || off > r.next+readAheadSlack || r.strides(off) {
		return r.jump(off, end), false
	}
	r.run += uint64(n)
	r.next = max(r.next, end)
	ahead := min(max(2*r.run, readAheadAfter), readAheadMax)
	if r.run < readAheadAfter || r.until >= r.next+ahead/2 {
		return nil, false
	}
	return []span{{max(r.until, r.next), r.next + ahead}}, true
}

// strides reports whether off is where a reader who jumps would go, near as it may be.
func (r *readAhead) strides(off uint64) bool {
	return r.steps >= stridesAfter && off == r.from+r.step && off != r.next
}

// jump begins another sequence.
func (r *readAhead) jump(off, end uint64) []span {
	length := r.next - r.from // of the sequence before
	step := off - r.from
	switch {
	case r.jumped && step == r.step:
		r.steps++
	default:
		r.steps = 1
	}
	r.from, r.step, r.jumped = off, step, true
	r.run, r.until, r.next = 0, 0, end
	if r.steps < stridesAfter || length < strideLeast || length > readAheadMax/stridesAhead {
		return nil
	}
	first := uint64(stridesAhead) // those before were fetched already
	if r.steps == stridesAfter {
		first = 1
	}
	var ranges []span
	for i := first; i <= stridesAhead; i++ {
		at := off + i*step
		if forward := int64(step) > 0; forward != (at > off) {
			break // before the beginning
		}
		ranges = append(ranges, span{at, at + length})
	}
	return ranges
}

// did takes in how far has been fetched of a sequence.
func (r *readAhead) did(until uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until = max(r.until, until)
}

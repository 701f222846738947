package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
	"github.com/dsorchard/granary/internal/block"
)

const (
	// slowSource is how long shards are waited for before one more is asked.
	slowSource = 2 * time.Second
	// Where whole spans cannot be had, smaller pieces are: other sources may be good for each, down to single pages.
	pieceSize = 64 << 10
	pageSize  = 4 << 10
)

// errAnew says that a source has turned out to hold other bytes than were written, which others made use of already.
var errAnew = errors.New("a shard was made with what is wrong in another")

// sources is where a shard can be had from: itself, as far as it can be read, and any k of the others. It is used by many
// goroutines.
//
// What is read of a shard was compared with the checksums made at its seal, so it is what was sealed. What a data shard
// becomes is checked by the frames of its live blocks besides: if they do not hold, some shard was sealed with other bytes
// than were written. Such a liar is found by trying other choices of k. From then on it is the last to be asked, and what
// was made before is made anew (errAnew): between blocks nothing tells what is wrong, but the parity is of those bytes too.
type sources struct {
	w     *Worker
	v     *granary.Volume
	code  *erasure.Code
	shard int
	copy  bool // the shard itself is read first, not last

	mu     sync.Mutex
	faults []int  // of each shard, so far: those with few are asked first
	liars  []bool // by shard
}

func newSources(w *Worker, v *granary.Volume, shard int, copy bool) (*sources, error) {
	code, err := w.c.codes.Get(v.DataShards, v.ParityShards)
	if err != nil {
		return nil, err
	}
	return &sources{w: w, v: v, code: code, shard: shard, copy: copy, faults: make([]int, len(v.Shards)), liars: make([]bool, len(v.Shards))}, nil
}

// memory returns what reading a span takes besides what comes of it.
func (s *sources) memory(sp span) int64 {
	return min(int64(s.v.DataShards)*int64(sp.length), workMemory/2)
}

// read returns a span of the shard, in a buffer of the client. The error names what each source said, and the block that
// does not verify if there is one; or it is errAnew.
func (s *sources) read(ctx context.Context, sp span) ([]byte, error) {
	errs := shardErrors{}
	p, lies := s.whole(ctx, sp, errs)
	if p == nil && !lies && ctx.Err() == nil && s.inPieces(errs) {
		p = s.pieces(ctx, sp)
	}
	switch {
	case lies:
		s.w.c.bufs.put(p)
		return nil, errAnew
	case p != nil:
		return p, nil
	case ctx.Err() != nil:
		return nil, ended(ctx, "rebuild", false)
	}
	return nil, granary.Errorf(s.kind(errs), "rebuild", fmt.Sprintf("shard %d of volume %d, bytes %d to %d", s.shard, s.v.ID, sp.off, sp.off+sp.length), "%w", errs)
}

// whole reads a span at once; nil if it cannot. It reports whether a liar was found that was not known.
func (s *sources) whole(ctx context.Context, sp span, errs shardErrors) (p []byte, lies bool) {
	if s.copy {
		if p, lies = s.own(ctx, sp, errs); p != nil || lies {
			return p, lies
		}
	}
	if p, lies = s.rebuild(ctx, sp, errs); p != nil || s.copy {
		return p, lies
	}
	return s.own(ctx, sp, errs)
}

// inPieces reports whether enough sources gave an answer that they may do together, each where it is good.
func (s *sources) inPieces(errs shardErrors) bool {
	able := len(s.v.Shards)
	for i, err := range errs {
		if i >= 0 && !granary.IsKind(err, granary.KindCorrupt) {
			able--
		}
	}
	return able >= s.v.DataShards
}

// pieces reads a span piece by piece; nil if it cannot, or the whole does not verify.
func (s *sources) pieces(ctx context.Context, sp span) []byte {
	out := s.w.c.bufs.get(int(sp.length))[:sp.length]
	if s.fill(ctx, sp, out, pieceSize) && verifyBlocks(sp, out) == nil {
		return out
	}
	s.w.c.bufs.put(out)
	return nil
}

// fill reads a span into out in pieces that end at multiples of size, and what cannot be had so in pages.
func (s *sources) fill(ctx context.Context, sp span, out []byte, size uint64) bool {
	for off, end := sp.off, sp.off+sp.length; off < end; {
		piece := span{off: off, length: min(end, (off/size+1)*size) - off}
		dst := out[off-sp.off:][:piece.length]
		p, _ := s.whole(ctx, piece, shardErrors{})
		if p == nil && (size == pageSize || !s.fill(ctx, piece, dst, pageSize)) {
			return false
		}
		copy(dst, p)
		s.w.c.bufs.put(p)
		off += piece.length
	}
	return true
}

// lie notes that shards hold other bytes than were written, and reports whether that is news.
func (s *sources) lie(shards ...int) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range shards {
		if !s.liars[i] {
			s.liars[i], news = true, true
			s.w.log.Warn("a shard was sealed with bytes that were not written", "volume", s.v.ID, "shard", i, "disk", s.v.Shards[i].Disk)
		}
	}
	return news
}

// kind is KindCorrupt if waiting for shards that did not answer would not help.
func (s *sources) kind(errs shardErrors) granary.Kind {
	for i, err := range errs {
		if k := granary.KindOf(err); i >= 0 && k != granary.KindCorrupt && k != granary.KindNotFound {
			return granary.KindUnavailable
		}
	}
	return granary.KindCorrupt
}

// own reads a span from the shard itself; nil if it is not right, and whether that is because it lies.
func (s *sources) own(ctx context.Context, sp span, errs shardErrors) (p []byte, lies bool) {
	s.mu.Lock()
	liar := s.liars[s.shard]
	s.mu.Unlock()
	if liar {
		return nil, false
	}
	p, err := s.ask(ctx, s.shard, sp)
	if err == nil {
		if err = verifyBlocks(sp, p); err == nil {
			return p, false
		}
		s.w.c.bufs.put(p)
		lies = s.lie(s.shard)
	}
	errs[s.shard] = err
	return nil, lies
}

// ask reads a span of one shard. A data shard's stream may end early, but not before its last block: what follows is zeros.
func (s *sources) ask(ctx context.Context, shard int, sp span) ([]byte, error) {
	place := &s.v.Shards[shard]
	if place.Addr == "" {
		return nil, granary.Errorf(granary.KindUnavailable, "read", string(place.Disk), "its server is not known")
	}
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	ref := granary.ShardRef{Disk: place.Disk, Volume: s.v.ID, Shard: uint8(shard)}
	p := s.w.c.bufs.get(int(sp.length))[:sp.length]
	n, length, err := s.w.o.Shards.ReadSealed(ctx, place.Addr, ref, p, int64(sp.off))
	if err == nil && n < len(p) && (shard >= s.v.DataShards || len(s.v.Ends) != s.v.DataShards || length < s.v.Ends[shard]) {
		err = granary.Errorf(granary.KindCorrupt, "read", ref.String(), "the shard ends at %d", length)
	}
	if err == nil {
		clear(p[n:])
		return p, nil
	}
	s.w.c.bufs.put(p)
	if ctx.Err() != nil {
		err = granary.Errorf(granary.KindUnavailable, "read", ref.String(), "%w", err)
	}
	s.mu.Lock()
	s.faults[shard]++
	s.mu.Unlock()
	return nil, err
}

// others lists the other shards, the most promising first: those that are up and sealed, with the fewest faults so far.
// Volumes begin with different ones, so that all disks share the work.
func (s *sources) others() []int {
	var order []int
	n := len(s.v.Shards)
	for i := range n {
		if shard := (i + int(uint64(s.v.ID)%uint64(n))) % n; shard != s.shard {
			order = append(order, shard)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rank := func(i int) int {
		place := &s.v.Shards[i]
		switch {
		case s.liars[i]:
			return 3
		case place.Up && place.Sealed && !place.Lost:
			return 0
		case place.Up:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(s.faults[a], s.faults[b]))
	})
	return order
}

// rebuild makes a span of the others; nil if no choice of k of them gives what verifies. It reports whether a liar was found.
//
// It asks k, another for each that fails, and one more when they are slow. If what comes out does not verify, it asks all.
func (s *sources) rebuild(ctx context.Context, sp span, errs shardErrors) (p []byte, lies bool) {
	queue := s.others()
	r := reconstruction{s: s, sp: sp, errs: errs, found: make([][]byte, len(s.v.Shards))}
	answers := make(chan helper, len(queue))
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer func() { // nobody writes to the buffers when they are given back
		cancel()
		wg.Wait()
		r.free(answers)
	}()
	asked, pending := 0, 0
	ask := func(n int) {
		for ; n > 0 && asked < len(queue); n-- {
			shard := queue[asked]
			asked, pending = asked+1, pending+1
			wg.Go(func() {
				p, err := s.ask(ctx, shard, sp)
				answers <- helper{shard, p, err}
			})
		}
	}
	ask(s.v.DataShards)
	slow := time.NewTicker(slowSource)
	defer slow.Stop()
	for pending > 0 {
		select {
		case h := <-answers:
			pending--
			if !r.take(h) {
				ask(1)
				continue
			}
		case <-slow.C:
			ask(1)
			continue
		case <-ctx.Done():
			return nil, false
		}
		if p = r.tryNewest(); p != nil {
			return p, s.lie(r.liars()...)
		}
		if len(r.have) >= s.v.DataShards {
			ask(len(queue)) // one of them is not what was written: hear everybody
		}
	}
	if len(r.have) < s.v.DataShards {
		errs[-1] = granary.Errorf(granary.KindUnavailable, "rebuild", "", "%d shards of the %d needed", len(r.have), s.v.DataShards)
	}
	return nil, false
}

// reconstruction is the state of one rebuild.
type reconstruction struct {
	s     *sources
	sp    span
	errs  shardErrors
	found [][]byte // by shard
	have  []int    // shards found, in the order of their answers
	tries int
	wrong []int // shards from which what was made did not verify
	right []int // … and from which it did
}

// liars returns the shards to blame: those that were in a choice that did not verify, and not in the one that did.
func (r *reconstruction) liars() []int {
	return slices.DeleteFunc(r.wrong, func(i int) bool { return slices.Contains(r.right, i) })
}

// take notes an answer, and reports whether it is of use.
func (r *reconstruction) take(h helper) bool {
	if h.err != nil {
		r.errs[h.shard] = h.err
		return false
	}
	r.found[h.shard] = h.data
	r.have = append(r.have, h.shard)
	return true
}

// tryNewest tries the choices of k shards that include the one found last: the others were tried before.
func (r *reconstruction) tryNewest() []byte {
	newest := len(r.have) - 1
	var out []byte
	choose(newest, r.s.v.DataShards-1, func(chosen []int) bool {
		use := []int{r.have[newest]}
		for _, i := range chosen {
			use = append(use, r.have[i])
		}
		out = r.try(use)
		return out == nil && r.tries < combosMax
	})
	return out
}

// try reconstructs from the given shards; nil if the result does not verify.
func (r *reconstruction) try(use []int) []byte {
	r.tries++
	shards := make([][]byte, len(r.s.v.Shards))
	for _, i := range use {
		shards[i] = r.found[i]
	}
	dst := r.s.w.c.bufs.get(int(r.sp.length))[:r.sp.length]
	err := r.s.code.Reconstruct(shards, r.s.shard, dst)
	if err == nil {
		if err = verifyBlocks(r.sp, dst); err == nil {
			r.right = use
			return dst
		}
		r.wrong = append(r.wrong, use...)
	}
	r.s.w.c.bufs.put(dst)
	r.errs[-1] = granary.Errorf(granary.KindCorrupt, "rebuild", fmt.Sprintf("from shards %v", use), "%w", err)
	return nil
}

// free gives back what was read. All that was asked has answered.
func (r *reconstruction) free(answers chan helper) {
	for len(answers) > 0 {
		h := <-answers
		r.s.w.c.bufs.put(h.data)
	}
	for _, p := range r.found {
		r.s.w.c.bufs.put(p)
	}
}

// verifyBlocks checks the live blocks of a span by their frames.
func verifyBlocks(sp span, data []byte) error {
	for i := range sp.blocks {
		b := &sp.blocks[i]
		at := b.Location.Offset - sp.off
		if err := block.Check(data[at:at+uint64(b.Location.Length)], b.Hash); err != nil {
			return granary.Errorf(granary.KindCorrupt, "verify", blockName(b), "%w", err)
		}
	}
	return nil
}

package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
)

// helper is what another shard has in the range of a section.
type helper struct {
	shard int
	data  []byte
	err   error
}

// rebuild reconstructs a section of a block from the same range of k other shards.
//
// It asks k of them, those first whose disks were the fastest lately, and another for each that fails or is slow. If what comes out does not verify, one of them
// lies: then it asks all, and tries every choice of k. A data shard that has no file, or a shorter
// one, had no block there, and holds zeros; one that has lost its file looks the same, but then the
// result does not verify. For want of anything better the same is assumed of data shards that do not answer.
func (c *Client) rebuild(ctx context.Context, v *granary.Volume, b *granary.BlockInfo, s section) outcome {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	code, err := c.codes.Get(v.DataShards, v.ParityShards)
	if err != nil {
		return outcome{verified{}, err}
	}
	r := rebuilding{c: c, code: code, v: v, b: b, s: s, found: make([][]byte, len(v.Shards)), errs: shardErrors{}}
	queue := r.order()
	answers := make(chan helper, len(queue))
	asked, pending := 0, 0
	ask := func(n int) {
		for ; n > 0 && asked < len(queue); n-- {
			r.ask(ctx, queue[asked], answers)
			asked++
			pending++
		}
	}
	ask(v.DataShards)
	patience := r.patience(queue[:asked])
	slow := time.NewTimer(patience)
	defer slow.Stop()
	for pending > 0 {
		select {
		case <-slow.C:
			if asked < len(queue) {
				if c.hedging.more() {
					ask(1)
				}
				slow.Reset(patience)
			}
			continue
		case h := <-answers:
			pending--
			if !r.take(h) {
				ask(1)
				continue
			}
		case <-ctx.Done():
			return outcome{verified{}, granary.Errorf(granary.KindCanceled, "rebuild", blockName(b), "%w", context.Cause(ctx))}
		}
		if len(r.have) < v.DataShards {
			continue
		}
		if got, ok := r.tryNewest(); ok {
			r.accuse()
			return outcome{got, nil}
		}
		ask(len(queue)) // someone lies: hear everybody
	}
	return r.guess()
}

// rebuilding is the state of one rebuild.
type rebuilding struct {
	c     *Client
	code  *erasure.Code
	v     *granary.Volume
	b     *granary.BlockInfo
	s     section
	found [][]byte // by shard
	have  []int    // shards found, in the order of their answers
	errs  shardErrors
	tries int
	used  []int // the shards of the last try
}

// patience is how long the slowest of some shards is waited for before another one is asked.
func (r *rebuilding) patience(shards []int) time.Duration {
	patience := hedgeLeast
	for _, i := range shards {
		patience = max(patience, r.c.latency.patience(r.v.Shards[i].Disk, r.s.length))
	}
	return patience
}

// accuse has the servers look at the shards without which the section verified at last, when it had not with them.
func (r *rebuilding) accuse() {
	if r.tries < 2 {
		return
	}
	for _, i := range r.have {
		if !slices.Contains(r.used, i) {
			r.c.suspect(r.v, i, r.b.Location.Offset+uint64(r.s.off), r.s.length)
		}
	}
}

// order lists the other shards: those of servers that are up first, fast before slow, data before parity.
func (r *rebuilding) order() []int {
	var up, down []int
	for i := range r.v.Shards {
		switch {
		case i == int(r.b.Location.Shard):
		case r.v.Shards[i].Up:
			up = append(up, i)
		default:
			down = append(down, i)
		}
	}
	r.c.latency.order(r.v.Shards, up, r.s.length)
	return append(up, down...)
}

// ask reads the section's range of a shard. What is past the end of its file is zeros.
func (r *rebuilding) ask(ctx context.Context, shard int, answers chan<- helper) {
	read := func() {
		p := make([]byte, r.s.length)
		n, _, err := r.c.readShard(ctx, r.v, shard, p, r.b.Location.Offset+uint64(r.s.off))
		switch {
		case err == nil:
			clear(p[n:])
			answers <- helper{shard, p, nil}
		case granary.IsKind(err, granary.KindNotFound) && shard < r.v.DataShards:
			clear(p)
			answers <- helper{shard, p, err}
		default:
			answers <- helper{shard, nil, err}
		}
	}
	if !r.c.spawn(read) {
		answers <- helper{shard, nil, granary.Errorf(granary.KindCanceled, "read", "", "the client is closed")}
	}
}

// take notes an answer, and reports whether it is of use.
func (r *rebuilding) take(h helper) bool {
	if h.err != nil {
		r.errs[h.shard] = h.err
	}
	if h.data == nil {
		return false
	}
	r.found[h.shard] = h.data
	r.have = append(r.have, h.shard)
	return true
}

// tryNewest tries the choices of k shards that include the one found last: the others were tried
// before. It returns false if none verifies.
func (r *rebuilding) tryNewest() (got verified, ok bool) {
	newest := len(r.have) - 1
	choose(newest, r.v.DataShards-1, func(chosen []int) bool {
		use := []int{r.have[newest]}
		for _, i := range chosen {
			use = append(use, r.have[i])
		}
		got, ok = r.try(use)
		return !ok && r.tries < combosMax
	})
	return got, ok
}

// try reconstructs from the given shards; false if the result does not verify.
func (r *rebuilding) try(use []int) (verified, bool) {
	r.tries++
	r.used = use
	shards := make([][]byte, len(r.v.Shards))
	for _, i := range use {
		shards[i] = r.found[i]
	}
	stored := r.c.slabs.get(r.s.length)
	err := r.code.Reconstruct(shards, int(r.b.Location.Shard), stored)
	var got verified
	if err == nil {
		got, err = r.s.prove(r.b, stored)
	}
	if !got.in(stored) {
		r.c.slabs.put(stored)
	}
	if err != nil {
		r.errs[-1] = granary.Errorf(granary.KindCorrupt, "rebuild", fmt.Sprintf("from shards %v", use), "%w", err)
		return verified{}, false
	}
	return got, true
}

// guess is the last resort: data shards that did not answer are taken for empty in this range.
// Verification tells whether that was right.
func (r *rebuilding) guess() outcome {
	for i := range r.v.DataShards {
		if i == int(r.b.Location.Shard) || r.found[i] != nil {
			continue
		}
		r.found[i] = make([]byte, r.s.length)
		r.have = append(r.have, i)
		if len(r.have) < r.v.DataShards {
			continue
		}
		if got, ok := r.tryNewest(); ok {
			return outcome{got, nil}
		}
	}
	if len(r.have) < r.v.DataShards {
		r.errs[-1] = granary.Errorf(granary.KindUnavailable, "rebuild", "", "%d shards of the %d needed", len(r.have), r.v.DataShards)
	}
	return outcome{verified{}, r.errs}
}

// choose calls fn with each choice of k of the numbers below n, until it returns false.
func choose(n, k int, fn func(chosen []int) bool) {
	if k > n {
		return
	}
	chosen := make([]int, k)
	for i := range chosen {
		chosen[i] = i
	}
	for fn(chosen) {
		i := k - 1
		for i >= 0 && chosen[i] == n-k+i {
			i--
		}
		if i < 0 {
			return
		}
		chosen[i]++
		for j := i + 1; j < k; j++ {
			chosen[j] = chosen[j-1] + 1
		}
	}
}

package master

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/dsorchard/granary"
)

// digestEntries is the length of a window: nodes compare what each run of so many entries of the log wrote.
const digestEntries = 10_000

// digestPoll is how often the leader looks whether a window is complete.
const digestPoll = 100 * time.Millisecond

// The digest of a window is over everything that its entries wrote: of each entry the sum, in which order does not
// count, over all keys that it set or deleted, as it left them; and the head record's counters. It is
// folded entry by entry, so that batches do not matter. Entries that are Raft's own do not count: not all of
// them reach the state.
//
// A window begins at headRecord.DigestFrom, ends at a multiple of its length, and is closed by the first entry
// beyond. Its digest is kept as CheckDigest, at CheckIndex, until the next is closed. One that this node did
// not write whole under today's format (beginWindow) is not compared.

// closeWindow closes the window if the entry lies beyond its end.
func (t *txn) closeWindow(index uint64) {
	h := &t.head
	end := (index - 1) / t.digestEvery * t.digestEvery
	from := max(h.DigestFrom, 1)
	if end < from {
		return
	}
	h.CheckIndex, h.CheckDigest = end, h.Digest
	if (from-1)%t.digestEvery != 0 {
		h.CheckIndex, h.CheckDigest = 0, 0
	}
	h.Digest, h.DigestFrom = 0, end+1
}

// foldEntry adds what the entry wrote to the digest.
func (t *txn) foldEntry() {
	counters := t.head
	counters.Digest, counters.DigestFrom, counters.CheckIndex, counters.CheckDigest = 0, 0, 0, 0
	e := encoder{b: binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(t.scratch[:0], t.head.Digest), t.sum)}
	counters.put(&e)
	t.head.Digest, t.sum, t.scratch = xxhash.Sum64(e.b), 0, e.b
	t.saved = t.head
}

// beginWindow leaves the window that is open out of comparison from its first entry on: the state may have been
// written by a release whose values look different.
func (h *headRecord) beginWindow() {
	h.Digest, h.DigestFrom = 0, h.Applied+1
}

const (
	digestPrime   = 0x9e3779b185ebca87
	digestDeleted = 0xc2b2ae3d27d4eb4f
)

// digestOf is one change's part of the sum, by the hash of its key; a nil value is a deletion.
func digestOf(key uint64, v []byte) uint64 {
	sum := uint64(digestDeleted)
	if v != nil {
		sum = xxhash.Sum64(v)
	}
	x := key ^ bits.RotateLeft64(sum*digestPrime, 31)
	x ^= x >> 33 // the sum of two changes must not be that of two others with keys and values exchanged
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// verifyDigest compares. A node that differs has applied something else than the leader, or read something else
// from its disk than it wrote; whatever it would apply from now on may be wrong too.
func (t *txn) verifyDigest(it *verifyDigest) granary.Result {
	h := &t.head
	if it.Format == formatVersion && it.Index == h.CheckIndex && it.Index != 0 && it.Digest != h.CheckDigest {
		panic(fmt.Sprintf("master: this node's metadata are not those of the leader: the %d entries of the Raft log up to %d "+
			"wrote something else here (digest %016x, the leader's is %016x). It stops, and would again. "+
			"Remove this master from the cluster and add it anew with an empty directory; keep the directory for a report. "+
			"If the other masters stopped as well, it is the leader that differs: remove that one",
			t.digestEvery, it.Index, h.CheckDigest, it.Digest))
	}
	return granary.Result{}
}

// verifyDigests has every window of this leader's compared once it is complete.
func (l *leadership) verifyDigests(ctx context.Context) {
	proposed := uint64(0)
	for pause(ctx, digestPoll) {
		st := l.s.states.acquire()
		h := st.current()
		st.release()
		if h.CheckIndex == proposed {
			continue
		}
		results, err := l.prop.propose(ctx, &verifyDigest{Format: formatVersion, Index: h.CheckIndex, Digest: h.CheckDigest})
		if ctx.Err() != nil {
			return
		}
		if err := failure(err, results); err != nil {
			l.s.log.Warn("the digest of the metadata was not compared; trying again", "error", err)
			continue
		}
		proposed = h.CheckIndex
	}
}

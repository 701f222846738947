package client

import (
	"cmp"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
)

const (
	latencyBuckets   = 72 // of a histogram: four a doubling, from latencyUnit on
	latencyUnit      = 64 * time.Microsecond
	latencySizes     = 3   // size classes of reads
	latencySmall     = 128 // KiB: up to here a read is of the first class, up to eight times that of the second
	latencySamples   = 16  // fewer say nothing
	latencyRefresh   = 16  // reads after which a p95 is computed anew
	latencyWindow    = 512 // reads of a histogram before all counts are halved
	latencyQuantile  = 95  // percent
	latencyUsualEach = 100 * time.Millisecond
)

// latency knows how long the reads of each disk took lately. Those that add to it share no lock.
type latency struct {
	disks sync.Map // of *diskLatency by granary.DiskID
	usual [latencySizes]struct {
		p95 atomic.Int64 // the median of the disks' p95; 0 if unknown
		due atomic.Int64 // when it is computed anew, in nanoseconds of the clock
	}
}

// diskLatency is what is known of one disk, by size class.
type diskLatency [latencySizes]histogram

// histogram counts durations in buckets, four to a doubling. Old ones fade:
// all counts are halved whenever there are latencyWindow of them. Counts that are added while that is
// done may be lost, which does not matter.
type histogram struct {
	buckets [latencyBuckets]atomic.Uint32
	total   atomic.Uint32
	fading  atomic.Bool
	p95     atomic.Int64 // 0 if unknown
}

func latencySize(length int) int {
	switch kib := (length + 1023) >> 10; {
	case kib <= latencySmall:
		return 0
	case kib <= 8*latencySmall:
		return 1
	}
	return 2
}

// latencyBucket returns the bucket of a duration.
func latencyBucket(d time.Duration) int {
	units := uint64(max(d, 0) / latencyUnit)
	if units < 4 {
		return int(units)
	}
	octave := bits.Len64(units) - 1
	return min(4*(octave-1)+int(units>>(octave-2)&3), latencyBuckets-1)
}

// latencyBound returns what the durations in a bucket are below.
func latencyBound(bucket int) time.Duration {
	if bucket < 4 {
		return time.Duration(bucket+1) * latencyUnit
	}
	octave, within := bucket/4+1, bucket%4
	return time.Duration(5+within) << (octave - 2) * latencyUnit
}

func (h *histogram) add(d time.Duration) {
	h.buckets[latencyBucket(d)].Add(1)
	total := h.total.Add(1)
	if total%latencyRefresh == 0 {
		h.p95.Store(int64(h.quantile()))
	}
	if total >= latencyWindow && h.fading.CompareAndSwap(false, true) {
		h.fade()
		h.fading.Store(false)
	}
}

// fade halves the counts.
func (h *histogram) fade() {
	total := uint32(0)
	for i := range h.buckets {
		n := h.buckets[i].Load() / 2
		h.buckets[i].Store(n)
		total += n
	}
	h.total.Store(total)
}

// quantile returns the p95, or 0 if too little is known.
func (h *histogram) quantile() time.Duration {
	var counts [latencyBuckets]uint32
	total := uint32(0)
	for i := range h.buckets {
		counts[i] = h.buckets[i].Load()
		total += counts[i]
	}
	if total < latencySamples {
		return 0
	}
	rank, seen := (total*latencyQuantile+99)/100, uint32(0)
	for i, n := range counts {
		if seen += n; seen >= rank {
			return latencyBound(i)
		}
	}
	return latencyBound(latencyBuckets - 1)
}

func (l *latency) disk(id granary.DiskID) *diskLatency {
	if d, ok := l.disks.Load(id); ok {
		return d.(*diskLatency)
	}
	d, _ := l.disks.LoadOrStore(id, new(diskLatency))
	return d.(*diskLatency)
}

// add notes how long a read took.
func (l *latency) add(disk granary.DiskID, length int, took time.Duration) {
	l.disk(disk)[latencySize(length)].add(took)
}

// gaveUp notes how long a read had taken when it was given up. Of one that was not late nothing is known.
func (l *latency) gaveUp(disk granary.DiskID, length int, after time.Duration) {
	if after >= l.patience(disk, length) {
		l.add(disk, length, after)
	}
}

// patience returns how long a read of a disk is waited for before others are asked: the p95 of its latest reads of this size, but
// hedgeLeast at least, and no longer than what is usual with the other disks, so that a disk that is always slow is not waited for
// because it is. While nothing is known it is hedgeUnknown.
func (l *latency) patience(disk granary.DiskID, length int) time.Duration {
	size := latencySize(length)
	p95, usual := time.Duration(l.disk(disk)[size].p95.Load()), l.usually(size)
	switch {
	case p95 == 0 && usual == 0:
		return hedgeUnknown
	case p95 == 0, usual > 0 && usual < p95:
		p95 = usual
	}
	return max(p95, hedgeLeast)
}

// usually returns the median of the disks' p95; 0 if unknown.
func (l *latency) usually(size int) time.Duration {
	u := &l.usual[size]
	now, due := time.Now().UnixNano(), u.due.Load()
	if now < due || !u.due.CompareAndSwap(due, now+int64(latencyUsualEach)) {
		return time.Duration(u.p95.Load())
	}
	var all []int64
	l.disks.Range(func(_, d any) bool {
		if p95 := d.(*diskLatency)[size].p95.Load(); p95 > 0 {
			all = append(all, p95)
		}
		return true
	})
	median := int64(0)
	if len(all) > 0 {
		slices.Sort(all)
		median = all[(len(all)-1)/2]
	}
	u.p95.Store(median)
	return time.Duration(median)
}

// order sorts shards by how their disks have answered lately. Disks whose p95 are within the same doubling keep their order.
func (l *latency) order(places []granary.ShardPlace, shards []int, length int) {
	size := latencySize(length)
	late := make(map[int]int, len(shards))
	for _, i := range shards {
		p95 := max(time.Duration(l.disk(places[i].Disk)[size].p95.Load()), hedgeLeast)
		late[i] = bits.Len64(uint64(p95 / hedgeLeast))
	}
	slices.SortStableFunc(shards, func(a, b int) int { return cmp.Compare(late[a], late[b]) })
}

// hedging bounds what is read beside what was asked for because something was slow: the number of such reads at a time, and a
// budget of shard reads that every read adds to. So when all is slow the load grows by a share, and does not double.
type hedging struct {
	mu     sync.Mutex
	budget int // of shard reads, in percent of one
	atOnce int
}

func newHedging() *hedging { return &hedging{budget: hedgeBudgetMax} }

// earn adds to the budget: a read has begun.
func (h *hedging) earn() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budget = min(h.budget+hedgeShare, hedgeBudgetMax)
}

// begin reports whether a read that is slow may ask cost other shards; if so, end is called when it has.
func (h *hedging) begin(cost int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.atOnce >= hedgesMax || h.budget < 100*cost {
		return false
	}
	h.budget -= 100 * cost
	h.atOnce++
	return true
}

func (h *hedging) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.atOnce--
}

// more reports whether one more shard may be asked by a reconstruction.
func (h *hedging) more() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.budget < 100 {
		return false
	}
	h.budget -= 100
	return true
}

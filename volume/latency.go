package volume

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary/internal/disk"
)

// What makes a disk slow: all of it at once, and for that many looks in a row, so that a burst, a stall of the whole machine, or a
// server whose disks are all busy does not empty a disk.
const (
	slowLooks    = 5           // whole minutes in a row
	slowSamples  = 50          // accesses in each of them, of the disk and of each that it is compared with
	slowPeers    = 2           // such others, at least
	slowQuantile = 0.95        // of the accesses …
	slowLeast    = time.Second // … takes at least so long …
	slowFactor   = 10          // … and so many times what it takes the others, by their median
)

const (
	stuckAfter    = 30        // seconds in which accesses wait and none ends: then the disk is not written to
	stuckFailing  = 120       // then it counts as failing
	minuteSeconds = int64(60) // of the clock
	minutesKept   = 5
	latencyUnit   = time.Microsecond // the first bucket ends here
	perDoubling   = 8                // buckets, from there on
	bucketsMax    = 32 * perDoubling
)

// latency keeps how long the accesses to a disk's shard files took lately: reads, writes and syncs alike.
type latency struct {
	waiting atomic.Int64 // accesses under way
	ended   atomic.Int64 // clock when the last one ended, or when the first of those under way began

	mu      sync.Mutex
	minutes [minutesKept]minute // by the minute of the clock
}

// minute counts the accesses that ended in one minute.
type minute struct {
	at      int64 // of the clock
	buckets [bucketsMax]uint32
}

// bucketOf returns the bucket of a duration: buckets double eight by eight.
func bucketOf(d time.Duration) int {
	units := uint64(max(d, 0) / latencyUnit)
	if units == 0 {
		return 0
	}
	octave := bits.Len64(units) - 1
	within := units * perDoubling >> octave % perDoubling // the three bits below the highest one
	return min(octave*perDoubling+int(within)+1, bucketsMax-1)
}

// upperBound returns what the durations in a bucket are below.
func upperBound(bucket int) time.Duration {
	octave, within := bucket/perDoubling, bucket%perDoubling
	return time.Duration(math.Ldexp(1+float64(within)/perDoubling, octave) * float64(latencyUnit))
}

// begin counts an access in, and returns what counts it out.
func (l *latency) begin(clock *clock) (end func()) {
	if l.waiting.Add(1) == 1 {
		l.ended.Store(clock.now())
	}
	began := time.Now()
	return func() {
		now := clock.now()
		l.ended.Store(now)
		l.waiting.Add(-1)
		l.add(now, time.Since(began))
	}
}

func (l *latency) add(now int64, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := now / minuteSeconds
	m := &l.minutes[at%minutesKept]
	if m.at != at {
		*m = minute{at: at}
	}
	m.buckets[bucketOf(d)]++
}

// stuck returns for how many seconds accesses have been waiting without one that ended.
func (l *latency) stuck(now int64) int64 {
	if l.waiting.Load() == 0 {
		return 0
	}
	return now - l.ended.Load()
}

// quantile returns how long the slowest accesses of some minutes took, and of how many that is.
func (l *latency) quantile(from, to int64) (d time.Duration, samples uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sum [bucketsMax]uint64
	for _, m := range l.minutes {
		if m.at < from || m.at > to {
			continue
		}
		for i, n := range m.buckets {
			sum[i] += uint64(n)
			samples += uint64(n)
		}
	}
	rank, seen := uint64(math.Ceil(slowQuantile*float64(samples))), uint64(0)
	for i, n := range sum {
		if seen += n; n > 0 && seen >= rank {
			return upperBound(i), samples
		}
	}
	return 0, samples
}

// ReadAt implements disk.File.
func (f *openFile) ReadAt(p []byte, off int64) (int, error) {
	defer f.shard.disk.latency.begin(f.shard.disk.clock)()
	return f.File.ReadAt(p, off)
}

// readDirect reads what is read once: see disk.DirectReader.
func (f *openFile) readDirect(p []byte, off int64) (int, error) {
	direct, ok := f.File.(disk.DirectReader)
	if !ok {
		return f.ReadAt(p, off)
	}
	defer f.shard.disk.latency.begin(f.shard.disk.clock)()
	return direct.ReadDirect(p, off)
}

// WriteAt implements disk.File.
func (f *openFile) WriteAt(p []byte, off int64) (int, error) {
	defer f.shard.disk.latency.begin(f.shard.disk.clock)()
	return f.File.WriteAt(p, off)
}

// Sync implements disk.File.
func (f *openFile) Sync() error {
	defer f.shard.disk.latency.begin(f.shard.disk.clock)()
	return f.File.Sync()
}

// compareDisks looks for slow disks until stop.
func (s *Store) compareDisks(stop <-chan struct{}) {
	ticker := time.NewTicker(time.Duration(minuteSeconds) * sampleEvery)
	defer ticker.Stop()
	looks := make(map[*dataDisk]int)
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		for _, d := range s.served() {
			reason := s.slow(d)
			if looks[d]++; reason == "" {
				looks[d] = 0
			} else if looks[d] == slowLooks {
				d.slow.Store(&reason)
				d.log.Error("the disk is much slower than the others", "reason", reason)
				d.alarm.ring()
			}
		}
	}
}

// slow returns in what way a disk is slower than the others, or "".
func (s *Store) slow(d *dataDisk) string {
	last := s.clock.now()/minuteSeconds - 1 // that is over
	mine, samples := d.latency.quantile(last, last)
	if samples < slowSamples || mine < slowLeast {
		return ""
	}
	var peers []time.Duration
	for _, other := range s.served() {
		if theirs, samples := other.latency.quantile(last, last); other != d && samples >= slowSamples && other.failing() == "" {
			peers = append(peers, theirs)
		}
	}
	if len(peers) < slowPeers {
		return ""
	}
	slices.Sort(peers)
	usual := peers[len(peers)/2]
	if mine < slowFactor*usual {
		return ""
	}
	return fmt.Sprintf("slow: for %d minutes, 1 of 20 accesses took more than %s, those to the server's other disks %s",
		slowLooks, mine.Truncate(time.Millisecond), usual)
}

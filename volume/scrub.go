package volume

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// How scrubs are paced.
const (
	scrubEveryDefault = 30 * 24 * time.Hour
	scrubRateMin      = 1 << 20   // bytes a second of a pass that nobody waits for, and of small disks therefore
	scrubRateMax      = 256 << 20 // of one that was asked for
	scrubWake         = time.Minute
	scrubSaveEvery    = 10 * time.Second
	scrubHoleShare    = 64 // a byte of a hole counts as a part of so many of a byte that the disk is asked for
)

// Scrub begins a pass of a disk now, unless one is under way, which then goes as fast. Its progress is in Usage, and what it finds in
// List and the heartbeats. KindUnavailable says that the disk is failing: it is not read more than it must be.
func (s *Store) Scrub(_ context.Context, disk granary.DiskID) error {
	d := s.diskOf(disk)
	if d == nil || d.gone.Load() != nil {
		return granary.Errorf(granary.KindNotFound, opScrub, string(disk), "server %s has no such disk", s.ServerID())
	}
	if reason := d.failing(); reason != "" {
		return granary.Errorf(granary.KindUnavailable, opScrub, string(disk), "disk %s is failing: %s", d.dir, reason)
	}
	if err := s.begin(opScrub, string(disk)); err != nil {
		return err
	}
	defer s.exit()
	d.scrub.ask()
	return nil
}

// scrubber compares the sealed shards of a disk with their page tables, and the others with the checksums of what was appended to
// them, in one pass after the other. A pass goes on after a restart with the shard that it had come to.
type scrubber struct {
	disk  *dataDisk
	every time.Duration // from the beginning of one pass to that of the next; negative: only when asked
	wake  chan struct{} // holds one token when there is something to do
	saved time.Time     // when the state was last written
	next  time.Time     // when the pace allows the next piece

	mu      sync.Mutex
	state   scrubState
	partial uint64 // bytes of the shard that is being read
	total   uint64 // of the pass
	fast    bool   // somebody waits for the pass
	asked   bool   // … for one that has not begun yet
	unsaved bool   // findings
}

func newScrubber(d *dataDisk, every time.Duration) *scrubber {
	return &scrubber{disk: d, every: every, wake: make(chan struct{}, 1)}
}

// ask makes a pass begin, or the one under way go faster.
func (c *scrubber) ask() {
	c.mu.Lock()
	c.fast = true
	c.asked = c.asked || !c.state.Running
	c.mu.Unlock()
	c.rouse()
}

// found counts a damaged shard.
func (c *scrubber) found() {
	c.mu.Lock()
	c.state.Findings++
	c.unsaved = true
	c.mu.Unlock()
	c.rouse()
}

func (c *scrubber) rouse() {
	select {
	case c.wake <- struct{}{}:
	default: // it is awake
	}
}

// report describes the pass under way, or the last one.
func (c *scrubber) report() granary.Scrub {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := granary.Scrub{Began: c.state.Began, Ended: c.state.Ended, Findings: c.state.Findings}
	if c.state.Running {
		r.Bytes = c.state.Bytes + c.partial
		r.Total = max(c.total, r.Bytes, 1)
	}
	return r
}

// run makes passes until stop.
func (c *scrubber) run(stop <-chan struct{}) {
	<-c.disk.walked // by then the space of all shards is known, and what the last run of the server found is remembered
	for {
		if !c.sleep(stop, scrubWake) {
			return
		}
		c.saveFindings()
		if c.due(time.Now()) {
			if err := c.pass(stop); errors.Is(err, errStopped) {
				return
			}
		}
	}
}

// errStopped ends a pass in the middle because the server stops.
var errStopped = errors.New("the server stops")

// sleep waits, or until there is something to do; false if the server stops.
func (c *scrubber) sleep(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-stop:
		return false
	case <-timer.C:
	case <-c.wake:
	}
	return true
}

// due begins a pass, if it is time for one, and reports whether there is one to be gone on with.
func (c *scrubber) due(at time.Time) bool {
	if c.disk.failing() != "" || c.disk.gone.Load() != nil {
		return false
	}
	now := granary.TimeOf(at)
	shards := len(c.disk.list())
	c.mu.Lock()
	defer c.mu.Unlock()
	began := c.state.Began
	switch {
	case c.state.Running:
		return true
	case c.asked:
	case c.every < 0 || shards == 0:
		return false
	case began != 0 && began <= now && now-began < granary.Time(c.every):
		return false
	}
	c.state.Began, c.state.Bytes, c.state.Last, c.state.Running = now, 0, shardName{}, true
	c.asked = false
	return true
}

// pass verifies the shards that the pass has not come to yet.
func (c *scrubber) pass(stop <-chan struct{}) error {
	shards := c.left()
	c.save()
	c.next = time.Now()
	for _, sh := range shards {
		if c.disk.failing() != "" {
			return nil // it is read no more than it must be
		}
		size, err := c.shard(stop, sh.key)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.state.Bytes += size
		c.state.Last, c.partial = shardName{sh.key.volume, sh.key.index}, 0
		c.mu.Unlock()
		c.saveFindings()
		if time.Since(c.saved) >= scrubSaveEvery {
			c.save()
		}
	}
	c.mu.Lock()
	c.state.Running, c.fast = false, false
	c.state.Ended = granary.TimeOf(time.Now())
	findings := c.state.Findings
	c.mu.Unlock()
	c.save()
	c.disk.log.Info("the disk was scrubbed", "bytes", c.state.Bytes, "findings", findings)
	return nil
}

// left returns the shards that the pass has not come to.
func (c *scrubber) left() []*shard {
	shards := c.disk.list()
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := (shardKey{c.state.Last.Volume, c.state.Last.Shard}); last.volume != 0 {
		shards = slices.DeleteFunc(shards, func(sh *shard) bool { return sh.key.compare(last) <= 0 })
	}
	c.total, c.partial = c.state.Bytes, 0
	for _, sh := range shards {
		size, _ := sh.space()
		c.total += size
	}
	return shards
}

// shard verifies one shard, and returns what it takes on the disk if it is sealed. One that is not counts for nothing in a pass: it will
// be another by then. What is found is with the shard.
func (c *scrubber) shard(stop <-chan struct{}, key shardKey) (uint64, error) {
	d := c.disk
	sh, f, err := d.open(opScrub, key)
	if err != nil {
		return 0, nil // dropped meanwhile, or found to be damaged
	}
	defer d.files.release(f)
	size, _ := sh.space()
	st, err := sh.load(opScrub, f)
	if err == nil && !st.slot.Sealed && sh.damagedBy.Load() == nil {
		if err := sh.verifyOpen(opScrub, f, func(n int) error { return c.pace(stop, uint64(n)) }); errors.Is(err, errStopped) {
			return 0, err
		}
	}
	if err != nil || !st.slot.Sealed || sh.damagedBy.Load() != nil {
		c.mu.Lock()
		c.total -= min(size, c.total)
		c.mu.Unlock()
		return 0, nil
	}
	length := max(st.slot.Length, 1)
	step := func(n int) error {
		// Holes cost nothing to read. Where in the file they are is not known, so each piece has its share.
		read := uint64(float64(n) * min(float64(size)/float64(length), 1))
		c.mu.Lock()
		c.partial = min(c.partial+read, size)
		c.mu.Unlock()
		return c.pace(stop, max(read, uint64(n)/scrubHoleShare))
	}
	if err := sh.verify(opScrub, f, st.slot, step); errors.Is(err, errStopped) {
		return 0, err
	}
	return size, nil
}

// pace waits until so many bytes may be read.
func (c *scrubber) pace(stop <-chan struct{}, n uint64) error {
	now := time.Now()
	if c.next.Before(now.Add(-time.Second)) {
		c.next = now // what was not used up long ago is lost
	}
	rate := c.rate()
	c.next = c.next.Add(time.Duration(float64(n) / rate * float64(time.Second)))
	for time.Now().Before(c.next) {
		if !c.sleep(stop, time.Until(c.next)) {
			return errStopped
		}
		c.saveFindings()
		if faster := c.rate(); faster > rate {
			c.next = time.Now()
		}
	}
	select {
	case <-stop:
		return errStopped
	default:
		return nil
	}
}

// rate returns how many bytes a second the pass may read.
func (c *scrubber) rate() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fast {
		return scrubRateMax
	}
	if c.every <= 0 {
		return scrubRateMin
	}
	return max(scrubRateMin, 1.1*float64(c.total)/c.every.Seconds())
}

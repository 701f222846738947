package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// How often the space of a disk is looked at, and for how many looks it may stay silent.
const (
	sampleEvery = time.Second
	hungAfter   = 10              // then it is not written to
	deadAfter   = 60              // then it counts as failing
	vanishAfter = 3               // looks without an identity: its directory is gone …
	missedPause = sampleEvery / 5 // … after the first of which the others come soon
	fullFor     = 10              // after a write that found no space
)

// clock counts the seconds that the process was running: while it is stopped, or its machine sleeps, a disk that does not
// answer is not to blame.
type clock struct{ seconds atomic.Int64 }

func (c *clock) now() int64 { return c.seconds.Load() }

// run counts until stop.
func (c *clock) run(stop <-chan struct{}) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			c.seconds.Add(1)
		}
	}
}

// sample is the space of a disk's file system at a moment. Reports are made of it, so that a disk that
// hangs does not keep the server from reporting the others.
type sample struct {
	usage disk.Usage
	err   error
	at    int64 // by the clock
}

// trouble returns why the disk should not be written to, or "".
func (s *sample) trouble(now int64) string {
	if s.err != nil {
		return s.err.Error()
	}
	return s.silent(now, hungAfter)
}

// hanging returns why the disk should be emptied, or "".
func (s *sample) hanging(now int64) string { return s.silent(now, deadAfter) }

func (s *sample) silent(now, limit int64) string {
	if seconds := now - s.at; seconds > limit {
		return silence(seconds)
	}
	return ""
}

// silence says for how long a disk has not answered.
func silence(seconds int64) string { return fmt.Sprintf("it has not answered for %d seconds", seconds) }

// look takes a sample.
func (d *dataDisk) look() {
	usage, err := d.fs.Usage()
	d.noteFailure(err)
	d.sample.Store(&sample{usage: usage, err: err, at: d.clock.now()})
}

// missing returns the name that is gone from the directory, of those that every disk has, or "". A failure of another kind says
// nothing about that.
func (d *dataDisk) missing() string {
	for _, name := range []string{identityName, shardsName} {
		f, err := d.fs.Open(name) // a directory is refused, for what it is
		if errors.Is(err, fs.ErrNotExist) {
			return name
		}
		if err == nil {
			err = f.Close()
		}
		d.noteFailure(err)
	}
	return ""
}

// watch takes samples until stop.
func (d *dataDisk) watch(stop <-chan struct{}) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	missed := 0
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		d.look()
		name := d.missing()
		switch {
		case name == "":
			if missed > 0 {
				ticker.Reset(sampleEvery)
			}
			missed = 0
			continue
		case missed == 0:
			ticker.Reset(missedPause)
		}
		if missed++; missed == vanishAfter {
			ticker.Reset(sampleEvery)
			d.vanish("its " + name + " is gone")
		}
	}
}

// walk counts the space of all shards, once after the start, and then learns what those hold that are not sealed.
func (d *dataDisk) walk(stop <-chan struct{}) {
	defer close(d.walked)
	d.scrub.restore()
	for _, sh := range d.list() {
		select {
		case <-stop:
			return
		default:
		}
		sh, f, err := d.open(opList, sh.key)
		if granary.IsKind(err, granary.KindNotFound) {
			continue
		}
		if err != nil {
			d.log.Warn("shard cannot be opened", "error", err)
			continue
		}
		sh.account(f)
		d.files.release(f)
	}
	d.adopt(stop)
}

// adoptMax is how many bytes of open shards are read at the start of a disk.
const adoptMax = 1 << 30

// adopt takes what there is of shards that are not sealed for what was appended to them, before the server was started: of the newest
// ones first, which most likely are still written.
func (d *dataDisk) adopt(stop <-chan struct{}) {
	left := int64(adoptMax)
	for _, sh := range slices.Backward(d.list()) {
		if d.failing() != "" {
			return // it is read no more than it must be
		}
		if size, _ := sh.space(); size <= streamOffset {
			continue // nothing but its head
		}
		sh, f, err := d.open(opScrub, sh.key)
		if err != nil {
			continue // dropped meanwhile, or found to be damaged
		}
		err = sh.adopt(opScrub, f, &left, stop)
		d.files.release(f)
		if errors.Is(err, errStopped) {
			return
		}
	}
}

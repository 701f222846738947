package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/dsorchard/granary/internal/disk"
)

// How often the space of a disk is looked at, and after what silence it counts as hanging.
const (
	sampleEvery = time.Second
	hungAfter   = 10 * time.Second
)

// sample is the space of a disk's file system at a moment. Reports are made of it, so that a disk that
// hangs does not keep the server from reporting the others.
type sample struct {
	usage disk.Usage
	err   error
	at    time.Time
}

// trouble returns why the disk should not be written to, or "".
func (s *sample) trouble() string {
	if s.err != nil {
		return s.err.Error()
	}
	if silence := time.Since(s.at); silence > hungAfter {
		return fmt.Sprintf("it has not answered for %s", silence.Truncate(time.Second))
	}
	return ""
}

// look takes a sample.
func (d *dataDisk) look() {
	usage, err := d.fs.Usage()
	d.sample.Store(&sample{usage: usage, err: err, at: time.Now()})
}

// watch takes samples until stop.
func (d *dataDisk) watch(stop <-chan struct{}) {
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			d.look()
		}
	}
}

// walk counts the space of all shards, once after the start.
func (d *dataDisk) walk(stop <-chan struct{}) {
	defer close(d.walked)
	for _, sh := range d.list() {
		select {
		case <-stop:
			return
		default:
		}
		f, err := d.files.acquire(sh)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			d.log.Warn("shard cannot be opened", "shard", d.ref(sh.key).String(), "error", err)
			continue
		}
		sh.account(f)
		d.files.release(f)
	}
}

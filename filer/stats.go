package filer

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// Dirty is what has been written and is not committed.
type Dirty struct {
	Files  int   `json:"files"`
	Bytes  int64 `json:"bytes"`  // of written data
	Memory int64 `json:"memory"` // that it takes, with what its buffers have left
	Max    int64 `json:"max"`    // of that: then writers wait
	// Failing files could not be committed the last time that it was tried.
	Failing int `json:"failing"`
}

// Stats is how a FS fares, with what it works with. Numbers of events and bytes are from its start on.
type Stats struct {
	Dirty   Dirty        `json:"dirty"`
	Queries CallStats    `json:"queries"` // to the masters
	Changes CallStats    `json:"changes"` // to the masters
	Stalled int64        `json:"stalled"` // reads and flushes that wait for volume servers
	Client  client.Stats `json:"client"`
}

// CallStats is about calls of one kind.
type CallStats struct {
	Count  uint64        `json:"count"`
	Errors uint64        `json:"errors"`
	Time   time.Duration `json:"time"` // all together
}

// callCount counts calls.
type callCount struct{ count, errors, nanos atomic.Uint64 }

func (c *callCount) note(began time.Time, calls int, err error) {
	c.count.Add(uint64(calls))
	c.nanos.Add(uint64(time.Since(began)) * uint64(calls))
	if err != nil {
		c.errors.Add(1)
	}
}

func (c *callCount) stats() CallStats {
	return CallStats{Count: c.count.Load(), Errors: c.errors.Load(), Time: time.Duration(c.nanos.Load())}
}

// counted is a store whose questions and changes are counted.
type counted struct {
	store
	queries, changes *callCount
}

func (s counted) Do(ctx context.Context, cred granary.Cred, op granary.Op) (granary.Result, error) {
	began := time.Now()
	r, err := s.store.Do(ctx, cred, op)
	s.changes.note(began, 1, err)
	return r, err
}

func (s counted) DoAll(ctx context.Context, cred granary.Cred, ops []granary.Op) ([]granary.Result, error) {
	began := time.Now()
	r, err := s.store.DoAll(ctx, cred, ops)
	s.changes.note(began, len(ops), err)
	return r, err
}

func (s counted) Query(ctx context.Context, q granary.Query) (granary.Answer, error) {
	began := time.Now()
	a, err := s.store.Query(ctx, q)
	s.queries.note(began, 1, err)
	return a, err
}

// Stats returns how the FS fares.
func (fs *FS) Stats() Stats {
	s := Stats{Dirty: fs.Dirty(), Queries: fs.queries.stats(), Changes: fs.changes.stats(), Stalled: fs.stalls.waiting.Load()}
	if fs.client != nil {
		s.Client = fs.client.Stats()
		s.Queries.Count -= min(s.Queries.Count, s.Client.Kept.Hits) // those went to no master
	}
	return s
}

// Dirty returns what is not committed.
func (fs *FS) Dirty() Dirty {
	d := Dirty{Max: fs.memoryMax}
	for _, in := range fs.dirtyInodes() {
		in.mu.Lock()
		d.Files++
		d.Memory += in.mem()
		for _, p := range in.all() {
			d.Bytes += p.bytes()
		}
		if in.err != nil && !in.retryAt.IsZero() {
			d.Failing++
		}
		in.mu.Unlock()
		fs.put(in)
	}
	return d
}

// bytes returns how many bytes of data there are.
func (d *dirty) bytes() (n int64) {
	for i := range d.pieces {
		n += int64(len(d.pieces[i].data))
	}
	return n
}

// InUse reports whether a file is open here or has dirty data.
func (fs *FS) InUse(id granary.InodeID) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.inodes[id] != nil
}

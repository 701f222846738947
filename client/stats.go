package client

import (
	"sync/atomic"
	"time"
)

// Stats is how a client fares. Numbers of events and bytes are from its start on.
type Stats struct {
	Cache CacheStats `json:"cache"` // of decoded chunks, in memory
	Local LocalStats `json:"local"` // chunks on a local disk
	Reads ReadStats  `json:"reads"` // from volume servers
	Kept  KeptStats  `json:"kept"`  // attributes, names and listings
}

// LocalStats tells how the cache on a local disk fares. Without one it is zero.
type LocalStats struct {
	Hits      uint64 `json:"hits"`
	Misses    uint64 `json:"misses"`
	BytesRead uint64 `json:"bytesRead"`
	Added     uint64 `json:"added"`   // chunks, or parts of them
	Passed    uint64 `json:"passed"`  // what was not added, since the disk did not keep up or is full
	Damaged   uint64 `json:"damaged"` // files that did not hold what they should, and were dropped
	Evicted   uint64 `json:"evicted"`
	Failures  uint64 `json:"failures"` // errors of the disk
	Bytes     int64  `json:"bytes"`    // that it takes
	Max       int64  `json:"max"`      // that it may take
}

// KeptStats tells how many queries were answered from what is kept (Options.KeepBytes), of those that can be.
type KeptStats struct {
	Hits   uint64 `json:"hits"`
	Misses uint64 `json:"misses"`
	Items  int    `json:"items"` // inodes and names
	Bytes  int64  `json:"bytes"` // that they take
	Max    int64  `json:"max"`
}

// ReadStats is about what was asked of volume servers.
type ReadStats struct {
	Count  uint64        `json:"count"` // blocks, or ranges of them
	Errors uint64        `json:"errors"`
	Bytes  uint64        `json:"bytes"` // as stored
	Time   time.Duration `json:"time"`  // all together
}

// readCount counts what is asked of volume servers.
type readCount struct{ count, errors, bytes, nanos atomic.Uint64 }

func (r *readCount) note(began time.Time, n int, err error) {
	r.count.Add(1)
	r.nanos.Add(uint64(time.Since(began)))
	if err != nil {
		r.errors.Add(1)
		return
	}
	r.bytes.Add(uint64(n))
}

// Stats returns how the client has fared so far.
func (c *Client) Stats() Stats {
	r := &c.reads
	s := Stats{
		Cache: c.CacheStats(),
		Kept:  c.kept.stats(),
		Reads: ReadStats{Count: r.count.Load(), Errors: r.errors.Load(), Bytes: r.bytes.Load(), Time: time.Duration(r.nanos.Load())},
	}
	if c.o.Chunks == nil {
		return s
	}
	l := c.o.Chunks.Stats()
	s.Local = LocalStats{
		Hits: l.Hits, Misses: l.Misses, BytesRead: l.BytesRead, Added: l.Added, Passed: l.Passed,
		Damaged: l.Rejected, Evicted: l.Evicted, Failures: l.Failures, Bytes: l.Bytes, Max: l.Max,
	}
	return s
}

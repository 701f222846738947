package fuse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// Names of extended attributes of the root of a mount, which its own process answers, to anybody who may reach it. They are in no list.
const (
	XattrMount = "system.granary.mount" // a MountInfo
	XattrStats = "system.granary.stats" // a Stats
	XattrSync  = "system.granary.sync"  // a SyncReport, when all that was written is committed, or cannot be for now
)

// MountInfo says what a mount is.
type MountInfo struct {
	PID     int           `json:"pid"`
	Host    string        `json:"host"`
	Version string        `json:"version"`
	Since   time.Time     `json:"since"`
	Source  string        `json:"source"` // masters and path
	Session string        `json:"session"`
	Options []string      `json:"options"`
	Memory  int64         `json:"memoryMax"` // bytes that the process is to keep to; 0: unlimited
	Uptime  time.Duration `json:"uptime"`
}

// SyncReport is what became of a sync.
type SyncReport struct {
	Dirty filer.Dirty `json:"dirty"`           // what could not be committed, and is being tried again
	Error string      `json:"error,omitempty"` // why
}

// Stats is how a mount fares. Numbers of events and bytes are from its start on.
type Stats struct {
	Time         time.Time          `json:"time"`
	Uptime       time.Duration      `json:"uptime"`
	Operations   map[string]OpStats `json:"operations"`
	BytesRead    uint64             `json:"bytesRead"` // by programs, as far as the kernel asked
	BytesWritten uint64             `json:"bytesWritten"`
	OpenFiles    int64              `json:"openFiles"`
	Nodes        int64              `json:"nodes"` // files that the kernel remembers
	NodesMax     int64              `json:"nodesMax"`
	Forgotten    uint64             `json:"forgotten"` // files that the kernel was asked to forget
	Memory       MemoryStats        `json:"memory"`
	filer.Stats
}

// OpStats is about one kind of request.
type OpStats struct {
	Count  uint64        `json:"count"`
	Errors uint64        `json:"errors"`
	Time   time.Duration `json:"time"` // all together
	// Took counts requests by their time: element i those of less than 2^i microseconds, and not less than half of that.
	Took []uint64 `json:"took"`
}

// MemoryStats is the memory of the mount's process, in bytes.
type MemoryStats struct {
	Resident uint64 `json:"resident"`
	Go       uint64 `json:"go"` // of that, what the Go runtime has
	Limit    uint64 `json:"limit"`
}

// answer answers what is asked of the mount itself.
func (m *meter) answer(in *gofuse.InHeader, name string, dest []byte) (uint32, gofuse.Status, bool) {
	if in.NodeId != gofuse.FUSE_ROOT_ID || !strings.HasPrefix(name, "system.granary.") {
		return 0, 0, false
	}
	value, err := m.about(name)
	if err != nil {
		return 0, gofuse.Status(filer.Errno(err)), true
	}
	n, errno := copyOut(dest, value)
	return n, gofuse.Status(errno), true
}

// about answers for one of the names above.
func (m *Server) about(name string) ([]byte, error) {
	switch name {
	case XattrMount:
		return json.Marshal(m.info())
	case XattrStats:
		return json.Marshal(m.Stats())
	case XattrSync:
		return json.Marshal(m.sync(m.ctx))
	}
	return nil, granary.Errorf(granary.KindNoData, "mount", name, "")
}

func (m *Server) info() MountInfo {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown-host"
	}
	i := MountInfo{
		PID: os.Getpid(), Host: host, Version: granary.Version, Since: m.since, Source: m.options.Source, Uptime: time.Since(m.since),
		Session: fmt.Sprint(uint64(m.options.FS.Session())), Memory: m.options.MemoryMax, Options: m.options.names(),
	}
	return i
}

// sync commits all that was written.
func (m *Server) sync(ctx context.Context) SyncReport {
	err := m.options.FS.SyncAll(ctx)
	r := SyncReport{Dirty: m.options.FS.Dirty()}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// Stats returns how the mount fares.
func (m *Server) Stats() Stats {
	now := time.Now()
	s := Stats{
		Time: now, Uptime: now.Sub(m.since), Operations: map[string]OpStats{},
		BytesRead: m.meter.bytesRead.Load(), BytesWritten: m.meter.bytesWritten.Load(), OpenFiles: m.meter.opened.Load() - m.meter.ended.Load(),
		Nodes: m.nodes.count.Load(), NodesMax: int64(m.options.NodesMax), Forgotten: m.nodes.asked.Load(),
		Stats: m.options.FS.Stats(), Memory: memoryStats(),
	}
	for op := range operations {
		c := &m.meter.counts[op]
		o := OpStats{Count: c.count.Load(), Errors: c.errors.Load(), Time: time.Duration(c.nanos.Load())}
		last := 0
		for i := range c.took {
			if c.took[i].Load() > 0 {
				last = i + 1
			}
		}
		for i := range last {
			o.Took = append(o.Took, c.took[i].Load())
		}
		s.Operations[op.String()] = o
	}
	return s
}

func memoryStats() MemoryStats {
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/gc/gomemlimit:bytes"},
	}
	metrics.Read(samples)
	out := MemoryStats{Go: samples[0].Value.Uint64() - samples[1].Value.Uint64(), Limit: samples[2].Value.Uint64()}
	if rss, err := residentBytes(); err == nil {
		out.Resident = rss
	}
	return out
}

// residentBytes is what the process takes of the memory.
func residentBytes() (uint64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, errors.New("statm has no second field")
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	return pages * uint64(os.Getpagesize()), err
}

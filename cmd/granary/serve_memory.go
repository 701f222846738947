package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
)

const (
	serveMemoryDefault = 480 << 20
	serveMemoryLeast   = 192 << 20
)

// serveMemory is what a server that has a filer is to take.
type serveMemory struct{ bytes bytesValue }

func (m *serveMemory) flag(cmd *cobra.Command) {
	m.bytes = serveMemoryDefault
	cmd.Flags().Var(&m.bytes, "memory", "bytes that the process is to keep to: its caches get a share, and the garbage collector works harder near it")
}

// share divides the memory: heap is what the garbage collector is to keep to, with the caches of chunks and of metadata. What the collector does not
// know of comes on top: chunks of uploads, memory that servers fill, and files that are mapped.
func (m *serveMemory) share() (heap, chunks, metadata int64, err error) {
	bytes := int64(m.bytes)
	if bytes < serveMemoryLeast {
		return 0, 0, 0, usagef("--memory %s is less than the %s that a server needs", byteText(uint64(bytes)), byteText(serveMemoryLeast))
	}
	return bytes / 5 * 3, max(bytes/6, 2*granary.ChunkSizeMax), bytes / 8, nil
}

// memoryLook is how often it is looked at whether a limit of memory can be kept.
const memoryLook = 5 * time.Second

// limitMemory is the function of that name, but where more is in use than fits under the limit the limit gives way: a collector that frees
// nothing, again and again, would take half of the processors.
func (p *process) limitMemory(limit int64) {
	if !limitMemory(limit) {
		return
	}
	now := limit
	p.each(memoryLook, func() {
		if next := limitFor(limit, liveHeap()); next != now {
			if now == limit {
				p.log.Info("more memory is in use than the limit leaves for it", "limit", byteText(uint64(limit)), "now", byteText(uint64(next)))
			}
			now = next
			debug.SetMemoryLimit(now)
		}
	})
}

// each calls look again and again until the process stops.
func (p *process) each(period time.Duration, look func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look()
			case <-ctx.Done():
				return
			}
		}
	}()
	p.onStop(func(context.Context) error {
		cancel()
		<-done
		return nil
	})
}

const (
	collectLook    = time.Second
	collectUsual   = 100      // percent of what is in use that a heap may grow by: what GOGC is if it is not set
	collectSmall   = 25       // … of a small heap
	collectHeap    = 16 << 20 // up to which it is small
	collectDear    = 0.05     // share of the process's CPU time from which collecting costs too much
	collectCheap   = 0.01     // … up to which it is cheap
	collectIdleCPU = 0.02     // processors: one that does so little tells nothing of shares
)

// collectEarly has a small heap collected at a quarter of the garbage that is usual: it costs next to nothing where there is little garbage, such as of long
// uploads, and a filer's other memory is not much more than such a heap.
func (p *process) collectEarly() {
	if before := debug.SetGCPercent(collectSmall); before != collectUsual { // GOGC is set: it stands
		debug.SetGCPercent(before)
		return
	}
	percent, last := collectSmall, readCPU()
	p.each(collectLook, func() {
		now := readCPU()
		if next := collectPercent(percent, liveHeap(), now.since(last)); next != percent {
			percent = next
			debug.SetGCPercent(percent)
		}
		last = now
	})
}

// cpuTime is CPU time that the process has taken, in seconds: all in all, and of it the collector.
type cpuTime struct{ used, collecting float64 }

func (t cpuTime) since(before cpuTime) cpuTime {
	return cpuTime{t.used - before.used, t.collecting - before.collecting}
}

// readCPU returns the CPU time up to the latest collection.
func readCPU() cpuTime {
	s := []metrics.Sample{{Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"}, {Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(s)
	for _, one := range s {
		if one.Value.Kind() != metrics.KindFloat64 {
			return cpuTime{}
		}
	}
	return cpuTime{used: s[0].Value.Float64() - s[1].Value.Float64(), collecting: s[2].Value.Float64()}
}

// collectPercent returns by how much a heap may grow from now on, where so much of it is in use, and so much CPU time was taken in a second.
func collectPercent(now int, live int64, took cpuTime) int {
	switch share := took.collecting / max(took.used, collectIdleCPU); {
	case live > collectHeap || share > collectDear:
		return collectUsual
	case share < collectCheap:
		return collectSmall
	}
	return now
}

// limitFor returns the limit to keep to when so much of the heap is in use: at least half of what is in use is left for what is not.
func limitFor(limit, live int64) int64 { return max(limit, live/2*3) }

// liveHeap returns how many bytes the last collection found in use.
func liveHeap() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(sample[0].Value.Uint64())
}

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
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(memoryLook)
		defer tick.Stop()
		now := limit
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if next := limitFor(limit, liveHeap()); next != now {
				if now == limit {
					p.log.Info("more memory is in use than the limit leaves for it", "limit", byteText(uint64(limit)), "now", byteText(uint64(next)))
				}
				now = next
				debug.SetMemoryLimit(now)
			}
		}
	}()
	p.onStop(func(context.Context) error {
		cancel()
		<-done
		return nil
	})
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

// Package measure times operations that many callers do at the same time, and the CPU time that a process spends meanwhile.
package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Sample is what was measured.
type Sample struct {
	Took      time.Duration
	Latencies []time.Duration // of each operation, ascending
	CPU       float64         // seconds that the process spent
	Numbered  int             // operations 0 to Numbered-1 were begun, all of them
}

// Rate is the operations a second.
func (s *Sample) Rate() float64 { return float64(len(s.Latencies)) / s.Took.Seconds() }

// Milliseconds is a quantile of the latencies, from 0 to 1; 0 if there are none.
func (s *Sample) Milliseconds(q float64) float64 {
	n := len(s.Latencies)
	if n == 0 {
		return 0
	}
	return float64(s.Latencies[min(int(q*float64(n)), n-1)].Microseconds()) / 1000
}

// Run calls op(i) for i = 0, 1, … from callers goroutines until the time is over or count operations are done. pid is the
// process whose CPU time is charged, 0 for none. The first error of a caller ends that caller, and is returned.
func Run(ctx context.Context, pid int, within time.Duration, callers, count int, op func(ctx context.Context, i int) error) (*Sample, error) {
	before, err := CPUSeconds(pid)
	if err != nil {
		return nil, err
	}
	var next atomic.Int64
	latencies, errs := make([][]time.Duration, callers), make([]error, callers)
	start := time.Now()
	var running sync.WaitGroup
	for w := range callers {
		running.Go(func() {
			for time.Since(start) < within && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				began := time.Now()
				if errs[w] = op(ctx, i); errs[w] != nil {
					return
				}
				latencies[w] = append(latencies[w], time.Since(began))
			}
		})
	}
	running.Wait()
	s := &Sample{Took: time.Since(start), Latencies: slices.Concat(latencies...), Numbered: min(int(next.Load()), count)}
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return nil, err
	}
	after, err := CPUSeconds(pid)
	if err != nil {
		return nil, err
	}
	slices.Sort(s.Latencies)
	s.CPU = after - before
	return s, nil
}

// CPUSeconds returns the user and system time of a process; 0 for no process.
func CPUSeconds(pid int) (float64, error) {
	if pid == 0 {
		return 0, nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	const ticksPerSecond = 100
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticksPerSecond, err
}

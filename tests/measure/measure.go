// Package measure times operations that many callers do at the same time, and the CPU time that a process spends meanwhile.
package measure

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Sample is what was measured.
type Sample struct {
	Took      time.Duration
	Latencies []time.Duration // of each operation, ascending
	CPU       float64         // seconds that the processes spent
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

// Run calls op(i) for i = 0, 1, … from callers goroutines until the time is over or count operations are done, and
// charges the processes. The first error of a caller ends that caller, and is returned.
func Run(ctx context.Context, charged Processes, within time.Duration, callers, count int, op func(ctx context.Context, i int) error) (*Sample, error) {
	var next atomic.Int64
	latencies, errs := make([][]time.Duration, callers), make([]error, callers)
	cost, err := charged.Cost(func() error {
		began := time.Now()
		var running sync.WaitGroup
		for w := range callers {
			running.Go(func() {
				for time.Since(began) < within && ctx.Err() == nil {
					i := int(next.Add(1)) - 1
					if i >= count {
						return
					}
					start := time.Now()
					if errs[w] = op(ctx, i); errs[w] != nil {
						return
					}
					latencies[w] = append(latencies[w], time.Since(start))
				}
			})
		}
		running.Wait()
		return errors.Join(append(errs, ctx.Err())...)
	})
	if err != nil {
		return nil, err
	}
	s := &Sample{Took: cost.Took, CPU: cost.Total(), Latencies: slices.Concat(latencies...), Numbered: min(int(next.Load()), count)}
	slices.Sort(s.Latencies)
	return s, nil
}

package main

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

func heading() {
	fmt.Printf("%-10s %-22s %7s %10s %10s %10s %10s\n", "target", "op", "callers", "ops/s", "p50 ms", "p99 ms", "cpu us/op")
}

// measure calls op(i) for i = 0, 1, … from many goroutines until the time is over or count is reached, prints a line, and
// returns how many were done.
func measure(ctx context.Context, s settings, target, name string, callers, count int, op func(ctx context.Context, i int) error) (int, error) {
	var next atomic.Int64
	latencies, errs := make([][]time.Duration, callers), make([]error, callers)
	cpu, err := cpuSeconds(s.pid)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	var workers sync.WaitGroup
	for w := range callers {
		workers.Go(func() {
			for time.Since(start) < s.each && ctx.Err() == nil {
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
	workers.Wait()
	took := time.Since(start).Seconds()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	after, err := cpuSeconds(s.pid)
	if err != nil {
		return 0, err
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	n := len(all)
	at := func(q float64) float64 { return float64(all[min(int(q*float64(n)), n-1)].Microseconds()) / 1000 }
	charge := "-"
	if s.pid > 0 {
		charge = fmt.Sprintf("%.1f", (after-cpu)/float64(n)*1e6)
	}
	fmt.Printf("%-10s %-22s %7d %10.0f %10.2f %10.2f %10s\n", target, name, callers, float64(n)/took, at(0.5), at(0.99), charge)
	return n, nil
}

// cpuSeconds returns the user and system time of a process; 0 for no process.
func cpuSeconds(pid int) (float64, error) {
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

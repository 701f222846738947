package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// table runs cells and prints a line for each.
type table struct {
	name string
	each time.Duration
	pid  int
	out  io.Writer
}

func (t *table) heading() {
	fmt.Fprintf(t.out, "%-10s %-8s %9s %5s %10s %9s %10s %10s %9s\n",
		"target", "op", "size", "conc", "ops/s", "MB/s", "p50 ms", "p99 ms", "cpu s/kop")
}

// cell is one measurement: work runs op(i) for i = 0, 1, … on conc workers until the time is over
// or count operations are done.
type cell struct {
	op    string
	size  int // bytes of one operation; 0 if it moves none
	conc  int
	count int // at most
	work  func(ctx context.Context, i int) error
}

// run measures a cell and returns how many operations succeeded. All were numbered from 0 without a gap.
func (t *table) run(ctx context.Context, c cell) (int, error) {
	var next atomic.Int64
	latencies := make([][]time.Duration, c.conc)
	errs := make([]error, c.conc)
	cpu, err := cpuSeconds(t.pid)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	var workers sync.WaitGroup
	for w := range c.conc {
		workers.Go(func() {
			for time.Since(start) < t.each && ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= c.count {
					return
				}
				began := time.Now()
				if err := c.work(ctx, i); err != nil {
					errs[w] = fmt.Errorf("%s %s: %w", t.name, c.op, err)
					return
				}
				latencies[w] = append(latencies[w], time.Since(began))
			}
		})
	}
	workers.Wait()
	took := time.Since(start).Seconds()
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		return 0, err
	}
	after, err := cpuSeconds(t.pid)
	if err != nil {
		return 0, err
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	t.line(c, all, took, after-cpu)
	return min(int(next.Load()), c.count), nil
}

func (t *table) line(c cell, sorted []time.Duration, took, cpu float64) {
	if len(sorted) == 0 {
		return
	}
	n := float64(len(sorted))
	ms := func(q float64) float64 {
		return float64(sorted[min(int(q*n), len(sorted)-1)].Microseconds()) / 1000
	}
	rate, charge := "-", "-"
	if c.size > 0 {
		rate = fmt.Sprintf("%.1f", n*float64(c.size)/took/1e6)
	}
	if t.pid > 0 {
		charge = fmt.Sprintf("%.2f", cpu/n*1000)
	}
	fmt.Fprintf(t.out, "%-10s %-8s %9s %5d %10.1f %9s %10.2f %10.2f %9s\n",
		t.name, c.op, sizeText(c.size), c.conc, n/took, rate, ms(0.5), ms(0.99), charge)
}

func sizeText(n int) string {
	switch {
	case n == 0:
		return "-"
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	default:
		return fmt.Sprintf("%d KiB", n>>10)
	}
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

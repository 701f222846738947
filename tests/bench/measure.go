package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/dsorchard/granary/tests/measure"
)

// table runs cells and prints a line for each.
type table struct {
	name string
	each time.Duration
	pids measure.Processes
	out  io.Writer
}

func (t *table) heading() {
	fmt.Fprintf(t.out, "%-10s %-8s %9s %5s %10s %9s %10s %10s %9s %9s %9s\n",
		"target", "op", "size", "conc", "ops/s", "MiB/s", "p50 ms", "p99 ms", "cpu s/kop", "cpu s/GiB", "peak MiB")
}

// cell is one measurement: work runs op(i) for i = 0, 1, … on conc workers until the time is over
// or count operations are done.
type cell struct {
	op    string
	size  int // bytes of one operation; 0 if it moves none
	conc  int
	count int     // at most
	each  float64 // an operation counts as so many: 1, or the keys of a listing
	work  func(ctx context.Context, i int) error
}

// run measures a cell and returns how many operations succeeded. All were numbered from 0 without a gap.
func (t *table) run(ctx context.Context, c cell) (int, error) {
	s, err := measure.Run(ctx, t.pids, t.each, c.conc, c.count, c.work)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", t.name, c.op, err)
	}
	t.line(c, s)
	return s.Numbered, nil
}

func (t *table) line(c cell, s *measure.Sample) {
	n := len(s.Latencies)
	if n == 0 {
		return
	}
	rate, charge, chargeGiB, peak := "-", "-", "-", "-"
	if c.size > 0 {
		rate = fmt.Sprintf("%.1f", s.Rate()*float64(c.size)/(1<<20))
	}
	if len(t.pids) > 0 {
		charge = fmt.Sprintf("%.3f", s.CPU/float64(n)/c.each*1000)
		if c.size > 0 {
			chargeGiB = fmt.Sprintf("%.2f", s.CPU/float64(n)/float64(c.size)*(1<<30))
		}
		if bytes, err := t.pids.PeakMemory(); err == nil {
			peak = fmt.Sprint(bytes >> 20)
		}
	}
	fmt.Fprintf(t.out, "%-10s %-8s %9s %5d %10.1f %9s %10.2f %10.2f %9s %9s %9s\n",
		t.name, c.op, sizeText(c.size), c.conc, s.Rate()*c.each, rate, s.Milliseconds(0.5), s.Milliseconds(0.99), charge, chargeGiB, peak)
}

// untimed has callers do what is numbered from first to before end.
func (t *table) untimed(ctx context.Context, callers, first, end int, op func(ctx context.Context, i int) error) error {
	if first >= end {
		return nil
	}
	_, err := measure.Run(ctx, nil, math.MaxInt64, callers, end-first, func(ctx context.Context, i int) error { return op(ctx, first+i) })
	return err
}

package main

import (
	"context"
	"fmt"
	"io"
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
	rate, charge := "-", "-"
	if c.size > 0 {
		rate = fmt.Sprintf("%.1f", s.Rate()*float64(c.size)/1e6)
	}
	if len(t.pids) > 0 {
		charge = fmt.Sprintf("%.2f", s.CPU/float64(n)*1000)
	}
	fmt.Fprintf(t.out, "%-10s %-8s %9s %5d %10.1f %9s %10.2f %10.2f %9s\n",
		t.name, c.op, sizeText(c.size), c.conc, s.Rate(), rate, s.Milliseconds(0.5), s.Milliseconds(0.99), charge)
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

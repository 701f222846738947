package main

import (
	"context"
	"fmt"

	"github.com/dsorchard/granary/tests/measure"
)

func heading() {
	fmt.Printf("%-10s %-22s %7s %10s %10s %10s %10s\n", "target", "op", "callers", "ops/s", "p50 ms", "p99 ms", "cpu us/op")
}

// bench calls op(i) for i = 0, 1, … from many goroutines until the time is over or count is reached, prints a line, and
// returns how many were done.
func bench(ctx context.Context, s settings, target, name string, callers, count int, op func(ctx context.Context, i int) error) (int, error) {
	m, err := measure.Run(ctx, s.pids, s.each, callers, count, op)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	row(s, target, name, callers, m)
	return len(m.Latencies), nil
}

// row prints a line of the table.
func row(s settings, target, name string, callers int, m *measure.Sample) {
	n := len(m.Latencies)
	charge := "-"
	if len(s.pids) > 0 && n > 0 {
		charge = fmt.Sprintf("%.1f", m.CPU/float64(n)*1e6)
	}
	fmt.Printf("%-10s %-22s %7d %10.0f %10.2f %10.2f %10s\n",
		target, name, callers, m.Rate(), m.Milliseconds(0.5), m.Milliseconds(0.99), charge)
}

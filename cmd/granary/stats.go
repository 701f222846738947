package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary/fuse"
)

// statsOptions are the flags of granary stats.
type statsOptions struct {
	interval time.Duration
	count    int
	all      bool
}

func statsCommand(env *environment) *cobra.Command {
	o := &statsOptions{}
	cmd := &cobra.Command{
		Use:   "stats MOUNTPOINT",
		Short: "Show what a mount does, live",
		Long: `Show what a mount of this host does, a line for each interval: requests of the kernel
and how long they took (mean, and what 99 of 100 took less than), bytes that
programs read and wrote, how many reads the caches in memory and on disk served,
and how many questions about names and attributes what is kept of them,
what came from volume servers, calls to the masters, what is not committed, open
files, files that the kernel remembers, memory. With --operations, a table of all
kinds of requests instead.

With --output json, a line is a JSON object of all numbers since the mount began.`,
		Args: exactArgs("MOUNTPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.interval < 100*time.Millisecond {
				return usagef("--interval %v is less than 100ms", o.interval)
			}
			return showStats(cmd.Context(), env, o, args[0], cmd.OutOrStdout())
		},
	}
	cmd.Flags().DurationVar(&o.interval, "interval", time.Second, "time between two lines")
	cmd.Flags().IntVar(&o.count, "count", 0, "how many lines; 0: until interrupted")
	cmd.Flags().BoolVar(&o.all, "operations", false, "show all kinds of requests, since the mount began")
	env.outputFlag(cmd)
	return cmd
}

func showStats(ctx context.Context, env *environment, o *statsOptions, point string, out io.Writer) error {
	if env.output != "json" && env.output != "table" {
		return usagef("--output %q is neither table nor json", env.output)
	}
	ask := func() (fuse.Stats, error) {
		s, err := askMount[fuse.Stats](ctx, point, fuse.XattrStats)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%s: %s", point, condition(err))
		}
		return s, err
	}
	before, err := ask()
	if err != nil {
		return err
	}
	if o.all {
		return env.print(out, before, func(t *tableWriter) { operationTable(t, &before) })
	}
	if env.output == "json" {
		return jsonStats(ctx, o, before, ask, out)
	}
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	for n := 0; o.count == 0 || n < o.count; n++ {
		if n%20 == 0 {
			fmt.Fprintln(out, statsHead)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		now, err := ask()
		if err != nil {
			return err
		}
		fmt.Fprintln(out, statsLine(&before, &now))
		before = now
	}
	return nil
}

// jsonStats writes the numbers at once, and then in each interval.
func jsonStats(ctx context.Context, o *statsOptions, s fuse.Stats, ask func() (fuse.Stats, error), out io.Writer) error {
	enc := json.NewEncoder(out)
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	for n := 1; ; n++ {
		if err := enc.Encode(s); err != nil {
			return err
		}
		if n == o.count {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		var err error
		if s, err = ask(); err != nil {
			return err
		}
	}
}

const statsHead = "------ kernel ------ ---- programs ---- ----- caches ----- -- volumes -- --- masters --- --- dirty --- ---- files ---- -memory-\n" +
	" ops/s  mean   p99     read     write  mem%  disk%  meta%     read  ops/s   mean  files    bytes   open    nodes resident"

// statsLine says what happened between two times.
func statsLine(before, now *fuse.Stats) string {
	seconds := max(now.Time.Sub(before.Time).Seconds(), 1e-3)
	rate := func(a, b uint64) uint64 { return uint64(float64(b-min(a, b)) / seconds) }
	ops, mean, p99 := operationsBetween(before, now)
	masters := now.Queries.Count + now.Changes.Count - before.Queries.Count - before.Changes.Count
	waited := now.Queries.Time + now.Changes.Time - before.Queries.Time - before.Changes.Time
	share := func(hits, misses uint64) string {
		if hits+misses == 0 {
			return "-"
		}
		return fmt.Sprint(100 * hits / (hits + misses))
	}
	c, b := &now.Client, &before.Client
	return fmt.Sprintf("%6.0f %5s %5s %8s  %8s  %4s  %5s  %5s %8s %6.0f  %5s %6d %8s %6d %8d %8s",
		float64(ops)/seconds, shortTime(mean), shortTime(p99),
		shortBytes(rate(before.BytesRead, now.BytesRead)), shortBytes(rate(before.BytesWritten, now.BytesWritten)),
		share(c.Cache.Hits-b.Cache.Hits, c.Cache.Misses-b.Cache.Misses), share(c.Local.Hits-b.Local.Hits, c.Local.Misses-b.Local.Misses),
		share(c.Kept.Hits-b.Kept.Hits, c.Kept.Misses-b.Kept.Misses),
		shortBytes(rate(b.Reads.Bytes, c.Reads.Bytes)),
		float64(masters)/seconds, shortTime(meanOf(waited, masters)),
		now.Dirty.Files, shortBytes(uint64(now.Dirty.Bytes)), now.OpenFiles, now.Nodes, shortBytes(now.Memory.Resident))
}

// operationsBetween returns how many requests there were, and how long they took.
func operationsBetween(before, now *fuse.Stats) (n uint64, mean, p99 time.Duration) {
	var all time.Duration
	var took []uint64
	for name, op := range now.Operations {
		old := before.Operations[name]
		n += op.Count - old.Count
		all += op.Time - old.Time
		for i, k := range op.Took {
			if i < len(old.Took) {
				k -= old.Took[i]
			}
			if i == len(took) {
				took = append(took, 0)
			}
			took[i] += k
		}
	}
	return n, meanOf(all, n), percentile(took, 99)
}

func meanOf(all time.Duration, n uint64) time.Duration {
	if n == 0 {
		return 0
	}
	return all / time.Duration(n)
}

// percentile returns the time that so many percent of requests took less than, to a power of two of microseconds.
func percentile(took []uint64, percent uint64) time.Duration {
	var all, sum uint64
	for _, k := range took {
		all += k
	}
	for i, k := range took {
		if sum += k; all > 0 && sum*100 >= all*percent {
			return time.Microsecond << i
		}
	}
	return 0
}

// operationTable lists the kinds of requests that there were, those that took the most time first.
func operationTable(t *tableWriter, s *fuse.Stats) {
	t.row("OPERATION", "COUNT", "ERRORS", "TIME", "MEAN", "P50 <", "P99 <")
	names := slices.SortedFunc(maps.Keys(s.Operations), func(a, b string) int {
		return int(s.Operations[b].Time - s.Operations[a].Time)
	})
	for _, name := range names {
		if op := s.Operations[name]; op.Count > 0 {
			t.row(name, op.Count, op.Errors, shortTime(op.Time), shortTime(meanOf(op.Time, op.Count)),
				shortTime(percentile(op.Took, 50)), shortTime(percentile(op.Took, 99)))
		}
	}
}

// shortTime writes a duration in at most five characters.
func shortTime(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Millisecond:
		return fmt.Sprintf("%dus", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1fms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 100*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%.0fm", d.Minutes())
}

// shortBytes is byteText in at most eight characters.
func shortBytes(n uint64) string {
	if n == 0 {
		return "-"
	}
	return byteText(n)
}

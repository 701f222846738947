package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// goal is what the row of a table is to reach.
type goal struct {
	title string
	unit  string
	less  bool    // a smaller value is better
	asked float64 // how many times better than the better peer
}

// goals are the rows, as results name them.
func goals() []struct {
	name string
	goal
} {
	type named = struct {
		name string
		goal
	}
	return []named{
		{"write", goal{"sequential write, 1 MiB, fsync at the end", "MiB/s", false, 1.3}},
		{"read-cold", goal{"sequential read, cold", "MiB/s", false, 1.3}},
		{"read-warm", goal{"sequential read, warm", "MiB/s", false, 1.3}},
		{"randread-1", goal{"random read 4 KiB, cold, 1 thread", "/s", false, 2}},
		{"randread-8", goal{"random read 4 KiB, cold, 8 threads", "/s", false, 2}},
		{"randwrite", goal{"random write 4 KiB, then fsync", "/s", false, 2}},
		{"writesync", goal{"one 4 KiB write + fsync", "ms", true, 2}},
		{"create-1", goal{"create + write 4 KiB + close, 1 thread", "/s", false, 2}},
		{"create-8", goal{"create + write 4 KiB + close, 8 threads", "/s", false, 2}},
		{"untar", goal{"untar of a source tree", "s", true, 2}},
		{"status-cold", goal{"git status, cold", "s", true, 2}},
		{"status-warm", goal{"git status, warm", "s", true, 2}},
		{"grep-cold", goal{"grep -r, cold", "s", true, 2}},
		{"grep-warm", goal{"grep -r, warm", "s", true, 2}},
		{"cp", goal{"cp -r", "s", true, 2}},
		{"rm", goal{"rm -rf", "s", true, 2}},
		{"seen", goal{"a change is seen by another mount", "ms", true, 0}},
		{"seen-99", goal{"the same, 99th percentile", "ms", true, 0}},
	}
}

// result prints a value, and adds it to the results. cpu is the seconds spent for what is measured, in words of the caller.
func (b *bench) result(name string, value float64, unit, cpu string) error {
	fmt.Printf("%-10s %-12s %12s %-6s %s\n", b.name, name, number(value), unit, cpu)
	if b.results == "" {
		return nil
	}
	f, err := os.OpenFile(b.results, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(f, "%s\t%s\t%g\t%s\n", name, b.name, value, cpu); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// compare prints a table of the results, and how many times ours is better than the best of the others but for the plain disk.
func compare(_ context.Context, s settings) error {
	text, err := os.ReadFile(s.results)
	if err != nil {
		return err
	}
	values := map[string]map[string][]float64{} // by row and target
	var targets []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 4 {
			return fmt.Errorf("%s: a line has %d fields", s.results, len(fields))
		}
		value, err := strconv.ParseFloat(fields[2], 64)
		if err != nil {
			return err
		}
		if values[fields[0]] == nil {
			values[fields[0]] = map[string][]float64{}
		}
		values[fields[0]][fields[1]] = append(values[fields[0]][fields[1]], value)
		if !slices.Contains(targets, fields[1]) {
			targets = append(targets, fields[1])
		}
	}
	fmt.Printf("%-42s %-6s", "", "")
	for _, t := range targets {
		fmt.Printf(" %12s", t)
	}
	fmt.Printf(" %12s %8s\n", "x of peer", "asked")
	for _, g := range goals() {
		if values[g.name] != nil {
			printRow(g.goal, values[g.name], targets, s.ours)
		}
	}
	return nil
}

// printRow prints the medians of one row. The plain disk is no peer.
func printRow(g goal, values map[string][]float64, targets []string, ours string) {
	fmt.Printf("%-42s %-6s", g.title, g.unit)
	peer, own := 0.0, 0.0
	for _, t := range targets {
		list := slices.Sorted(slices.Values(values[t]))
		if len(list) == 0 {
			fmt.Printf(" %12s", "-")
			continue
		}
		v := list[len(list)/2]
		fmt.Printf(" %12s", number(v))
		switch {
		case t == ours:
			own = v
		case t == plainDisk || strings.HasPrefix(t, ours):
		case peer == 0 || (v < peer) == g.less:
			peer = v
		}
	}
	ratio, asked := "-", "-"
	if own > 0 && peer > 0 {
		r := own / peer
		if g.less {
			r = peer / own
		}
		ratio = fmt.Sprintf("%.2f", r)
	}
	if g.asked > 0 {
		asked = fmt.Sprintf("%.1f", g.asked)
	}
	fmt.Printf(" %12s %8s\n", ratio, asked)
}

// plainDisk is what run.sh calls the file system below.
const plainDisk = "disk"

func number(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

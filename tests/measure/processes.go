package measure

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Processes are those whose CPU time is charged, by their ids.
type Processes []int

// Flag adds --pids, which adds processes.
func (p *Processes) Flag(flags *flag.FlagSet) {
	flags.Func("pids", "processes that are charged, PID,…", func(text string) error {
		for one := range strings.SplitSeq(text, ",") {
			pid, err := strconv.Atoi(one)
			if err != nil {
				return err
			}
			*p = append(*p, pid)
		}
		return nil
	})
}

// Spent returns the CPU seconds that each process has spent so far.
func (p Processes) Spent() (seconds []float64, err error) {
	for _, pid := range p {
		s, err := cpuSeconds(pid)
		if err != nil {
			return nil, err
		}
		seconds = append(seconds, s)
	}
	return seconds, nil
}

// Cost is what a piece of work took.
type Cost struct {
	Took time.Duration
	CPU  []float64 // seconds of each process
}

// Cost runs work.
func (p Processes) Cost(work func() error) (*Cost, error) {
	before, err := p.Spent()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := work(); err != nil {
		return nil, err
	}
	c := &Cost{Took: time.Since(began)}
	if c.CPU, err = p.Spent(); err != nil {
		return nil, err
	}
	for i := range c.CPU {
		c.CPU[i] -= before[i]
	}
	return c, nil
}

// Total is the CPU seconds of all processes.
func (c *Cost) Total() (sum float64) {
	for _, s := range c.CPU {
		sum += s
	}
	return sum
}

// Of returns the rate of work on so many bytes, and what they cost: in all, and of each process.
func (c *Cost) Of(bytes int64) string {
	gb := float64(bytes) / 1e9
	text := fmt.Sprintf("%8.1f MB/s  %5.2f core-seconds per GB:", float64(bytes)/1e6/c.Took.Seconds(), c.Total()/gb)
	for _, s := range c.CPU {
		text += fmt.Sprintf(" %.2f", s/gb)
	}
	return text
}

// cpuSeconds returns the user and system time of a process.
func cpuSeconds(pid int) (float64, error) {
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

// PeakMemory returns how much memory the processes had at most, in bytes: the sum of each one's peak, whenever that was.
func (p Processes) PeakMemory() (sum uint64, err error) {
	for _, pid := range p {
		peak, _, err := PeakMemory(pid)
		if err != nil {
			return 0, err
		}
		sum += peak
	}
	return sum, nil
}

// PeakMemory returns how much memory a process had at most, in bytes, and how much it has.
func PeakMemory(pid int) (peak, now uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		to := map[string]*uint64{"VmHWM": &peak, "VmRSS": &now}[name]
		if to == nil {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, 0, err
		}
		*to = kib << 10
	}
	return peak, now, nil
}

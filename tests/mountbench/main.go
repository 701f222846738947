package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary/tests/measure"
)

func main() { measure.Main("mountbench", run) }

// settings are the flags.
type settings struct {
	name    string
	path    string // directory to work in
	second  string // the same directory in another mount
	rows    string
	cold    string
	pidsBy  string
	results string
	tree    string // tar file
	each    time.Duration
	fileMiB int
	length  time.Duration
	spaceBy string
	ours    string // compare: which target is to be better
}

func run(ctx context.Context, args []string) error {
	var s settings
	flags := flag.NewFlagSet("mountbench", flag.ContinueOnError)
	flags.StringVar(&s.name, "name", "directory", "what the results call it")
	flags.StringVar(&s.path, "path", "", "directory to work in")
	flags.StringVar(&s.second, "second", "", "rows: the same directory in another mount; for the row coherence")
	flags.StringVar(&s.rows, "rows", "", "rows: which, separated by commas (default all)")
	flags.StringVar(&s.cold, "cold", "", "rows: shell command that empties caches")
	flags.StringVar(&s.pidsBy, "pids-by", "", "shell command that prints whose CPU time is charged")
	flags.StringVar(&s.results, "results", "", "file that results are added to, or read from")
	flags.StringVar(&s.tree, "tree", "", "rows: tar file of a git work tree")
	flags.DurationVar(&s.each, "each", 3*time.Second, "rows: time for what is repeated")
	flags.IntVar(&s.fileMiB, "file", 512, "MiB of large files")
	flags.DurationVar(&s.length, "for", 15*time.Minute, "overwrite: how long")
	flags.StringVar(&s.spaceBy, "space-by", "", "overwrite: shell command that prints what is stored")
	flags.StringVar(&s.ours, "ours", "granary", "compare: the target that is to be better than others")
	return measure.Dispatch(ctx, args, flags, &s, []measure.Command[settings]{
		{Name: "rows", Run: measureRows},
		{Name: "overwrite", Run: overwrite},
		{Name: "compare", Run: compare},
	})
}

// row is a group of results that are measured together.
type row struct {
	name string
	run  func(ctx context.Context) error
}

var errNoPath = errors.New("--path is missing")

func (b *bench) all() []row {
	return []row{
		{"stream", b.stream},
		{"randread", b.randomReads},
		{"randwrite", b.randomWrites},
		{"create", b.creates},
		{"tree", b.sources},
		{"coherence", b.coherence},
	}
}

// measureRows measures the rows that were asked for.
func measureRows(ctx context.Context, s settings) error {
	if s.path == "" {
		return errNoPath
	}
	b := &bench{settings: s}
	wanted := strings.Split(s.rows, ",")
	for _, r := range b.all() {
		if s.rows != "" && !slices.Contains(wanted, r.name) {
			continue
		}
		if err := b.inDirectory(r.name, func() error { return r.run(ctx) }); err != nil {
			return fmt.Errorf("%s: %s: %w", s.name, r.name, err)
		}
	}
	return nil
}

// bench is one target.
type bench struct {
	settings
	dir string // of the row
}

// inDirectory runs work in a new directory, which goes afterwards.
func (b *bench) inDirectory(row string, work func() error) error {
	dir, err := os.MkdirTemp(b.path, "bench-"+row+"-")
	if err != nil {
		return err
	}
	b.dir = dir
	return errors.Join(work(), os.RemoveAll(dir))
}

// chill empties the caches.
func (b *bench) chill(ctx context.Context) error {
	if b.cold == "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, "sh", "-c", b.cold).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", b.cold, err, out)
	}
	return nil
}

// charged are the processes whose CPU time counts. They may be others after the caches were emptied.
func (b *bench) charged(ctx context.Context) (pids measure.Processes, err error) {
	if b.pidsBy == "" {
		return nil, nil
	}
	out, err := exec.CommandContext(ctx, "sh", "-c", b.pidsBy).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.pidsBy, err)
	}
	for _, word := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// timed measures one piece of work as often as it is asked for; prepare comes before each and does not count.
func (b *bench) timed(ctx context.Context, times int, prepare, work func(i int) error) (*series, error) {
	var s series
	for i := range times {
		if prepare != nil {
			if err := prepare(i); err != nil {
				return nil, err
			}
		}
		pids, err := b.charged(ctx)
		if err != nil {
			return nil, err
		}
		cost, err := pids.Cost(func() error { return work(i) })
		if err != nil {
			return nil, err
		}
		s.took = append(s.took, cost.Took)
		s.cpu = append(s.cpu, cost.Total())
	}
	return &s, nil
}

// repeated measures operations by so many callers for a while.
func (b *bench) repeated(ctx context.Context, callers, count int, op func(ctx context.Context, i int) error) (*measure.Sample, error) {
	pids, err := b.charged(ctx)
	if err != nil {
		return nil, err
	}
	return measure.Run(ctx, pids, b.each, callers, count, op)
}

// series are the same piece of work, several times.
type series struct {
	took []time.Duration
	cpu  []float64
}

func (s *series) median() (time.Duration, float64) {
	took, cpu := slices.Sorted(slices.Values(s.took)), slices.Sorted(slices.Values(s.cpu))
	return took[len(took)/2], cpu[len(cpu)/2]
}

// quantile is of the times; q is less than 1.
func quantile(took []time.Duration, q float64) time.Duration {
	list := slices.Sorted(slices.Values(took))
	return list[int(q*float64(len(list)))]
}

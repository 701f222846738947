package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/tests/measure"
	"github.com/dsorchard/granary/volume"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "blockbench:", err)
		os.Exit(1)
	}
}

// settings are the flags; each command reads those that concern it.
type settings struct {
	cluster string
	pids    []int
	name    string
	size    int64
	files   int
	each    time.Duration
	profile string
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(*bench, context.Context) error{
		"write": (*bench).write, "read": (*bench).read, "random": (*bench).random, "thin": (*bench).thin,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("usage: blockbench write|read|random|thin [flags]")
	}
	s := settings{pids: []int{os.Getpid()}}
	flags := flag.NewFlagSet("blockbench "+args[0], flag.ContinueOnError)
	flags.StringVar(&s.cluster, "cluster", os.Getenv("GRANARY_CLUSTER"), "gRPC addresses of the masters")
	flags.StringVar(&s.name, "name", "stream", "file that is written and read")
	flags.Int64Var(&s.size, "mib", 1024, "MiB of the stream")
	flags.IntVar(&s.files, "files", 10_000, "thin: how many")
	flags.DurationVar(&s.each, "each", 3*time.Second, "random: how long")
	flags.StringVar(&s.profile, "cpuprofile", "", "file for a CPU profile of this process")
	flags.Func("pids", "processes that are charged too, PID,…", func(text string) error {
		for one := range strings.SplitSeq(text, ",") {
			pid, err := strconv.Atoi(one)
			if err != nil {
				return err
			}
			s.pids = append(s.pids, pid)
		}
		return nil
	})
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	s.size <<= 20
	return with(ctx, s, commands[args[0]])
}

// bench is one run.
type bench struct {
	settings
	c      *client.Client
	shards *counted
}

// with runs a command with a client of the cluster.
func with(ctx context.Context, s settings, command func(*bench, context.Context) error) (err error) {
	blocks := volume.NewClient()
	b := &bench{settings: s, shards: &counted{Client: blocks}}
	b.c, err = client.Open(ctx, client.Options{Masters: strings.Split(s.cluster, ","), Shards: b.shards, Name: "blockbench"})
	if err != nil {
		return errors.Join(err, blocks.Close())
	}
	defer func() { err = errors.Join(err, b.c.Close(), blocks.Close()) }()
	if s.profile != "" {
		f, err := os.Create(s.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	return command(b, ctx)
}

// cost runs work on so many bytes, and prints their rate and what they cost.
func (b *bench) cost(what string, bytes int64, work func() error) error {
	before, err := b.spent()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := work(); err != nil {
		return err
	}
	took := time.Since(began)
	after, err := b.spent()
	if err != nil {
		return err
	}
	gb := float64(bytes) / 1e9
	line := fmt.Sprintf("%-6s %8.1f MB/s  %5.2f core-seconds per GB:", what, float64(bytes)/1e6/took.Seconds(), total(after, before)/gb)
	for i := range after {
		line += fmt.Sprintf(" %.2f", (after[i]-before[i])/gb)
	}
	fmt.Println(line)
	return nil
}

// spent returns the CPU seconds that each process has spent so far.
func (b *bench) spent() (seconds []float64, err error) {
	for _, pid := range b.pids {
		s, err := measure.CPUSeconds(pid)
		if err != nil {
			return nil, err
		}
		seconds = append(seconds, s)
	}
	return seconds, nil
}

func total(after, before []float64) (sum float64) {
	for i := range after {
		sum += after[i] - before[i]
	}
	return sum
}

// find returns a file's layout around an offset.
func (b *bench) find(ctx context.Context) (*granary.Found, error) {
	return client.Ask[*granary.Found](ctx, b.c, &granary.Lookup{Base: granary.RootInode, Path: b.name})
}

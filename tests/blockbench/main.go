package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/tests/measure"
	"github.com/dsorchard/granary/volume"
)

func main() { measure.Main("blockbench", run) }

// settings are the flags; each command reads those that concern it.
type settings struct {
	cluster string
	pids    measure.Processes
	name    string
	mib     int64
	files   int
	each    time.Duration
	profile string
	lose    string
	dir     string
	base    int
	binary  string
	reads   []string
}

func run(ctx context.Context, args []string) error {
	s := settings{pids: measure.Processes{os.Getpid()}}
	flags := flag.NewFlagSet("blockbench", flag.ContinueOnError)
	measure.ClusterFlag(flags, &s.cluster)
	s.pids.Flag(flags)
	flags.StringVar(&s.name, "name", "stream", "file that is written and read")
	flags.Int64Var(&s.mib, "mib", 1024, "MiB of the stream")
	flags.IntVar(&s.files, "files", 10_000, "thin: how many")
	flags.DurationVar(&s.each, "each", 3*time.Second, "random: how long; repair: how long files are read before the disk is lost")
	flags.StringVar(&s.profile, "cpuprofile", "", "file for a CPU profile of this process")
	flags.StringVar(&s.lose, "lose", "", "repair: directory of the disk that is lost")
	flags.StringVar(&s.dir, "dir", "", "fill, serve: directory of the disk")
	flags.IntVar(&s.base, "listen-base", 18900, "serve: first port")
	flags.StringVar(&s.binary, "binary", "bin/granary", "serve: the program")
	flags.Func("read", "repair: files that are read meanwhile, NAME,…", func(text string) error {
		s.reads = strings.Split(text, ",")
		return nil
	})
	return measure.Dispatch(ctx, args, flags, &s, []measure.Command[settings]{
		{Name: "write", Run: with((*bench).write)}, {Name: "read", Run: with((*bench).read)}, {Name: "random", Run: with((*bench).random)},
		{Name: "thin", Run: with((*bench).thin)}, {Name: "repair", Run: with((*bench).repair)},
		{Name: "fill", Run: fill}, {Name: "serve", Run: serve},
	})
}

// bench is one run.
type bench struct {
	settings
	c      *client.Client
	shards *counted
}

// with makes a command of one that takes a client of the cluster.
func with(command func(*bench, context.Context) error) func(context.Context, settings) error {
	return func(ctx context.Context, s settings) (err error) {
		masters, err := measure.Masters(s.cluster)
		if err != nil {
			return err
		}
		blocks := volume.NewClient()
		b := &bench{settings: s, shards: &counted{Client: blocks}}
		b.c, err = client.Open(ctx, client.Options{Masters: masters, Shards: b.shards, Name: "blockbench"})
		if err != nil {
			return errors.Join(err, blocks.Close())
		}
		defer func() { err = errors.Join(err, b.c.Close(), blocks.Close()) }()
		if s.profile == "" {
			return command(b, ctx)
		}
		f, err := os.Create(s.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return errors.Join(err, f.Close())
		}
		defer func() { pprof.StopCPUProfile(); err = errors.Join(err, f.Close()) }()
		return command(b, ctx)
	}
}

// cost runs work on so many bytes, and prints their rate and what they cost.
func (b *bench) cost(what string, bytes int64, work func() error) error {
	c, err := b.pids.Cost(work)
	if err == nil {
		fmt.Printf("%-6s %s\n", what, c.Of(bytes))
	}
	return err
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/tests/measure"
)

// gcPercent is how much the heap grows between two collections, in percent: callers hold little, and share the machine with
// what is measured.
const gcPercent = 400

func main() {
	debug.SetGCPercent(gcPercent)
	measure.Main("metabench", run)
}

// settings are the flags; each command reads those that concern it.
type settings struct {
	cluster string
	each    time.Duration
	pids    measure.Processes // whose CPU time is charged: the leader's
	inodes  int
	dirSize int
	blocks  int
	callers []int
	node    int    // raft: which of the three this process is
	base    int    // raft: first port
	dir     string // raft, failover: where the data goes
	how     string // failover: what happens to leaders
	times   int    // failover: how often
	binary  string // failover: the program
}

func run(ctx context.Context, args []string) error {
	var s settings
	flags := flag.NewFlagSet("metabench", flag.ContinueOnError)
	measure.ClusterFlag(flags, &s.cluster)
	s.pids.Flag(flags)
	flags.DurationVar(&s.each, "each", 3*time.Second, "time for each line")
	s.callers = []int{1, 16, 256}
	flags.Func("callers", "how many at the same time, N,… (default 1,16,256)", func(text string) (err error) {
		s.callers, err = numbers(text)
		return err
	})
	flags.IntVar(&s.inodes, "inodes", 1_000_000, "how many to load")
	flags.IntVar(&s.dirSize, "dir-size", 10_000, "how many of them in a directory")
	flags.IntVar(&s.blocks, "blocks", 1_000_000, "how many to commit")
	flags.IntVar(&s.node, "node", 0, "bare Raft: which node to be")
	flags.IntVar(&s.base, "base", 18700, "bare Raft, failover: first port")
	flags.StringVar(&s.dir, "dir", "", "bare Raft, failover: directory for the data")
	flags.StringVar(&s.how, "how", "kill", "failover: kill, term or stop")
	flags.IntVar(&s.times, "times", 10, "failover: how often")
	flags.StringVar(&s.binary, "binary", "bin/granary", "failover: the program")
	return measure.Dispatch(ctx, args, flags, &s, []measure.Command[settings]{
		{Name: "ops", Run: withClient(benchOps)}, {Name: "raft", Run: bareRaft}, {Name: "load", Run: withClient(load)},
		{Name: "big", Run: withClient(big)}, {Name: "wide", Run: withClient(wide)}, {Name: "blocks", Run: withClient(commitBlocks)},
		{Name: "failover", Run: failover},
	})
}

// withClient runs a command with a client of the cluster.
func withClient(command func(context.Context, settings, *client.Client) error) func(context.Context, settings) error {
	return func(ctx context.Context, s settings) (err error) {
		masters, err := measure.Masters(s.cluster)
		if err != nil {
			return err
		}
		c, err := client.Open(ctx, client.Options{Masters: masters, Name: "metabench"})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		return command(ctx, s, c)
	}
}

func numbers(text string) ([]int, error) {
	var list []int
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a number of callers", word)
		}
		list = append(list, n)
	}
	return list, nil
}

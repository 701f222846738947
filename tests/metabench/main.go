package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary/client"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "metabench:", err)
		os.Exit(1)
	}
}

// settings are the flags; each command reads those that concern it.
type settings struct {
	cluster string
	each    time.Duration
	pid     int
	inodes  int
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
	if len(args) == 0 {
		return errors.New("usage: metabench ops|raft|load|big|wide|blocks|failover [flags]")
	}
	var s settings
	flags := flag.NewFlagSet("metabench "+args[0], flag.ContinueOnError)
	flags.StringVar(&s.cluster, "cluster", os.Getenv("GRANARY_CLUSTER"), "gRPC addresses of the masters")
	flags.DurationVar(&s.each, "each", 3*time.Second, "time for each line")
	flags.IntVar(&s.pid, "pid", 0, "process whose CPU time is charged: the leader")
	s.callers = []int{1, 16, 256}
	flags.Func("callers", "how many at the same time, N,… (default 1,16,256)", func(text string) (err error) {
		s.callers, err = numbers(text)
		return err
	})
	flags.IntVar(&s.inodes, "inodes", 1_000_000, "how many to load")
	flags.IntVar(&s.blocks, "blocks", 1_000_000, "how many to commit")
	flags.IntVar(&s.node, "node", 0, "bare Raft: which node to be")
	flags.IntVar(&s.base, "base", 18700, "bare Raft, failover: first port")
	flags.StringVar(&s.dir, "dir", "", "bare Raft, failover: directory for the data")
	flags.StringVar(&s.how, "how", "kill", "failover: kill, term or stop")
	flags.IntVar(&s.times, "times", 10, "failover: how often")
	flags.StringVar(&s.binary, "binary", "bin/granary", "failover: the program")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	commands := map[string]func(context.Context, settings) error{
		"ops": withClient(benchOps), "load": withClient(load), "big": withClient(big), "wide": withClient(wide), "raft": bareRaft,
		"blocks": withClient(commitBlocks), "failover": failover,
	}
	command, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("%q is none of ops, raft, load, big, wide, blocks, failover", args[0])
	}
	return command(ctx, s)
}

// withClient runs a command with a client of the cluster.
func withClient(command func(context.Context, settings, *client.Client) error) func(context.Context, settings) error {
	return func(ctx context.Context, s settings) (err error) {
		if s.cluster == "" {
			return errors.New("--cluster is missing")
		}
		c, err := client.Open(ctx, client.Options{Masters: strings.Split(s.cluster, ","), Name: "metabench"})
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

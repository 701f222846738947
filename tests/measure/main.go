package measure

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
)

// Main runs a benchmark's program: run gets the arguments, and a context that ends at an interrupt. What it returns is why the program
// fails.
func Main(name string, run func(ctx context.Context, args []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Command is one of those that a benchmark's program knows by its first argument.
type Command[S any] struct {
	Name string
	Run  func(ctx context.Context, s S) error
}

// Dispatch runs the command that args begin with. flags takes the rest of them, and writes into s what they say.
func Dispatch[S any](ctx context.Context, args []string, flags *flag.FlagSet, s *S, commands []Command[S]) error {
	var names []string
	for _, c := range commands {
		if len(args) > 0 && c.Name == args[0] {
			if err := flags.Parse(args[1:]); err != nil {
				return err
			}
			return c.Run(ctx, *s)
		}
		names = append(names, c.Name)
	}
	return errors.New("usage: " + flags.Name() + " " + strings.Join(names, "|") + " [flags]")
}

// ClusterFlag adds --cluster, which is that of the environment unless it is given.
func ClusterFlag(flags *flag.FlagSet, cluster *string) {
	flags.StringVar(cluster, "cluster", os.Getenv("GRANARY_CLUSTER"), "gRPC addresses of the masters")
}

// Masters returns the addresses that --cluster names.
func Masters(cluster string) ([]string, error) {
	if cluster == "" {
		return nil, errors.New("--cluster is missing")
	}
	return strings.Split(cluster, ","), nil
}

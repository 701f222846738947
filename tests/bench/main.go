package main

import (
	"context"
	"flag"
	"os"
	"time"

	"github.com/dsorchard/granary/tests/measure"
)

func main() { measure.Main("bench", run) }

// settings are the flags; each command reads those that concern it.
type settings struct {
	table  table
	header bool
	s3     s3Target
	dir    dirTarget
}

func run(ctx context.Context, args []string) error {
	s := settings{table: table{out: os.Stdout}}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	s.table.pids.Flag(flags)
	flags.StringVar(&s.table.name, "name", "store", "what the table calls the target")
	flags.DurationVar(&s.table.each, "each", 3*time.Second, "time for each cell")
	flags.BoolVar(&s.header, "header", true, "print the heading")
	s.s3.flags(flags)
	flags.StringVar(&s.dir.path, "path", "", "dir: directory to work in")
	return measure.Dispatch(ctx, args, flags, &s, []measure.Command[settings]{
		{Name: "s3", Run: func(ctx context.Context, s settings) error { return s.s3.run(ctx, s.begin()) }},
		{Name: "dir", Run: func(ctx context.Context, s settings) error { return s.dir.run(ctx, s.begin()) }},
	})
}

// begin returns the table, with its heading printed.
func (s *settings) begin() *table {
	if s.header {
		s.table.heading()
	}
	return &s.table
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: bench s3|dir [flags]; see bench s3 --help")
	}
	flags := flag.NewFlagSet("bench "+args[0], flag.ContinueOnError)
	name := flags.String("name", "store", "what the table calls the target")
	each := flags.Duration("each", 3*time.Second, "time for each cell")
	pid := flags.Int("pid", 0, "process whose CPU time is charged")
	header := flags.Bool("header", true, "print the heading")
	var s s3Target
	var d dirTarget
	switch args[0] {
	case "s3":
		flags.StringVar(&s.endpoint, "endpoint", "127.0.0.1:7700", "HOST:PORT")
		flags.StringVar(&s.accessKey, "access-key", os.Getenv("AWS_ACCESS_KEY_ID"), "access key")
		flags.StringVar(&s.secretKey, "secret-key", os.Getenv("AWS_SECRET_ACCESS_KEY"), "secret key")
		flags.StringVar(&s.bucket, "bucket", "bench", "bucket to work in; made if needed")
	case "dir":
		flags.StringVar(&d.path, "path", "", "directory to work in")
	default:
		return fmt.Errorf("%q is neither s3 nor dir", args[0])
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	t := &table{name: *name, each: *each, pid: *pid, out: os.Stdout}
	if *header {
		t.heading()
	}
	if args[0] == "s3" {
		return s.run(ctx, t)
	}
	return d.run(ctx, t)
}

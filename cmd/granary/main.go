// Command granary is the whole of Granary in one binary: every server role, the mount, and the
// commands that administer a cluster. It wires the packages together and does nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailure = 1 // the command was understood and failed
	exitUsage   = 2 // the command line is wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args))
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string) int {
	env := newEnvironment()
	root := rootCommand(env)
	err := execute(ctx, root, args)
	if err == nil {
		return 0
	}
	if exit, ok := err.(*exitError); ok { // and nothing else
		return exit.code
	}
	fmt.Fprintln(os.Stderr, "granary:", err)
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailure
}

// execute runs a command line, or that of mount(8) or umount(8).
func execute(ctx context.Context, root *cobra.Command, args []string) error {
	name, args := filepath.Base(args[0]), args[1:]
	switch {
	case strings.HasPrefix(name, "mount."):
		flags, fake, err := fstabArguments(args)
		if err != nil || fake {
			return err
		}
		args = append([]string{"mount"}, flags...)
	case strings.HasPrefix(name, "umount."):
		flags, err := umountArguments(args)
		if err != nil {
			return err
		}
		args = append([]string{"umount"}, flags...)
	}
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// rootCommand builds the tree of commands.
func rootCommand(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "granary",
		Short: "A distributed file store: POSIX, S3 and HTTP over one history",
		Long: `Granary stores files on many disks, deduplicated and erasure-coded, with all
metadata in a Raft-replicated master. The same files are seen through a mount,
an S3 service and HTTP.

  granary serve                   start everything in one process
  granary mount /mnt/granary      mount it
  granary cluster status          see how it does`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.PersistentFlags().StringVar(&env.logLevel, "log-level", env.logLevel, "what is logged to standard error: debug, info, warn or error")
	root.AddCommand(
		serveCommand(env), mountCommand(env), umountCommand(env), statsCommand(env), fsCommand(env),
		clusterCommand(env), serverCommand(env), diskCommand(env), volumeCommand(env), datasetCommand(env), policyCommand(env), storageClassCommand(env), userCommand(env), groupCommand(env), iamCommand(env), lockCommand(env), watchCommand(env), notifyCommand(env), fsckCommand(env), versionCommand(env),
	)
	requireSubcommands(root)
	return root
}

// requireSubcommands makes every command that only groups others refuse what it does not know.
func requireSubcommands(cmd *cobra.Command) {
	for _, child := range cmd.Commands() {
		requireSubcommands(child)
	}
	if cmd.HasSubCommands() && cmd.RunE == nil {
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; see '%s --help'", args[0], cmd.CommandPath())
			}
			return cmd.Help()
		}
	}
}

// exactArgs is cobra.ExactArgs with a usage error that names what is expected.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s takes %d argument(s) %v, not %d", cmd.CommandPath(), len(names), names, len(args))
		}
		return nil
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// stopWithin is how long a command gets to stop by itself, whose lock is lost.
const stopWithin = 2 * time.Second

// exitError is the end of a command that was run: its exit code is passed on.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func lockRunCommand(env *environment) *cobra.Command {
	o := &pathLockFlags{}
	cmd := &cobra.Command{
		Use:   "run PATH -- COMMAND [ARGUMENT...]",
		Short: "Run a command while a lock on a path is held",
		Long: `Take a lock on PATH, run a command, and give the lock up. The lock is renewed while
the command runs; if it is lost all the same, the command is stopped. The command finds
the token in GRANARY_FENCE, where "granary fs" and "granary mount" look for it:
what they change is refused once the lock is lost. The exit code is the command's.`,
		Example: "  granary lock run --timeout 1m /jobs/nightly -- ./backup.sh",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 || cmd.ArgsLenAtDash() != 1 {
				return usagef("%s takes PATH -- COMMAND [ARGUMENT...]", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, cred granary.Cred) error {
				return o.run(ctx, env, fs, cred, args[0], args[1:])
			})
		},
	}
	o.flags(cmd, 10*time.Second)
	return cmd
}

func (o *pathLockFlags) run(ctx context.Context, env *environment, fs *filer.FS, cred granary.Cred, name string, command []string) (err error) {
	op, err := o.op(ctx, fs, []string{name})
	if err != nil {
		return err
	}
	waiting, cancel := o.waiting(ctx)
	defer cancel()
	l, err := fs.Client().LockPaths(waiting, cred, op)
	if err != nil {
		return o.timedOut(ctx, waiting, err)
	}
	defer func() {
		rerr := l.Release(context.WithoutCancel(ctx))
		var exit *exitError
		if err == nil || errors.As(err, &exit) && rerr != nil {
			err = errors.Join(err, rerr)
		}
	}()
	return runUnder(ctx, l, env, name, command)
}

// runUnder runs a command until it ends, the lock is lost, or ctx ends. The kernel ends the command if this process dies.
func runUnder(ctx context.Context, l *client.PathLock, env *environment, name string, command []string) error {
	runtime.LockOSThread() // the parent of the command is a thread: it must not end before
	defer runtime.UnlockOSThread()
	c := exec.Command(command[0], command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), "GRANARY_FENCE="+strconv.FormatUint(uint64(l.Token()), 10), "GRANARY_LOCK_PATH="+name, "GRANARY_CLUSTER="+env.cluster)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	stopped := make(chan error, 1)
	go func() { stopped <- stopCommand(ctx, l, c, ended) }()
	err := c.Wait()
	close(ended)
	if why := <-stopped; why != nil {
		return why
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return &exitError{128 + int(status.Signal())}
	}
	return &exitError{exit.ExitCode()}
}

// stopCommand stops the command when the lock is lost, or nobody waits for it any more, and says why; nil if it ended before.
func stopCommand(ctx context.Context, l *client.PathLock, c *exec.Cmd, ended <-chan struct{}) error {
	var why error
	select {
	case <-ended:
		return nil
	case <-l.Lost():
		why = l.Err()
	case <-ctx.Done():
		why = ctx.Err()
	}
	// That it is gone by now is what is wanted.
	_ = c.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopWithin)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		_ = c.Process.Kill()
	}
	return why
}

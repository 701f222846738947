package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary/fuse"
)

func umountCommand(*environment) *cobra.Command {
	var lazy, force bool
	cmd := &cobra.Command{
		Use:   "umount MOUNTPOINT",
		Short: "Unmount; when it returns, everything written is durable",
		Long: `Unmount. What was written is committed first. What cannot be committed, because
masters or volume servers do not answer or the cluster is full, is told, and the
mount stays: --force takes it away all the same, and what is not written within a
minute then is lost.`,
		Args: exactArgs("MOUNTPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return unmount(cmd.Context(), args[0], lazy, force)
		},
	}
	cmd.Flags().BoolVar(&lazy, "lazy", false, "detach now, finish when nothing is open any more; without writing first")
	cmd.Flags().BoolVar(&force, "force", false, "unmount also when something cannot be written")
	return cmd
}

// unmount takes a mount away and waits for the end of its process.
func unmount(ctx context.Context, point string, lazy, force bool) error {
	point, err := filepath.Abs(point)
	if err != nil {
		return err
	}
	info, err := askMount[fuse.MountInfo](ctx, point, fuse.XattrMount)
	if errors.Is(err, syscall.ENOTCONN) {
		return umountError(point, detach(ctx, point)) // its process died: nothing is left to be written
	}
	known := err == nil // else it may belong to another user, or be no mount: the system will say
	if known && !lazy {
		if err := syncMount(ctx, point); err != nil && !force {
			return fmt.Errorf("%w; it is still mounted, and goes on trying: --force takes it away", err)
		}
	}
	ended := func(context.Context) error { return nil }
	if known && !lazy {
		ended = processEnd(&info, point)
	}
	if err := umountError(point, unmountWith(ctx, point, lazy)); err != nil {
		return err
	}
	return ended(ctx)
}

func umountError(point string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("umount %s: %w", point, err)
}

// syncMount commits everything written through the mount, or says what is left and why.
func syncMount(ctx context.Context, point string) error {
	r, err := askMount[fuse.SyncReport](ctx, point, fuse.XattrSync)
	switch {
	case err != nil:
		return fmt.Errorf("sync of %s: %w", point, err)
	case r.Error != "":
		return fmt.Errorf("%s: %d files with %s cannot be written: %s", point, r.Dirty.Files, byteText(uint64(r.Dirty.Bytes)), r.Error)
	}
	return nil
}

// processEnd returns a function that waits for the end of a mount's process, which has something to write until then. What it cannot see, in
// another namespace or of another host, it does not wait for.
func processEnd(info *fuse.MountInfo, point string) func(context.Context) error {
	nothing := func(context.Context) error { return nil }
	if host, err := os.Hostname(); err != nil || host != info.Host {
		return nothing
	}
	pid, err := unix.PidfdOpen(info.PID, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nothing
	}
	if again, err := askMount[fuse.MountInfo](context.Background(), point, fuse.XattrMount); err != nil || again.PID != info.PID {
		return func(context.Context) error { return unix.Close(pid) }
	}
	return func(ctx context.Context) error {
		defer unix.Close(pid) //nolint:errcheck // nothing was written
		for deadline := time.Now().Add(closeWithin + 10*time.Second); ; {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(pid), Events: unix.POLLIN}}, 200)
			switch {
			case n > 0:
				return nil
			case err != nil && !errors.Is(err, syscall.EINTR):
				return err
			case ctx.Err() != nil:
				return ctx.Err()
			case time.Now().After(deadline):
				return fmt.Errorf("%s is unmounted, but its process %d has not ended", point, info.PID)
			}
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary/fuse"
)

// checkMountPoint refuses what cannot be mounted on, and clears away mounts whose process died.
func checkMountPoint(ctx context.Context, dir string) error {
	st, err := lookAt(dir)
	for tries := 0; errors.Is(err, syscall.ENOTCONN) && tries < 8; tries++ { // one may hide another
		if err := detach(ctx, dir); err != nil {
			return fmt.Errorf("%s is a mount whose process died and cannot be unmounted: %w", dir, err)
		}
		st, err = lookAt(dir)
	}
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("mount point %s is not a directory", dir)
	}
	return nil
}

// lookAt is stat; the error of a mount whose process died is ENOTCONN, also while the kernel still knows attributes that it was told.
func lookAt(dir string) (os.FileInfo, error) {
	if _, err := unix.Getxattr(dir, fuse.XattrMount, make([]byte, answerMax)); errors.Is(err, syscall.ENOTCONN) {
		return nil, err
	}
	return os.Stat(dir)
}

// detach takes a mount away at once, whoever uses it.
func detach(ctx context.Context, dir string) error { return unmountWith(ctx, dir, true) }

// unmountWith is umount(2), which only root may call, or fusermount3.
func unmountWith(ctx context.Context, dir string, lazy bool) error {
	flags, option := 0, "-u"
	if lazy {
		flags, option = unix.MNT_DETACH, "-uz"
	}
	err := unix.Unmount(dir, flags)
	if err == nil || !errors.Is(err, syscall.EPERM) {
		return err
	}
	out, err := exec.CommandContext(ctx, "fusermount3", option, dir).CombinedOutput()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return errors.New("fusermount3 is missing: install the package fuse3")
	case err != nil:
		return errors.New(strings.TrimSpace(string(out)))
	}
	return nil
}

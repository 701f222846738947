//go:build !linux

package disk

import "golang.org/x/sys/unix"

func fdatasync(fd int) error { return unix.Fsync(fd) }

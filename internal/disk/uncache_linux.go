package disk

import "golang.org/x/sys/unix"

func uncache(fd int, off, length int64) error {
	return unix.Fadvise(fd, off, length, unix.FADV_DONTNEED)
}

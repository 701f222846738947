package disk

import "golang.org/x/sys/unix"

// randomly has the system read no more of a file than it is asked for.
func randomly(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM) }

// quietly has reads of a file leave its times as they are: that would wait for the disk's journal.
func quietly(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_NOATIME)
	}
	return err
}

// cached reports whether the system's memory holds a page of a range, or does not tell.
func (c *ColdFile) cached(off, length int64) bool {
	var found unix.Cachestat_t
	err := control(c.f, func(fd int) error {
		return unix.Cachestat(uint(fd), &unix.CachestatRange{Off: uint64(off), Len: uint64(length)}, &found, 0)
	})
	return err != nil || found.Cache > 0
}

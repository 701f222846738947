package disk

import "golang.org/x/sys/unix"

// randomly has the system read no more of a file than it is asked for.
func randomly(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_RANDOM) }

// cached reports whether the system's memory holds the page at an offset, or does not tell.
func (c *ColdFile) cached(off int64) bool {
	var found unix.Cachestat_t
	err := control(c.f, func(fd int) error {
		return unix.Cachestat(uint(fd), &unix.CachestatRange{Off: uint64(off), Len: directAlignment}, &found, 0)
	})
	return err != nil || found.Cache > 0
}

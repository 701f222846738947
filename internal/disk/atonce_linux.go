package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// readAtOnce is AtOnceReader.ReadAtOnce. The system would start to read what its memory lacks, by single pages: so it is asked first what that has.
func readAtOnce(f *os.File, parts [][]byte, off int64) bool {
	length, page := int64(0), int64(os.Getpagesize())
	for _, p := range parts {
		length += int64(len(p))
	}
	first, end := off/page*page, (off+length+page-1)/page*page
	read := 0
	err := control(f, func(fd int) (err error) {
		var found unix.Cachestat_t
		err = unix.Cachestat(uint(fd), &unix.CachestatRange{Off: uint64(first), Len: uint64(end - first)}, &found, 0)
		if err == nil && int64(found.Cache) < (end-first)/page { // an error: it does not tell
			return nil
		}
		read, err = unix.Preadv2(fd, parts, off, unix.RWF_NOWAIT)
		return err
	})
	return err == nil && int64(read) == length
}

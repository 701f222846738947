package chunkcache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lookShare  = 16 // of SizeMax: who has added so much looks at what all have added
	keepShare  = 10 // … and who finds more than SizeMax removes so much more
	lookLeast  = time.Second
	tmpOld     = time.Hour
	fullPause  = 10 * time.Second // after the file system was full, nothing is added for so long
	blockBytes = 512              // unit of st_blocks
)

// space is what a cache knows of the room that it has. The keeper alone changes what is not atomic.
type space struct {
	used  atomic.Int64 // bytes of all files, as of the last look and what was added here since
	since int64        // bytes added here since the last look
	due   bool         // a look is due whatever was added
	last  time.Time    // when the last was
	until time.Time    // nothing is added before, because the file system was full
}

func (s *space) add(n int) {
	s.used.Add(int64(n))
	s.since += int64(n)
}

// full takes in that the file system is.
func (s *space) full(now time.Time) { s.until, s.due = now.Add(fullPause), true }

// room reports whether n bytes may be added.
func (s *space) room(c *Cache, n int) bool {
	now := time.Now()
	if now.Before(s.until) {
		return false
	}
	if _, short := c.short(); short > 0 {
		s.full(now)
		return false
	}
	return true
}

// short returns how many bytes are free in the file system, and how many less than should be.
func (c *Cache) short() (free, short int64) {
	var st unix.Statfs_t
	if err := unix.Statfs(c.root, &st); err != nil {
		c.failed("ask for the free space", err)
		return 0, 0
	}
	free = int64(st.Bavail) * st.Bsize
	reserve := int64(st.Blocks) / 100 * int64(max(c.o.ReservePercent, 0)) * st.Bsize
	return free, max(reserve-free, 0)
}

// tidy looks at the directory when it may hold too much, and removes what it does.
func (c *Cache) tidy() {
	s := &c.space
	over := s.used.Load() > c.o.SizeMax
	if !s.due && !over && s.since < c.o.SizeMax/lookShare {
		return
	}
	now := time.Now()
	if s.due && now.Sub(s.last) < lookLeast && !over {
		return
	}
	lock, err := c.lock()
	if err != nil {
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			c.failed("lock", err)
		}
		if now.Sub(s.last) < lookLeast {
			return // another process is at it
		}
	}
	s.due, s.since, s.last = false, 0, now
	total, ages := c.survey(now)
	_, short := c.short()
	target := min(c.o.SizeMax, total-short)
	if lock >= 0 && total > target {
		total -= c.evict(ages, total-target+min(c.o.SizeMax, target)/keepShare)
	}
	s.used.Store(total)
	if lock >= 0 {
		if err := unix.Close(lock); err != nil {
			c.failed("unlock", err)
		}
	}
}

// lock takes the right to remove. It is -1 with an error.
func (c *Cache) lock() (fd int, err error) {
	fd, err = c.create(filepath.Join(c.root, "evict"), unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return -1, err
	}
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// ages are the bytes of the files that were last used in each second, so that there is no need to remember the files.
type ages map[int64]int64

// survey adds up what there is, and removes what others have left over.
func (c *Cache) survey(now time.Time) (total int64, used ages) {
	used = ages{}
	c.each(func(name string, st *unix.Stat_t) bool {
		bytes := st.Blocks * blockBytes
		total += bytes
		used[st.Mtim.Sec] += bytes
		return true
	})
	tmp := filepath.Join(c.root, tmpDir)
	for _, name := range c.names(tmp) {
		if st, err := os.Lstat(filepath.Join(tmp, name)); err == nil && now.Sub(st.ModTime()) > tmpOld {
			c.remove(filepath.Join(tmp, name))
		}
	}
	return total, used
}

// evict removes the files that were not used for longest, until they come to n bytes or there are none.
func (c *Cache) evict(used ages, n int64) (removed int64) {
	seconds := make([]int64, 0, len(used))
	for s := range used {
		seconds = append(seconds, s)
	}
	slices.Sort(seconds)
	last, older := int64(0), int64(0) // the newest second that files are removed of, and what is older
	for _, s := range seconds {
		last = s
		if older+used[s] >= n {
			break
		}
		older += used[s]
	}
	left := n - older // of the second last
	c.each(func(name string, st *unix.Stat_t) bool {
		bytes := st.Blocks * blockBytes
		if st.Mtim.Sec > last || st.Mtim.Sec == last && left <= 0 {
			return true
		}
		if st.Mtim.Sec == last {
			left -= bytes
		}
		c.remove(name)
		removed += bytes
		c.counts.evicted.Add(1)
		return !c.stopped()
	})
	return removed
}

func (c *Cache) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// each calls fn for every chunk's file, one directory after the other, until it returns false.
func (c *Cache) each(fn func(name string, st *unix.Stat_t) bool) {
	for _, dir := range c.names(c.root) {
		if len(dir) != 2 || strings.Trim(dir, "0123456789abcdef") != "" {
			continue // not of ours (invariant 4)
		}
		for _, name := range c.names(filepath.Join(c.root, dir)) {
			full := filepath.Join(c.root, dir, name)
			var st unix.Stat_t
			if err := unix.Lstat(full, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
				continue // removed meanwhile
			}
			if !fn(full, &st) {
				return
			}
		}
		if c.stopped() {
			return
		}
	}
}

// names lists a directory.
func (c *Cache) names(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.failed("list", err)
		}
		return nil
	}
	defer f.Close()
	list, err := f.Readdirnames(-1)
	if err != nil {
		c.failed("list", err)
	}
	return list
}

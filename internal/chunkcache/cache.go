package chunkcache

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
)

const (
	version    = "chunks-1"
	readersMax = 64               // reads under way, in all
	queueMax   = 64 << 20         // bytes that wait to be written
	touchEvery = 10 * time.Minute // how exactly the time of the last use is known

	// After so many errors in a row the disk is left alone for a while.
	errorsMax  = 8
	leaveAlone = 30 * time.Second
	warnOnce   = time.Minute // errors are logged at most so often
)

// Options configures a Cache.
type Options struct {
	Dir     string
	SizeMax int64 // bytes that the files of the directory may take, of all processes together
	// ReservePercent of the file system stay free, whatever SizeMax is: default 5, negative for none.
	ReservePercent int
	Log            *slog.Logger
}

// Validate refuses what no cache could work with.
func (o *Options) Validate() error {
	switch {
	case o.Dir == "":
		return granary.Errorf(granary.KindInvalid, "chunk cache", "", "no directory")
	case o.SizeMax < granary.ChunkSizeMax:
		return granary.Errorf(granary.KindInvalid, "chunk cache", o.Dir, "%d bytes do not hold a single chunk", o.SizeMax)
	case o.ReservePercent > 99:
		return granary.Errorf(granary.KindInvalid, "chunk cache", o.Dir, "%d percent are to stay free", o.ReservePercent)
	}
	return nil
}

// Cache is a directory of chunks. It is safe for concurrent use.
type Cache struct {
	o    Options
	log  *slog.Logger
	root string // the directory of this version

	readers chan struct{} // a token for each read under way
	wake    chan struct{} // the keeper has something to do
	stop    chan struct{}
	wg      sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	queue   []item
	queued  int           // bytes of queue, and of what is being written
	settled chan struct{} // closed when nothing is queued; nil if nobody waits

	health health
	space  space
	counts counts
}

// counts are the numbers of Stats that only grow.
type counts struct {
	hits, misses, bytesRead     atomic.Uint64
	added, bytesAdded, passed   atomic.Uint64
	rejected, evicted, failures atomic.Uint64
}

// Stats tells how a cache fares.
type Stats struct {
	Hits, Misses uint64 // reads
	BytesRead    uint64
	Added        uint64 // chunks, or parts of them, that were written
	BytesAdded   uint64
	Passed       uint64 // … and those that were not, since the disk did not keep up or is full
	Rejected     uint64 // files that did not hold what they should
	Evicted      uint64
	Failures     uint64 // errors of the disk
	Bytes, Max   int64  // what the directory takes, as far as this process knows, and may take
}

// Open opens a directory, which is made if need be. It must be this user's own.
func Open(o Options) (*Cache, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.ReservePercent == 0 {
		o.ReservePercent = 5
	}
	c := &Cache{
		o: o, log: o.Log, root: filepath.Join(o.Dir, version),
		readers: make(chan struct{}, readersMax), wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	if err := os.MkdirAll(filepath.Join(c.root, tmpDir), 0o700); err != nil {
		return nil, granary.Errorf(granary.KindInvalid, "chunk cache", o.Dir, "%w", err)
	}
	for _, dir := range []string{o.Dir, c.root, filepath.Join(c.root, tmpDir)} {
		if err := private(dir, dir == o.Dir); err != nil {
			return nil, err
		}
	}
	c.space.due = true
	c.wg.Go(c.keep)
	c.nudge()
	return c, nil
}

// private refuses a directory in which others may put or exchange something (invariant 3). One that is only above ours may be root's, or like /tmp.
func private(dir string, above bool) error {
	look := os.Lstat
	if above {
		look = os.Stat // the user may have named a link to it
	}
	st, err := look(dir)
	if err != nil {
		return granary.Errorf(granary.KindInvalid, "chunk cache", dir, "%w", err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !st.IsDir():
		return granary.Errorf(granary.KindInvalid, "chunk cache", dir, "it is no directory")
	case ok && int(sys.Uid) != os.Geteuid() && !(above && sys.Uid == 0):
		return granary.Errorf(granary.KindPermission, "chunk cache", dir, "it belongs to uid %d: give each user a directory of their own", sys.Uid)
	case st.Mode().Perm()&0o022 != 0 && !(above && st.Mode()&os.ModeSticky != 0):
		return granary.Errorf(granary.KindPermission, "chunk cache", dir, "others may write to it (mode %o)", st.Mode().Perm())
	}
	return nil
}

// Close ends what runs. What still waits to be written is not.
func (c *Cache) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	close(c.stop)
	c.wg.Wait()
	for i := range c.queue {
		c.done(&c.queue[i])
	}
	c.queue = nil
	return nil
}

// Stats returns how the cache has fared so far.
func (c *Cache) Stats() Stats {
	n := &c.counts
	return Stats{
		Hits: n.hits.Load(), Misses: n.misses.Load(), BytesRead: n.bytesRead.Load(),
		Added: n.added.Load(), BytesAdded: n.bytesAdded.Load(), Passed: n.passed.Load(),
		Rejected: n.rejected.Load(), Evicted: n.evicted.Load(), Failures: n.failures.Load(),
		Bytes: c.space.used.Load(), Max: c.o.SizeMax,
	}
}

// path returns where a chunk's file is.
func (c *Cache) path(hash granary.Hash) string {
	digits := hex.EncodeToString(hash[:])
	return filepath.Join(c.root, digits[:2], digits[2:])
}

// Read fills p with what the disk has at an offset of the chunk's frames, which are size bytes in all. It returns false if there is no
// such file, or for any other reason. The caller verifies what it got.
func (c *Cache) Read(hash granary.Hash, size, off int, p []byte) bool {
	if c.read(hash, size, off, p) {
		c.counts.hits.Add(1)
		c.counts.bytesRead.Add(uint64(len(p)))
		return true
	}
	c.counts.misses.Add(1)
	return false
}

func (c *Cache) read(hash granary.Hash, size, off int, p []byte) bool {
	if !c.health.well(time.Now()) {
		return false
	}
	select {
	case c.readers <- struct{}{}:
		defer func() { <-c.readers }()
	default:
		return false
	}
	name := c.path(hash)
	fd, err := retry(func() (int, error) { return unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0) })
	if err != nil {
		return c.missing(err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return c.missing(err)
	}
	if st.Size != int64(size) {
		return false
	}
	for done := 0; done < len(p); {
		n, err := retry(func() (int, error) { return unix.Pread(fd, p[done:], int64(off+done)) })
		switch {
		case err != nil:
			c.remove(name)
			return c.missing(err)
		case n == 0:
			return false
		}
		done += n
	}
	c.health.ok()
	if now := time.Now(); now.Sub(time.Unix(st.Mtim.Unix())) > touchEvery {
		if err := os.Chtimes(name, time.Time{}, now); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.failed("note a use", err)
		}
	}
	return true
}

// missing is false, and takes note of an error that is not simply that there is no file.
func (c *Cache) missing(err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		c.failed("read", err)
	}
	return false
}

// Reject removes a chunk whose file did not hold what it should.
func (c *Cache) Reject(hash granary.Hash) {
	c.counts.rejected.Add(1)
	c.log.Info("a chunk in the cache was damaged: dropped", "dir", c.o.Dir, "chunk", hash)
	c.remove(c.path(hash))
}

// remove removes a file, if it is there.
func (c *Cache) remove(name string) {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.failed("remove", err)
	}
}

// failed takes note of an error of the disk.
func (c *Cache) failed(what string, err error) {
	c.counts.failures.Add(1)
	if c.health.bad(time.Now()) {
		c.log.Warn("the chunk cache's disk fails: going on without", "dir", c.o.Dir, "doing", what, "err", err)
	}
}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR { //nolint:errorlint // what the call returns, as it is
			return n, err
		}
	}
}

// health says whether a disk is worth asking.
type health struct {
	errors atomic.Int32 // in a row
	until  atomic.Int64 // left alone, in nanoseconds of Unix time
	warned atomic.Int64 // … when an error was last told
}

func (h *health) well(now time.Time) bool { return now.UnixNano() >= h.until.Load() }

func (h *health) ok() {
	if h.errors.Load() != 0 {
		h.errors.Store(0)
	}
}

// bad takes note of an error, and reports whether it is to be told.
func (h *health) bad(now time.Time) bool {
	if h.errors.Add(1) >= errorsMax {
		h.errors.Store(0)
		h.until.Store(now.Add(leaveAlone).UnixNano())
	}
	last := h.warned.Load()
	return now.UnixNano()-last > int64(warnOnce) && h.warned.CompareAndSwap(last, now.UnixNano())
}

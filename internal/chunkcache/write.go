package chunkcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
)

const tmpDir = "tmp"

// item is what waits to be written.
type item struct {
	hash      granary.Hash
	size, off int
	data      []byte
	release   func()
}

// whole reports whether it is all of a chunk.
func (it *item) whole() bool { return len(it.data) == it.size }

// Room reports whether n more bytes would be taken.
func (c *Cache) Room(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.closed && c.queued+n <= queueMax && c.health.well(time.Now())
}

// Add has written, soon and if the disk keeps up, what lies at an offset of a chunk's frames, which are size bytes in all. It must have
// been verified. The bytes must not change until release is called, which happens once, in any case.
func (c *Cache) Add(hash granary.Hash, size, off int, data []byte, release func()) {
	if off < 0 || len(data) == 0 || off+len(data) > size {
		panic(fmt.Sprintf("chunkcache: bytes %d+%d of %d", off, len(data), size))
	}
	c.mu.Lock()
	if c.closed || c.queued+len(data) > queueMax {
		c.mu.Unlock()
		c.counts.passed.Add(1)
		release()
		return
	}
	c.queued += len(data)
	c.queue = append(c.queue, item{hash, size, off, data, release})
	c.mu.Unlock()
	c.nudge()
}

// Settle returns when everything that was added has been written, or given up.
func (c *Cache) Settle(ctx context.Context) error {
	for {
		c.mu.Lock()
		if c.queued == 0 || c.closed {
			c.mu.Unlock()
			return nil
		}
		if c.settled == nil {
			c.settled = make(chan struct{})
		}
		settled := c.settled
		c.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
			return granary.Errorf(granary.KindCanceled, "chunk cache", c.o.Dir, "%w", ctx.Err())
		}
	}
}

// done takes in that an item is written, or given up.
func (c *Cache) done(it *item) {
	it.release()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queued -= len(it.data)
	if c.queued == 0 && c.settled != nil {
		close(c.settled)
		c.settled = nil
	}
}

func (c *Cache) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// next takes what waits longest.
func (c *Cache) next() (it item, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.queue) == 0 {
		return item{}, false
	}
	it = c.queue[0]
	c.queue[0] = item{}
	c.queue = c.queue[1:]
	return it, true
}

// keep writes what is added and removes what is too much, until the cache is closed.
func (c *Cache) keep() {
	for {
		for it, ok := c.next(); ok; it, ok = c.next() {
			c.put(&it)
			c.tidy() // before it counts as done, so that who waits finds no more than there may be
			c.done(&it)
		}
		c.tidy()
		select {
		case <-c.wake:
		case <-c.stop:
			return
		}
	}
}

// put writes one item.
func (c *Cache) put(it *item) {
	if !c.health.well(time.Now()) || !c.space.room(c, len(it.data)) {
		c.counts.passed.Add(1)
		return
	}
	write := c.writePart
	if it.whole() {
		write = c.writeWhole
	}
	switch err := write(it); {
	case err == nil:
		c.health.ok()
		c.counts.added.Add(1)
		c.counts.bytesAdded.Add(uint64(len(it.data)))
		c.space.add(len(it.data))
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		c.counts.passed.Add(1)
		c.space.full(time.Now())
	default:
		c.failed("write", err)
	}
}

// writeWhole writes a chunk beside its place, and puts it there.
func (c *Cache) writeWhole(it *item) (err error) {
	// The name is drawn: process numbers do not tell writers apart that are in one process, or each in a container of its own.
	tmp := filepath.Join(c.root, tmpDir, fmt.Sprintf("%016x", rand.Uint64()))
	fd, err := c.create(tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	err = writeAt(fd, it.data, 0)
	err = errors.Join(err, unix.Close(fd))
	if err == nil {
		name := c.path(it.hash)
		if err = os.Rename(tmp, name); errors.Is(err, fs.ErrNotExist) {
			if err = os.Mkdir(filepath.Dir(name), 0o700); err == nil || errors.Is(err, fs.ErrExist) {
				err = os.Rename(tmp, name)
			}
		}
	}
	if err != nil {
		c.remove(tmp)
	}
	return err
}

// writePart writes frames into a chunk's file, unless it has those of another size.
func (c *Cache) writePart(it *item) error {
	name := c.path(it.hash)
	fd, err := c.create(name, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && st.Size == 0 {
		err = unix.Ftruncate(fd, int64(it.size))
		st.Size = int64(it.size)
	}
	if err == nil && st.Size == int64(it.size) {
		err = writeAt(fd, it.data, it.off)
	}
	return errors.Join(err, unix.Close(fd))
}

// create opens a file, with the directory that it lies in.
func (c *Cache) create(name string, flags int) (fd int, err error) {
	open := func() (int, error) { return unix.Open(name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600) }
	if fd, err = retry(open); !errors.Is(err, fs.ErrNotExist) {
		return fd, err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return 0, err
	}
	return retry(open)
}

// writeAt writes all of p.
func writeAt(fd int, p []byte, off int) error {
	for len(p) > 0 {
		n, err := retry(func() (int, error) { return unix.Pwrite(fd, p, int64(off)) })
		switch {
		case err != nil:
			return err
		case n == 0:
			return syscall.ENOSPC
		}
		p, off = p[n:], off+n
	}
	return nil
}

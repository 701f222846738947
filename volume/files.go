package volume

import (
	"container/list"
	"errors"
	"io/fs"
	"sync"

	"github.com/dsorchard/granary/internal/disk"
)

// openFile is a shard's open file, shared by its users.
type openFile struct {
	disk.File
	shard *shard
	refs  int  // guarded by fileCache.mu, as are the others
	dead  bool // to be closed by the last user
	place *list.Element
}

// fileCache bounds how many shard files are open. Files in use are never closed, so the bound is
// exceeded while more than that are in use at once.
type fileCache struct {
	mu    sync.Mutex
	limit int
	order *list.List // of *openFile; most recently used in front
}

func newFileCache(limit int) *fileCache { return &fileCache{limit: limit, order: list.New()} }

// acquire returns the shard's open file; release gives it back. It is fs.ErrNotExist if the shard was dropped or replaced
// meanwhile: then its name may stand for another file. Who has the shard's turn need not think of that; others use dataDisk.open.
func (c *fileCache) acquire(sh *shard) (*openFile, error) {
	if f := c.reuse(sh); f != nil {
		return f, nil
	}
	sh.openMu.Lock() // one opens, the others wait for it
	defer sh.openMu.Unlock()
	if f := c.reuse(sh); f != nil {
		return f, nil
	}
	if !sh.exists.Load() {
		return nil, fs.ErrNotExist
	}
	file, err := sh.disk.fs.Open(sh.key.fileName())
	if err != nil {
		return nil, err
	}
	return c.adopt(sh, file), nil
}

// reuse returns the file if it is open.
func (c *fileCache) reuse(sh *shard) *openFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := sh.open
	if f == nil {
		return nil
	}
	f.refs++
	c.order.MoveToFront(f.place)
	return f
}

// adopt takes a file just opened or created into the cache, acquired.
func (c *fileCache) adopt(sh *shard, file disk.File) *openFile {
	if scattered, ok := file.(disk.Scattered); ok { // whole blocks are read, or frames anywhere
		scattered.ReadScattered()
	}
	f := &openFile{File: file, shard: sh, refs: 1}
	c.mu.Lock()
	f.place = c.order.PushFront(f)
	sh.open = f
	victims := c.evict()
	c.mu.Unlock()
	for _, v := range victims {
		v.shard.closed(v.Close())
	}
	return f
}

// evict removes unused files beyond the limit, oldest first; the caller closes them.
func (c *fileCache) evict() []*openFile {
	var victims []*openFile
	for e := c.order.Back(); e != nil && c.order.Len() > c.limit; {
		prev := e.Prev()
		if f := e.Value.(*openFile); f.refs == 0 {
			c.remove(f)
			victims = append(victims, f)
		}
		e = prev
	}
	return victims
}

// remove takes a file out of the cache. The caller holds mu.
func (c *fileCache) remove(f *openFile) {
	c.order.Remove(f.place)
	f.shard.open = nil
	f.dead = true
}

// release gives a file back.
func (c *fileCache) release(f *openFile) {
	c.mu.Lock()
	f.refs--
	last := f.dead && f.refs == 0
	c.mu.Unlock()
	if last {
		f.shard.closed(f.Close())
	}
}

// forget closes a dropped shard's file as soon as its last user is done.
func (c *fileCache) forget(sh *shard) {
	c.mu.Lock()
	f := sh.open
	idle := f != nil && f.refs == 0
	if f != nil {
		c.remove(f)
	}
	c.mu.Unlock()
	if idle {
		sh.closed(f.Close())
	}
}

// closeAll closes every file. Nobody uses one any more.
func (c *fileCache) closeAll() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for e := c.order.Front(); e != nil; e = c.order.Front() {
		f := e.Value.(*openFile)
		c.remove(f)
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

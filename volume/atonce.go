package volume

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// ReadAtOnce fills parts, one after the other, with the bytes at off of a shard's stream, and reports true, if the shard's file is open and
// the system's memory has all of them. It never waits for a disk, and says nothing of one: whoever gets false asks ReadAt. What is in parts
// then is anything.
func (s *Store) ReadAtOnce(ref granary.ShardRef, parts [][]byte, off int64) bool {
	d, err := s.enter(opRead, ref)
	if err != nil {
		return false
	}
	defer s.exit()
	s.yield.serve()
	defer s.yield.leave()
	sh := d.lookup(shardKey{ref.Volume, ref.Shard})
	if sh == nil {
		return false
	}
	f := d.files.reuse(sh)
	if f == nil {
		return false
	}
	defer d.files.release(f)
	st := sh.state.Load()
	memory, ok := f.File.(disk.AtOnceReader)
	return ok && st != nil && within(parts, off, st.length) && memory.ReadAtOnce(parts, streamOffset+off)
}

// within reports whether a stream has all that parts want.
func within(parts [][]byte, off int64, length uint64) bool {
	if off < 0 || uint64(off) > length {
		return false
	}
	left := length - uint64(off)
	for _, p := range parts {
		if uint64(len(p)) > left {
			return false
		}
		left -= uint64(len(p))
	}
	return true
}

// ReadAtOnce is Store.ReadAtOnce at addr, of a server in this process, or of a file that the client reads by itself.
func (c *Client) ReadAtOnce(addr string, ref granary.ShardRef, parts [][]byte, off int64) bool {
	if s := c.local(addr); s != nil {
		return s.ReadAtOnce(ref, parts, off)
	}
	at := c.peeks.find(addr, ref)
	return at != nil && within(parts, off, at.length) && at.file.ReadAtOnce(parts, streamOffset+off)
}

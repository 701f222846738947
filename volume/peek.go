package volume

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// Reads on the machine of the server need not go through it. The answer to a read says where the shard's file lies, if the connection has both
// ends on one machine; a client that may open that file, and finds by its identity page that it is the shard, reads from it for a moment
// without asking: a read costs a tenth then. After peekFor it asks again, and opens anew what it is told.
//
// What is read so is as good as what the server would have read:
//
//   - Only bytes that lay in the stream when the server last answered are read. A stream only grows, but for the tail that a seal
//     cuts off: no committed block lies there, and whoever reads it finds other bytes than it looks for.
//   - A shard that is dropped, or in whose place another is built, stays what it was under the descriptor. Its blocks are where they
//     were: an offset is never used again. If it was damaged, it is verified by the client like everything that it reads, and the
//     server is told; the new file is found after peekFor.
//   - Whatever goes wrong is asked of the server, who says what it is, and takes note.
//
// The descriptors of a client keep the space of files that were dropped for peekFor at most.
const (
	peekFor  = 2 * time.Second
	peeksMax = 256 // files at once
)

// peeks are the files that a client reads by itself.
type peeks struct {
	mu     sync.RWMutex
	files  map[peekKey]*peek
	closed bool
	reader disk.ColdReader
}

type peekKey struct {
	addr string
	ref  granary.ShardRef
}

// peek is a shard's file. Reading it when it was closed meanwhile is an error like others.
type peek struct {
	file   *disk.ColdFile
	length uint64 // of the stream, when the server last answered
	end    *time.Timer
}

// peek reads from the file of a shard, if there is one at hand that has all of the range.
func (c *Client) peek(addr string, ref granary.ShardRef, p []byte, off int64) (length uint64, ok bool) {
	at := c.peeks.find(addr, ref)
	if at == nil || uint64(off) > at.length || uint64(len(p)) > at.length-uint64(off) {
		return 0, false
	}
	c.readLoanOf(addr, p) // which p is from then on, if it is lent
	_, err := c.peeks.reader.ReadAt(at.file, p, streamOffset+off)
	return at.length, err == nil
}

// find returns what is at hand of a shard, or nil.
func (s *peeks) find(addr string, ref granary.ShardRef) *peek {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.files[peekKey{addr, ref}]
}

// learnPeek takes in where an answer says that the shard's file lies.
func (c *Client) learnPeek(addr string, ref granary.ShardRef, resp *http.Response, length uint64) {
	path, err := url.QueryUnescape(resp.Header.Get(headerFile))
	if err != nil || path == "" || !c.near(addr) {
		return
	}
	key := peekKey{addr, ref}
	c.peeks.mu.Lock()
	defer c.peeks.mu.Unlock()
	switch at := c.peeks.files[key]; {
	case c.peeks.closed:
		return
	case at != nil: // it is as new as need be, but for its length
		c.peeks.files[key] = &peek{at.file, max(at.length, length), at.end}
		return
	case len(c.peeks.files) >= peeksMax:
		return
	}
	f, err := openShard(path, ref)
	if err != nil {
		return // it is not to be had here: the server reads it
	}
	c.peeks.files[key] = &peek{f, length, time.AfterFunc(peekFor, func() { c.peeks.forget(key, f) })}
}

// near reports whether a server has been found to be on this machine.
func (c *Client) near(addr string) bool {
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	_, near := c.loans.near[addr]
	return near
}

// openShard opens a file to read if it is that of the shard. It never waits, whatever the file is.
func openShard(path string, ref granary.ShardRef) (*disk.ColdFile, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	page := make([]byte, pageSize)
	_, err = io.ReadFull(io.NewSectionReader(f, 0, pageSize), page)
	var h shardHeader
	if err == nil {
		h, err = decodeHeader(page)
	}
	if err == nil && (h.Disk != ref.Disk || h.Volume != ref.Volume || h.Shard != ref.Shard) {
		err = errors.New("it is another shard")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return disk.NewColdFile(f), nil
}

// forget closes a file.
func (s *peeks) forget(key peekKey, f *disk.ColdFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.files[key]; at != nil && at.file == f {
		delete(s.files, key)
		_ = f.Close() // it was read: nothing hangs on it
	}
}

// close closes all files.
func (s *peeks) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for key, at := range s.files {
		at.end.Stop()
		delete(s.files, key)
		_ = at.file.Close() // as in forget
	}
}

// placed is a disk.FS whose files other processes of this machine may find.
type placed interface{ Path(name string) string }

// sayWhere adds to an answer where the shard's file lies, if the other end is on this machine.
func (h *handler) sayWhere(w http.ResponseWriter, r *http.Request, ref granary.ShardRef) {
	here, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	there, _, err := net.SplitHostPort(r.RemoteAddr)
	if !ok || err != nil || !here.IP.Equal(net.ParseIP(there)) {
		return
	}
	if path := h.store.path(ref); path != "" {
		w.Header().Set(headerFile, url.QueryEscape(path))
		h.store.yield.peeked()
	}
}

// path returns where the file of a shard lies, or "" where nobody else can find it.
func (s *Store) path(ref granary.ShardRef) string {
	d, err := s.enter(opRead, ref)
	if err != nil {
		return ""
	}
	defer s.exit()
	if fs, ok := d.fs.(placed); ok {
		return fs.Path(shardKey{ref.Volume, ref.Shard}.fileName())
	}
	return ""
}

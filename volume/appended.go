package volume

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/crc32c"
)

const (
	sumPiece    = crc32c.PieceSize // bytes of a stream that one checksum in memory covers
	sumSize     = 4                // bytes that it takes
	sumGapMax   = 64 << 20         // of zeros; after a longer gap the checksums begin anew
	sumsPerDisk = 8 << 20          // bytes of memory: enough for 128 GiB of open shards
)

// appendSums are checksums, in memory, of what this process has appended to a shard, until the shard is sealed and has a page table. So
// what rots, is cut off or written over on the disk meanwhile is noticed by a scrub, and by the seal, which would take it for what
// was written otherwise. What was there when the process began is taken as it is then, and nothing is known of what came while the
// memory for it was used up.
type appendSums struct {
	used *atomic.Int64 // bytes that the checksums of the disk take

	mu     sync.Mutex
	from   uint64   // the first piece that is known
	pieces []uint32 // of the whole pieces from there on
	last   uint32   // of what there is of the piece after them
	length uint64   // of the stream
}

// begin forgets everything: the stream has a length, and what comes from there on will be known, from the next piece on.
func (s *appendSums) begin(length uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(length)
}

func (s *appendSums) drop(length uint64) {
	s.used.Add(-int64(len(s.pieces)) * sumSize)
	s.from, s.pieces, s.last, s.length = (length+sumPiece-1)/sumPiece, nil, 0, length
}

// add takes in n bytes at an offset, by their checksums, with zeros before them. The caller has the shard's turn.
func (s *appendSums) add(sums *crc32c.Pieces, n int, offset uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zeros(offset)
	for _, crc := range sums.Sums() {
		size := crc32c.Cut(s.length, n)
		s.feed(crc, size)
		n -= size
	}
}

// zeros takes in zeros up to an offset.
func (s *appendSums) zeros(offset uint64) {
	if offset <= s.length {
		return
	}
	if offset-s.length > sumGapMax {
		s.drop(offset)
		return
	}
	zeros := make([]byte, min(offset-s.length, sumPiece))
	for s.length < offset {
		n := crc32c.Cut(s.length, int(offset-s.length))
		s.feed(crc32.Checksum(zeros[:n], castagnoli), n)
	}
}

// feed takes in the checksum of n bytes, all in one piece.
func (s *appendSums) feed(crc uint32, n int) {
	known := s.length/sumPiece >= s.from
	if known {
		s.last = crc32c.Join(s.last, crc, n)
	}
	s.length += uint64(n)
	if !known || s.length%sumPiece != 0 {
		return
	}
	if s.used.Add(sumSize) > sumsPerDisk {
		s.used.Add(-sumSize)
		s.drop(s.length)
		return
	}
	s.pieces, s.last = append(s.pieces, s.last), 0
}

// cut makes the stream end earlier. Last is the checksum of what is left of the piece that is not whole then.
func (s *appendSums) cut(length uint64, last uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	whole := length / sumPiece
	if whole < s.from {
		s.drop(length)
		return
	}
	s.used.Add(-int64(uint64(len(s.pieces))-(whole-s.from)) * sumSize)
	s.pieces, s.last, s.length = s.pieces[:whole-s.from], last, length
}

// piece returns how many bytes there are of a piece, and their checksum; false if they are not known.
func (s *appendSums) piece(i uint64) (size int, crc uint32, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch at := i - s.from; {
	case i < s.from || i*sumPiece >= s.length:
		return 0, 0, false
	case at < uint64(len(s.pieces)):
		return sumPiece, s.pieces[at], true
	}
	return int(s.length % sumPiece), s.last, true
}

// rotten makes the shard Damaged: a piece is not what was appended.
func (sh *shard) rotten(op string, i uint64) error {
	reason := fmt.Sprintf("what was appended at offset %d is not there any more", i*sumPiece)
	sh.damage(reason)
	return granary.Errorf(granary.KindCorrupt, op, sh.disk.ref(sh.key).String(), "disk %s: %s", sh.disk.dir, reason)
}

// readPiece reads a piece from the disk, and compares it. What is not known is nil. The caller has the turn.
func (sh *shard) readPiece(op string, f *openFile, i uint64, p []byte) ([]byte, error) {
	size, want, known := sh.appended.piece(i)
	if !known {
		return nil, nil
	}
	p, position := p[:size], int64(streamOffset+i*sumPiece)
	if err := uncache(f, position, int64(size)); err != nil {
		return nil, sh.disk.failure(op, sh.key, err)
	}
	n, err := f.ReadAt(p, position)
	if n < size && !errors.Is(err, io.EOF) {
		sh.noteRead(err)
		return nil, sh.disk.failure(op, sh.key, err)
	}
	if n < size || crc32.Checksum(p, castagnoli) != want {
		return nil, sh.rotten(op, i)
	}
	return p, nil
}

// cutAppended does with the checksums what a cut or extension to length does with the stream. It is before the cut: what is left of a
// piece must still be told from what rotted in it.
func (sh *shard) cutAppended(op string, f *openFile, length uint64) error {
	s := &sh.appended
	if length >= s.length {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.zeros(length)
		return nil
	}
	var last uint32
	if rest := length % sumPiece; rest != 0 {
		p, err := sh.readPiece(op, f, length/sumPiece, make([]byte, sumPiece))
		if err != nil {
			return err
		}
		if p == nil {
			s.begin(length)
			return nil
		}
		last = crc32.Checksum(p[:rest], castagnoli)
	}
	s.cut(length, last)
	return nil
}

// appendCheck compares a stream that is read from its beginning with the checksums.
type appendCheck struct {
	sh  *shard
	at  uint64
	crc uint32
}

// add takes in the checksum of the n bytes that come next, which lie within one piece.
func (c *appendCheck) add(crc uint32, n int) error {
	c.crc = crc32c.Join(c.crc, crc, n)
	c.at += uint64(n)
	if c.at%sumPiece != 0 && c.at != c.sh.appended.length {
		return nil
	}
	i := (c.at - 1) / sumPiece
	if _, want, known := c.sh.appended.piece(i); known && c.crc != want {
		return c.sh.rotten(opSeal, i)
	}
	c.crc = 0
	return nil
}

// verifyOpen compares a shard that is not sealed with the checksums of what this process has appended to it. Before each piece
// that is read step is asked, and ends it with an error. A shard that is sealed meanwhile has been compared by that.
func (sh *shard) verifyOpen(op string, f *openFile, step func(size int) error) error {
	if err := sh.checkHead(op, f); err != nil {
		return err
	}
	p := make([]byte, sumPiece)
	first, end := sh.appended.span() // what comes meanwhile is not chased after
	for i := first; i < end; i++ {
		if err := step(sumPiece); err != nil {
			return err
		}
		more, err := sh.verifyPiece(op, f, i, p)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// span returns the first piece that is known, and the one after the last.
func (s *appendSums) span() (first, end uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from, (s.length + sumPiece - 1) / sumPiece
}

// verifyPiece compares one piece; false if there is none. It waits for who changes the shard, and keeps them waiting for no longer than that.
func (sh *shard) verifyPiece(op string, f *openFile, i uint64, p []byte) (more bool, err error) {
	sh.turn <- struct{}{}
	defer func() { <-sh.turn }()
	if st := sh.state.Load(); !sh.exists.Load() || st == nil || st.slot.Sealed || sh.poisonedBy.Load() != nil {
		return false, nil
	}
	p, err = sh.readPiece(op, f, i, p)
	return p != nil, err
}

// adopt makes the checksums of what was there before this process, from the end to the beginning, until stop, or so many bytes were read.
func (sh *shard) adopt(op string, f *openFile, left *int64, stop <-chan struct{}) error {
	if st, err := sh.load(op, f); err != nil || st.slot.Sealed {
		return err
	}
	p := make([]byte, sumPiece)
	for ; *left > 0; *left -= sumPiece {
		select {
		case <-stop:
			return errStopped
		default:
		}
		if more, err := sh.adoptPiece(op, f, p); err != nil || !more {
			return err
		}
	}
	return nil
}

// adoptPiece does it for the last piece that is not known; false if there is none. It takes the shard's turn.
func (sh *shard) adoptPiece(op string, f *openFile, p []byte) (more bool, err error) {
	sh.turn <- struct{}{}
	defer func() { <-sh.turn }()
	s := &sh.appended
	if st := sh.state.Load(); s.from == 0 || !sh.exists.Load() || st.slot.Sealed || s.used.Load() >= sumsPerDisk {
		return false, nil
	}
	i := s.from - 1
	p = p[:min(sumPiece, s.length-i*sumPiece)]
	if n, err := f.ReadAt(p, int64(streamOffset+i*sumPiece)); n < len(p) {
		if errors.Is(err, io.EOF) {
			return false, sh.rotten(op, i)
		}
		sh.noteRead(err)
		return false, sh.disk.failure(op, sh.key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.from--
	if len(p) < sumPiece {
		s.last = crc32.Checksum(p, castagnoli)
		return true, nil
	}
	s.pieces = slices.Insert(s.pieces, 0, crc32.Checksum(p, castagnoli))
	s.used.Add(sumSize)
	return true, nil
}

package md5lanes

import (
	"crypto/md5"
	"encoding"
	"encoding/binary"
	"fmt"
	"runtime"
)

// stream is one MD5. It is used by one goroutine at a time, but for its state and the piece that is taken, which are whose who has taken it.
type stream struct {
	lanes  *Lanes
	state  [4]uint32
	length uint64
	last   *piece // is being filled; nil for none
	filled int    // bytes of it

	taken *piece        // is being hashed; nil: nobody has the state but the user. Set under Lanes.mu
	full  []*piece      // guarded by Lanes.mu, as are the others; the oldest first
	waits bool          // its user waits until somebody else has hashed a piece of it …
	done  chan struct{} // … and is told so here
}

func initial() [4]uint32 { return [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476} }

// Size implements hash.Hash.
func (*stream) Size() int { return md5.Size }

// BlockSize implements hash.Hash.
func (*stream) BlockSize() int { return md5.BlockSize }

// Reset implements hash.Hash.
func (s *stream) Reset() {
	s.settle(0)
	s.state, s.length, s.filled = initial(), 0, 0
}

// Write implements hash.Hash. It never fails.
func (s *stream) Write(p []byte) (int, error) {
	written := len(p)
	s.length += uint64(written)
	for len(p) > 0 {
		if s.last == nil {
			s.last, s.filled = s.lanes.piece(), 0
		}
		n := copy(s.last[s.filled:], p)
		s.filled += n
		p = p[n:]
		if s.filled == pieceSize {
			s.offer()
		}
	}
	return written, nil
}

// Sum implements hash.Hash.
func (s *stream) Sum(to []byte) []byte {
	s.settle(0)
	var rest [2 * md5.BlockSize]byte
	n := 0
	if s.last != nil {
		whole := s.filled &^ (md5.BlockSize - 1)
		s.state = hashAlone(s.state, s.last[:whole])
		n = copy(rest[:], s.last[whole:s.filled])
		s.filled = copy(s.last[:], rest[:n])
	}
	rest[n] = 0x80
	end := md5.BlockSize
	if n+1+8 > md5.BlockSize {
		end = 2 * md5.BlockSize
	}
	binary.LittleEndian.PutUint64(rest[end-8:], s.length<<3)
	for _, word := range hashAlone(s.state, rest[:end]) {
		to = binary.LittleEndian.AppendUint32(to, word)
	}
	return to
}

// offer lets the piece that has been filled be hashed with others, and makes room for the next.
func (s *stream) offer() {
	l := s.lanes
	l.mu.Lock()
	s.full = append(s.full, s.last)
	s.last = nil
	l.pending++
	if len(s.full) == 1 && s.taken == nil {
		l.offered = append(l.offered, s)
	}
	var batch []*stream
	if len(l.offered) >= width {
		batch = l.take(s)
	}
	most := l.room()
	l.mu.Unlock()
	if batch != nil {
		l.hashAll(batch)
	}
	s.settle(most)
}

// settle has full pieces hashed until no more are left than so many. After settle(0) the user has the state.
func (s *stream) settle(most int) {
	l := s.lanes
	for yields := 0; ; {
		l.mu.Lock()
		unhashed := len(s.full)
		if s.taken != nil {
			unhashed++
		}
		if unhashed <= most {
			l.mu.Unlock()
			return
		}
		if s.taken == nil && len(l.offered) < width/2 && yields < yieldsMax {
			yields++
			l.mu.Unlock()
			runtime.Gosched()
			continue
		}
		yields = 0
		batch := l.take(s)
		s.waits = batch == nil
		l.mu.Unlock()
		if batch != nil {
			l.hashAll(batch)
		} else {
			<-s.done
		}
	}
}

// What crypto/md5 writes of its state: a mark, four words, a block that is not whole, and the length.
const (
	markOfState = "md5\x01"
	sizeOfState = len(markOfState) + md5.Size + md5.BlockSize + 8
)

// hashAlone hashes whole blocks of one stream, as quickly as crypto/md5 does.
func hashAlone(state [4]uint32, p []byte) [4]uint32 {
	if len(p) == 0 {
		return state
	}
	h := md5.New()
	b := append(make([]byte, 0, sizeOfState), markOfState...)
	for _, word := range state {
		b = binary.BigEndian.AppendUint32(b, word)
	}
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(b[:sizeOfState]); err != nil {
		panic(fmt.Sprintf("md5lanes: crypto/md5 does not know a state of its own: %v", err))
	}
	_, _ = h.Write(p) // never fails
	b, err := h.(encoding.BinaryAppender).AppendBinary(b[:0])
	if err != nil {
		panic(fmt.Sprintf("md5lanes: crypto/md5 does not tell its state: %v", err))
	}
	for word := range state {
		state[word] = binary.BigEndian.Uint32(b[len(markOfState)+4*word:])
	}
	return state
}

package md5lanes

import (
	"crypto/md5"
	"hash"
	"slices"
	"sync"
	"unsafe"
)

const (
	width     = 8 // streams that are hashed at once
	pieceSize = 32 << 10

	piecesMax  = 48  // of a stream that are full …
	pendingMax = 320 // … and of all; when there are more, each may have but
	piecesFew  = 4

	yieldsMax = 3 // how often others may go first, who may offer some, before few streams are hashed
)

// Lanes makes hashes that are computed together. The zero value is ready to use, by many goroutines.
type Lanes struct {
	pieces sync.Pool // of *piece

	mu      sync.Mutex
	offered []*stream // those that have full pieces, and whose state nobody has; the first to offer is the first
	pending int       // full pieces of all
}

// piece is memory for a part of a stream.
type piece [pieceSize]byte

// room returns how many full pieces each stream may have. l.mu is held.
func (l *Lanes) room() int {
	if l.pending > pendingMax {
		return piecesFew
	}
	return piecesMax
}

// New returns an MD5. For a stream that is known to be short one of crypto/md5 takes less memory.
func (l *Lanes) New() hash.Hash {
	if !supported() {
		return md5.New()
	}
	return &stream{lanes: l, state: initial(), done: make(chan struct{}, 1)}
}

// take returns up to width streams that offer pieces, s among them, unless somebody else has its state. l.mu is held. The caller is to hash what
// is taken of them.
func (l *Lanes) take(s *stream) []*stream {
	at := slices.Index(l.offered, s)
	if at < 0 {
		return nil
	}
	l.offered[0], l.offered[at] = s, l.offered[0]
	batch := slices.Clone(l.offered[:min(width, len(l.offered))])
	l.offered = slices.Delete(l.offered, 0, len(batch))
	for _, s := range batch {
		s.taken = s.full[0]
		s.full = slices.Delete(s.full, 0, 1)
	}
	return batch
}

// hashAll hashes what is taken of streams, and lets go of their state.
func (l *Lanes) hashAll(batch []*stream) {
	if len(batch) == 1 {
		batch[0].state = hashAlone(batch[0].state, batch[0].taken[:])
	} else {
		hashTogether(batch)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range batch {
		l.pieces.Put(s.taken)
		s.taken = nil
		l.pending--
		if len(s.full) > 0 {
			l.offered = append(l.offered, s)
		}
		if s.waits {
			s.waits = false
			s.done <- struct{}{}
		}
	}
}

// hashTogether hashes what is taken of several streams.
func hashTogether(batch []*stream) {
	var state [4][width]uint32
	var data [width]*byte
	for lane := range width {
		s := batch[min(lane, len(batch)-1)] // those too many come to nothing
		data[lane] = unsafe.SliceData(s.taken[:])
		for word := range state {
			state[word][lane] = s.state[word]
		}
	}
	blocks(&state, &data, pieceSize/md5.BlockSize)
	for lane, s := range batch {
		for word := range state {
			s.state[word] = state[word][lane]
		}
	}
}

// piece returns memory for a piece.
func (l *Lanes) piece() *piece {
	if p, ok := l.pieces.Get().(*piece); ok {
		return p
	}
	return new(piece)
}

package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"sort"

	"github.com/dsorchard/granary"
)

// newBlock returns the cipher of a data key.
func newBlock(data Key) (cipher.Block, error) {
	block, err := aes.NewCipher(data[:])
	if err != nil {
		return nil, granary.Errorf(granary.KindInternal, "seal.cipher", "", "%w", err)
	}
	return block, nil
}

// counter returns the counter of a block of a stream (invariant 1).
func (s *Stream) counter(index uint64) [aes.BlockSize]byte {
	var c [aes.BlockSize]byte
	binary.BigEndian.PutUint64(c[8:], index) // below 2^42: its first two bytes are zeros, which the nonce takes
	binary.BigEndian.PutUint64(c[2:], s.Nonce)
	binary.BigEndian.PutUint16(c[:], s.Number)
	return c
}

// Writer encrypts one stream, from its begin to its end. It is used once.
type Writer struct {
	Stream Stream // its size is not known
	ctr    cipher.Stream
	left   uint64 // bytes that it may still encrypt
}

// NewWriter begins a stream: number is that of the part, or 0.
func NewWriter(data Key, number uint16) (*Writer, error) {
	block, err := newBlock(data)
	if err != nil {
		return nil, err
	}
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails: crypto/rand
	s := Stream{Number: number, Nonce: binary.BigEndian.Uint64(nonce[:])}
	iv := s.counter(0)
	return &Writer{Stream: s, ctr: cipher.NewCTR(block, iv[:]), left: granary.FileSizeMax}, nil
}

// Encrypt encrypts the next bytes into dst, which is as long.
func (w *Writer) Encrypt(dst, plain []byte) error {
	if uint64(len(plain)) > w.left {
		return granary.Errorf(granary.KindFileTooLarge, "seal.encrypt", "", "beyond %d bytes", uint64(granary.FileSizeMax))
	}
	w.left -= uint64(len(plain))
	w.ctr.XORKeyStream(dst, plain)
	return nil
}

// Content decrypts any range of a content. It is safe for concurrent use.
type Content struct {
	block   cipher.Block
	streams []Stream
	starts  []uint64 // where each stream begins
	end     uint64   // of the last
}

// Content returns what decrypts the content of the record with its data key.
func (r *Record) Content(data Key) (*Content, error) {
	block, err := newBlock(data)
	if err != nil {
		return nil, err
	}
	c := &Content{block: block, streams: r.Streams, starts: make([]uint64, len(r.Streams))}
	for i, s := range r.Streams {
		c.starts[i] = c.end
		switch {
		case s.Size == 0 && i < len(r.Streams)-1:
			return nil, corrupt("stream %d of %d is not the last, and of no size", i+1, len(r.Streams))
		case s.Size == 0:
			c.end = granary.FileSizeMax
		default:
			c.end += s.Size
		}
		if c.end > granary.FileSizeMax {
			return nil, corrupt("%d streams of more than %d bytes", len(r.Streams), uint64(granary.FileSizeMax))
		}
	}
	return c, nil
}

// Decrypt decrypts p, which is the range of the content at off, in place.
func (c *Content) Decrypt(p []byte, off uint64) error {
	if off > c.end || uint64(len(p)) > c.end-off {
		return corrupt("%d bytes at %d, and the streams end at %d", len(p), off, c.end)
	}
	for i := sort.Search(len(c.starts), func(i int) bool { return c.starts[i] > off }) - 1; len(p) > 0; i++ {
		end := c.end
		if i+1 < len(c.starts) {
			end = c.starts[i+1]
		}
		n := min(uint64(len(p)), end-off)
		c.streams[i].decrypt(c.block, p[:n], off-c.starts[i])
		p, off = p[n:], off+n
	}
	return nil
}

// decrypt decrypts what is at off of the stream.
func (s *Stream) decrypt(block cipher.Block, p []byte, off uint64) {
	iv := s.counter(off / aes.BlockSize)
	if skip := int(off % aes.BlockSize); skip > 0 {
		var pad [aes.BlockSize]byte
		block.Encrypt(pad[:], iv[:])
		p = p[subtle.XORBytes(p, p, pad[skip:]):]
		iv = s.counter(off/aes.BlockSize + 1)
	}
	if len(p) > 0 {
		cipher.NewCTR(block, iv[:]).XORKeyStream(p, p)
	}
}

package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync"

	"github.com/dsorchard/granary"
)

// buildPieceSize bounds a piece, and with it the memory of a build. A multiple of a page.
const buildPieceSize = 1 << 20

// piece is whole pages of a stream that are not zeros; the last page of a stream is as long as it is. One without data says that there are
// zeros up to its offset: so whoever waits for pieces hears of a source that has much of nothing.
type piece struct {
	offset uint64
	data   []byte // valid until the next piece is asked for
}

// pieces gives what a stream holds besides pages of zeros, in order, and io.EOF when all of it was given.
type pieces interface {
	next() (piece, error)
}

// streamPieces cuts a plain stream into pieces.
type streamPieces struct {
	op, subject string
	r           io.Reader
	buf         []byte
	rest        []byte // of buf: read, and not given yet
	offset      uint64 // in the stream, of rest
	length      uint64 // of the stream
}

func newStreamPieces(b *granary.Build, r io.Reader) *streamPieces {
	return &streamPieces{op: opBuild, subject: b.Ref.String(), r: r, buf: make([]byte, min(b.Length, buildPieceSize)), length: b.Length}
}

func (s *streamPieces) next() (piece, error) {
	if len(s.rest) == 0 {
		if s.offset == s.length {
			return piece{}, io.EOF
		}
		s.rest = s.buf[:min(uint64(len(s.buf)), s.length-s.offset)]
		if n, err := io.ReadFull(s.r, s.rest); err != nil {
			s.rest = nil
			return piece{}, brokenStream(s.op, s.subject, s.offset+uint64(n), s.length, err)
		}
	}
	for len(s.rest) > 0 {
		page := s.rest[:min(len(s.rest), pageSize)]
		if !allZeros(page) {
			return s.take(), nil
		}
		s.rest, s.offset = s.rest[len(page):], s.offset+uint64(len(page))
	}
	if s.offset == s.length {
		return piece{}, io.EOF
	}
	return piece{offset: s.offset}, nil
}

// take gives the pages up to the next one of zeros. The first of rest is none.
func (s *streamPieces) take() piece {
	size := min(len(s.rest), pageSize)
	for size < len(s.rest) && !allZeros(s.rest[size:min(len(s.rest), size+pageSize)]) {
		size = min(len(s.rest), size+pageSize)
	}
	p := piece{s.offset, s.rest[:size]}
	s.rest, s.offset = s.rest[size:], s.offset+uint64(size)
	return p
}

// allZeros reports whether p, which is not empty, holds nothing else.
func allZeros(p []byte) bool { return p[0] == 0 && bytes.Equal(p[1:], p[:len(p)-1]) }

// brokenStream makes the error of a build whose source broke off: that of the source, if it is one of ours.
func brokenStream(op, subject string, at, length uint64, err error) error {
	var ours *granary.Error
	kind := granary.KindUnavailable
	if errors.As(err, &ours) {
		kind = ours.Kind
	}
	return granary.Errorf(kind, op, subject, "the stream of %d bytes ends at %d: %w", length, at, err)
}

// A record carries a piece over the network: offset (8 bytes), length of the data (4), and the CRC32C of these twelve bytes and
// the data (4), little endian; then the data. A record without data is a piece without, and at the stream's length it ends the stream, so that a stream that was cut
// off is never taken for a whole one with zeros at its end.
const (
	recordHead  = 16
	recordCheck = 12
)

// appendRecord appends the record of a piece.
func appendRecord(p []byte, offset uint64, data []byte) []byte {
	start := len(p)
	p = binary.LittleEndian.AppendUint64(p, offset)
	p = binary.LittleEndian.AppendUint32(p, uint32(len(data)))
	crc := crc32.Update(crc32.Checksum(p[start:], castagnoli), castagnoli, data)
	p = binary.LittleEndian.AppendUint32(p, crc)
	return append(p, data...)
}

// recordPieces reads records. It refuses what a streamPieces would not have given.
type recordPieces struct {
	op, subject string
	r           io.Reader
	length      uint64 // of the stream
	end         uint64 // of the last piece
	buf         []byte // of buildPieceSize
	ended       bool
}

func (s *recordPieces) next() (piece, error) {
	if s.ended {
		return piece{}, io.EOF
	}
	refuse := func(kind granary.Kind, format string, args ...any) (piece, error) {
		return piece{}, granary.Errorf(kind, s.op, s.subject, format, args...)
	}
	var head [recordHead]byte
	if _, err := io.ReadFull(s.r, head[:]); err != nil {
		return refuse(granary.KindUnavailable, "the request ends early, at %d of %d bytes: %w", s.end, s.length, err)
	}
	offset, size := binary.LittleEndian.Uint64(head[:]), uint64(binary.LittleEndian.Uint32(head[8:]))
	end := offset + size
	switch {
	case size > buildPieceSize, offset < s.end, end < offset, end > s.length,
		size%pageSize != 0 && end != s.length, offset%pageSize != 0 && offset != s.length:
		return refuse(granary.KindInvalid, "a record of %d bytes at %d makes no sense in a stream of %d, after %d", size, offset, s.length, s.end)
	}
	data := s.buf[:size]
	if _, err := io.ReadFull(s.r, data); err != nil {
		return refuse(granary.KindUnavailable, "the request ends early, at %d of %d bytes: %w", s.end, s.length, err)
	}
	crc := crc32.Update(crc32.Checksum(head[:recordCheck], castagnoli), castagnoli, data)
	if crc != binary.LittleEndian.Uint32(head[recordCheck:]) {
		return refuse(granary.KindCorrupt, "the record at %d has checksum %08x: damaged on the way", offset, crc)
	}
	if s.end = end; size == 0 && end == s.length {
		s.ended = true
		return piece{}, io.EOF
	}
	return piece{offset, data}, nil
}

// recordBody is the body of a request: the records of a stream. The transport may read it for a while after it has returned the
// answer: closed says when it has let go.
type recordBody struct {
	in     pieces
	length uint64
	closed chan struct{}

	mu   sync.Mutex
	rest []byte // encoded, and not read yet
	buf  []byte
	end  bool  // all is encoded
	err  error // of the stream
	done bool
}

func newRecordBody(in pieces, length uint64) *recordBody {
	return &recordBody{in: in, length: length, closed: make(chan struct{})}
}

// Read implements io.Reader.
func (b *recordBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.rest) == 0 {
		if err := b.encode(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// encode makes the next record.
func (b *recordBody) encode() error {
	switch {
	case b.err != nil:
		return b.err
	case b.done:
		return io.ErrClosedPipe
	case b.end:
		return io.EOF
	}
	p, err := b.in.next()
	switch {
	case err == io.EOF:
		b.end = true
		b.buf = appendRecord(b.buf[:0], b.length, nil)
	case err != nil:
		b.err = err
		return err
	default:
		b.buf = appendRecord(b.buf[:0], p.offset, p.data)
	}
	b.rest = b.buf
	return nil
}

// Close implements io.Closer.
func (b *recordBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.done {
		b.done = true
		close(b.closed)
	}
	return nil
}

// failure returns why the stream broke off, if it has. The transport has let go of it.
func (b *recordBody) failure() error {
	<-b.closed
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

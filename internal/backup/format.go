package backup

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/zeebo/blake3"

	"github.com/dsorchard/granary"
)

const (
	magic         = "GRANBKUP"
	formatVersion = 1
	fixedLength   = 40
	idLengthMax   = 255
	headerMax     = fixedLength + 2*(1+idLengthMax) + 4
	headerMin     = fixedLength + 2 + 4
	hashLength    = 32

	// streamLengthMax bounds what a header may say, so that no sum overflows.
	streamLengthMax = 1 << 60
)

// Header says what a backup is of.
type Header struct {
	ID      string // of the backup, at the node that made it
	Cluster granary.ClusterID
	Index   granary.Index // of the state
	Size    int64         // bytes of the stream
	Time    granary.Time  // when it was begun
}

// Length returns the length of the whole: header, stream and hash.
func (h *Header) Length() int64 { return h.length() + h.Size + hashLength }

// length returns that of the header.
func (h *Header) length() int64 { return int64(headerMin + len(h.Cluster) + len(h.ID)) }

// Marshal encodes a header. It fails if a field is out of its range.
func (h *Header) Marshal() ([]byte, error) {
	if len(h.ID) > idLengthMax || len(h.Cluster) > idLengthMax || h.Size < 0 || h.Size > streamLengthMax {
		return nil, granary.Errorf(granary.KindInvalid, "backup", h.ID, "a header with ids of %d and %d bytes, and a size of %d",
			len(h.ID), len(h.Cluster), h.Size)
	}
	b := make([]byte, 0, h.length())
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(h.length()))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Index))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Size))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Time))
	b = append(append(b, byte(len(h.Cluster))), h.Cluster...)
	b = append(append(b, byte(len(h.ID))), h.ID...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))), nil
}

// readHeader reads a header, and returns it with its bytes.
func readHeader(r io.Reader) (*Header, []byte, error) {
	b := make([]byte, fixedLength, headerMax)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, nil, shortError(err, "the header")
	}
	if string(b[:8]) != magic {
		return nil, nil, corrupt("it does not begin as a backup of granary does")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return nil, nil, granary.Errorf(granary.KindNotSupported, "backup", "", "format version %d; this release knows %d", v, formatVersion)
	}
	length := binary.LittleEndian.Uint32(b[12:])
	if length < headerMin || length > headerMax {
		return nil, nil, corrupt("a header of %d bytes", length)
	}
	b = b[:length]
	if _, err := io.ReadFull(r, b[fixedLength:]); err != nil {
		return nil, nil, shortError(err, "the header")
	}
	h, err := parseHeader(b)
	return h, b, err
}

func parseHeader(b []byte) (*Header, error) {
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return nil, corrupt("the header is damaged")
	}
	h := &Header{
		Index: granary.Index(binary.LittleEndian.Uint64(b[16:])),
		Size:  int64(binary.LittleEndian.Uint64(b[24:])),
		Time:  granary.Time(binary.LittleEndian.Uint64(b[32:])),
	}
	cluster, rest, ok := takeText(body[fixedLength:])
	id, rest, ok2 := takeText(rest)
	if !ok || !ok2 || len(rest) != 0 || h.Size < 0 || h.Size > streamLengthMax {
		return nil, corrupt("the header makes no sense")
	}
	h.Cluster, h.ID = granary.ClusterID(cluster), id
	return h, nil
}

func takeText(b []byte) (text string, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	n := 1 + int(b[0])
	return string(b[1:n]), b[n:], true
}

// NewContainer returns what reads as a whole backup: the header, the stream, which must be as long as the header
// says, and the hash.
func NewContainer(h *Header, stream io.Reader) (io.Reader, error) {
	b, err := h.Marshal()
	if err != nil {
		return nil, err
	}
	hash := blake3.New()
	body := io.MultiReader(bytes.NewReader(b), &exactReader{r: stream, left: h.Size})
	return io.MultiReader(io.TeeReader(body, hash), &hashReader{hash: hash}), nil
}

// exactReader is a reader that must give a number of bytes.
type exactReader struct {
	r    io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	if e.left -= int64(n); err == io.EOF && e.left > 0 {
		err = shortError(io.ErrUnexpectedEOF, "the stream")
	}
	return n, err
}

// hashReader gives the hash, as it is at the first read.
type hashReader struct {
	hash *blake3.Hasher
	sum  *bytes.Reader
}

func (h *hashReader) Read(p []byte) (int, error) {
	if h.sum == nil {
		h.sum = bytes.NewReader(h.hash.Sum(nil))
	}
	return h.sum.Read(p)
}

// Reader reads the stream of a backup. io.EOF says that the hash agrees and that nothing follows; whatever was
// read before it must not be relied on.
type Reader struct {
	Header
	src  io.Reader
	hash *blake3.Hasher
	left int64
	err  error
}

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	h, b, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	out := &Reader{Header: *h, src: r, hash: blake3.New(), left: h.Size}
	out.hash.Write(b) // it never fails
	return out, nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.left == 0 {
		r.err = r.compare()
		return 0, r.err
	}
	n, err := r.src.Read(p[:min(int64(len(p)), r.left)])
	r.hash.Write(p[:n])
	if r.left -= int64(n); err == io.EOF {
		if err = nil; r.left > 0 {
			err = shortError(io.ErrUnexpectedEOF, "the stream")
		}
	}
	r.err = err
	return n, err
}

// compare checks what follows the stream, and returns io.EOF if all is well.
func (r *Reader) compare() error {
	var want [hashLength]byte
	if _, err := io.ReadFull(r.src, want[:]); err != nil {
		return shortError(err, "the hash")
	}
	if !bytes.Equal(r.hash.Sum(nil), want[:]) {
		return corrupt("the content is damaged: its BLAKE3 is not what it was")
	}
	switch _, err := io.ReadFull(r.src, make([]byte, 1)); err {
	case io.EOF:
		return io.EOF
	case nil:
		return corrupt("something follows its end")
	default:
		return err
	}
}

func corrupt(format string, args ...any) error {
	return granary.Errorf(granary.KindCorrupt, "backup", "", format, args...)
}

// shortError makes of the end of what is read that something is missing; other errors stay.
func shortError(err error, what string) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return corrupt("it ends within %s: the rest is missing", what)
	}
	return err
}

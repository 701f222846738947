package seal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/dsorchard/granary"
)

// Mode says whose key wraps a data key. The values are stored.
type Mode uint8

// Modes.
const (
	ByCluster  Mode = 1
	ByCustomer Mode = 2
)

// Of the format.
const (
	formatVersion = 1
	saltSize      = 16
	nonceSize     = 12
	wrapSize      = saltSize + nonceSize + KeySize + 16
	headSize      = 2 + 8
	attributeSize = 60_000 // bytes of one attribute: less than granary.XattrValueMax
	streamsMax    = granary.PartsMax
)

// Stream is a run of bytes of a content that was encrypted at once.
type Stream struct {
	Number uint16 // of the part; 0 if there is but one
	Nonce  uint64
	Size   uint64 // in bytes; 0 for all that is left of the content
}

// Record says how a content is encrypted. It does not change.
type Record struct {
	Mode    Mode
	KeyID   KeyID // of the cluster's key
	wrapped []byte
	Streams []Stream // in the order of the content
}

// NewRecord wraps a data key. The record has no streams yet.
func NewRecord(w *Wrapper, data Key) (*Record, error) {
	wrapped, err := w.wrap(&data)
	if err != nil {
		return nil, err
	}
	return &Record{Mode: w.mode, KeyID: w.id, wrapped: wrapped}, nil
}

// With returns the record of a content under the same data key.
func (r *Record) With(streams ...Stream) *Record {
	return &Record{Mode: r.Mode, KeyID: r.KeyID, wrapped: r.wrapped, Streams: streams}
}

// SameKey reports whether two records have the same data key, wrapped at once.
func (r *Record) SameKey(other *Record) bool {
	return r.Mode == other.Mode && r.KeyID == other.KeyID && bytes.Equal(r.wrapped, other.wrapped)
}

// Rewrap returns the record of the same content with its data key wrapped anew.
func (r *Record) Rewrap(w *Wrapper, data Key) (*Record, error) {
	wrapped, err := NewRecord(w, data)
	if err != nil {
		return nil, err
	}
	return wrapped.With(r.Streams...), nil
}

// DataKey unwraps the data key with a key of the cluster.
func (r *Record) DataKey(ring *Ring) (Key, error) {
	if r.Mode != ByCluster {
		return Key{}, errCustomer()
	}
	k := ring.find(r.KeyID)
	if k == nil {
		return Key{}, granary.Errorf(granary.KindCorrupt, "decrypt", r.KeyID.String(), "the cluster does not have this key")
	}
	return (&Wrapper{ByCluster, k.id, k.key}).unwrap(r.wrapped)
}

// errCustomer refuses what needs the key of a customer.
func errCustomer() error {
	return granary.Errorf(granary.KindPermission, "decrypt", "", "the content is encrypted with a key of the customer (SSE-C), who alone has it: it can be read through S3 with that key")
}

// CustomerKey unwraps the data key with the customer's key; KindPermission if that is another.
func (r *Record) CustomerKey(key Key) (Key, error) {
	if r.Mode != ByCustomer {
		return Key{}, granary.Errorf(granary.KindInvalid, "decrypt", "", "the content is not encrypted with a key of the customer")
	}
	return Customer(key).unwrap(r.wrapped)
}

// Check refuses a mode whose key the server has not got.
func (r *Record) Check() error {
	if r.Mode == ByCustomer {
		return errCustomer()
	}
	return nil
}

// Xattrs returns the record as the attributes of its file.
func (r *Record) Xattrs() []granary.Xattr {
	b := append([]byte{formatVersion, byte(r.Mode)}, r.KeyID[:]...)
	b = append(b, r.wrapped...)
	next := uint16(0)
	for i := 0; i < len(r.Streams); {
		first := r.Streams[i]
		n := 1
		for i+n < len(r.Streams) && r.Streams[i+n].Size == first.Size && int(r.Streams[i+n].Number) == int(first.Number)+n {
			n++
		}
		b = binary.AppendUvarint(b, uint64(n))
		b = binary.AppendUvarint(b, uint64(first.Number-next))
		b = binary.AppendUvarint(b, first.Size)
		for _, s := range r.Streams[i : i+n] {
			b = binary.BigEndian.AppendUint64(b, s.Nonce)
		}
		next = first.Number + uint16(n)
		i += n
	}
	var xattrs []granary.Xattr
	for part := range slices.Chunk(b, attributeSize) {
		xattrs = append(xattrs, granary.Xattr{Name: partName(len(xattrs)), Value: part})
	}
	return xattrs
}

// RecordOf reads the record among the attributes of a file; nil if it is not encrypted.
func RecordOf(xattrs []granary.Xattr) (*Record, error) {
	var parts []granary.Xattr
	for _, x := range xattrs {
		if granary.IsEncryption(x.Name) {
			parts = append(parts, x)
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	slices.SortFunc(parts, func(a, b granary.Xattr) int { return strings.Compare(a.Name, b.Name) })
	var b []byte
	for i, p := range parts {
		if want := partName(i); p.Name != want {
			return nil, corrupt("attribute %s is missing", want)
		}
		b = append(b, p.Value...)
	}
	return parse(b)
}

func partName(i int) string {
	if i == 0 {
		return granary.XattrEncryption
	}
	return fmt.Sprintf("%s.%02d", granary.XattrEncryption, i)
}

func corrupt(format string, args ...any) error {
	return granary.Errorf(granary.KindCorrupt, "seal.record", "", format, args...)
}

func parse(b []byte) (*Record, error) {
	if len(b) < headSize+wrapSize || b[0] != formatVersion || b[1] != byte(ByCluster) && b[1] != byte(ByCustomer) {
		return nil, corrupt("%d bytes of another format", len(b))
	}
	r := &Record{Mode: Mode(b[1]), KeyID: KeyID(b[2:headSize]), wrapped: slices.Clone(b[headSize : headSize+wrapSize])}
	if r.Mode == ByCustomer && r.KeyID != (KeyID{}) {
		return nil, corrupt("a customer's key with the id of one of the cluster")
	}
	b = b[headSize+wrapSize:]
	next := uint64(0)
	for len(b) > 0 {
		var run [3]uint64 // how many, the distance to the first, size
		for i := range run {
			v, n := binary.Uvarint(b)
			if n <= 0 {
				return nil, corrupt("it ends within a run of streams")
			}
			run[i], b = v, b[n:]
		}
		count, first, size := run[0], next+run[1], run[2]
		switch {
		case count == 0 || count > uint64(len(b)/8) || len(r.Streams)+int(count) > streamsMax, run[1] > streamsMax || first+count-1 > streamsMax,
			size > granary.FileSizeMax:
			return nil, corrupt("a run of %d streams from %d, of %d bytes", count, first, size)
		}
		for i := range count {
			r.Streams = append(r.Streams, Stream{uint16(first + i), binary.BigEndian.Uint64(b), size})
			b = b[8:]
		}
		next = first + count
	}
	return r, nil
}

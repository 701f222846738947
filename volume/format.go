package volume

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
)

// The shard file's layout: doc.go, section Format.
const (
	pageSize     = 4096
	slotOffset   = pageSize
	streamOffset = 4 * pageSize
	shardFormat  = 1
	idSize       = 32
	checkOffset  = pageSize - 4
	crcSize      = 4

	flagSealed = 1

	identityMagic = "GRSH"
	stateMagic    = "GRST"

	// streamLengthMax bounds a shard's stream: a length beyond it is a mistake, not a volume.
	streamLengthMax = 1 << 40
)

// castagnoli is the polynomial of every checksum here. It is never written to.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// shardHeader is the identity page.
type shardHeader struct {
	Volume       granary.VolumeID
	Shard        uint8
	DataShards   int // 0 if not known
	ParityShards int
	Cluster      granary.ClusterID // "" if none
	Disk         granary.DiskID
	Created      granary.Time
}

// encodeHeader returns the identity page.
func encodeHeader(h shardHeader) []byte {
	p := make([]byte, pageSize)
	copy(p, identityMagic)
	binary.LittleEndian.PutUint16(p[4:], shardFormat)
	p[6], p[7], p[8] = h.Shard, uint8(h.DataShards), uint8(h.ParityShards)
	binary.LittleEndian.PutUint64(p[16:], uint64(h.Volume))
	binary.LittleEndian.PutUint64(p[24:], uint64(h.Created))
	copy(p[32:32+idSize], h.Cluster)
	copy(p[64:64+idSize], h.Disk)
	copy(p[96:128], erasure.MatrixName)
	return sealPage(p)
}

// decodeHeader reads an identity page. The error says what does not hold.
func decodeHeader(p []byte) (shardHeader, error) {
	if err := checkPage(p, identityMagic, "identity page"); err != nil {
		return shardHeader{}, err
	}
	if name := cString(p[96:128]); name != erasure.MatrixName {
		return shardHeader{}, granary.Errorf(granary.KindNotSupported, "", "", "shard is coded with matrix %q, not %q", name, erasure.MatrixName)
	}
	h := shardHeader{
		Volume:       granary.VolumeID(binary.LittleEndian.Uint64(p[16:])),
		Shard:        p[6],
		DataShards:   int(p[7]),
		ParityShards: int(p[8]),
		Cluster:      granary.ClusterID(cString(p[32 : 32+idSize])),
		Disk:         granary.DiskID(cString(p[64 : 64+idSize])),
		Created:      granary.Time(binary.LittleEndian.Uint64(p[24:])),
	}
	if h.Cluster != "" && !validID(string(h.Cluster)) || !validID(string(h.Disk)) {
		return shardHeader{}, granary.Errorf(granary.KindCorrupt, "", "", "identity page holds a malformed id")
	}
	return h, nil
}

// stateSlot is what changes in a shard besides its stream.
type stateSlot struct {
	Sequence    uint64
	Epoch       granary.Epoch
	Sealed      bool
	Length      uint64 // of the stream, if sealed
	TableOffset uint64
	TableLength uint64
	TableCRC    uint32
}

// slotPosition returns where in the file the slot with this sequence lies.
func slotPosition(sequence uint64) int64 { return slotOffset + int64(sequence%2)*pageSize }

// encodeSlot returns a state slot's page.
func encodeSlot(s stateSlot) []byte {
	p := make([]byte, pageSize)
	copy(p, stateMagic)
	binary.LittleEndian.PutUint16(p[4:], shardFormat)
	if s.Sealed {
		p[6] = flagSealed
	}
	binary.LittleEndian.PutUint64(p[8:], s.Sequence)
	binary.LittleEndian.PutUint64(p[16:], uint64(s.Epoch))
	binary.LittleEndian.PutUint64(p[24:], s.Length)
	binary.LittleEndian.PutUint64(p[32:], s.TableOffset)
	binary.LittleEndian.PutUint64(p[40:], s.TableLength)
	binary.LittleEndian.PutUint32(p[48:], s.TableCRC)
	return sealPage(p)
}

// decodeSlot reads one state slot.
func decodeSlot(p []byte) (stateSlot, error) {
	if err := checkPage(p, stateMagic, "state slot"); err != nil {
		return stateSlot{}, err
	}
	s := stateSlot{
		Sequence:    binary.LittleEndian.Uint64(p[8:]),
		Epoch:       granary.Epoch(binary.LittleEndian.Uint64(p[16:])),
		Sealed:      p[6]&flagSealed != 0,
		Length:      binary.LittleEndian.Uint64(p[24:]),
		TableOffset: binary.LittleEndian.Uint64(p[32:]),
		TableLength: binary.LittleEndian.Uint64(p[40:]),
		TableCRC:    binary.LittleEndian.Uint32(p[48:]),
	}
	if s.Sealed && (s.Length > streamLengthMax || s.TableOffset != tableOffset(s.Length) || s.TableLength != tableLength(s.Length)) {
		return stateSlot{}, granary.Errorf(granary.KindCorrupt, "", "", "state slot holds impossible lengths")
	}
	return s, nil
}

// decodeHead reads the first streamOffset bytes of a shard file: its identity and the newest valid state.
func decodeHead(p []byte) (shardHeader, stateSlot, error) {
	if len(p) < streamOffset {
		return shardHeader{}, stateSlot{}, granary.Errorf(granary.KindCorrupt, "", "", "file has %d bytes, less than a shard's head", len(p))
	}
	h, err := decodeHeader(p[:pageSize])
	if err != nil {
		return shardHeader{}, stateSlot{}, err
	}
	a, errA := decodeSlot(p[slotOffset : slotOffset+pageSize])
	b, errB := decodeSlot(p[slotOffset+pageSize : slotOffset+2*pageSize])
	switch {
	case granary.IsKind(errA, granary.KindNotSupported):
		return shardHeader{}, stateSlot{}, errA
	case granary.IsKind(errB, granary.KindNotSupported):
		return shardHeader{}, stateSlot{}, errB
	case errA != nil && errB != nil:
		return shardHeader{}, stateSlot{}, granary.Errorf(granary.KindCorrupt, "", "", "both state slots are bad")
	case errA != nil, errB == nil && b.Sequence > a.Sequence:
		return h, b, nil
	}
	return h, a, nil
}

// sealPage puts the checksum at the end of a page.
func sealPage(p []byte) []byte {
	binary.LittleEndian.PutUint32(p[checkOffset:], crc32.Checksum(p[:checkOffset], castagnoli))
	return p
}

// checkPage checks magic, checksum and format of a page, called what in errors.
func checkPage(p []byte, magic, what string) error {
	switch {
	case len(p) != pageSize:
		return granary.Errorf(granary.KindCorrupt, "", "", "%s has %d bytes", what, len(p))
	case string(p[:4]) != magic:
		return granary.Errorf(granary.KindCorrupt, "", "", "%s has no magic", what)
	case binary.LittleEndian.Uint32(p[checkOffset:]) != crc32.Checksum(p[:checkOffset], castagnoli):
		return granary.Errorf(granary.KindCorrupt, "", "", "%s fails its checksum", what)
	}
	if format := binary.LittleEndian.Uint16(p[4:]); format != shardFormat {
		return granary.Errorf(granary.KindNotSupported, "", "", "%s has format %d, this release knows %d", what, format, shardFormat)
	}
	return nil
}

// tableOffset returns where in the file the page table of a stream of this length begins.
func tableOffset(length uint64) uint64 {
	return streamOffset + (length+pageSize-1)/pageSize*pageSize
}

// tableLength returns the bytes of the page table of a stream of this length.
func tableLength(length uint64) uint64 { return (length + pageSize - 1) / pageSize * crcSize }

// cString returns the bytes before the first zero.
func cString(p []byte) string {
	if i := bytes.IndexByte(p, 0); i >= 0 {
		p = p[:i]
	}
	return string(p)
}

// shardKey names a shard on its disk.
type shardKey struct {
	volume granary.VolumeID
	index  uint8
}

// compare orders shards by volume and index.
func (k shardKey) compare(other shardKey) int {
	return cmp.Or(cmp.Compare(k.volume, other.volume), cmp.Compare(k.index, other.index))
}

const newSuffix = ".new"

// fileName returns the shard's name below the disk's directory.
func (k shardKey) fileName() string { return fmt.Sprintf("%s/%d.%d", shardsName, k.volume, k.index) }

// parseShardName is the reverse of fileName, for a name inside shards/.
func parseShardName(name string) (shardKey, bool) {
	v, i, ok := strings.Cut(name, ".")
	if !ok {
		return shardKey{}, false
	}
	volume, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return shardKey{}, false
	}
	index, err := strconv.ParseUint(i, 10, 8)
	if err != nil {
		return shardKey{}, false
	}
	k := shardKey{granary.VolumeID(volume), uint8(index)}
	return k, k.fileName() == shardsName+"/"+name
}

// validID reports whether s is 32 lower-case hexadecimal digits.
func validID(s string) bool {
	if len(s) != idSize {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

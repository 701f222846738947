package granary

import "fmt"

// Compression names how a chunk is compressed. The values are stored.
type Compression uint8

// Compressions. Whatever is asked for, a chunk that does not shrink is stored as it is.
const (
	CompressionNone Compression = iota
	CompressionLZ4
	CompressionZstd
)

// Chunking names how streams are cut. The values are stored.
type Chunking uint8

// Chunkings.
const (
	ChunkingCDC   Chunking = iota // content-defined: min 256 KiB, average 1 MiB, max 4 MiB
	ChunkingFixed                 // 1 MiB
)

// Policy says how content is stored. A directory has one, and what is created in it inherits it.
type Policy struct {
	// DataShards and ParityShards are k and m. Both zero is "auto": AutoShards of the failure
	// domains that are up when a volume is opened.
	DataShards   int
	ParityShards int
	InlineMax    int // bytes; files up to this size live in the metadata
	Compression  Compression
	Chunking     Chunking
	Class        string // of the disks: only such are taken; "" for any
	StorageClass string // of a file that is stored in one of StorageClasses; "" for all others, and for directories
}

// DefaultPolicy is policy 1, that of "/" in a new cluster.
func DefaultPolicy() Policy {
	return Policy{InlineMax: 4 << 10, Compression: CompressionLZ4, Chunking: ChunkingCDC}
}

// Auto reports whether k and m follow the number of failure domains.
func (p Policy) Auto() bool { return p.DataShards == 0 && p.ParityShards == 0 }

// Validate refuses what no cluster could do.
func (p Policy) Validate() error {
	switch {
	case !p.Auto() && (p.DataShards < 1 || p.DataShards > DataShardsMax):
		return Errorf(KindInvalid, "policy", "", "k is %d, not within 1 to %d", p.DataShards, DataShardsMax)
	case p.ParityShards < 0 || p.ParityShards > ParityShardsMax:
		return Errorf(KindInvalid, "policy", "", "m is %d, not within 0 to %d", p.ParityShards, ParityShardsMax)
	case p.InlineMax < 0 || p.InlineMax > InlineSizeMax:
		return Errorf(KindInvalid, "policy", "", "inline limit is %d, not within 0 to %d", p.InlineMax, InlineSizeMax)
	case p.Compression > CompressionZstd:
		return Errorf(KindInvalid, "policy", "", "compression %d is unknown", p.Compression)
	case len(p.Class) > ClassLengthMax:
		return Errorf(KindInvalid, "policy", "", "the class has %d bytes, more than %d", len(p.Class), ClassLengthMax)
	case p.StorageClass != "" && !IsStorageClass(p.StorageClass):
		return Errorf(KindInvalid, "policy", "", "the storage class %q is unknown", p.StorageClass)
	case p.Chunking > ChunkingFixed:
		return Errorf(KindInvalid, "policy", "", "chunking %d is unknown", p.Chunking)
	}
	return nil
}

// String returns the shards as people write them: "auto" or "4+2".
func (p Policy) String() string {
	if p.Auto() {
		return "auto"
	}
	return fmt.Sprintf("%d+%d", p.DataShards, p.ParityShards)
}

// AutoShards returns the k and m that policy "auto" gives for a number of failure domains (at
// least 1): DESIGN.md section 4.
func AutoShards(domains int) (k, m int) {
	switch {
	case domains <= 1:
		return 1, 0
	case domains == 2:
		return 1, 1
	case domains == 3:
		return 2, 1
	case domains <= 5:
		return 2, 2
	case domains <= 8:
		return 4, 2
	default:
		return 6, 3
	}
}

package granary

// Location is where a block lies. Length counts the block's header and frames.
type Location struct {
	Volume VolumeID
	Epoch  Epoch // of the volume when the block was written; checked when it is committed
	Shard  uint8 // index of the data shard, below k
	Offset uint64
	Length uint32 // bytes on disk, header and frame trailers included
}

// Chunk is one chunk of a Content: either new, with the location of the block just written, or a
// reference by hash to a chunk the store already has (New false).
type Chunk struct {
	Hash      Hash
	RawLength uint32 // bytes of plaintext
	New       bool
	Location  Location // if New
	Watermark uint64   // if New: end of the block's row in its volume
}

// ExtentWrite binds a range of the file to a range of Chunks[Chunk].
type ExtentWrite struct {
	Offset      uint64 // in the file
	Length      uint64 // bytes
	Chunk       uint32 // index into Content.Chunks
	ChunkOffset uint32
}

// Content is what a commit adds to a file.
//
// Either Inline is non-nil and Extents empty: the bytes are written at InlineOffset of the file's
// inline content; this is refused (KindInvalid) when the file has extents or the result would exceed its policy's
// inline limit. Or Extents replace whatever the file had in their ranges. A file may have
// both: extents lie over inline content.
type Content struct {
	Inline       []byte
	InlineOffset uint64
	Extents      []ExtentWrite // ascending, not overlapping
	Chunks       []Chunk
	// Size makes the file at least this long; bytes nobody wrote are zeros.
	Size uint64
	// Parity is the least number of parity shards that the policy asks for: a chunk referenced by
	// hash that lies in a volume with fewer counts as missing, and a new copy with more takes the place of one with fewer.
	Parity uint8
}

// CutFinely reports whether a window of a file, of ExtentWindowSize bytes, that has so many extents, in so many runs without a
// hole between them, is cut too finely: it is written anew in at most half as many. What takes many because of its holes is not.
func CutFinely(extents, runs int) bool {
	return extents > WindowExtentsMax && 2*(runs+windowChunks) <= extents
}

// windowChunks is about how many chunks a window without holes is cut into, at least.
const windowChunks = 16

// BlockInfo is a stored block, as a reader needs it.
type BlockInfo struct {
	ID        BlockID
	Hash      Hash
	RawLength uint32
	Location  Location
}

// Extent is one range of a file and where its bytes are.
type Extent struct {
	Offset      uint64 // in the file
	Length      uint64 // bytes
	Block       BlockID
	ChunkOffset uint32
}

// Layout is what a reader needs for a range of a file. Ranges that neither an extent nor the inline
// content covers are zeros. Extents lie over inline content.
type Layout struct {
	Size           uint64
	ContentVersion Index
	Inline         []byte // the file's inline content, from offset 0; nil if none
	Extents        []Extent
	Blocks         []BlockInfo // those that Extents name, each once
	Volumes        []Volume    // those that Blocks name, each once
	Truncated      bool        // the reply's limit was reached: ask again after the last extent
}

package block

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/dsorchard/granary"
)

// frameRoom holds a frame, or what a compressor makes of one that does not shrink.
const frameRoom = frameSize + 1024

// Codec encodes and decodes blocks. It holds nothing but idle compressors, of which there are as many as
// were ever in use at once, until the garbage collector takes them; it has no goroutines and needs no
// Close. It is safe for concurrent use.
type Codec struct {
	lz4       sync.Pool // *lz4.Compressor
	zstd      sync.Pool // *zstd.Encoder
	unzstd    sync.Pool // *zstd.Decoder
	framePool sync.Pool // *[]byte of frameRoom
}

// NewCodec returns a Codec. One is enough for a process.
func NewCodec() *Codec {
	return &Codec{
		lz4:       sync.Pool{New: func() any { return new(lz4.Compressor) }},
		zstd:      sync.Pool{New: func() any { return newZstdEncoder() }},
		unzstd:    sync.Pool{New: func() any { return newZstdDecoder() }},
		framePool: sync.Pool{New: func() any { b := make([]byte, frameRoom); return &b }},
	}
}

// Append encodes data, 1 to granary.ChunkSizeMax bytes whose HashOf is hash, and appends the block to dst,
// at most StoredSizeMax(len(data)) bytes. Data that compression does not shrink by at least 1/16 is stored
// as it is, as it is for a compression that this version does not know. The dataset is only recorded.
func (c *Codec) Append(dst []byte, dataset granary.DatasetID, hash granary.Hash, data []byte, compression granary.Compression) []byte {
	if len(data) < 1 || len(data) > granary.ChunkSizeMax {
		panic(fmt.Sprintf("block: a chunk of %d bytes", len(data)))
	}
	dst = slices.Grow(dst, StoredSizeMax(len(data)))
	if out, ok := c.AppendShrunk(dst, dataset, hash, data, compression); ok {
		return out
	}
	return appendRaw(dst, headerOf(dataset, hash, data, granary.CompressionNone), data, frameSizeSmall)
}

func headerOf(dataset granary.DatasetID, hash granary.Hash, data []byte, compression granary.Compression) Header {
	return Header{Codec: compression, RawLength: uint32(len(data)), Hash: hash, Dataset: dataset}
}

// AppendShrunk is Append of data that compression shrinks by at least 1/16. Of others it appends nothing, and reports false: they
// are for AppendPlain.
func (c *Codec) AppendShrunk(dst []byte, dataset granary.DatasetID, hash granary.Hash, data []byte, compression granary.Compression) ([]byte, bool) {
	if compression != granary.CompressionLZ4 && compression != granary.CompressionZstd {
		return dst, false
	}
	out, ok := c.appendCompressed(slices.Grow(dst, StoredSizeMax(len(data))), headerOf(dataset, hash, data, compression), data)
	if !ok {
		return dst, false
	}
	return out, true
}

// AppendPlain appends to dst the block of data that are stored as they are, StoredSizeMax(len(data)) bytes.
func AppendPlain(dst []byte, dataset granary.DatasetID, hash granary.Hash, data []byte) []byte {
	return appendRaw(dst, headerOf(dataset, hash, data, granary.CompressionNone), data, frameSizeSmall)
}

func appendRaw(dst []byte, h Header, data []byte, frameSize int) []byte {
	h.Codec, h.FrameSize, h.StoredLength = granary.CompressionNone, frameSize, uncompressedSize(h.RawLength, frameSize)
	return Frames{len(data), frameSize}.Append(h.appendTo(dst), h.Hash, data)
}

// appendCompressed appends a compressed block, or reports false if that saves less than 1/16.
func (c *Codec) appendCompressed(dst []byte, h Header, data []byte) ([]byte, bool) {
	compress, done := c.compressor(h.Codec)
	defer done()
	room := c.framePool.Get().(*[]byte)
	defer c.framePool.Put(room)

	// Media and archives do not shrink anywhere. Two frames, the first and one in the middle, tell
	// without the price of trying all.
	h.FrameSize = frameSize
	n := h.frames()
	if compress(*room, frame(data, 0)) == nil && (n == 1 || compress(*room, frame(data, n/2)) == nil) {
		return nil, false
	}

	base := len(dst)
	table := base + HeaderSize
	dst = append(dst, make([]byte, HeaderSize+entrySize*n)...)
	for i := range n {
		start, raw := len(dst), frame(data, i)
		payload := compress(*room, raw)
		entry := uint32(len(payload))
		if payload == nil {
			payload, entry = raw, uint32(len(raw))|entryRaw
		}
		dst = append(dst, payload...)
		dst = appendTrailer(dst, start, h.Hash, i, entry&entryRaw == 0)
		binary.LittleEndian.PutUint32(dst[table+i*entrySize:], entry)
	}
	h.StoredLength = uint32(len(dst) - base)
	if !saves(int(h.StoredLength), int(uncompressedSize(h.RawLength, frameSize))) {
		return nil, false
	}
	h.TableCRC32C = checksum(dst[table : table+entrySize*n])
	h.appendTo(dst[:base]) // in place: the room was left above
	return dst, true
}

// frame returns what a compressor gets: frame i of format 1.
func frame(data []byte, i int) []byte {
	return data[i*frameSize:][:frameLength(i, len(data), frameSize)]
}

// saves reports whether the smaller size is worth the decompression.
func saves(compressed, plain int) bool { return compressed < plain && compressed <= plain-plain/16 }

// compressor returns a function that compresses a frame into room and returns the payload, or nil if it does not
// save enough; and one to call when no more frames follow. A compressor's failure to compress is
// no error: the frame is stored raw.
func (c *Codec) compressor(codec granary.Compression) (compress func(room, raw []byte) []byte, done func()) {
	if codec == granary.CompressionZstd {
		e := c.zstd.Get().(*zstd.Encoder)
		return func(room, raw []byte) []byte {
			out := e.EncodeAll(raw, room[:0])
			if !saves(len(out), len(raw)) {
				return nil
			}
			return out
		}, func() { c.zstd.Put(e) }
	}
	z := c.lz4.Get().(*lz4.Compressor)
	return func(room, raw []byte) []byte {
		n, err := z.CompressBlock(raw, room[:len(raw)-len(raw)/16])
		if err != nil || n == 0 || !saves(n, len(raw)) {
			return nil
		}
		return room[:n]
	}, func() { c.lz4.Put(z) }
}

// newZstdEncoder returns an encoder for EncodeAll alone: it starts no goroutine. The frame's checksum is left out,
// since the trailer has one.
func newZstdEncoder() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(frameSize), zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(fmt.Sprintf("block: options of the zstd encoder: %v", err))
	}
	return e
}

// newZstdDecoder returns a decoder for DecodeAll alone, bounded to a frame.
func newZstdDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(frameSize),
		zstd.WithDecoderMaxWindow(frameSize), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(fmt.Sprintf("block: options of the zstd decoder: %v", err))
	}
	return d
}

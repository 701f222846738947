package block

import (
	"fmt"
	"iter"

	"github.com/zeebo/blake3"

	"github.com/dsorchard/granary"
)

// Frames says where the frames of an uncompressed block lie. What the master knows of a block is enough to tell.
type Frames struct{ raw, size int }

// FramesOf returns the frames of a block by its two lengths; false if it is compressed.
func FramesOf(rawLength, storedLength uint32) (Frames, bool) {
	f := Frames{int(rawLength), frameSizeSmall}
	if storedLength == uncompressedSize(rawLength, frameSizeSmall) {
		return f, true
	}
	f.size = frameSize
	return f, storedLength == uncompressedSize(rawLength, frameSize)
}

// FramesNow returns the frames of a chunk as it is written uncompressed today.
func FramesNow(rawLength uint32) Frames { return Frames{int(rawLength), frameSizeSmall} }

// Size returns the bytes of all frames with their trailers, which is a block but for its header.
func (f Frames) Size() int { return f.raw + TrailerSize*frames(f.raw, f.size) }

// Append appends the frames of a chunk to dst.
func (f Frames) Append(dst []byte, hash granary.Hash, data []byte) []byte {
	for i := range frames(f.raw, f.size) {
		start := len(dst)
		dst = append(dst, data[i*f.size:][:frameLength(i, f.raw, f.size)]...)
		dst = appendTrailer(dst, start, hash, i, false)
	}
	return dst
}

// Holes reports whether the trailer of one of the frames that cover a range is nothing but zeros, as it is where nothing was written.
func (f Frames) Holes(stored []byte, rawOffset, rawLength int) bool {
	for i := rawOffset / f.size; i <= (rawOffset+rawLength-1)/f.size && len(stored) >= TrailerSize; i++ {
		n := min(frameLength(i, f.raw, f.size)+TrailerSize, len(stored))
		if [TrailerSize]byte(stored[n-TrailerSize:n]) == [TrailerSize]byte{} {
			return true
		}
		stored = stored[n:]
	}
	return false
}

// Span returns which bytes of the block hold the frames that cover the plaintext range [rawOffset, rawOffset+rawLength),
// trailers included. The range must lie within the chunk; of an empty one the span is empty.
func (f Frames) Span(rawOffset, rawLength int) (storedOffset, storedLength int) {
	if rawLength <= 0 {
		return HeaderSize, 0
	}
	first, last := rawOffset/f.size, (rawOffset+rawLength-1)/f.size
	begin, end := first*(f.size+TrailerSize), last*(f.size+TrailerSize)+frameLength(last, f.raw, f.size)+TrailerSize
	return HeaderSize + begin, end - begin
}

// Verify verifies by their trailers the frames of the chunk with the given hash that cover a range of its plaintext, and returns
// what they hold, which stays where it is. stored are exactly the bytes that Span names. Errors are KindCorrupt, or KindInvalid
// for a range that is not within the chunk.
func (f Frames) Verify(stored []byte, hash granary.Hash, rawOffset, rawLength int) (Plain, error) {
	v, err := f.Verifier(hash, rawOffset, rawLength)
	if err != nil {
		return Plain{}, err
	}
	if err := v.Advance(stored); err != nil {
		return Plain{}, err
	}
	return v.Plain(stored)
}

// Verifier is Verify for bytes that arrive one after the other.
func (f Frames) Verifier(hash granary.Hash, rawOffset, rawLength int) (*Verifier, error) {
	if err := checkRange(hash, f.raw, rawOffset, rawLength); err != nil {
		return nil, err
	}
	v := &Verifier{frames: f, hash: hash, first: rawOffset / f.size}
	_, v.want = f.Span(rawOffset, rawLength)
	return v, nil
}

// Verifier verifies frames while they arrive, when they are still in the processor's caches.
type Verifier struct {
	frames Frames
	hash   granary.Hash
	first  int // frame
	next   int // how many frames have been verified
	done   int // … and bytes
	want   int // bytes
}

// Advance verifies the frames that are whole in stored, which is all that has arrived so far, and has not been verified before.
func (v *Verifier) Advance(stored []byte) error {
	for v.done < v.want {
		i := v.first + v.next
		n := frameLength(i, v.frames.raw, v.frames.size) + TrailerSize
		if v.done+n > len(stored) {
			return nil
		}
		if _, err := checkFrame(stored[v.done:v.done+n], v.hash, i, false); err != nil {
			return err
		}
		v.next++
		v.done += n
	}
	return nil
}

// Plain returns what was verified, once all has arrived.
func (v *Verifier) Plain(stored []byte) (Plain, error) {
	if len(stored) != v.want || v.done != v.want {
		return Plain{}, corrupt(v.hash.String(), "%d bytes were read of its frames from %d on, want %d", len(stored), v.first, v.want)
	}
	from := v.first * v.frames.size
	return Plain{b: stored, from: from, length: len(stored) - v.next*TrailerSize, frame: v.frames.size}, nil
}

// Plain is verified plaintext of a chunk, where it lies: in one piece, or in frames with their trailers between them. It is
// the chunk from an offset on.
type Plain struct {
	b            []byte
	from, length int // in the chunk
	frame        int // plaintext bytes from one trailer to the next; 0 without trailers
}

// InOnePiece is the plaintext of a whole chunk.
func InOnePiece(plain []byte) Plain { return Plain{b: plain, length: len(plain)} }

// Len returns how many bytes of plaintext there are.
func (p Plain) Len() int { return p.length }

// Parts yields the bytes of the chunk in [rawOffset, rawOffset+rawLength), piece by piece, none of them empty. It panics if they are not all there.
func (p Plain) Parts(rawOffset, rawLength int) iter.Seq[[]byte] {
	at := rawOffset - p.from
	if rawLength != 0 && (at < 0 || rawLength < 0 || rawLength > p.length-at) {
		panic(fmt.Sprintf("block: range %d+%d of plaintext %d+%d", rawOffset, rawLength, p.from, p.length))
	}
	return func(yield func([]byte) bool) {
		if p.frame == 0 {
			if rawLength > 0 {
				yield(p.b[at : at+rawLength])
			}
			return
		}
		for rawLength > 0 {
			i := at / p.frame
			n := min(rawLength, (i+1)*p.frame-at)
			start := at + i*TrailerSize
			if !yield(p.b[start : start+n]) {
				return
			}
			at += n
			rawLength -= n
		}
	}
}

// CopyTo fills dst from an offset of the chunk. It panics if they are not all there.
func (p Plain) CopyTo(dst []byte, rawOffset int) {
	for part := range p.Parts(rawOffset, len(dst)) {
		dst = dst[copy(dst, part):]
	}
}

// Hash returns the BLAKE3-256 of the plaintext.
func (p Plain) Hash() granary.Hash {
	h := blake3.New()
	for part := range p.Parts(p.from, p.length) {
		_, _ = h.Write(part) // never fails
	}
	return granary.Hash(h.Sum(nil))
}

package client

import "github.com/dsorchard/granary"

const (
	chunkSizeMin    = 256 << 10
	chunkSizeNormal = 1 << 20
	// At the edges of a part chunks are small: min 16 KiB, average 64 KiB, max 256 KiB.
	edgeChunkSizeMin    = 16 << 10
	edgeChunkSizeNormal = 64 << 10
	edgeChunkSizeMax    = 256 << 10
	edgeSize            = 512 << 10 // bytes at the front of a part that are cut so
)

// cutter cuts a stream into chunks. Where it cuts depends on the stream alone, not on how it arrives.
//
// Content-defined cuts are those of jump.
//
// A part of a whole begins and ends where its uploader chose, not where the content says. With
// chunks of 1 MiB the one at each border would be new whenever the borders lie elsewhere: a third of
// the bytes of parts of 8 MiB was, when 100 bytes were put before a tar of 200 MB. So the front of a part, up to the first cut after edgeSize, and what follows the last content-defined
// cut are cut small, and only the small chunks at the very border differ.
type cutter struct {
	arenas *arenas
	most   int                                   // bytes of an arena, if it need not be larger
	expect int                                   // bytes of the first one at least, but most at most
	get    func(least, size int) (*arena, error) // arenas.get of size, or of at least least when there may be more
	next   cutFinder
	edge   cutFinder // nil unless the stream is a part
	front  int       // bytes of a part's front still to be cut small
	arena  *arena    // nil before the first byte
	begin  int       // where in it the chunk begins that is coming
	search search    // for its end
}

// cutFinder says where a chunk ends, as jump.find does.
type cutFinder func(s *search, p []byte, last bool) (length int, found bool)

// fixedChunk is the cutFinder of chunks of one length.
func fixedChunk(_ *search, p []byte, last bool) (length int, found bool) {
	return min(len(p), chunkSizeNormal), last || len(p) >= chunkSizeNormal
}

// newCutter makes a cutter for a stream, whose arenas have at most so many bytes if they need not be larger; part says that the stream is
// a part of a whole.
func newCutter(arenas *arenas, chunking granary.Chunking, part bool, most int) *cutter {
	if chunking == granary.ChunkingFixed {
		return &cutter{arenas: arenas, most: most, get: arenas.some, next: fixedChunk}
	}
	c := &cutter{arenas: arenas, most: most, get: arenas.some, next: newJump(chunkSizeMin, chunkSizeNormal, granary.ChunkSizeMax).find}
	if part {
		c.front = edgeSize
		c.edge = newJump(edgeChunkSizeMin, edgeChunkSizeNormal, edgeChunkSizeMax).find
	}
	return c
}

// first returns the length of the first chunk of a stream that is all there.
func (c *cutter) first(p []byte) int {
	n, _ := c.next(&search{}, p, true)
	return n
}

// emitted takes a chunk, which lies in an arena: who keeps it holds that.
type emitted func(chunk []byte, in *arena) error

// write adds bytes to the stream and emits the chunks that are complete.
func (c *cutter) write(p []byte, emit emitted) error {
	for len(p) > 0 {
		n, err := c.room(len(p))
		if err != nil {
			return err
		}
		n = min(len(p), n)
		c.arena.memory = append(c.arena.memory, p[:n]...)
		p = p[n:]
		for {
			if some, err := c.emit(false, emit); err != nil {
				return err
			} else if !some {
				break
			}
		}
	}
	return nil
}

// finish emits what is left, the end of the stream.
func (c *cutter) finish(emit emitted) error {
	for len(c.coming()) > 0 {
		if c.edge != nil && c.front <= 0 {
			rest, s := c.coming(), c.search
			if n, _ := c.next(&s, rest, true); n == len(rest) { // the last chunk ends where the part does
				c.front, c.search = n, search{}
			}
		}
		if _, err := c.emit(true, emit); err != nil {
			return err
		}
	}
	return nil
}

// release gives the memory back. The cutter is empty afterwards.
func (c *cutter) release() {
	c.arena.release()
	c.arena, c.begin, c.search = nil, 0, search{}
}

// coming returns what there is of the chunk that is coming.
func (c *cutter) coming() []byte {
	if c.arena == nil {
		return nil
	}
	return c.arena.memory[c.begin:]
}

// emit emits a chunk if there is a whole one.
func (c *cutter) emit(last bool, emit emitted) (some bool, err error) {
	rest, find := c.coming(), c.next
	if c.front > 0 {
		find = c.edge
	}
	n, found := find(&c.search, rest, last)
	if !found || n == 0 {
		return false, nil
	}
	c.begin += n
	c.front -= min(n, c.front)
	return true, emit(rest[:n:n], c.arena)
}

// room makes room for more bytes, n if it can be, and returns for how many there is.
func (c *cutter) room(n int) (int, error) {
	had := 0
	if c.arena != nil {
		if had = cap(c.arena.memory); had > len(c.arena.memory) {
			return had - len(c.arena.memory), nil
		}
	}
	rest := c.coming() // less than the largest chunk
	least := min(2*(len(rest)+min(n, chunkSizeMin)), max(c.most, granary.ChunkSizeMax))
	size := max(least, min(max(2*max(len(rest)+n, had), c.expect), c.most, c.arenas.advised()))
	next, err := c.get(max(least, min(size, arenaMapped)), size)
	if err != nil {
		return 0, err
	}
	next.memory = append(next.memory, rest...)
	c.arena.release()
	c.arena, c.begin = next, 0
	return cap(next.memory) - len(next.memory), nil
}

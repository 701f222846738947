package master

// arena is memory for what a batch of entries needs until it is written, given out piece by piece and taken back at once.
type arena struct {
	chunks [][]byte
	at     int // the chunk in use; those before it are full
	used   int // bytes of it
}

const (
	arenaChunk = 64 << 10
	arenaKept  = 16 // chunks that stay when all is taken back
)

// room returns an empty slice that has room for n bytes at least. What is appended to it is kept by take, which follows
// before the next room.
func (a *arena) room(n int) []byte {
	for {
		switch {
		case a.at == len(a.chunks):
			a.chunks = append(a.chunks, make([]byte, max(arenaChunk, n)))
		case len(a.chunks[a.at])-a.used >= n:
			return a.chunks[a.at][a.used:a.used]
		default:
			a.at, a.used = a.at+1, 0
		}
	}
}

// take keeps what was appended to room. If that was more than there was room for, it lies in memory of its own.
func (a *arena) take(b []byte) []byte {
	if len(b) <= len(a.chunks[a.at])-a.used {
		a.used += len(b)
	}
	return b[:len(b):len(b)]
}

// copy keeps a copy.
func (a *arena) copy(b []byte) []byte { return a.take(append(a.room(len(b)), b...)) }

// reset takes everything back.
func (a *arena) reset() {
	a.at, a.used = 0, 0
	if len(a.chunks) > arenaKept {
		clear(a.chunks[arenaKept:])
		a.chunks = a.chunks[:arenaKept]
	}
}

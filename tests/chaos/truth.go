//go:build e2e

package chaos

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// piece is bytes off to off+n of the endless stream that a seed names: so content needs no memory.
type piece struct {
	Seed   uint64
	Off, N int
}

// content is what a file holds.
type content []piece

func (c content) size() int {
	n := 0
	for _, p := range c {
		n += p.N
	}
	return n
}

// slice returns bytes from to to of the content.
func (c content) slice(from, to int) content {
	var s content
	at := 0
	for _, p := range c {
		a, b := max(from, at), min(to, at+p.N)
		if a < b {
			s = append(s, piece{p.Seed, p.Off + a - at, b - a})
		}
		at += p.N
	}
	return s
}

// with returns the content with other over it, from an offset within it on.
func (c content) with(off int, other content) content {
	s := append(c.slice(0, off), other...)
	return append(s, c.slice(min(off+other.size(), c.size()), c.size())...)
}

// bytes makes the content.
func (c content) bytes() []byte {
	b := make([]byte, 0, c.size()+8)
	for _, p := range c {
		b = p.append(b)
	}
	return b
}

func (p piece) append(b []byte) []byte {
	end := len(b) + p.N
	skip := p.Off % 8
	for at := p.Off / 8; len(b) < end; at++ {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], mix(p.Seed+uint64(at)*0x9e3779b97f4a7c15))
		b = append(b, word[skip:]...)
		skip = 0
	}
	return b[:end]
}

// mix is the finalizer of SplitMix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// file is what may be at a path: one content, unless the outcome of an operation is not known.
type file struct {
	mu      sync.Mutex // held by who changes or reads the file in the cluster
	path    string
	allowed []content // nil content: no file
	unclear bool      // an operation's outcome is not known: it is only read from then on
}

// set takes note of an operation that was acknowledged.
func (f *file) set(c content) { f.allowed = []content{c} }

// may takes note of an operation whose outcome is not known.
func (f *file) may(c content) {
	f.allowed = append(f.allowed, c)
	f.unclear = true
}

// is returns the content of a file whose operations all had a known outcome.
func (f *file) is() content { return f.allowed[0] }

// wrong says in what way content is none of those that may be there.
type wrong struct{ text string }

func (w *wrong) Error() string { return w.text }

// compare looks for what was read among what may be there: a *wrong if it is not. There is nil for a file that does not exist.
func compare(path string, got []byte, allowed []content) error {
	var said []string
	for _, want := range allowed {
		if want == nil && got == nil {
			return nil
		}
		if want == nil || got == nil {
			said = append(said, fmt.Sprintf("there is a file: %t, wanted: %t", got != nil, want != nil))
			continue
		}
		w := want.bytes()
		at := difference(got, w)
		if at < 0 {
			return nil
		}
		said = append(said, fmt.Sprintf("%d bytes where %d were wanted, different from byte %d on", len(got), len(w), at))
	}
	return &wrong{fmt.Sprintf("%s is not what was acknowledged: %s", path, strings.Join(said, "; or "))}
}

// difference returns where two contents differ first, -1 if they do not.
func difference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}

// truth is all files that were ever written.
type truth struct {
	mu    sync.Mutex
	files []*file
}

// add takes in a file that does not exist yet.
func (t *truth) add(path string) *file {
	f := &file{path: path, allowed: []content{nil}}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files = append(t.files, f)
	return f
}

func (t *truth) all() []*file {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.files)
}

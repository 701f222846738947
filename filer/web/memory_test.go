package web

import (
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
)

// watchedBody is a body of random bytes that looks at the heap as it is read.
type watchedBody struct {
	random *rand.ChaCha8
	left   int
	next   int
	peak   uint64
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, _ := b.random.Read(p[:min(len(p), b.left)])
	if b.left -= n; b.left <= b.next {
		b.next = b.left - 8<<20
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.peak = max(b.peak, m.HeapAlloc)
	}
	return n, nil
}

// TestMemoryIsBounded: what a body needs of the heap does not depend on its length. The cluster is in this process: the memory of
// volume server and master counts, too.
func TestMemoryIsBounded(t *testing.T) {
	s := newStack(t)
	peak := func(target string, size int) uint64 {
		body := &watchedBody{random: rand.NewChaCha8([32]byte{byte(size >> 20)}), left: size, next: size}
		if w := s.send("PUT", target, body); w.Code > 299 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return body.peak
	}
	peak("/first", 48<<20) // what is made once
	for _, target := range []string{"/f", "/g?append"} {
		short, long := peak(target, 32<<20), peak(target, 160<<20)
		t.Logf("%s: %d MiB and %d MiB", target, short>>20, long>>20)
		if long > short+48<<20 {
			t.Errorf("%s: %d MiB for a body of 160 MiB, and %d for one of 32", target, long>>20, short>>20)
		}
	}
}

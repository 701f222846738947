package sha256pair_test

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/dsorchard/granary/filer/s3/sha256pair"
)

// check fails if the sums are not those of crypto/sha256.
func check(t *testing.T, a, b []byte) {
	t.Helper()
	gotA, gotB := sha256pair.Sum(a, b)
	if want := sha256.Sum256(a); gotA != want {
		t.Fatalf("the first, of %d bytes, beside %d: %x, not %x", len(a), len(b), gotA, want)
	}
	if want := sha256.Sum256(b); gotB != want {
		t.Fatalf("the second, of %d bytes, beside %d: %x, not %x", len(b), len(a), gotB, want)
	}
}

// some returns random bytes, which begin at any address.
func some(random *rand.Rand, n int) []byte {
	from := random.IntN(17)
	p := make([]byte, from+n)
	for i := range p {
		p[i] = byte(random.Uint32())
	}
	return p[from:]
}

// TestEveryLength: messages of every length up to some blocks have the sums of crypto/sha256.
func TestEveryLength(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 1100 {
		check(t, some(random, n), some(random, n))
	}
	check(t, some(random, 64<<10), some(random, 64<<10))
}

// TestUnequal: messages of two lengths have the sums of crypto/sha256.
func TestUnequal(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		check(t, some(random, random.IntN(300)), some(random, random.IntN(300)))
	}
}

// TestLeftAlone: what lies around the messages counts for nothing, and stays.
func TestLeftAlone(t *testing.T) {
	p := make([]byte, 600)
	for i := range p {
		p[i] = byte(i)
	}
	check(t, p[3:203], p[203:403])
	check(t, p[3:203], p[3:203])
	for i := range p {
		if p[i] != byte(i) {
			t.Fatalf("byte %d has become %d", i, p[i])
		}
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte("abc"), []byte("abd"))
	f.Add(make([]byte, 200), make([]byte, 100))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		check(t, a, b)
		n := min(len(a), len(b))
		check(t, a[:n], b[:n])
	})
}

func BenchmarkPair(b *testing.B) {
	p, q := make([]byte, 64<<10), make([]byte, 64<<10)
	b.SetBytes(int64(len(p) + len(q)))
	for b.Loop() {
		sha256pair.Sum(p, q)
	}
}

func BenchmarkStandard(b *testing.B) {
	p, q := make([]byte, 64<<10), make([]byte, 64<<10)
	b.SetBytes(int64(len(p) + len(q)))
	for b.Loop() {
		sha256.Sum256(p)
		sha256.Sum256(q)
	}
}

package erasure

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// stripe draws k data streams of up to lengthMax bytes, some shorter, some nil, and returns them with their
// parity and, padded with zeros, as k+m whole shards.
func stripe(t *rapid.T, c *Code, lengthMax int) (data, parity, whole [][]byte) {
	length := rapid.IntRange(1, lengthMax).Draw(t, "length")
	src := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	for range c.DataShards() {
		d := make([]byte, rapid.SampledFrom([]int{length, length / 2, src.IntN(length + 1)}).Draw(t, "n"))
		for i := range d {
			d[i] = byte(src.Uint32())
		}
		if len(d) == 0 {
			d = nil
		}
		data = append(data, d)
		whole = append(whole, append(bytes.Clone(d), make([]byte, length-len(d))...))
	}
	for range c.ParityShards() {
		parity = append(parity, bytes.Repeat([]byte{0xee}, length))
	}
	if err := c.Encode(data, parity); err != nil {
		t.Fatal(err)
	}
	return data, parity, append(whole, parity...)
}

func drawCode(t *rapid.T, cache *Cache) *Code {
	k := rapid.IntRange(1, granary.DataShardsMax).Draw(t, "k")
	m := rapid.IntRange(0, granary.ParityShardsMax).Draw(t, "m")
	c, err := cache.Get(k, m)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestAnyShards holds invariant 1: any k of the k+m rebuild every other, over any range of bytes.
func TestAnyShards(t *testing.T) {
	var cache Cache
	rapid.Check(t, func(t *rapid.T) {
		c := drawCode(t, &cache)
		_, _, whole := stripe(t, c, 3000)
		if ok, err := c.Verify(whole); !ok || err != nil {
			t.Fatal(ok, err)
		}
		from := rapid.IntRange(0, len(whole[0])-1).Draw(t, "from")
		to := rapid.IntRange(from, len(whole[0])).Draw(t, "to")
		order := rapid.Permutation(indices(len(whole))).Draw(t, "order")
		given := make([][]byte, len(whole))
		for _, i := range order[:c.DataShards()] {
			given[i] = whole[i][from:to]
		}
		for want := range whole {
			dst := bytes.Repeat([]byte{0xdd}, to-from)
			if err := c.Reconstruct(given, want, dst); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(dst, whole[want][from:to]) {
				t.Fatalf("shard %d of %v is wrong", want, order[:c.DataShards()])
			}
		}
		// One fewer is too few for whatever is missing.
		given[order[0]] = nil
		if err := c.Reconstruct(given, order[0], make([]byte, to-from)); !granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("from k-1 shards: %v", err)
		}
	})
}

func indices(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// TestShortShards holds invariant 2: streams that end early are as if padded with zeros, across the
// pieces of zerosSize too, and a range encoded in two parts is the same as in one.
func TestShortShards(t *testing.T) {
	var cache Cache
	rapid.Check(t, func(t *rapid.T) {
		c := drawCode(t, &cache)
		_, parity, whole := stripe(t, c, 3*zerosSize)
		length := len(whole[0])
		cut := rapid.IntRange(0, length).Draw(t, "cut")
		again := make([][]byte, c.ParityShards())
		for i := range again {
			again[i] = make([]byte, length)
		}
		for _, r := range [][2]int{{0, cut}, {cut, length}} {
			if err := c.Encode(slice(whole[:c.DataShards()], r), slice(again, r)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range parity {
			if !bytes.Equal(parity[i], again[i]) {
				t.Fatalf("parity shard %d differs", i)
			}
		}
	})
}

func slice(shards [][]byte, r [2]int) [][]byte {
	out := make([][]byte, len(shards))
	for i, s := range shards {
		out[i] = s[r[0]:r[1]]
	}
	return out
}

// TestLargeShards takes the way of many goroutines, and must not change the answer.
func TestLargeShards(t *testing.T) {
	c, err := New(4, 2)
	if err != nil {
		t.Fatal(err)
	}
	const length = largeShardMin + 4097
	src := rand.New(rand.NewPCG(1, 2))
	shards := make([][]byte, 6)
	for i := range shards {
		shards[i] = make([]byte, length)
		for j := range shards[i] {
			shards[i][j] = byte(src.Uint32())
		}
	}
	if err := c.Encode(shards[:4], shards[4:]); err != nil {
		t.Fatal(err)
	}
	piece := [2]int{length - 100, length}
	small := [][]byte{make([]byte, 100), make([]byte, 100)}
	if err := c.Encode(slice(shards[:4], piece), small); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(small[1], shards[5][length-100:]) {
		t.Fatal("large and small shards have different parity")
	}
	dst := make([]byte, length)
	if err := c.Reconstruct([][]byte{nil, shards[1], shards[2], shards[3], nil, shards[5]}, 0, dst); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dst, shards[0]) {
		t.Fatal("rebuilt other bytes")
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, err := New(rapid.IntRange(1, 6).Draw(t, "k"), rapid.IntRange(1, 3).Draw(t, "m"))
		if err != nil {
			t.Fatal(err)
		}
		_, _, whole := stripe(t, c, 500)
		s := whole[rapid.IntRange(0, len(whole)-1).Draw(t, "shard")]
		s[rapid.IntRange(0, len(s)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if ok, err := c.Verify(whole); ok || err != nil {
			t.Fatal(ok, err)
		}
	})
}

// TestCopies holds invariant 3.
func TestCopies(t *testing.T) {
	c, err := New(1, 3)
	if err != nil {
		t.Fatal(err)
	}
	data := []byte("one shard and its copies")
	parity := [][]byte{make([]byte, len(data)), make([]byte, len(data)), make([]byte, len(data))}
	if err := c.Encode([][]byte{data}, parity); err != nil {
		t.Fatal(err)
	}
	for i, p := range parity {
		if !bytes.Equal(p, data) {
			t.Errorf("parity %d is %x", i, p)
		}
	}
}

// TestGolden pins the matrix, which is part of the disk format. If it fails, the library has changed
// its matrix, and every volume ever written would be rebuilt wrong: do not change the constants.
func TestGolden(t *testing.T) {
	for _, test := range []struct {
		k, m   int
		parity []string
	}{
		{2, 1, []string{
			"43564d505feae9f4fb7e05081712bcb1",
		}},
		{4, 2, []string{
			"f9248bd2813047e37d90e4adee875cb5",
			"4523aae9a06801ef3bbdc596cfb89a59",
		}},
		{6, 3, []string{
			"c3eac9c0df3cdfa6c1a50118171eba2e",
			"62c1e8e7fea73e59203e203f36351b41",
			"fc001af8b5ba9869502a6c9ec318cfde",
		}},
		{16, 4, []string{
			"cfcaea2479f0f130133b7dc220de3577",
			"fe52cbd858971d848dc743920113aaba",
			"bf0ba819541069556c9330cd9bb2d2f6",
			"8fb9899c751c22b072f0e732ba10b391",
		}},
	} {
		t.Run(fmt.Sprintf("%d+%d", test.k, test.m), func(t *testing.T) {
			c, err := New(test.k, test.m)
			if err != nil {
				t.Fatal(err)
			}
			data, parity := make([][]byte, test.k), make([][]byte, test.m)
			for i := range data {
				for j := range 16 {
					data[i] = append(data[i], byte(31*i+7*j+1))
				}
			}
			for i := range parity {
				parity[i] = make([]byte, 16)
			}
			if err := c.Encode(data, parity); err != nil {
				t.Fatal(err)
			}
			for i, p := range parity {
				if got := hex.EncodeToString(p); got != test.parity[i] {
					t.Errorf("parity shard %d is %s, was %s", i, got, test.parity[i])
				}
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, km := range [][2]int{{0, 1}, {-1, 1}, {granary.DataShardsMax + 1, 1}, {1, -1}, {1, granary.ParityShardsMax + 1}} {
		if _, err := New(km[0], km[1]); !granary.IsKind(err, granary.KindInvalid) {
			t.Errorf("New%v: %v", km, err)
		}
	}
	c, err := New(2, 1)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := New(2, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := func(n int) []byte { return make([]byte, n) }
	for name, test := range map[string]struct {
		err  error
		kind granary.Kind
	}{
		"too few data shards":           {c.Encode([][]byte{b(1)}, [][]byte{b(1)}), granary.KindInvalid},
		"too long a data shard":         {c.Encode([][]byte{b(1), b(2)}, [][]byte{b(1)}), granary.KindInvalid},
		"no parity wanted":              {plain.Encode([][]byte{b(1), b(2)}, nil), granary.KindNone},
		"nothing to encode":             {c.Encode([][]byte{nil, {}}, [][]byte{{}}), granary.KindNone},
		"all zeros":                     {c.Encode([][]byte{nil, nil}, [][]byte{b(9)}), granary.KindNone},
		"no such shard":                 {c.Reconstruct([][]byte{b(1), b(1), nil}, 3, b(1)), granary.KindInvalid},
		"shards of another length":      {c.Reconstruct([][]byte{b(1), b(2), nil}, 2, b(1)), granary.KindInvalid},
		"too many shards":               {c.Reconstruct([][]byte{b(1), b(1), b(1), b(1)}, 2, b(1)), granary.KindInvalid},
		"lost without parity":           {plain.Reconstruct([][]byte{b(1), nil}, 1, b(1)), granary.KindCorrupt},
		"copied without parity":         {plain.Reconstruct([][]byte{b(1), nil}, 0, b(1)), granary.KindNone},
		"an empty range":                {c.Reconstruct([][]byte{{}, {}, nil}, 2, b(0)), granary.KindNone},
		"an empty range, too few of it": {c.Reconstruct([][]byte{{}, nil, nil}, 2, b(0)), granary.KindCorrupt},
	} {
		if granary.KindOf(test.err) != test.kind {
			t.Errorf("%s: %v", name, test.err)
		}
	}
	if _, err := c.Verify([][]byte{b(1), b(1), nil}); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("Verify with a shard missing: %v", err)
	}
}

func TestCacheKeepsCodes(t *testing.T) {
	var cache Cache
	a, err := cache.Get(4, 2)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := cache.Get(4, 2); a != b || err != nil {
		t.Fatal("a second code was made", err)
	}
	if _, err := cache.Get(0, 2); !granary.IsKind(err, granary.KindInvalid) {
		t.Fatal(err)
	}
}

package seal

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVectors: the keystream is that of AES-256-CTR with the counter of the package comment; F.5.5 of SP 800-38A, whose counter has the same form.
func TestVectors(t *testing.T) {
	key := Key(mustHex(t, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"))
	block, err := newBlock(key)
	if err != nil {
		t.Fatal(err)
	}
	plain := mustHex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
	want := mustHex(t, "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5")
	s := Stream{Number: 0xf0f1, Nonce: 0xf2f3f4f5f6f7f8f9}
	s.decrypt(block, plain, 0xfafbfcfdfeff<<4)
	if !bytes.Equal(plain, want) {
		t.Errorf("%x, want %x", plain, want)
	}
	if c := (&Stream{Number: 0x0102, Nonce: 0x030405060708090a}).counter(0x0b0c0d0e0f); hex.EncodeToString(c[:]) != "0102030405060708090a000b0c0d0e0f" {
		t.Errorf("counter %x", c)
	}
	last := granary.FileSizeMax/aes.BlockSize - 1
	if c := (&Stream{Number: 0xffff, Nonce: 1<<64 - 1}).counter(uint64(last)); c[10] != 3 || c[9] != 0xff {
		t.Errorf("the index of the last block reaches beyond its bytes: %x", c)
	}
}

// store encrypts contents as uploads do, in pieces of any size.
func store(t testing.TB, data Key, number uint16, plain []byte, step int) (Stream, []byte) {
	w, err := NewWriter(data, number)
	if err != nil {
		t.Fatal(err)
	}
	stored := make([]byte, len(plain))
	for i := 0; i < len(plain); i += step {
		end := min(i+step, len(plain))
		if err := w.Encrypt(stored[i:end], plain[i:end]); err != nil {
			t.Fatal(err)
		}
	}
	return w.Stream, stored
}

// TestEveryRange decrypts every range of a content of three streams.
func TestEveryRange(t *testing.T) {
	data := NewKey()
	plain := random(150, 1)
	var stored []byte
	var streams []Stream
	for i, size := range []int{37, 48, 65} {
		s, b := store(t, data, uint16(i+1), plain[len(stored):len(stored)+size], 7)
		if s.Size = uint64(size); i == 2 {
			s.Size = 0
		}
		streams, stored = append(streams, s), append(stored, b...)
	}
	r, err := NewRecord(Customer(NewKey()), data)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.With(streams...).Content(data)
	if err != nil {
		t.Fatal(err)
	}
	for from := range plain {
		for to := from; to <= len(plain); to++ {
			p := bytes.Clone(stored[from:to])
			if err := c.Decrypt(p, uint64(from)); err != nil || !bytes.Equal(p, plain[from:to]) {
				t.Fatalf("[%d, %d): %v", from, to, err)
			}
		}
	}
	short, err := r.With(streams[:2]...).Content(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := short.Decrypt(make([]byte, 2), 84); !granary.IsKind(err, granary.KindCorrupt) {
		t.Errorf("beyond the last stream: %v", err)
	}
}

// TestRecords: records survive being stored; what is no record is refused, and never read as another.
func TestRecords(t *testing.T) {
	ring, err := ParseRing(NewLine() + NewLine())
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		w, err := ring.Wrapper()
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "customer") {
			w = Customer(NewKey())
		}
		data := NewKey()
		r, err := NewRecord(w, data)
		if err != nil {
			t.Fatal(err)
		}
		var streams []Stream
		number := 0
		for range rapid.IntRange(0, 30).Draw(t, "streams") {
			number += rapid.SampledFrom([]int{1, 1, 1, 2, 300}).Draw(t, "step")
			streams = append(streams, Stream{uint16(number), rapid.Uint64().Draw(t, "nonce"), rapid.SampledFrom([]uint64{5 << 20, 5 << 20, 77, 1 << 40}).Draw(t, "size")})
		}
		r = r.With(streams...)
		xattrs := r.Xattrs()
		got, err := RecordOf(append([]granary.Xattr{{Name: granary.XattrETag, Value: []byte("x")}}, xattrs...))
		if err != nil || got.Mode != w.mode || got.KeyID != w.id || !slices.Equal(got.Streams, streams) {
			t.Fatalf("%+v, %v, want %+v", got, err, r)
		}
		if w.mode == ByCluster {
			back, err := got.DataKey(ring)
			if err != nil || back != data {
				t.Fatalf("the data key is another, %v", err)
			}
		}
		i := rapid.IntRange(0, headSize+wrapSize-1).Draw(t, "at")
		damaged := bytes.Clone(xattrs[0].Value)
		damaged[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		bad, err := RecordOf([]granary.Xattr{{Name: granary.XattrEncryption, Value: damaged}})
		if err == nil {
			if bad.Mode == ByCluster {
				_, err = bad.DataKey(ring)
			} else {
				_, err = bad.CustomerKey(w.key)
			}
		}
		if err == nil {
			t.Fatalf("a record with another bit at %d opens", i)
		}
		if cut := rapid.IntRange(0, headSize+wrapSize-1).Draw(t, "cut"); cut > 0 {
			if _, err := RecordOf([]granary.Xattr{{Name: granary.XattrEncryption, Value: xattrs[0].Value[:cut]}}); !granary.IsKind(err, granary.KindCorrupt) {
				t.Fatalf("%d bytes of a record: %v", cut, err)
			}
		}
	})
}

// TestManyStreams: the record of as many parts as there may be, all of other sizes, fits into attributes.
func TestManyStreams(t *testing.T) {
	r, err := NewRecord(Customer(NewKey()), NewKey())
	if err != nil {
		t.Fatal(err)
	}
	var streams []Stream
	for i := range granary.PartsMax {
		streams = append(streams, Stream{uint16(i + 1), uint64(i) << 33, uint64(5<<30 + i)})
	}
	xattrs := r.With(streams...).Xattrs()
	for _, x := range xattrs {
		if len(x.Value) > granary.XattrValueMax {
			t.Errorf("%s has %d bytes", x.Name, len(x.Value))
		}
	}
	got, err := RecordOf(xattrs)
	if err != nil || !slices.Equal(got.Streams, streams) || len(xattrs) != 3 {
		t.Fatalf("%d attributes, %v", len(xattrs), err)
	}
	if _, err := RecordOf(slices.Delete(slices.Clone(xattrs), 1, 2)); !granary.IsKind(err, granary.KindCorrupt) {
		t.Errorf("without the second: %v", err)
	}
}

func FuzzRecord(f *testing.F) {
	r, err := NewRecord(Customer(NewKey()), NewKey())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.With(Stream{1, 2, 3}, Stream{2, 7, 3}, Stream{9, 1, 0}).Xattrs()[0].Value)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parse(b)
		if err != nil {
			return
		}
		again, err := RecordOf(r.Xattrs())
		if err != nil || !slices.Equal(again.Streams, r.Streams) {
			t.Fatalf("%+v is read back as %+v, %v", r, again, err)
		}
		if c, err := r.Content(Key{}); err == nil {
			_ = c.Decrypt(make([]byte, 100), 50)
		}
	})
}

// TestWrongKey: neither another customer's key nor one of the cluster opens a record, and a key of the cluster that was rotated does.
func TestWrongKey(t *testing.T) {
	line := NewLine()
	old, err := ParseRing(line)
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := ParseRing(line + NewLine())
	if err != nil {
		t.Fatal(err)
	}
	data, customer := NewKey(), NewKey()
	w, err := old.Wrapper()
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewRecord(w, data)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.DataKey(rotated); err != nil || got != data {
		t.Errorf("after a rotation: %v", err)
	}
	newer, err := rotated.Wrapper()
	if err != nil || newer.id != rotated.IDs()[1] || newer.id == w.id {
		t.Errorf("what wraps after a rotation is not the new key: %v", err)
	}
	if r, err = r.Rewrap(newer, data); err != nil {
		t.Fatal(err)
	}
	if _, err := r.DataKey(old); !granary.IsKind(err, granary.KindCorrupt) {
		t.Errorf("by a key that is not there: %v", err)
	}
	if r, err = r.Rewrap(Customer(customer), data); err != nil {
		t.Fatal(err)
	}
	if _, err := r.CustomerKey(NewKey()); !granary.IsKind(err, granary.KindPermission) {
		t.Errorf("another customer's key: %v", err)
	}
	if _, err := r.DataKey(rotated); !granary.IsKind(err, granary.KindPermission) {
		t.Errorf("by the cluster: %v", err)
	}
	if got, err := r.CustomerKey(customer); err != nil || got != data {
		t.Errorf("the customer's key: %v", err)
	}
	for _, bad := range []string{"x", line + line, line[:20] + "\n", "0011 " + line[17:]} {
		if _, err := ParseRing(bad); !granary.IsKind(err, granary.KindCorrupt) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestKeystreamIsUsedOnce: of streams under one data key, those of other parts as those of the same part that is uploaded again, no two
// blocks of the keystream are the same; and equal contents give unrelated ciphertexts.
func TestKeystreamIsUsedOnce(t *testing.T) {
	data := NewKey()
	zeros := make([]byte, 1<<16)
	seen := map[[aes.BlockSize]byte]bool{}
	for i := range 20 {
		_, pad := store(t, data, uint16(i/4), zeros, 4096)
		for block := range slices.Chunk(pad, aes.BlockSize) {
			k := [aes.BlockSize]byte(block)
			if seen[k] {
				t.Fatalf("stream %d repeats a block", i)
			}
			seen[k] = true
		}
	}
}

func BenchmarkDecrypt(b *testing.B) {
	r, err := NewRecord(Customer(NewKey()), Key{})
	if err != nil {
		b.Fatal(err)
	}
	c, err := r.With(Stream{}).Content(Key{})
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, 256<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if err := c.Decrypt(p, 5); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWrap(b *testing.B) {
	w := Customer(NewKey())
	for b.Loop() {
		if _, err := NewRecord(w, Key{}); err != nil {
			b.Fatal(err)
		}
	}
}

package wire

import (
	"github.com/dsorchard/granary"
)

// decoder turns messages into Go values and remembers the first thing that was wrong with them, so
// that the conversions of the other files read as plain assignments. What it returns after an error
// must not be used.
type decoder struct {
	subject string // what is being decoded, for the error
	err     error
}

// bad records a malformed message.
func (d *decoder) bad(format string, args ...any) {
	if d.err == nil {
		d.err = granary.Errorf(granary.KindInvalid, "decode", d.subject, format, args...)
	}
}

// required records that a message is missing, and reports whether it is there.
func (d *decoder) required(there bool, what string) bool {
	if !there {
		d.bad("%s is missing", what)
	}
	return there
}

// uint8 narrows a number.
func (d *decoder) uint8(v uint32, what string) uint8 {
	if v > 255 {
		d.bad("%s is %d, above 255", what, v)
	}
	return uint8(v)
}

// int narrows a number where int has 32 bits.
func (d *decoder) int(v int64, what string) int {
	if int64(int(v)) != v {
		d.bad("%s is %d, out of range", what, v)
	}
	return int(v)
}

// hash takes exactly the bytes of one hash.
func (d *decoder) hash(b []byte) (h granary.Hash) {
	if copy(h[:], b); len(b) != len(h) {
		d.bad("a hash has %d bytes, not %d", len(b), len(h))
	}
	return h
}

// hashes takes any number of hashes without separators.
func (d *decoder) hashes(b []byte) []granary.Hash {
	const size = len(granary.Hash{})
	if len(b)%size != 0 {
		d.bad("a list of hashes has %d bytes, not a multiple of %d", len(b), size)
		return nil
	}
	if len(b) == 0 {
		return nil
	}
	out := make([]granary.Hash, len(b)/size)
	for i := range out {
		copy(out[i][:], b[i*size:])
	}
	return out
}

// hashesTo is the inverse of decoder.hashes.
func hashesTo(in []granary.Hash) []byte {
	out := make([]byte, 0, len(in)*len(granary.Hash{}))
	for i := range in {
		out = append(out, in[i][:]...)
	}
	return out
}

// listTo converts a list; the messages share one allocation.
func listTo[G, P any](in []G, fill func(*P, *G)) []*P {
	if len(in) == 0 {
		return nil
	}
	slab, out := make([]P, len(in)), make([]*P, len(in))
	for i := range in {
		out[i] = &slab[i]
		fill(out[i], &in[i])
	}
	return out
}

// listFrom converts a list back; an empty one is nil.
func listFrom[P, G any](in []*P, from func(*P) G) []G {
	if len(in) == 0 {
		return nil
	}
	out := make([]G, len(in))
	for i, p := range in {
		out[i] = from(p)
	}
	return out
}

// textsTo converts a list of names.
func textsTo[S ~string](in []S) [][]byte {
	if len(in) == 0 {
		return nil
	}
	out := make([][]byte, len(in))
	for i, s := range in {
		out[i] = []byte(s)
	}
	return out
}

// textsFrom converts a list of names back; an empty one is nil.
func textsFrom[S ~string](in [][]byte) []S {
	if len(in) == 0 {
		return nil
	}
	out := make([]S, len(in))
	for i, b := range in {
		out[i] = S(b)
	}
	return out
}

// numbersTo turns a list of numbers of some type into plain ones.
func numbersTo[N ~uint64](in []N) []uint64 {
	if len(in) == 0 {
		return nil
	}
	out := make([]uint64, len(in))
	for i, v := range in {
		out[i] = uint64(v)
	}
	return out
}

// numbersFrom is the reverse of numbersTo.
func numbersFrom[N ~uint64](in []uint64) []N {
	if len(in) == 0 {
		return nil
	}
	out := make([]N, len(in))
	for i, v := range in {
		out[i] = N(v)
	}
	return out
}

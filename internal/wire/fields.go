package wire

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dsorchard/granary"
)

// fields writes messages in the encoding of Protocol Buffers, or reads them: ops, requests and results are encoded and
// decoded for every mutation, by every node, entries of listings by the thousand, and this takes a tenth of what reflection does. One function for each
// message names its fields, in ascending order, and serves both directions.
//
// What is written is what protobuf writes: fields in the order of their numbers, without those that are zero. Only that
// is read: a field out of order, twice, unknown or of another type is refused, except that a reader with skips set
// passes over numbers above those that it knows, which newer programs may have added. The first thing that was wrong is
// remembered, so that the functions read as plain lists; what was read is of no use then.
type fields struct {
	subject string // what is encoded, for the error
	reading bool
	skips   bool
	b       []byte           // written so far; or what is left to read, after tag
	tag     uint64           // of the next field to read; 0: there is none
	known   protowire.Number // the last field that was asked for
	err     error
}

// read decodes a message that is all of b.
func read[T any](f *fields, b []byte, v *T, message func(*fields, *T)) error {
	f.reading, f.b, f.known = true, b, 0
	f.advance()
	message(f, v)
	f.end()
	return f.err
}

// bad records malformed bytes.
func (f *fields) bad(format string, args ...any) {
	if f.err == nil {
		f.err = granary.Errorf(granary.KindInvalid, "decode", f.subject, format, args...)
	}
	f.b, f.tag = nil, 0
}

// advance takes the tag of the next field.
func (f *fields) advance() {
	if len(f.b) == 0 {
		f.tag = 0
		return
	}
	tag, n := consumeVarint(f.b)
	if n < 0 || tag>>3 == 0 {
		f.bad("malformed tag")
		return
	}
	f.tag, f.b = tag, f.b[n:]
}

// end is at the end of a message: nothing may be left, or nothing that is known.
func (f *fields) end() {
	for f.tag != 0 {
		num, typ := protowire.DecodeTag(f.tag)
		if !f.skips || num <= f.known {
			f.bad("field %d is unknown, or not in its place", num)
			return
		}
		n := protowire.ConsumeFieldValue(num, typ, f.b)
		if n < 0 {
			f.bad("field %d is malformed", num)
			return
		}
		f.b = f.b[n:]
		f.advance()
	}
}

// at reports whether the next field to read is this one.
func (f *fields) at(num protowire.Number, typ protowire.Type) bool {
	f.known = num
	return f.tag == uint64(num)<<3|uint64(typ)
}

func (f *fields) writeTag(num protowire.Number, typ protowire.Type) {
	f.writeVarint(uint64(num)<<3 | uint64(typ))
}

// writeVarint writes a number; most take one byte.
func (f *fields) writeVarint(v uint64) {
	if v < 0x80 {
		f.b = append(f.b, byte(v))
		return
	}
	f.b = protowire.AppendVarint(f.b, v)
}

func consumeVarint(b []byte) (v uint64, n int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return protowire.ConsumeVarint(b)
}

// varint reads the number of the field that is next.
func (f *fields) varint() uint64 {
	v, n := consumeVarint(f.b)
	if n < 0 {
		f.bad("malformed number")
		return 0
	}
	f.b = f.b[n:]
	f.advance()
	return v
}

// bytes reads the bytes of the field that is next: a part of what is being read, not a copy.
func (f *fields) bytes() []byte {
	v, n := protowire.ConsumeBytes(f.b)
	if n < 0 {
		f.bad("malformed length")
		return nil
	}
	f.b = f.b[n:]
	f.advance()
	return v
}

type unsignedNumber interface{ ~uint8 | ~uint32 | ~uint64 }

// unsigned is a number without sign.
func unsigned[N unsignedNumber](f *fields, num protowire.Number, v *N) {
	switch {
	case !f.reading && *v != 0:
		f.writeTag(num, protowire.VarintType)
		f.writeVarint(uint64(*v))
	case f.reading && f.at(num, protowire.VarintType):
		*v = narrow[N](f, num, f.varint())
	}
}

// narrow refuses numbers beyond those of N.
func narrow[N unsignedNumber](f *fields, num protowire.Number, v uint64) N {
	if uint64(N(v)) != v {
		f.bad("field %d is %d, above %d", num, v, ^N(0))
	}
	return N(v)
}

// signed is a number with a sign.
func signed[N ~int | ~int64](f *fields, num protowire.Number, v *N) {
	switch {
	case !f.reading && *v != 0:
		f.writeTag(num, protowire.VarintType)
		f.writeVarint(uint64(*v))
	case f.reading && f.at(num, protowire.VarintType):
		n := int64(f.varint())
		if *v = N(n); int64(*v) != n {
			f.bad("field %d is %d, out of range", num, n)
		}
	}
}

func (f *fields) flag(num protowire.Number, v *bool) {
	switch {
	case !f.reading && *v:
		f.writeTag(num, protowire.VarintType)
		f.b = append(f.b, 1)
	case f.reading && f.at(num, protowire.VarintType):
		n := f.varint()
		if *v = n != 0; n > 1 {
			f.bad("field %d is %d, neither yes nor no", num, n)
		}
	}
}

// optionalUnsigned is a number that may be absent, as opposed to 0.
func optionalUnsigned[N unsignedNumber](f *fields, num protowire.Number, v **N) {
	switch {
	case !f.reading && *v != nil:
		f.writeTag(num, protowire.VarintType)
		f.writeVarint(uint64(**v))
	case f.reading && f.at(num, protowire.VarintType):
		n := narrow[N](f, num, f.varint())
		*v = &n
	}
}

// optionalTime is a time that may be absent.
func (f *fields) optionalTime(num protowire.Number, v **granary.Time) {
	switch {
	case !f.reading && *v != nil:
		f.writeTag(num, protowire.VarintType)
		f.writeVarint(uint64(**v))
	case f.reading && f.at(num, protowire.VarintType):
		n := granary.Time(f.varint())
		*v = &n
	}
}

// text is any bytes, UTF-8 or not.
func text[S ~string](f *fields, num protowire.Number, v *S) {
	switch {
	case !f.reading && len(*v) > 0:
		f.writeTag(num, protowire.BytesType)
		f.b = protowire.AppendString(f.b, string(*v))
	case f.reading && f.at(num, protowire.BytesType):
		*v = S(f.bytes())
	}
}

func (f *fields) optionalText(num protowire.Number, v **string) {
	switch {
	case !f.reading && *v != nil:
		f.writeTag(num, protowire.BytesType)
		f.b = protowire.AppendString(f.b, **v)
	case f.reading && f.at(num, protowire.BytesType):
		s := string(f.bytes())
		*v = &s
	}
}

// texts is a list; an empty one is nil.
func texts[S ~string](f *fields, num protowire.Number, v *[]S) {
	if !f.reading {
		for _, s := range *v {
			f.writeTag(num, protowire.BytesType)
			f.b = protowire.AppendString(f.b, string(s))
		}
		return
	}
	for f.at(num, protowire.BytesType) {
		*v = append(*v, S(f.bytes()))
	}
}

// data is bytes; none are nil.
func (f *fields) data(num protowire.Number, v *[]byte) {
	switch {
	case !f.reading && len(*v) > 0:
		f.writeTag(num, protowire.BytesType)
		f.b = protowire.AppendBytes(f.b, *v)
	case f.reading && f.at(num, protowire.BytesType):
		*v = append([]byte(nil), f.bytes()...)
	}
}

// optionalData keeps the difference between nil and empty.
func (f *fields) optionalData(num protowire.Number, v *[]byte) {
	switch {
	case !f.reading && *v != nil:
		f.writeTag(num, protowire.BytesType)
		f.b = protowire.AppendBytes(f.b, *v)
	case f.reading && f.at(num, protowire.BytesType):
		*v = append([]byte{}, f.bytes()...)
	}
}

// hash must be there.
func (f *fields) hash(num protowire.Number, v *granary.Hash) {
	if !f.reading {
		f.writeTag(num, protowire.BytesType)
		f.b = protowire.AppendBytes(f.b, v[:])
		return
	}
	var b []byte
	if f.at(num, protowire.BytesType) {
		b = f.bytes()
	}
	if copy(v[:], b); len(b) != len(v) {
		f.bad("a hash has %d bytes, not %d", len(b), len(v))
	}
}

// numbers is a list, packed; an empty one is nil.
func numbers[N unsignedNumber](f *fields, num protowire.Number, v *[]N) {
	switch {
	case !f.reading && len(*v) > 0:
		f.nested(num, func() {
			for _, n := range *v {
				f.b = protowire.AppendVarint(f.b, uint64(n))
			}
		})
	case f.reading && f.at(num, protowire.BytesType):
		for b := f.bytes(); len(b) > 0; {
			n, size := protowire.ConsumeVarint(b)
			if size < 0 {
				f.bad("field %d is malformed", num)
				return
			}
			*v = append(*v, narrow[N](f, num, n))
			b = b[size:]
		}
	}
}

// nested writes what inner writes as the bytes of a field.
func (f *fields) nested(num protowire.Number, inner func()) {
	f.writeTag(num, protowire.BytesType)
	f.b = append(f.b, 0)
	begin := len(f.b)
	inner()
	size := len(f.b) - begin
	if more := protowire.SizeVarint(uint64(size)) - 1; more > 0 { // more than one byte for the length
		f.b = append(f.b, make([]byte, more)...)
		copy(f.b[begin+more:], f.b[begin:begin+size])
	}
	protowire.AppendVarint(f.b[:begin-1], uint64(size))
}

// put writes a message, whatever is in it.
func put[T any](f *fields, num protowire.Number, v *T, message func(*fields, *T)) {
	f.nested(num, func() { message(f, v) })
}

// take reads the message that is next.
func take[T any](f *fields, v *T, message func(*fields, *T)) {
	b := f.bytes()
	rest, tag, known := f.b, f.tag, f.known
	f.b, f.known = b, 0
	if f.err == nil {
		f.advance()
		message(f, v)
		f.end()
	}
	if f.err == nil {
		f.b, f.tag, f.known = rest, tag, known
	}
}

// required is a message that must be there.
func required[T any](f *fields, num protowire.Number, v *T, message func(*fields, *T), what string) {
	switch {
	case !f.reading:
		put(f, num, v, message)
	case f.at(num, protowire.BytesType):
		take(f, v, message)
	default:
		f.bad("%s is missing", what)
	}
}

// unlessZero is a message that is left out when all in it is zero.
func unlessZero[T comparable](f *fields, num protowire.Number, v *T, message func(*fields, *T)) {
	var zero T
	switch {
	case !f.reading && *v != zero:
		put(f, num, v, message)
	case f.reading && f.at(num, protowire.BytesType):
		take(f, v, message)
	}
}

// optional is a message that may be absent.
func optional[T any](f *fields, num protowire.Number, v **T, message func(*fields, *T)) {
	switch {
	case !f.reading && *v != nil:
		put(f, num, *v, message)
	case f.reading && f.at(num, protowire.BytesType):
		*v = new(T)
		take(f, *v, message)
	}
}

// list is a list of messages; an empty one is nil.
func list[T any](f *fields, num protowire.Number, v *[]T, message func(*fields, *T)) {
	if !f.reading {
		for i := range *v {
			put(f, num, &(*v)[i], message)
		}
		return
	}
	if *v == nil && f.at(num, protowire.BytesType) {
		*v = make([]T, 0, f.run())
	}
	for f.at(num, protowire.BytesType) {
		var element T
		*v = append(*v, element)
		take(f, &(*v)[len(*v)-1], message)
	}
}

// run counts the fields of bytes that follow each other with the tag of the next, itself among them.
func (f *fields) run() int {
	n := 0
	for b, tag := f.b, f.tag; tag == f.tag; {
		_, size := protowire.ConsumeBytes(b)
		if size < 0 {
			break
		}
		n++
		b = b[size:]
		if tag, size = protowire.ConsumeVarint(b); size < 0 {
			break
		}
		b = b[size:]
	}
	return n
}

// retired passes over a number that earlier programs wrote.
func (f *fields) retired(num protowire.Number) {
	if f.reading && f.at(num, protowire.VarintType) {
		f.varint()
	}
}

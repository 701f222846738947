package wire

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// asProtobuf decodes bytes by protobuf's own code and checks that it knows every field, and that it encodes the message to
// the same bytes.
func asProtobuf(t *rapid.T, b []byte, into proto.Message) {
	if err := proto.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
	again, err := proto.MarshalOptions{Deterministic: true}.Marshal(into)
	if err != nil || !bytes.Equal(b, again) {
		t.Fatalf("encoded as\n%x, by protobuf as\n%x, %v", b, again, err)
	}
	noUnknown(t, into.ProtoReflect())
}

func noUnknown(t *rapid.T, m protoreflect.Message) {
	if u := m.GetUnknown(); len(u) > 0 {
		t.Fatalf("%s: unknown fields %x", m.Descriptor().Name(), u)
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			for i := range v.List().Len() {
				noUnknown(t, v.List().Get(i).Message())
			}
		default:
			noUnknown(t, v.Message())
		}
		return true
	})
}

// sameFields checks that a message of protobuf has in each field what the Go value has in the field of that name.
func sameFields(t *rapid.T, v reflect.Value, m protoreflect.Message) {
	plain := func(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }
	known := map[string]protoreflect.FieldDescriptor{}
	for i := range m.Descriptor().Fields().Len() {
		fd := m.Descriptor().Fields().Get(i)
		known[plain(string(fd.Name()))] = fd
	}
	for i := range v.NumField() {
		name := v.Type().Name() + "." + v.Type().Field(i).Name
		fd := known[plain(v.Type().Field(i).Name)]
		if fd == nil {
			t.Fatalf("%s: no such field in %s", name, m.Descriptor().Name())
		}
		delete(known, plain(v.Type().Field(i).Name))
		if fd.HasPresence() && fd.Message() == nil && m.Has(fd) == v.Field(i).IsNil() {
			t.Fatalf("%s: present in one and not in the other", name)
		}
		sameValue(t, name, v.Field(i), fd, m.Get(fd))
	}
	for name := range known {
		t.Fatalf("%s.%s is in no field of %s", m.Descriptor().Name(), name, v.Type())
	}
}

func sameValue(t *rapid.T, name string, v reflect.Value, fd protoreflect.FieldDescriptor, p protoreflect.Value) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return // the zero value of the other was compared as such
		}
		v = v.Elem()
	}
	if fd.IsList() {
		if v.Len() != p.List().Len() {
			t.Fatalf("%s has %d elements, then %d", name, v.Len(), p.List().Len())
		}
		for i := range v.Len() {
			sameElement(t, name, v.Index(i), p.List().Get(i))
		}
		return
	}
	sameElement(t, name, v, p)
}

func sameElement(t *rapid.T, name string, v reflect.Value, p protoreflect.Value) {
	same := false
	switch v.Kind() {
	case reflect.Struct:
		sameFields(t, v, p.Message())
		return
	case reflect.Array:
		same = bytes.Equal(v.Slice(0, v.Len()).Bytes(), p.Bytes())
	case reflect.Slice:
		same = bytes.Equal(v.Bytes(), p.Bytes())
	case reflect.String:
		same = v.String() == string(p.Bytes())
	case reflect.Bool:
		same = v.Bool() == p.Bool()
	case reflect.Int, reflect.Int64:
		same = v.Int() == p.Int()
	default:
		same = v.Uint() == p.Uint()
	}
	if !same {
		t.Fatalf("%s is %v, then %v", name, v, p)
	}
}

// TestOpsAreProtobuf holds the encoding of ops against what granary.proto says and protobuf does.
func TestOpsAreProtobuf(t *testing.T) {
	for _, empty := range allOps {
		name := reflect.TypeOf(empty).Elem().Name()
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			op := fresh(filler{t, rapid.Bool().Draw(t, "full")}, empty)
			b, err := MarshalOp(op)
			if err != nil {
				t.Fatal(err)
			}
			var p pb.Op
			asProtobuf(t, b, &p)
			m := p.ProtoReflect()
			fd := m.WhichOneof(m.Descriptor().Oneofs().Get(0))
			if got := string(fd.Message().Name()); got != name {
				t.Fatalf("%s became %s", name, got)
			}
			sameFields(t, reflect.ValueOf(op).Elem(), m.Get(fd).Message())
		}))
	}
}

// TestResultsAreProtobuf holds the same of results; of errors, which are another struct, that what protobuf decodes is
// what errorTo makes of them for statuses.
func TestResultsAreProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := fresh(filler{t, rapid.Bool().Draw(t, "full")}, &granary.Result{})
		b, err := MarshalResult(r)
		if err != nil {
			t.Fatal(err)
		}
		var p pb.Result
		asProtobuf(t, b, &p)
		if (p.Err == nil) != (r.Err == nil) || r.Err != nil && !proto.Equal(p.Err, errorTo(r.Err)) {
			t.Fatalf("%v became %v", r.Err, p.Err)
		}
		type noError struct {
			Index    granary.Index
			Attr     granary.Attr
			Created  bool
			Replaced bool
			Offset   uint64
			Volume   *granary.Volume
			Missing  []uint32
			Marker   bool
			Err      *string // compared above
		}
		p.Err = nil
		rest := noError{r.Index, r.Attr, r.Created, r.Replaced, r.Offset, r.Volume, r.Missing, r.Marker, nil}
		sameFields(t, reflect.ValueOf(rest), p.ProtoReflect())
	})
}

// TestListingsAreProtobuf holds the same of the listings that answers hold.
func TestListingsAreProtobuf(t *testing.T) {
	for name, empty := range map[string]granary.Answer{"directory": &granary.Directory{}, "listing": &granary.Listing{}} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			a := fresh(filler{t, rapid.Bool().Draw(t, "full")}, empty)
			p, err := answerTo(a)
			if err != nil {
				t.Fatal(err)
			}
			var m proto.Message = new(pb.Directory)
			b := p.GetDirectory()
			if name == "listing" {
				m, b = new(pb.Listing), p.GetListing()
			}
			asProtobuf(t, b, m)
			sameFields(t, reflect.ValueOf(a).Elem(), m.ProtoReflect())
			d := decoder{subject: "answer"}
			if again := d.answer(p); d.err != nil || !reflect.DeepEqual(again, a) {
				t.Fatalf("%v became %v, %v", a, again, d.err)
			}
		}))
	}
	d := decoder{subject: "answer"}
	torn := &pb.Answer{Answer: &pb.Answer_Directory{Directory: []byte{10, 0, 10, 5, 1}}}
	if d.answer(torn); !granary.IsKind(d.err, granary.KindInvalid) {
		t.Errorf("half an entry: %v", d.err)
	}
}

func TestRequestsAreProtobuf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := filler{t, rapid.Bool().Draw(t, "full")}
		r := granary.Request{
			Seq: rapid.Uint64().Draw(t, "seq"), Cred: *fresh(f, &granary.Cred{}), Op: fresh(f, rapid.SampledFrom(allOps).Draw(t, "op")),
		}
		encoded, err := mutateTo(&granary.MutateRequest{Requests: []granary.Request{r}})
		if err != nil {
			t.Fatal(err)
		}
		var p pb.Request
		asProtobuf(t, encoded.Requests[0], &p)
		sameFields(t, reflect.ValueOf(r.Cred), p.Cred.ProtoReflect())
		op, err := MarshalOp(r.Op)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := proto.Marshal(p.Op); err != nil || !bytes.Equal(op, again) || p.Seq != r.Seq {
			t.Fatalf("request %d with %x, then %d with %x, %v", r.Seq, op, p.Seq, again, err)
		}
	})
}

// TestOnlyKnownFields holds that an op with anything in it that is not understood is refused, and that a result keeps
// what is.
func TestOnlyKnownFields(t *testing.T) {
	varint := func(num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
	}
	rmdir := func(inner ...[]byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, numRmdir, protowire.BytesType), bytes.Join(inner, nil))
	}
	name := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "d")
	if op, err := UnmarshalOp(rmdir(varint(1, 7), name)); err != nil || !reflect.DeepEqual(op, &granary.Rmdir{Parent: 7, Name: "d"}) {
		t.Errorf("%v, %v", op, err)
	}
	for what, b := range map[string][]byte{
		"unknown field":    rmdir(varint(1, 7), name, varint(9, 1)),
		"out of order":     rmdir(name, varint(1, 7)),
		"twice":            rmdir(varint(1, 7), varint(1, 8)),
		"another type":     rmdir(varint(1, 7), varint(2, 8)),
		"two ops":          append(rmdir(), rmdir()...),
		"field 0":          rmdir([]byte{0, 0}),
		"a long tag":       rmdir(bytes.Repeat([]byte{0xff}, 11)),
		"a long number":    rmdir([]byte{8}, bytes.Repeat([]byte{0xff}, 11)),
		"beyond the bytes": rmdir([]byte{0x12, 5, 'd'}),
	} {
		if op, err := UnmarshalOp(b); op != nil || !granary.IsKind(err, granary.KindInvalid) {
			t.Errorf("%s: %v, %v", what, op, err)
		}
	}
	newer := append(varint(2, 5), varint(99, 1)...)
	if r, err := UnmarshalResult(newer); err != nil || r.Index != 5 {
		t.Errorf("a result with an unknown field: %v, %v", r, err)
	}
	for what, b := range map[string][]byte{
		"torn":         append(newer, 0xfa, 0x3f, 9),
		"out of order": append(varint(6, 5), varint(2, 5)...),
	} {
		if r, err := UnmarshalResult(b); r != nil || !granary.IsKind(err, granary.KindInvalid) {
			t.Errorf("a result that is %s: %v, %v", what, r, err)
		}
	}
	unlink := append(varint(1, 7), append(name, varint(3, 1)...)...) // with keep_open
	old := protowire.AppendBytes(protowire.AppendTag(nil, numUnlink, protowire.BytesType), unlink)
	if op, err := UnmarshalOp(old); err != nil || !reflect.DeepEqual(op, &granary.Unlink{Parent: 7, Name: "d"}) {
		t.Errorf("an op with a field of the past: %v, %v", op, err)
	}
}

// FuzzAgainstProtobuf holds that whatever is accepted means the same to protobuf.
func FuzzAgainstProtobuf(f *testing.F) {
	for _, op := range allOps {
		if b, err := MarshalOp(op); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := UnmarshalOp(b)
		if err != nil {
			return
		}
		var p pb.Op
		if err := proto.Unmarshal(b, &p); err != nil {
			t.Fatalf("%x: protobuf does not take it: %v", b, err)
		}
		theirs, err := proto.MarshalOptions{Deterministic: true}.Marshal(&p)
		if err != nil {
			t.Fatal(err)
		}
		again, err := UnmarshalOp(theirs)
		if err != nil {
			// Numbers that once had a meaning are unknown to protobuf, which keeps them, in the end.
			return
		}
		if !reflect.DeepEqual(op, again) {
			t.Fatalf("%x is\n%#v, by protobuf\n%#v", b, op, again)
		}
	})
}

func benchmarkOps() map[string]granary.Op {
	mode := uint32(0o600)
	return map[string]granary.Op{
		"create": &granary.Create{Parent: 12345, Name: "file-00012345", Type: granary.TypeRegular, Mode: 0o644, Exclusive: true},
		"chmod":  &granary.SetAttr{Inode: 12345, Mode: &mode},
		"commit": &granary.Commit{Inode: 12345, Content: granary.Content{
			Extents: make([]granary.ExtentWrite, 4), Chunks: make([]granary.Chunk, 4), Size: 4 << 20}},
	}
}

func BenchmarkMarshalOp(b *testing.B) {
	for name, op := range benchmarkOps() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := MarshalOp(op); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUnmarshalOp(b *testing.B) {
	for name, op := range benchmarkOps() {
		b.Run(name, func(b *testing.B) {
			encoded := canonical(b, op, MarshalOp)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := UnmarshalOp(encoded); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkResult(b *testing.B) {
	r := &granary.Result{Index: 12345, Created: true, Attr: granary.Attr{
		Inode: 1, Type: granary.TypeRegular, Mode: 0o644, Nlink: 1, Atime: 1 << 60, Mtime: 1 << 60, Ctime: 1 << 60, Btime: 1 << 60,
		Version: 12345, ContentVersion: 12345}}
	b.Run("marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := MarshalResult(r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("unmarshal", func(b *testing.B) {
		encoded := canonical(b, r, MarshalResult)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := UnmarshalResult(encoded); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDirectory(b *testing.B) {
	a := &granary.Directory{More: true}
	for i := range 1000 {
		a.Entries = append(a.Entries, granary.Entry{Name: fmt.Sprintf("file-%08d", i), Attr: granary.Attr{
			Inode: granary.InodeID(1<<40 + i), Type: granary.TypeRegular, Mode: 0o644, Nlink: 1, Version: 123456, Parent: 1<<40 + 1,
			Atime: 1 << 60, Mtime: 1 << 60, Ctime: 1 << 60, Btime: 1 << 60}})
	}
	p, err := answerTo(a)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := answerTo(a); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d := decoder{subject: "answer"}
			if d.answer(p); d.err != nil {
				b.Fatal(d.err)
			}
		}
	})
}

package wire

import (
	"bytes"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// roundTrip checks a property of each type with full values and with sparse ones.
func roundTrip[T any](t *testing.T, all []T, there func(T) (any, error)) {
	for _, a := range all {
		for _, full := range []bool{true, false} {
			name := reflect.TypeOf(a).Elem().Name() + map[bool]string{true: "/full", false: "/sparse"}[full]
			t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
				want := fresh(filler{t, full}, a)
				got, err := there(want)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(any(want), got) {
					t.Fatalf("sent\n%#v\nreceived\n%#v", want, got)
				}
			}))
		}
	}
}

// overWire encodes and decodes a message, as a connection would.
func overWire[P proto.Message](p, into P) (P, error) {
	b, err := proto.Marshal(p)
	if err == nil {
		err = proto.Unmarshal(b, into)
	}
	return into, err
}

func TestOpsRoundTrip(t *testing.T) {
	roundTrip(t, allOps, func(op granary.Op) (any, error) {
		b, err := MarshalOp(op)
		if err != nil {
			return nil, err
		}
		again, err := MarshalOp(op)
		if err != nil || !bytes.Equal(b, again) {
			t.Errorf("two encodings of one op: %x and %x, %v", b, again, err)
		}
		got, err := UnmarshalOp(b)
		clear(b) // nothing decoded may refer to it
		return got, err
	})
}

func TestResultsRoundTrip(t *testing.T) {
	roundTrip(t, []*granary.Result{{}}, func(r *granary.Result) (any, error) {
		b, err := MarshalResult(r)
		if err != nil {
			return nil, err
		}
		got, err := UnmarshalResult(b)
		clear(b)
		return got, err
	})
}

func TestQueriesRoundTrip(t *testing.T) {
	roundTrip(t, allQueries, func(q granary.Query) (any, error) {
		p, err := queryTo(q)
		if err != nil {
			return nil, err
		}
		if p, err = overWire(p, new(pb.Query)); err != nil {
			return nil, err
		}
		var d decoder
		return d.query(p), d.err
	})
}

func TestAnswersRoundTrip(t *testing.T) {
	roundTrip(t, allAnswers, func(a granary.Answer) (any, error) {
		p, err := answerTo(a)
		if err != nil {
			return nil, err
		}
		if p, err = overWire(p, new(pb.Answer)); err != nil {
			return nil, err
		}
		var d decoder
		return d.answer(p), d.err
	})
}

func TestSessionsRoundTrip(t *testing.T) {
	roundTrip(t, []*granary.OpenSession{{}}, func(o *granary.OpenSession) (any, error) {
		p, err := overWire(openSessionTo(o), new(pb.OpenSessionRequest))
		return openSessionFrom(p), err
	})
	roundTrip(t, []*granary.SessionInfo{{}}, func(s *granary.SessionInfo) (any, error) {
		p, err := overWire(sessionInfoTo(s), new(pb.SessionInfo))
		return sessionInfoFrom(p), err
	})
	roundTrip(t, []*granary.Heartbeat{{}}, func(h *granary.Heartbeat) (any, error) {
		p, err := overWire(heartbeatTo(h), new(pb.HeartbeatRequest))
		if err != nil {
			return nil, err
		}
		var d decoder
		return d.heartbeat(p), d.err
	})
	roundTrip(t, []*granary.HeartbeatReply{{}}, func(r *granary.HeartbeatReply) (any, error) {
		p, err := overWire(heartbeatReplyTo(r), new(pb.HeartbeatReply))
		return heartbeatReplyFrom(p), err
	})
}

func TestMutateRequestsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := filler{t, rapid.Bool().Draw(t, "full")}
		want := &granary.MutateRequest{Session: 7, LowestUnacked: 3, Attendance: 5}
		for range rapid.IntRange(1, 4).Draw(t, "requests") {
			want.Requests = append(want.Requests, granary.Request{
				Seq:  rapid.Uint64().Draw(t, "seq"),
				Cred: *fresh(f, &granary.Cred{}),
				Op:   fresh(f, rapid.SampledFrom(allOps).Draw(t, "op")),
			})
		}
		p, err := mutateTo(want)
		if err != nil {
			t.Fatal(err)
		}
		if p, err = overWire(p, new(pb.MutateRequest)); err != nil {
			t.Fatal(err)
		}
		if got, err := mutateFrom(p); err != nil || !reflect.DeepEqual(want, got) {
			t.Fatalf("sent\n%#v\nreceived\n%#v, %v", want, got, err)
		}
	})
}

func TestMalformedOpsAreInvalid(t *testing.T) {
	hash := make([]byte, 31)
	cases := map[string]*pb.Op{
		"nothing":         {},
		"no content":      {Op: &pb.Op_Commit{Commit: &pb.Commit{Inode: 1}}},
		"no policy":       {Op: &pb.Op_SetPolicy{SetPolicy: &pb.SetPolicy{Inode: 1}}},
		"no attribute":    {Op: &pb.Op_SetXattr{SetXattr: &pb.SetXattr{Inode: 1}}},
		"no user":         {Op: &pb.Op_SetUser{SetUser: &pb.SetUser{}}},
		"short hash":      {Op: &pb.Op_Commit{Commit: &pb.Commit{Content: &pb.Content{Chunks: []*pb.Chunk{{Hash: hash}}}}}},
		"no hash":         {Op: &pb.Op_Commit{Commit: &pb.Commit{Content: &pb.Content{Chunks: []*pb.Chunk{{}}}}}},
		"file type 256":   {Op: &pb.Op_Create{Create: &pb.Create{Type: 256}}},
		"compression 512": {Op: &pb.Op_SetPolicy{SetPolicy: &pb.SetPolicy{Policy: &pb.Policy{Compression: 512}}}},
	}
	encoded := map[string][]byte{
		"torn":       {0x0a, 0x05, 0x01},
		"unknown op": {0xfa, 0x3f, 0x00}, // field 1023, empty
	}
	for name, p := range cases {
		b, err := proto.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		encoded[name] = b
	}
	for name, b := range encoded {
		if op, err := UnmarshalOp(b); op != nil || !granary.IsKind(err, granary.KindInvalid) {
			t.Errorf("%s: %v, %v", name, op, err)
		}
	}
	if _, err := MarshalOp(nil); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("encoding nil: %v", err)
	}
}

func TestMalformedRequestsAreInvalid(t *testing.T) {
	cases := map[string]func(*decoder){
		"no query":    func(d *decoder) { d.query(nil) },
		"empty query": func(d *decoder) { d.query(new(pb.Query)) },
		"no answer":   func(d *decoder) { d.answer(nil) },
		"half a hash": func(d *decoder) { d.hashes(make([]byte, 48)) },
		"no shard":    func(d *decoder) { d.shardInfo(new(pb.ShardInfo)) },
		"shard 256":   func(d *decoder) { d.location(&pb.Location{Shard: 256}) },
		"no entry":    func(d *decoder) { d.found(new(pb.Found)) },
		"error 256":   func(d *decoder) { d.error(&pb.ErrorDetail{Kind: 256}) },
	}
	for name, decode := range cases {
		d := decoder{subject: name}
		if decode(&d); !granary.IsKind(d.err, granary.KindInvalid) {
			t.Errorf("%s: %v", name, d.err)
		}
	}
}

func TestMalformedMutationsAreInvalid(t *testing.T) {
	closeSession := &pb.Op{Op: &pb.Op_CloseSession{CloseSession: new(pb.CloseSession)}}
	for name, request := range map[string]*pb.Request{
		"no cred": {Op: closeSession},
		"no op":   {Cred: new(pb.Cred)},
	} {
		b, err := proto.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mutateFrom(&pb.MutateRequest{Requests: [][]byte{b}}); !granary.IsKind(err, granary.KindInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzUnmarshalOp holds that no bytes make the decoder panic, and that what it accepts has one
// canonical encoding.
func FuzzUnmarshalOp(f *testing.F) {
	for _, op := range allOps {
		if b, err := MarshalOp(op); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		op, err := UnmarshalOp(b)
		if err != nil {
			if op != nil || !granary.IsKind(err, granary.KindInvalid) {
				t.Fatalf("%v, %v", op, err)
			}
			return
		}
		first := canonical(t, op, MarshalOp)
		op, err = UnmarshalOp(first)
		if err != nil {
			t.Fatal(err)
		}
		if second := canonical(t, op, MarshalOp); !bytes.Equal(first, second) {
			t.Fatalf("encoded as %x, then as %x", first, second)
		}
	})
}

// FuzzUnmarshalResult holds the same of results.
func FuzzUnmarshalResult(f *testing.F) {
	whole := granary.Result{
		Err:     granary.Errorf(granary.KindMissingChunks, "commit", "9", "gone"),
		Volume:  &granary.Volume{ID: 4, Shards: []granary.ShardPlace{{Disk: "d"}}},
		Missing: []uint32{1, 2},
	}
	f.Add(canonical(f, &whole, MarshalResult))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := UnmarshalResult(b)
		if err != nil {
			if r != nil || !granary.IsKind(err, granary.KindInvalid) {
				t.Fatalf("%v, %v", r, err)
			}
			return
		}
		first := canonical(t, r, MarshalResult)
		r, err = UnmarshalResult(first)
		if err != nil {
			t.Fatal(err)
		}
		if second := canonical(t, r, MarshalResult); !bytes.Equal(first, second) {
			t.Fatalf("encoded as %x, then as %x", first, second)
		}
	})
}

func canonical[T any](t testing.TB, v T, encode func(T) ([]byte, error)) []byte {
	b, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// Requests and results cross as bytes of their own encoding: what is left to protobuf is to tell them apart.

func (f *fields) request(r *granary.Request) {
	unsigned(f, 1, &r.Seq)
	required(f, 2, &r.Cred, (*fields).cred, "cred") // for a zero Cred is that of the superuser
	required(f, 3, &r.Op, (*fields).op, "op")
	optional(f, 4, &r.Under, (*fields).under)
	numbers(f, 5, &r.Fences)
	unsigned(f, 6, &r.Origin)
}

func (f *fields) cred(c *granary.Cred) {
	unsigned(f, 1, &c.UID)
	unsigned(f, 2, &c.GID)
	numbers(f, 3, &c.Groups)
}

func mutateTo(m *granary.MutateRequest) (*pb.MutateRequest, error) {
	requests, err := encodeEach("request", m.Requests, roomForOp, (*fields).request)
	return &pb.MutateRequest{
		Session: uint64(m.Session), LowestUnacked: m.LowestUnacked, Attendance: m.Attendance, Requests: requests, Opened: numbersTo(m.Opened),
	}, err
}

func mutateFrom(p *pb.MutateRequest) (*granary.MutateRequest, error) {
	requests, err := decodeEach(fields{subject: "request"}, p.Requests, (*fields).request)
	return &granary.MutateRequest{
		Session: granary.SessionID(p.Session), LowestUnacked: p.LowestUnacked, Attendance: p.Attendance, Requests: requests,
		Opened: numbersFrom[granary.InodeID](p.Opened),
	}, err
}

func resultsTo(results []granary.Result) (*pb.MutateReply, error) {
	encoded, err := encodeEach("result", results, roomForResult, (*fields).result)
	return &pb.MutateReply{Results: encoded}, err
}

func resultsFrom(p *pb.MutateReply) ([]granary.Result, error) {
	return decodeEach(fields{subject: "result", skips: true}, p.Results, (*fields).result)
}

// encodeEach encodes the messages of a list one after the other, in one piece of memory.
func encodeEach[T any](subject string, in []T, room int, message func(*fields, *T)) ([][]byte, error) {
	f := fields{subject: subject, b: make([]byte, 0, room*len(in))}
	ends := make([]int, len(in))
	for i := range in {
		message(&f, &in[i])
		ends[i] = len(f.b)
	}
	out, begin := make([][]byte, len(in)), 0
	for i, end := range ends {
		out[i], begin = f.b[begin:end:end], end
	}
	return out, f.err
}

// decodeEach is the inverse of encodeEach; an empty list is nil. f says how to read.
func decodeEach[T any](f fields, in [][]byte, message func(*fields, *T)) ([]T, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]T, len(in))
	for i, b := range in {
		if err := read(&f, b, &out[i], message); err != nil {
			return nil, err
		}
	}
	return out, nil
}

package master

import (
	"strings"

	"github.com/dsorchard/granary"
)

// opOfDelegation makes an operation on delegations: "take PATH", "return PATH" and "lease COUNT".
func (s *script) opOfDelegation() granary.Op {
	switch s.args[0] {
	case "take":
		return &granary.TakeDelegation{Inode: s.find(s.args[1])}
	case "return":
		return &granary.ReturnDelegation{Inodes: []granary.InodeID{s.find(s.args[1])}}
	case "lease":
		return &granary.LeaseInodes{Dataset: granary.RootDataset, Count: uint32(s.number(1, 10))}
	}
	return nil
}

// heldOps runs what is done in another session ("other STATEMENT", with a lookup, a readdir and a list among the statements), or
// under delegations ("under ORDER STATEMENT", for "create" and "mkdir" with inode=N, counted from the first that was leased).
func (s *script) heldOps() (string, bool) {
	switch s.args[0] {
	case "other":
		s.args = s.args[1:]
		if s.other == 0 {
			s.other = granary.SessionID(s.m.item(&openSession{Client: "other"}).Offset)
		}
		if q := s.otherAsks(); q != nil {
			_, _, err := s.m.s.queryFor(s.m.t.Context(), s.other, nil, q, allUp{})
			if err == nil {
				return "ok", true
			}
			return granary.KindOf(err).String(), true
		}
		op := s.op()
		if op == nil {
			s.m.t.Fatalf("%q is no statement", s.args)
		}
		s.otherSeq++
		r := s.m.item(&mutation{Session: s.other, LowestUnacked: s.otherSeq, Request: granary.Request{Seq: s.otherSeq, Op: op}})
		s.shown.add(op, &r)
		return s.outcome(op, &r), true
	case "under":
		u := &granary.Under{Order: s.number(1, 10), Fence: granary.Index(len(s.m.log)), At: 77}
		s.args = s.args[2:]
		op := s.op()
		if create, ok := op.(*granary.Create); ok {
			create.Delegate = create.Type == granary.TypeDirectory
			if n := s.optionNumber("inode", 0); n != 0 {
				create.Inode = s.leased + granary.InodeID(n-1)
			}
		}
		if s.has("stale") {
			u.Fence = 1
		}
		s.m.seq++
		r := s.m.item(&mutation{Session: s.m.session, LowestUnacked: s.m.seq, Request: granary.Request{Seq: s.m.seq, Op: op, Under: u}})
		return s.outcome(op, &r), true
	}
	return "", false
}

func (s *script) otherAsks() granary.Query {
	rel := strings.Trim(s.arg(1), "/")
	switch s.args[0] {
	case "lookup":
		return &granary.Lookup{Base: granary.RootInode, Path: rel}
	case "readdir":
		return &granary.ReadDir{Inode: s.find(s.args[1])}
	case "list":
		return &granary.List{Root: granary.RootInode, Prefix: s.arg(1)}
	case "buckets":
		return &granary.List{Root: granary.RootInode, Prefix: s.arg(1), Delimiter: "/"}
	}
	return nil
}

package master

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

var (
	_ wire.Master      = (*Server)(nil)
	_ wire.ManyQuerier = (*Server)(nil)
)

// notLeader is the refusal of a request that only the leader serves.
func (s *Server) notLeader(op string) error {
	return granary.Errorf(granary.KindUnavailable, op, "", "%w", &granary.NotLeader{Leader: s.leaderAddr()})
}

// leaderAddr returns the gRPC address of the leader, or "" if none is known or it is this node, which
// is then on its way into or out of office.
func (s *Server) leaderAddr() string {
	if s.raft == nil {
		return ""
	}
	_, id := s.raft.LeaderWithID()
	if id == "" || string(id) == s.id {
		return ""
	}
	return s.memberAddr(string(id))
}

// memberAddr returns the gRPC address of a node: what the state says, or else the options.
func (s *Server) memberAddr(id string) string {
	st := s.states.acquire()
	defer st.release()
	if m, ok := st.members()[id]; ok {
		return m.GRPCAddr
	}
	return s.knownMembers()[id]
}

// lead returns the leadership, or the refusal if this node does not lead.
func (s *Server) leader(op string) (*leadership, error) {
	if l := s.leading.Load(); l != nil {
		return l, nil
	}
	return nil, s.notLeader(op)
}

// OpenSession implements wire.Master. A nonce that the state knows gives the session it made.
func (s *Server) OpenSession(ctx context.Context, req *granary.OpenSession) (*granary.SessionInfo, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := s.leader("open session")
	if err != nil {
		return nil, err
	}
	if len(req.Client) > granary.PathLengthMax {
		return nil, granary.Errorf(granary.KindTooLarge, "open session", "", "the client's name has %d bytes", len(req.Client))
	}
	results, err := l.prop.propose(ctx, &openSession{Client: req.Client, Nonce: req.Nonce})
	if err != nil {
		return nil, l.explain(ctx, "open session", err)
	}
	if err := failure(nil, results); err != nil {
		return nil, err
	}
	id := granary.SessionID(results[0].Offset)
	l.sessions.add(id, s.now())
	l.opens.add(id, false)
	return &granary.SessionInfo{Session: id, Cluster: l.cluster, TTL: granary.Time(s.opts.SessionTTL)}, nil
}

// KeepAlive implements wire.Master.
func (s *Server) KeepAlive(ctx context.Context, req *granary.KeepAlive) (*granary.KeepAliveReply, error) {
	_, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := s.leader("keep alive")
	if err != nil {
		return nil, err
	}
	return l.keepAlive(req)
}

func (l *leadership) renew(op string, session granary.SessionID) error {
	if l.sessions.renew(session, l.s.now()) {
		return nil
	}
	return granary.Errorf(granary.KindExpired, op, fmt.Sprintf("session %d", session), "")
}

// Mutate implements wire.Master.
func (s *Server) Mutate(ctx context.Context, req *granary.MutateRequest) ([]granary.Result, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := s.leader("mutate")
	if err != nil {
		return nil, err
	}
	if err := checkMutate(req); err != nil {
		return nil, err
	}
	if err := l.renew("mutate", req.Session); err != nil {
		return nil, err
	}
	items, failed, err := l.prepare(ctx, req)
	if err != nil {
		return nil, err
	}
	l.opens.note(req.Session, req.Opened...)
	if opensFiles(req) {
		defer l.opens.begin()()
		ctx = context.WithoutCancel(ctx) // what was opened is noted, whether or not somebody still waits for it
	}
	defer l.attend.expect(req)()
	results, err := l.prop.propose(ctx, items...)
	if err != nil {
		return nil, l.explain(ctx, "mutate", err)
	}
	l.conclude(req, results, failed)
	if err := l.settleResults(ctx, results); err != nil {
		return nil, err
	}
	return results, nil
}

// checkMutate refuses what needs no state to be refused.
func checkMutate(req *granary.MutateRequest) error {
	if n := len(req.Requests); n > granary.RequestsMax {
		return granary.Errorf(granary.KindTooLarge, "mutate", "", "%d requests in one call, more than %d", n, granary.RequestsMax)
	}
	for i := range req.Requests {
		switch r := &req.Requests[i]; {
		case r.Op == nil:
			return granary.Errorf(granary.KindInvalid, "mutate", "", "request %d has no op", r.Seq)
		case r.Seq == 0 || r.Seq < req.LowestUnacked:
			return granary.Errorf(granary.KindInvalid, "mutate", "", "sequence %d is below the lowest unacknowledged, %d", r.Seq, req.LowestUnacked)
		}
	}
	return nil
}

// prepare turns requests into items. The leader's own part of an op goes into a copy of it. Where
// that fails the op is logged all the same, without it: if it is a retry, the state answers with the
// first result; if not, it refuses, and failed says why.
func (l *leadership) prepare(ctx context.Context, req *granary.MutateRequest) (items []item, failed map[int]error, err error) {
	items = make([]item, len(req.Requests))
	for i, r := range req.Requests {
		switch op := r.Op.(type) {
		case *granary.OpenVolume:
			placed := *op
			placed.Placement, err = l.placeVolume(ctx, op)
			r.Op = &placed
		case *granary.Assemble:
			resolved := *op
			resolved.Sources, err = l.resolve(ctx, op)
			r.Op = &resolved
		case *granary.TakeDelegation:
			switch err = nil; {
			case l.recalls.wanted(op.Inode.Dataset()):
				r.Op = &granary.TakeDelegation{}
				err = granary.Errorf(granary.KindBusy, opName(op), op.Inode.String(), "something that concerns all of the dataset waits until nobody holds any")
			case !l.recalls.hears(req.Session):
				r.Op = &granary.TakeDelegation{}
				err = granary.Errorf(granary.KindNotSupported, opName(op), op.Inode.String(), "the session does not attend: it would not hear of it when others want the directory")
			}
		default:
			err = nil
		}
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, nil, granary.Errorf(granary.KindUnavailable, opName(r.Op), "", "the request ended: %w", context.Cause(ctx))
		case err != nil && failed == nil:
			failed = make(map[int]error)
			fallthrough
		case err != nil:
			failed[i] = err
		}
		items[i] = &mutation{Session: req.Session, LowestUnacked: req.LowestUnacked, Request: r}
	}
	return items, failed, nil
}

// placeVolume chooses the disks of a volume. KindUnavailable says that there would be enough if servers that are away came back, KindNoSpace
// that there are not.
func (l *leadership) placeVolume(ctx context.Context, op *granary.OpenVolume) (*granary.Placement, error) {
	if err := l.live.settled(ctx); err != nil {
		return nil, err
	}
	st := l.s.states.acquire()
	p, ok := st.policy(op.Policy)
	at := st.places.Load()
	st.release()
	if !ok {
		return nil, granary.Errorf(granary.KindNotFound, "open volume", fmt.Sprintf("policy %d", op.Policy), "")
	}
	dice := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	up := l.live.candidates(at)
	placed, err := place(p, up, op.Exclude, dice)
	if granary.IsKind(err, granary.KindNoSpace) {
		away := l.live.away(at)
		if _, later := place(p, append(away, up...), op.Exclude, dice); later == nil {
			return nil, granary.Errorf(granary.KindUnavailable, "open volume", "", "%d disks are away: %w", len(away), err)
		}
	}
	return placed, err
}

// resolve finds the parts of an assembled file.
func (l *leadership) resolve(ctx context.Context, op *granary.Assemble) (*granary.Sources, error) {
	st := l.s.states.acquire()
	defer st.release()
	return st.resolve(ctx, op)
}

// conclude acts on what was applied: reasons that only the leader knows, sessions that ended,
// volumes to be sealed.
func (l *leadership) conclude(req *granary.MutateRequest, results []granary.Result, failed map[int]error) {
	for i := range results {
		if err, ok := failed[i]; ok && results[i].Err != nil {
			results[i].Err = asError(err)
		}
		if results[i].Err != nil {
			l.recalls.noteWanted(req.Requests[i].Op, results[i].Err)
			continue
		}
		switch op := req.Requests[i].Op.(type) {
		case *granary.Create:
			if op.Open && op.Type == granary.TypeRegular {
				l.opens.note(req.Session, results[i].Attr.Inode)
			}
		case *granary.CloseSession:
			l.sessions.remove(req.Session)
			l.opens.forget(req.Session)
			l.recalls.forget(req.Session)
			l.attend.end(req.Session)
			kick(l.sealNow)
		case *granary.SealVolume:
			kick(l.sealNow)
		}
	}
}

func asError(err error) *granary.Error {
	if e, ok := err.(*granary.Error); ok {
		return e
	}
	return granary.Errorf(granary.KindOf(err), "open volume", "", "%w", err)
}

// explain makes the error of a proposal that Raft did not take a refusal that sends the client to
// another master.
func (l *leadership) explain(ctx context.Context, op string, err error) error {
	if granary.IsKind(err, granary.KindUnavailable) && ctx.Err() == nil {
		return l.s.notLeader(op)
	}
	return err
}

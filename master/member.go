package master

import (
	"context"

	"github.com/dsorchard/granary"
)

// Identify implements wire.Master.
func (s *Server) Identify(ctx context.Context) (*granary.MasterIdentity, error) {
	_, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	st := s.states.acquire()
	cluster, _ := st.cluster()
	st.release()
	return &granary.MasterIdentity{ID: s.id, GRPCAddr: s.opts.GRPCAddr, RaftAddr: s.opts.RaftAddr, Cluster: cluster, Term: s.raft.CurrentTerm()}, nil
}

// ChangeMember implements wire.Master.
func (s *Server) ChangeMember(context.Context, *granary.MemberChange) error {
	return granary.Errorf(granary.KindNotSupported, "change member", "", "")
}

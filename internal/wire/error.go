package wire

import (
	"errors"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// errorTo describes the outermost granary.Error of a chain, or any other error as KindOf sees it.
func errorTo(err error) *pb.ErrorDetail {
	p := &pb.ErrorDetail{Kind: uint32(granary.KindOf(err))}
	cause := err
	var e *granary.Error
	if errors.As(err, &e) {
		p.Op, p.Subject, cause = []byte(e.Op), []byte(e.Subject), e.Err
	}
	var notLeader *granary.NotLeader
	var delegated *granary.Delegated
	switch {
	case errors.As(err, &notLeader):
		p.NotLeader = &pb.NotLeader{Leader: []byte(notLeader.Leader)}
	case errors.As(err, &delegated):
		p.Delegated = &pb.Delegated{Inodes: inodesTo(delegated.Inodes)}
	case cause != nil:
		p.Cause = append([]byte{}, cause.Error()...)
	}
	return p
}

// error restores a granary.Error. Of its cause the text is left, or the NotLeader or Delegated.
func (d *decoder) error(p *pb.ErrorDetail) *granary.Error {
	if p == nil {
		return nil
	}
	e := &granary.Error{
		Op:      string(p.Op),
		Subject: string(p.Subject),
		Kind:    granary.Kind(d.uint8(p.Kind, "error kind")),
	}
	switch {
	case p.NotLeader != nil:
		e.Err = &granary.NotLeader{Leader: string(p.NotLeader.Leader)}
	case p.Delegated != nil:
		e.Err = &granary.Delegated{Inodes: inodesFrom(p.Delegated.Inodes)}
	case p.Cause != nil:
		e.Err = errors.New(string(p.Cause))
	}
	return e
}

package master

import (
	"context"
	"fmt"

	"github.com/dsorchard/granary"
)

// opensFiles reports whether a request may open files.
func opensFiles(req *granary.MutateRequest) bool {
	for i := range req.Requests {
		if op, ok := req.Requests[i].Op.(*granary.Create); ok && op.Open && op.Type == granary.TypeRegular {
			return true
		}
	}
	return false
}

// keepAlive takes in what a session has open. What it reports to another term is not taken: the reply says which
// one this is, and the session reports all of it once more. So no report that was under way when leaders changed
// passes for a later one.
func (l *leadership) keepAlive(req *granary.KeepAlive) (*granary.KeepAliveReply, error) {
	if err := l.renew("keep alive", req.Session); err != nil {
		return nil, err
	}
	if req.Report > 0 && req.Term == l.term {
		l.opens.take(req)
	}
	return &granary.KeepAliveReply{Term: l.term, Masters: l.s.masterAddrs()}, nil
}

// openTries bounds how often a Lookup that opens is repeated because the path has come to lead elsewhere.
const openTries = 100

// open answers a Lookup that opens what it finds. The leadership has been confirmed before.
//
// The inode is noted as being opened, and then a state is read that is newer than the note: if the path still leads
// to that inode there, and it has a name, it cannot have been found nameless before the note was made. An inode without
// a name is opened only if the session has it open: then it has been noted since before it lost its name.
func (l *leadership) open(ctx context.Context, st *heldState, session granary.SessionID, v *view, q *granary.Lookup) (granary.Answer, granary.Index, error) {
	if err := l.renew("lookup", session); err != nil {
		return nil, 0, err
	}
	found, index, err := l.lookup(ctx, st, v, q)
	for range openTries {
		switch {
		case err != nil:
			return nil, index, err
		case found.Entry.Attr.Type != granary.TypeRegular || found.Rest != "":
			return found, index, nil
		}
		inode := found.Entry.Attr.Inode
		had, ok := l.opens.opening(session, inode)
		if !ok {
			return nil, 0, granary.Errorf(granary.KindExpired, "lookup", fmt.Sprintf("session %d", session), "")
		}
		found, index, err = l.lookup(ctx, st, v, q)
		same := err == nil && found.Entry.Attr.Inode == inode
		dead := same && found.Entry.Attr.Nlink == 0 && !had
		l.opens.opened(session, inode, same && !dead)
		switch {
		case dead:
			return nil, index, granary.Errorf(granary.KindNotFound, "lookup", inode.String(), "the file was removed")
		case same:
			return found, index, nil
		}
	}
	return nil, 0, granary.Errorf(granary.KindUnavailable, "lookup", q.Path, "the path leads elsewhere each time")
}

func (l *leadership) lookup(ctx context.Context, st *heldState, v *view, q *granary.Lookup) (*granary.Found, granary.Index, error) {
	a, index, err := st.queryView(ctx, &view{live: v.live, cred: v.cred, asking: v.asking}, q)
	if err != nil {
		return nil, index, err
	}
	return a.(*granary.Found), index, nil
}

// dropper disposes of inodes without a name that no session has open: part of the leader's reclamation.
type dropper struct {
	l      *leadership
	cursor nameless // of the list of nameless inodes: those up to here have been looked at
}

// step takes some, and reports whether there may be more.
func (d *dropper) step(ctx context.Context) (more bool, err error) {
	opens := d.l.opens
	if !opens.complete() {
		return false, nil
	}
	found := opens.takeDue(dropMax)
	st := d.l.s.states.acquire()
	listed := st.nameless(d.cursor, dropMax-len(found))
	applied, _ := st.applied()
	st.release()
	index := granary.Index(applied)
	for _, n := range listed {
		found, index = append(found, n.Inode), max(index, n.Since)
		d.cursor = n // from here on the table knows them, or they are dropped
	}
	if len(found) == 0 {
		return false, nil
	}
	select {
	case <-opens.turn():
	case <-ctx.Done():
		return false, ctx.Err()
	}
	// Who attends has told by then which of them he has open, or is silent.
	if err := d.l.attend.settle(ctx, index); err != nil || !opens.complete() {
		opens.putDue(found)
		return false, err
	}
	if free := opens.closed(found); len(free) > 0 {
		results, err := d.l.prop.propose(ctx, &drop{Inodes: free})
		if err := failure(err, results); err != nil {
			opens.putDue(free) // if they were dropped all the same, the next drop finds nothing to do
			return false, err
		}
	}
	return len(found) == dropMax, nil
}

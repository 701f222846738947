package master

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

const (
	memberPatience  = 2 * time.Second  // that one call waits for a node to catch up, before it says how far it is
	memberSilent    = 30 * time.Second // without an answer from a node that is to catch up, and it is given up
	memberLagMax    = 1000             // entries that a node may be behind and vote: it has them a moment later
	memberPoll      = 10 * time.Millisecond
	livePatienceMin = 2 * time.Second // without an answer of a member before it counts as down; or twice Raft's timeout
)

// Identify implements wire.Master.
func (s *Server) Identify(ctx context.Context) (*granary.MasterIdentity, error) {
	_, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	st := s.states.acquire()
	defer st.release()
	cluster, _ := st.cluster()
	return &granary.MasterIdentity{
		ID: s.id, GRPCAddr: s.opts.GRPCAddr, RaftAddr: string(s.trans.LocalAddr()), Cluster: cluster,
		Term: s.raft.CurrentTerm(), Empty: s.raft.LastIndex() == 0,
	}, nil
}

// ChangeMember implements wire.Master. Every step looks at what is there and does what is missing, so a call that
// was cut off, by the end of its time or of the leader, is made good by repeating it. KindBusy says that the change
// is on its way.
func (s *Server) ChangeMember(ctx context.Context, change *granary.MemberChange) error {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	l, err := s.leader("change member")
	if err != nil {
		return err
	}
	if err := l.confirm(ctx); err != nil {
		return err
	}
	switch change.Action {
	case granary.MemberAdd:
		err = l.addMember(ctx, change)
	case granary.MemberRemove:
		err = l.removeMember(ctx, change.ID)
	case granary.MemberLead:
		err = l.handOver(ctx, change.ID)
	default:
		err = granary.Errorf(granary.KindInvalid, "change member", change.ID, "action %d is unknown", change.Action)
	}
	if granary.IsKind(err, granary.KindUnavailable) && s.leading.Load() != l {
		return s.notLeader("change member")
	}
	return err
}

// addMember takes a node into the group: recorded first, as one that does not vote, until it has caught up.
func (l *leadership) addMember(ctx context.Context, change *granary.MemberChange) error {
	who, err := l.identify(ctx, change)
	if err != nil {
		return err
	}
	voter, err := l.admit(ctx, who)
	if err != nil || voter {
		return err
	}
	if err := l.awaitCaughtUp(ctx, who.ID); err != nil {
		return err
	}
	if who, err = l.identify(ctx, change); err != nil {
		return err
	}
	if who.Cluster == "" { // nobody would count its word on who leads
		return granary.Errorf(granary.KindBusy, "member add", who.ID, "catching up: it has not applied anything yet")
	}
	return l.promote(ctx, who)
}

// identify asks the node at an address who it is.
func (l *leadership) identify(ctx context.Context, change *granary.MemberChange) (*granary.MasterIdentity, error) {
	if change.GRPCAddr == "" {
		return nil, refusal(change.ID, "the address of the master to be added is missing")
	}
	if l.s.opts.Dial == nil {
		return nil, granary.Errorf(granary.KindNotSupported, "member add", change.GRPCAddr, "this master cannot reach others")
	}
	within, cancel := context.WithTimeout(ctx, memberPatience)
	defer cancel()
	m, hangUp, err := l.s.opts.Dial(change.GRPCAddr)
	if err != nil {
		return nil, granary.Errorf(granary.KindUnavailable, "member add", change.GRPCAddr, "%w", err)
	}
	who, err := m.Identify(within)
	if cerr := hangUp(); cerr != nil {
		l.s.log.Debug("hanging up", "addr", change.GRPCAddr, "error", cerr)
	}
	if err != nil {
		return nil, granary.Errorf(granary.KindNotFound, "member add", change.GRPCAddr, "no master answers there: %w", err)
	}
	switch {
	case change.ID != "" && change.ID != who.ID:
		return nil, refusal(change.ID, "the master at %s is node %s", change.GRPCAddr, who.ID)
	case who.ID == "" || who.GRPCAddr == "" || who.RaftAddr == "":
		return nil, refusal(change.GRPCAddr, "the master there does not say who and where it is")
	case who.Cluster != "" && who.Cluster != l.cluster:
		return nil, refusal(who.ID, "it belongs to cluster %s, and this is cluster %s", who.Cluster, l.cluster)
	}
	return who, nil
}

// admit makes the node a member that does not vote, unless it is one, and records it before. voter says that it
// votes already.
//
// A node that has Raft state but is no member is refused: it may have been removed, or hold another history. But
// one that is recorded was being added when a leader was lost, and has what that leader gave it.
func (l *leadership) admit(ctx context.Context, who *granary.MasterIdentity) (voter bool, err error) {
	unlock, err := l.lockMembers(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	future := l.s.raft.GetConfiguration()
	configuration := future.Configuration()
	st := l.s.states.acquire()
	recorded, joined := st.members()[who.ID], st.joined()[who.ID]
	st.release()
	member, isMember := memberOf(configuration, who.ID)
	voter = isMember && member.Suffrage == raft.Voter
	for _, m := range configuration.Servers {
		if string(m.ID) != who.ID && (string(m.Address) == who.RaftAddr || l.s.memberAddr(string(m.ID)) == who.GRPCAddr) {
			return false, refusal(who.ID, "its address is that of member %s: remove that first", m.ID)
		}
	}
	switch {
	case voter && who.Empty && joined:
		return false, refusal(who.ID, "it is a member and votes, but its data are gone: remove it first, then add it")
	case !isMember && !who.Empty && recorded.GRPCAddr != who.GRPCAddr:
		return false, refusal(who.ID, "it is no member and not empty: it may have been removed, or hold another history; empty its directory")
	}
	if recorded.GRPCAddr != who.GRPCAddr || !recorded.Added {
		results, err := l.prop.propose(ctx, &addMember{ID: who.ID, GRPCAddr: who.GRPCAddr})
		if err := failure(err, results); err != nil {
			return false, err
		}
	}
	id, addr := raft.ServerID(who.ID), raft.ServerAddress(who.RaftAddr)
	switch {
	case isMember && member.Address == addr:
		return voter, nil
	case voter: // it has moved
		err = l.changed(ctx, l.s.raft.AddVoter(id, addr, future.Index(), memberPatience))
	default:
		l.s.peers.forget(id)
		err = l.changed(ctx, l.s.raft.AddNonvoter(id, addr, future.Index(), memberPatience))
	}
	if err == nil {
		l.s.log.Info("a master is a member", "id", who.ID, "addr", who.GRPCAddr, "raft", who.RaftAddr, "votes", voter)
	}
	return voter, err
}

// awaitCaughtUp waits until a member has nearly all of the log, or says how far it is.
func (l *leadership) awaitCaughtUp(ctx context.Context, id string) error {
	began := l.s.now()
	for {
		p, ok := l.s.witness.progressOf(id)
		last := l.s.raft.LastIndex()
		switch {
		case ok && l.caughtUp(p, last):
			return nil
		case l.s.now().Sub(began) < memberPatience:
		case ok && l.s.now().Sub(p.lastSign()) > memberSilent:
			return granary.Errorf(granary.KindNotFound, "member add", id, "for %v no answer of its Raft node: it %s", memberSilent, p.text(last))
		default:
			return granary.Errorf(granary.KindBusy, "member add", id, "catching up: it %s", p.text(last))
		}
		if !pause(ctx, memberPoll) {
			return granary.Errorf(granary.KindBusy, "member add", id, "the request ended while the node caught up: %w", context.Cause(ctx))
		}
	}
}

// caughtUp reports whether a member is so near the end of the log that its vote stops nothing. It has also to have
// the entry that made it a member: so it knows of it, whatever becomes of this leader.
func (l *leadership) caughtUp(p progress, last uint64) bool {
	return l.s.now().Sub(p.Heard) <= l.livePatience() &&
		p.Last+memberLagMax >= last && p.Last >= l.s.raft.GetConfiguration().Index()
}

// promote gives a member that has caught up its vote. That it must never come back empty is recorded before: a vote
// that nobody knew of could be forgotten.
func (l *leadership) promote(ctx context.Context, who *granary.MasterIdentity) error {
	unlock, err := l.lockMembers(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	future := l.s.raft.GetConfiguration()
	configuration := future.Configuration()
	member, ok := memberOf(configuration, who.ID)
	switch {
	case !ok:
		return granary.Errorf(granary.KindBusy, "member add", who.ID, "it was removed meanwhile")
	case member.Suffrage == raft.Voter:
		return nil
	}
	voters := append(votersOf(configuration), member)
	if err := l.requireQuorum(ctx, "with "+who.ID, voters); err != nil {
		return err
	}
	results, err := l.prop.propose(ctx, &memberJoined{ID: who.ID})
	if err := failure(err, results); err != nil {
		return err
	}
	if err := l.changed(ctx, l.s.raft.AddVoter(member.ID, member.Address, future.Index(), memberPatience)); err != nil {
		return err
	}
	l.s.log.Info("a master votes", "id", who.ID, "addr", who.GRPCAddr)
	return nil
}

// removeMember takes a node out of the group. A leader that is to go hands over first, and sends the caller to the
// next, who removes it.
func (l *leadership) removeMember(ctx context.Context, id string) error {
	if id == "" {
		return refusal("", "the id of the master to be removed is missing")
	}
	unlock, err := l.lockMembers(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	future := l.s.raft.GetConfiguration()
	configuration := future.Configuration()
	member, ok := memberOf(configuration, id)
	if !ok {
		return l.forgetMember(ctx, id)
	}
	if member.Suffrage == raft.Voter {
		left := slices.DeleteFunc(votersOf(configuration), func(m raft.Server) bool { return m.ID == member.ID })
		if len(left) == 0 {
			return refusal(id, "it is the last master that votes")
		}
		if err := l.requireQuorum(ctx, "without "+id, left); err != nil {
			return err
		}
	}
	if id == l.s.id {
		if err := l.transfer(ctx, ""); err != nil {
			return err
		}
		return l.s.notLeader("member remove")
	}
	if err := l.changed(ctx, l.s.raft.RemoveServer(member.ID, future.Index(), memberPatience)); err != nil {
		return err
	}
	l.s.log.Info("a master was removed", "id", id)
	return l.forgetMember(ctx, id)
}

// forgetMember drops what is recorded of a node that is no member.
func (l *leadership) forgetMember(ctx context.Context, id string) error {
	l.s.witness.forget(id)
	st := l.s.states.acquire()
	_, recorded := st.members()[id]
	joined := st.joined()[id]
	st.release()
	if !recorded && !joined {
		return nil
	}
	results, err := l.prop.propose(ctx, &setMember{ID: id})
	return failure(err, results)
}

// handOver makes another voter the leader: that of the id, or whoever is best.
func (l *leadership) handOver(ctx context.Context, id string) error {
	if id == l.s.id {
		return nil
	}
	configuration := l.s.raft.GetConfiguration().Configuration()
	voters := votersOf(configuration)
	if id == "" {
		others := slices.DeleteFunc(voters, func(m raft.Server) bool { return string(m.ID) == l.s.id })
		if !l.awaitAlive(ctx, others...) {
			return refusal("", "no other master that votes is up")
		}
		return l.transfer(ctx, "")
	}
	member, ok := memberOf(configuration, id)
	switch {
	case !ok:
		return granary.Errorf(granary.KindNotFound, "lead", id, "no master has this id")
	case member.Suffrage != raft.Voter:
		return refusal(id, "it does not vote yet")
	case !l.awaitAlive(ctx, member):
		return refusal(id, "it is down")
	}
	return l.transfer(ctx, id)
}

// transfer hands the leadership over and waits until this node no longer leads.
func (l *leadership) transfer(ctx context.Context, id string) error {
	back, err := l.takeLeases(ctx)
	if err != nil {
		return err
	}
	defer back()
	var f raft.Future
	if m, ok := memberOf(l.s.raft.GetConfiguration().Configuration(), id); ok {
		f = l.s.raft.LeadershipTransferToServer(m.ID, m.Address)
	} else {
		f = l.s.raft.LeadershipTransfer()
	}
	err = l.s.awaitRaft(ctx, f)
	switch {
	case err == nil, errors.Is(err, raft.ErrNotLeader):
		return nil
	case ctx.Err() != nil:
		return granary.Errorf(granary.KindIndeterminate, "lead", id, "the request ended before the leadership had moved: %w", context.Cause(ctx))
	}
	return granary.Errorf(granary.KindBusy, "lead", id, "the leadership did not move: %w", err)
}

// changed waits for a change of Raft's configuration.
func (l *leadership) changed(ctx context.Context, f raft.IndexFuture) error {
	err := l.s.awaitRaft(ctx, f)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return granary.Errorf(granary.KindUnavailable, "change member", "", "%w", err)
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), ctx.Err() != nil:
		return granary.Errorf(granary.KindIndeterminate, "change member", "", "%w", err)
	}
	return granary.Errorf(granary.KindBusy, "change member", "", "%w", err) // another change was first, or is under way
}

// lockMembers makes changes come one after the other.
func (l *leadership) lockMembers(ctx context.Context) (unlock func(), err error) {
	select {
	case l.changing <- struct{}{}:
		return func() { <-l.changing }, nil
	case <-ctx.Done():
		return nil, granary.Errorf(granary.KindBusy, "change member", "", "another change is under way: %w", context.Cause(ctx))
	}
}

// requireQuorum refuses a group of voters that could not commit anything. Only those count that answer from now on:
// one that died a moment ago would take the quorum with it.
func (l *leadership) requireQuorum(ctx context.Context, how string, voters []raft.Server) error {
	began := l.s.now()
	end := began.Add(l.livePatience())
	for {
		var down []string
		for _, m := range voters {
			if !l.heardSince(string(m.ID), began) {
				down = append(down, fmt.Sprintf("%s at %s", m.ID, l.s.memberAddr(string(m.ID))))
			}
		}
		if len(voters)-len(down) > len(voters)/2 {
			return nil
		}
		if l.s.now().After(end) || !pause(ctx, memberPoll) {
			return refusal("", "%s there would be %d masters that vote, and no quorum of them: down: %s", how, len(voters), strings.Join(down, ", "))
		}
	}
}

// livePatience is how long a member may take to answer before it counts as down.
func (l *leadership) livePatience() time.Duration {
	return max(livePatienceMin, 2*l.s.opts.HeartbeatTimeout)
}

// alive reports whether a member has answered Raft lately.
func (l *leadership) alive(m raft.Server) bool {
	return l.s.peers.up(m.ID) && l.heardSince(string(m.ID), l.s.now().Add(-l.livePatience()))
}

// awaitAlive waits until one of the members is alive: a leader that was elected a moment ago has heard of nobody yet.
func (l *leadership) awaitAlive(ctx context.Context, members ...raft.Server) bool {
	end := l.s.now().Add(l.livePatience())
	for !slices.ContainsFunc(members, l.alive) {
		if l.s.now().After(end) || !pause(ctx, memberPoll) {
			return false
		}
	}
	return true
}

func (l *leadership) heardSince(id string, since time.Time) bool {
	p, ok := l.s.witness.progressOf(id)
	return id == l.s.id || ok && p.Heard.After(since)
}

func refusal(subject, format string, args ...any) *granary.Error {
	return granary.Errorf(granary.KindInvalid, "change member", subject, format, args...)
}

// memberOf finds a node in a configuration of Raft.
func memberOf(c raft.Configuration, id string) (raft.Server, bool) {
	for _, m := range c.Servers {
		if string(m.ID) == id {
			return m, true
		}
	}
	return raft.Server{}, false
}

func votersOf(c raft.Configuration) []raft.Server {
	var voters []raft.Server
	for _, m := range c.Servers {
		if m.Suffrage == raft.Voter {
			voters = append(voters, m)
		}
	}
	return voters
}

// masterAddrs returns the gRPC addresses of all members.
func (s *Server) masterAddrs() []string {
	st := s.states.acquire()
	members := st.members()
	st.release()
	known := s.knownMembers()
	var addrs []string
	for _, m := range s.raft.GetConfiguration().Configuration().Servers {
		addr := members[string(m.ID)].GRPCAddr
		setDefault(&addr, known[string(m.ID)])
		if addr != "" {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// memberAddrs tells Raft where the others are, which is not always where they were when the group was founded:
// founding members may have moved, with everybody's list of peers. Of a node that was added by command, Raft's own
// configuration has the address.
type memberAddrs struct{ s *Server }

// ServerAddr implements raft.ServerAddressProvider. An error makes Raft use the address it knows.
func (a memberAddrs) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	st := a.s.states.acquire()
	added := st.members()[string(id)].Added
	st.release()
	for _, peer := range a.s.opts.Peers {
		if peer.ID == string(id) && !added {
			return raft.ServerAddress(peer.RaftAddr), nil
		}
	}
	return "", granary.Errorf(granary.KindNotFound, "raft", string(id), "no other address is known than Raft's own")
}

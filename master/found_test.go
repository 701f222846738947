package master

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// asking are options of nodes that ask the others before they begin.
func (g *group) asking(i int) Options {
	o := g.options(i, filepath.Join(g.dir, g.peers[i].ID), nil)
	electing(&o)
	o.foundingReach, o.foundingPatience = 200*time.Millisecond, 300*time.Millisecond
	return o
}

// awaitJoined waits until every running node knows that a member has joined.
func (g *group) awaitJoined(i int) {
	g.t.Helper()
	eventually(g.t, "the member's mark", func() error {
		for j, s := range g.nodes {
			if s == nil {
				continue
			}
			st := s.states.acquire()
			joined := st.joined()
			st.release()
			if !joined[g.peers[i].ID] {
				return fmt.Errorf("node %d has %v", j, joined)
			}
		}
		return nil
	})
}

// TestEmptiedMemberIsRefused: a member whose directory was emptied does not begin again, whether a
// leader says that it had data or nobody can say.
func TestEmptiedMemberIsRefused(t *testing.T) {
	g := newGroup(t, 3, true, nil)
	leader := g.leader()
	lost, other := (leader+1)%3, (leader+2)%3
	g.awaitJoined(lost)
	dir := g.stop(lost)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(g.asking(lost)); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("with a leader: %v", err)
	}
	g.stop(leader)
	if _, err := Open(g.asking(lost)); !granary.IsKind(err, granary.KindUnavailable) {
		t.Errorf("with one follower, node %d: %v", other, err)
	}
}

// TestEmptiedLogIsRefused: a node file that names a cluster says that there was a log.
func TestEmptiedLogIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAlone(t, dir, nil)
	eventually(t, "the cluster in the node file", func() error {
		id, err := loadIdentity(dir, &Options{})
		if err == nil && id.Cluster == "" {
			err = errors.New("it is not there")
		}
		return err
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{stableName, logName, "CURRENT", "snapshots"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	o := testOptions(dir)
	o.RaftAddr = "127.0.0.1:0"
	if _, err := Open(o); !granary.IsKind(err, granary.KindCorrupt) {
		t.Errorf("a node without its log: %v", err)
	}
}

// TestLateFounder: a founding member that starts for the first time after the others have founded
// the cluster is welcome; and it may start again as long as nothing has reached it.
func TestLateFounder(t *testing.T) {
	t.Parallel()
	g := newGroupPart(t, 3, 2, true, nil)
	g.do(g.client(), createOp("early"))
	s, err := Open(g.asking(2)) // Raft does not reach it yet
	if err != nil {
		t.Fatalf("the first start: %v", err)
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(s.opts.Dir); err != nil {
		t.Fatal(err)
	}
	if g.nodes[2], err = Open(g.asking(2)); err != nil {
		t.Fatalf("the second start: %v", err)
	}
	g.connect(func(i, j int) bool { return true })
	g.awaitJoined(2)
}

// TestFoundersStartTogether: members that find nobody found the cluster at once.
func TestFoundersStartTogether(t *testing.T) {
	g := newGroupPart(t, 3, 0, true, nil)
	g.connect(func(i, j int) bool { return true })
	for i := range 3 {
		s, err := Open(g.asking(i))
		if err != nil {
			t.Fatal(err)
		}
		g.nodes[i] = s
	}
	g.leader()
	for i := range 3 {
		g.awaitJoined(i)
	}
}

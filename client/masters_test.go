package client

import (
	"errors"
	"testing"

	"github.com/dsorchard/granary/internal/wire"
)

// TestMastersAreLearned: masters that the leader tells of are asked in turn with those configured, and no longer when
// it does not name them any more; configured ones always are.
func TestMastersAreLearned(t *testing.T) {
	m := newMasters(func(string) (wire.Master, func() error, error) { return nil, nil, nil }, []string{"a", "b"})
	round := func(want ...string) {
		t.Helper()
		m.leader = want[len(want)-1]
		for _, addr := range want {
			m.leave(m.leader, errors.New("down"))
			if m.leader != addr {
				t.Fatalf("%s is asked, not %s", m.leader, addr)
			}
		}
	}
	asked := func() map[string]int {
		clear(m.conns)
		for range len(m.addrs) {
			if _, _, err := m.next(); err != nil {
				t.Fatal(err)
			}
		}
		got := map[string]int{}
		for addr := range m.conns {
			got[addr]++
		}
		return got
	}
	round("a", "b")
	m.learn([]string{"c", "b", "d"})
	round("a", "b", "c", "d")
	if got := asked(); len(got) != 4 {
		t.Errorf("queries go to %v", got)
	}
	m.turn = 3
	m.learn([]string{"c"})
	round("a", "b", "c")
	if got := asked(); len(got) != 3 || got["d"] != 0 {
		t.Errorf("queries go to %v", got)
	}
	m.learn(nil) // a reply of a master that knows no list
	round("a", "b", "c")
}

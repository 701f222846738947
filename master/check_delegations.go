package master

import "maps"

// checkDelegations verifies that directories are held by sessions that live or whose end is in the queue, and indexed by them.
func (a *audit) checkDelegations() {
	if uint64(len(a.delegations)) != a.head.Delegations {
		a.bad("%d delegations are counted, and there are %d", a.head.Delegations, len(a.delegations))
	}
	if !maps.Equal(a.delegations, a.delegates) {
		a.bad("delegations are %v, and indexed as %v", a.delegations, a.delegates)
	}
	for id, session := range a.delegations {
		if r := a.inodes[id]; r == nil || !r.IsDir() {
			a.bad("session %d holds inode %d, which is no directory", session, id)
		}
		if !a.sessions[session] && !a.ending[session] {
			a.bad("session %d holds directory %d, and does not exist", session, id)
		}
	}
}

package disk

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
)

// sectorSize is what a disk writes whole or not at all.
const sectorSize = 512

// Crash takes the power away and returns the disk as it is found when the power is back. The old disk,
// its handles and its locks are dead from then on: every call fails with an EIO.
//
// What was synced is there. Of the writes and truncations of a file since its last Sync a random part is
// there, each whole, not at all, or torn at any 512 bytes; a file may have grown and hold zeros where
// the data was lost. Of the creations, removals and renames in a directory since its last SyncDir a
// random part has happened, in order, each whole or not at all.
func (m *Mem) Crash(r *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	after := m.afterPowerLoss(r)
	m.dead = true
	return after
}

// CrashClone returns what Crash would, and leaves the disk running: for a look at every moment of a run.
func (m *Mem) CrashClone(r *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.afterPowerLoss(r)
}

func (m *Mem) afterPowerLoss(r *rand.Rand) *Mem {
	// Chance falls on calls and names in order, never in that of a map: a seed gives one outcome.
	names := make(map[*memNode]map[string]*memNode)
	namesOf := func(dir *memNode) map[string]*memNode {
		if names[dir] == nil {
			names[dir] = maps.Clone(dir.durable)
		}
		return names[dir]
	}
	for i, op := range m.pending {
		if r.IntN(2) == 0 {
			op.apply(namesOf, m.pending[:i])
		}
	}
	after := &Mem{capacity: m.capacity, locked: make(map[*memNode]bool)}
	after.root = after.restore(m.root, namesOf, r)
	return after
}

// restore copies the tree below a directory.
func (m *Mem) restore(dir *memNode, names func(*memNode) map[string]*memNode, r *rand.Rand) *memNode {
	out := newMemDir()
	out.refs = 1
	entries := names(dir)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		n := entries[name]
		if n.isDir() {
			out.entries[name] = m.restore(n, names, r)
		} else {
			c := n.content.afterPowerLoss(r)
			m.pages += c.allocatedPages()
			out.entries[name] = &memNode{content: c, refs: 1}
		}
		out.durable[name] = out.entries[name]
	}
	return out
}

// afterPowerLoss returns the content as it is found, which is by then durable.
func (c *content) afterPowerLoss(r *rand.Rand) *content {
	d := c.durable()
	for _, ch := range c.since {
		switch fate := r.IntN(4); {
		case fate == 0: // nothing of it
		case ch.data == nil:
			d.truncate(ch.off)
		case fate == 1: // torn
			d.tear(ch, r)
		default:
			d.writeAt(ch.data, ch.off, math.MaxInt64)
		}
	}
	d.sync()
	return d
}

// tear writes a random part of the sectors of a write. The length may cover sectors that were lost.
func (c *content) tear(ch change, r *rand.Rand) {
	if r.IntN(2) == 0 {
		c.size = max(c.size, ch.off+int64(len(ch.data)))
	}
	for rest, off := ch.data, ch.off; len(rest) > 0; {
		n := min(len(rest), int(sectorSize-off%sectorSize))
		if r.IntN(2) == 0 {
			c.writeAt(rest[:n], off, math.MaxInt64)
		}
		rest, off = rest[n:], off+int64(n)
	}
}

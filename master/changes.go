package master

import (
	"sync"

	"github.com/dsorchard/granary"
)

// volumeChanges gathers which volumes entries have changed, from when somebody wants to know.
type volumeChanges struct {
	mu      sync.Mutex
	changed map[granary.VolumeID]struct{} // nil: nobody wants to know
}

// begin forgets what was gathered, and gathers from now on. Who calls it between two batches, and then reads all volumes, misses
// nothing.
func (c *volumeChanges) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = map[granary.VolumeID]struct{}{}
}

// end gathers no more.
func (c *volumeChanges) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = nil
}

// of returns the volumes that a batch is about to change, if anybody wants to know.
func (c *volumeChanges) of(p *pending) []granary.VolumeID {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		return nil
	}
	var ids []granary.VolumeID
	for i := range p.changes {
		if k := p.changes[i].key; k[0] == tableVolume && p.changes[i].made {
			ids = append(ids, granary.VolumeID(keyID(k, 0)))
		}
	}
	return ids
}

// note is called when what a batch has changed can be read.
func (c *volumeChanges) note(ids []granary.VolumeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		return
	}
	for _, id := range ids {
		c.changed[id] = struct{}{}
	}
}

// take returns what has been gathered, in no order.
func (c *volumeChanges) take() []granary.VolumeID {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := make([]granary.VolumeID, 0, len(c.changed))
	for id := range c.changed {
		ids = append(ids, id)
	}
	clear(c.changed)
	return ids
}

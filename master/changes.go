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

// begin forgets what was gathered, and gathers from now on. Who then reads all volumes misses nothing.
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

// note is called when what a batch has changed can be read.
func (c *volumeChanges) note(changed map[string][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		return
	}
	for k := range changed {
		if k[0] == tableVolume {
			c.changed[granary.VolumeID(keyID([]byte(k), 0))] = struct{}{}
		}
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

package master

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/dsorchard/granary"
)

// catalog is what the curator knows of the state. All volumes are decoded once, when a leader takes office, and afterwards
// those that entries have changed.
type catalog struct {
	changes *volumeChanges
	whole   bool // all volumes have been read

	volumes  map[granary.VolumeID]*volumeFacts
	sorted   []*volumeFacts // nil when volumes have come or gone
	disks    map[granary.DiskID]int32
	names    []granary.DiskID
	policies map[granary.PolicyID]granary.Policy
}

func newCatalog(st *state) *catalog {
	return &catalog{
		changes: &st.changes, volumes: map[granary.VolumeID]*volumeFacts{}, disks: map[granary.DiskID]int32{},
		policies: map[granary.PolicyID]granary.Policy{},
	}
}

// disk returns the number of a disk.
func (c *catalog) disk(id granary.DiskID) int32 {
	n, ok := c.disks[id]
	if !ok {
		n = int32(len(c.names))
		c.names = append(c.names, id)
		c.disks[id] = n
	}
	return n
}

// refresh takes in what was changed, and returns the disks that shards have left. The changes are taken before they are
// read: what changes in between is read now, and once more.
func (c *catalog) refresh(st *state, now time.Time) (left []granary.DiskID) {
	if !c.whole {
		st.applying.Lock() // between two batches, so that none is neither noted nor seen
		c.changes.begin()
		st.applying.Unlock()
		st.each(key(tableVolume), func(k, b []byte) {
			r, err := unmarshal[volumeRecord](b)
			must(err)
			c.put(granary.VolumeID(keyID(k, 0)), r, now)
		})
		c.whole = true
		return nil
	}
	for _, id := range c.changes.take() {
		before := c.volumes[id]
		after := c.put(id, one[volumeRecord](st, keyVolume(id)), now)
		left = c.leftBehind(left, before, after)
	}
	return left
}

// put replaces a volume; a nil record removes it.
func (c *catalog) put(id granary.VolumeID, r *volumeRecord, now time.Time) *volumeFacts {
	if r == nil {
		if _, ok := c.volumes[id]; ok {
			delete(c.volumes, id)
			c.sorted = nil
		}
		return nil
	}
	v := &volumeFacts{id: id, record: r, at: make([]int32, len(r.Disks)), grown: now, moved: now}
	for i, d := range r.Disks {
		v.at[i] = c.disk(d)
		r.Disks[i] = c.names[v.at[i]] // one copy of the name
	}
	for i, d := range r.Targets {
		if d == "" {
			continue
		}
		if v.aims == nil {
			v.aims = slices.Repeat([]int32{-1}, len(r.Disks))
		}
		v.aims[i] = c.disk(d)
	}
	if _, ok := c.volumes[id]; ok && c.sorted != nil {
		at, _ := slices.BinarySearchFunc(c.sorted, id, func(v *volumeFacts, id granary.VolumeID) int { return cmp.Compare(v.id, id) })
		c.sorted[at] = v
	} else if !ok {
		c.sorted = nil
	}
	if old := c.volumes[id]; old != nil {
		if old.record.Watermark == r.Watermark && old.record.State == r.State {
			v.grown = old.grown
		}
		if slices.Equal(old.at, v.at) && old.record.Lost == r.Lost {
			v.moved = old.moved
		}
	}
	c.volumes[id] = v
	return v
}

// leftBehind adds the disks on which a volume had a shard, or the target of one, and has none any more.
func (c *catalog) leftBehind(left []granary.DiskID, before, after *volumeFacts) []granary.DiskID {
	if before == nil {
		return left
	}
	for _, at := range append(slices.Clone(before.at), before.aims...) {
		if at >= 0 && (after == nil || !slices.Contains(after.at, at) && !slices.Contains(after.aims, at)) && !slices.Contains(left, c.names[at]) {
			left = append(left, c.names[at])
		}
	}
	return left
}

// all returns the volumes by id.
func (c *catalog) all() []*volumeFacts {
	if c.sorted == nil {
		c.sorted = slices.SortedFunc(maps.Values(c.volumes), func(a, b *volumeFacts) int { return cmp.Compare(a.id, b.id) })
	}
	return c.sorted
}

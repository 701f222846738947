package fsck

import (
	"context"
	"math"

	"github.com/dsorchard/granary"
)

// recounts is how often what differs is counted again.
const recounts = 2

// counts are what files refer to a block, and what the state says that they do, over some counts.
type counts struct {
	now, refs         uint64 // of the count under way
	countMin, refsMax uint64
}

// checkFiles walks all files: it counts the references of blocks, and notes which files are hit by lost blocks.
func (c *Check) checkFiles(ctx context.Context) error {
	status, err := ask[*granary.Status](ctx, c, &granary.GetStatus{})
	if err != nil {
		return err
	}
	c.begin("files", status.Files)
	t := newTally()
	hit := map[granary.InodeID]*FileFault{}
	w := &walk{
		fn: func(path string, l *granary.Layout, attr *granary.Attr) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			for i := range l.Extents {
				e := &l.Extents[i]
				if c.o.Refs {
					t.add(e.Block, 1)
				}
				if _, lost := c.lost[e.Block]; lost && c.o.Paths {
					addRange(hit, path, attr, e)
				}
			}
			return nil
		},
		fail: func(path string, attr *granary.Attr, err error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.report.Damaged = append(c.report.Damaged, FileFault{Path: path, Inode: attr.Inode, Size: attr.Size, Detail: err.Error()})
		},
	}
	if err := c.walkFiles(ctx, w); err != nil {
		return err
	}
	c.report.Files = c.done
	for _, f := range hit {
		c.report.Damaged = append(c.report.Damaged, *f)
	}
	if !c.o.Refs {
		return nil
	}
	return c.compareRefs(ctx, t)
}

func addRange(hit map[granary.InodeID]*FileFault, path string, attr *granary.Attr, e *granary.Extent) {
	f := hit[attr.Inode]
	if f == nil {
		f = &FileFault{Path: path, Inode: attr.Inode, Size: attr.Size}
		hit[attr.Inode] = f
	}
	if n := len(f.Ranges); n > 0 && f.Ranges[n-1].Offset+f.Ranges[n-1].Length == e.Offset {
		f.Ranges[n-1].Length += e.Length
		return
	}
	f.Ranges = append(f.Ranges, granary.Range{Offset: e.Offset, Length: e.Length})
}

// eachStored calls fn with all live blocks.
func (c *Check) eachStored(ctx context.Context, fn func(*granary.StoredBlock)) error {
	return c.eachVolume(ctx, func(v *granary.Volume) error {
		return c.eachBlock(ctx, v.ID, 0, 0, func(b *granary.StoredBlock) (bool, error) {
			fn(b)
			return true, nil
		})
	})
}

// compareRefs compares the references that were counted with those that the state has.
func (c *Check) compareRefs(ctx context.Context, t *tally) error {
	blocks := uint64(0)
	err := c.eachStored(ctx, func(b *granary.StoredBlock) {
		blocks++
		t.add(b.Block.ID, -int64(b.Refs))
	})
	if err != nil {
		return err
	}
	c.report.Blocks = max(c.report.Blocks, blocks)
	differ := map[granary.BlockID]*counts{}
	for id, n := range t.all() {
		if n > 0 {
			differ[id] = &counts{countMin: math.MaxUint64}
		} else {
			c.report.Held++
		}
	}
	for round := 0; round < recounts && len(differ) > 0; round++ {
		if err := c.recount(ctx, differ); err != nil {
			return err
		}
	}
	for id, n := range differ {
		c.report.Refs = append(c.report.Refs, RefFault{Block: id, Counted: n.countMin, Refs: n.refsMax})
	}
	return nil
}

// recount counts the references of some blocks once more, and drops those whose counts agree, or of which one moment may have seen
// what another did not.
func (c *Check) recount(ctx context.Context, differ map[granary.BlockID]*counts) error {
	for _, n := range differ {
		n.now, n.refs = 0, 0
	}
	err := c.walkFiles(ctx, &walk{
		fn: func(_ string, l *granary.Layout, _ *granary.Attr) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			for i := range l.Extents {
				if n := differ[l.Extents[i].Block]; n != nil {
					n.now++
				}
			}
			return nil
		},
		fail: func(string, *granary.Attr, error) {},
	})
	if err != nil {
		return err
	}
	err = c.eachStored(ctx, func(b *granary.StoredBlock) {
		if n := differ[b.Block.ID]; n != nil {
			n.refs = max(n.refs, b.Refs)
		}
	})
	if err != nil {
		return err
	}
	for id, n := range differ {
		n.countMin, n.refsMax = min(n.countMin, n.now), max(n.refsMax, n.refs)
		if n.countMin <= n.refsMax {
			delete(differ, id)
		}
	}
	return nil
}

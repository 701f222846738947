package master

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/dsorchard/granary"
)

// manyChunks makes a file of n chunks that differ from those of all other files.
func manyChunks(m *machine, name string, n int) {
	m.t.Helper()
	c := granary.Content{}
	for i := range n {
		c.Chunks = append(c.Chunks, m.chunk([]byte(fmt.Sprint(name, i))))
		c.Extents = append(c.Extents, granary.ExtentWrite{Offset: uint64(i), Length: 1, Chunk: uint32(i)})
	}
	m.ok(&granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular, Content: &c})
}

// TestOldStateIsIndexed applies commands of the release that knew no tables of places, and has what they made entered.
func TestOldStateIsIndexed(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.register(2)
	m.version = commandVersionNoPlaces
	for i := range 300 {
		m.openVolume()
		m.put(fmt.Sprint(i), fmt.Sprint("text", i))
	}
	for i := range 4 {
		manyChunks(m, fmt.Sprint("many", i), 1000)
	}
	m.ok(&granary.SetPolicy{Inode: granary.RootInode, Policy: granary.Policy{DataShards: 1, ParityShards: 1}})
	m.ok(&granary.SealVolume{Volume: 1, Epoch: 1})
	m.check()
	if v := m.getVolume(1); v.Policy != 0 || v.OpenedAt != 0 || v.SealedAt != 0 || v.Ends[0] != 0 || len(m.s.sweeps(1)) != 0 {
		t.Fatalf("%+v, %v", v, m.s.sweeps(1))
	}
	before := m.s.current()

	m.version = 0
	m.fails(granary.KindBusy, &granary.SetDisk{Disk: "d1", State: granary.DiskRetired})
	if _, err := m.query(&granary.ListBlocks{Volume: 1}); !granary.IsKind(err, granary.KindBusy) {
		t.Fatal(err)
	}
	steps := 0
	for step := m.s.head.indexStep(); step != nil; step = m.s.head.indexStep() {
		if r := m.itemOK(step); r.Offset > indexKeysMax {
			t.Fatalf("%d keys in one step", r.Offset)
		}
		m.itemFails(granary.KindStale, step)
		m.put(fmt.Sprint("new", steps), fmt.Sprint("new", steps)) // meanwhile
		m.ok(&granary.Unlink{Parent: granary.RootInode, Name: fmt.Sprint(100 - steps)})
		m.drain(0)
		m.check()
		steps++
	}
	if steps < 4 {
		t.Fatalf("%d steps", steps)
	}
	m.fails(granary.KindNotEmpty, &granary.SetDisk{Disk: "d1", State: granary.DiskRetired})
	if blocks := m.listBlocks(1); len(blocks) != 1 || m.getVolume(1).Ends[0] != blocks[0].Block.Location.Offset+uint64(blocks[0].Block.Location.Length) {
		t.Fatalf("%+v, %+v", blocks, m.getVolume(1))
	}

	// A state that an earlier release wrote is where such commands leave it.
	head := before
	head.IndexVolume, head.IndexBlock = 0, 0
	old := marshal(&head, 1)
	old[0] = 3
	if r, err := unmarshal[headRecord](old[:len(old)-5]); err != nil || !reflect.DeepEqual(*r, before) {
		t.Fatalf("%+v, %v, want %+v", r, err, before)
	}
}

// TestNewStateNeedsNoIndex: where nothing was made by an earlier release there is nothing to enter.
func TestNewStateNeedsNoIndex(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.put("f", "text")
	if step := m.s.head.indexStep(); step != nil {
		t.Fatalf("%+v", step)
	}
	m.itemFails(granary.KindStale, &indexBlocks{Volume: 1})
	m.itemFails(granary.KindStale, &indexBlocks{From: 1})
	m.itemFails(granary.KindStale, &indexBlocks{})
}

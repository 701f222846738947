package master

import (
	"testing"

	"github.com/dsorchard/granary"
)

// TestMarks: random changes of files leave marks on exactly the windows that are cut too finely, which the check recounts; commands of
// earlier versions make none, and what they cut is marked when it is next written.
func TestMarks(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	f := m.ok(createOp("f")).Attr.Inode
	marks := func() (windows []uint64) {
		found, _ := m.s.fineFiles(0, 10, 10, func(granary.InodeID, *inodeRecord) (uint64, bool) { return 0, true })
		for _, file := range found {
			windows = append(windows, file.Windows...)
		}
		return windows
	}
	c := m.content(0, make([]byte, 1000))
	cut := func(at uint64) {
		again := c
		again.Extents = nil
		for i := range uint64(granary.WindowExtentsMax + 1) {
			again.Extents = append(again.Extents, granary.ExtentWrite{Offset: at + i*10, Length: 10, ChunkOffset: uint32(i % 7)})
		}
		m.ok(&granary.Commit{Inode: f, Content: again})
		for i := range c.Chunks {
			c.Chunks[i].New = false
		}
	}
	m.version = commandVersionNoMarks
	cut(0)
	if got := marks(); len(got) != 0 {
		t.Fatalf("by an earlier version: %d", got)
	}
	m.version = commandVersion
	cut(windowSize)
	if got := marks(); len(got) != 1 || got[0] != 1 {
		t.Fatalf("what was cut now: %d", got)
	}
	m.check()
	cut(5)
	if got := marks(); len(got) != 2 {
		t.Fatalf("what was cut before, and now: %d", got)
	}
	m.check()
	m.ok(&granary.Allocate{Inode: f, Offset: 100, Length: 800, Mode: granary.AllocatePunch, KeepSize: true})
	if got := marks(); len(got) != 1 {
		t.Fatalf("after a hole: %d", got)
	}
	m.check()
}

package filer

import (
	"context"

	"github.com/dsorchard/granary"
)

// CountBlocks returns how many blocks a file refers to, a block as often as runs of extents that follow each other do. What is inline is
// none.
func (fs *FS) CountBlocks(ctx context.Context, ino granary.InodeID) (uint64, error) {
	var count uint64
	var last granary.BlockID
	for off := uint64(0); ; {
		found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: ino, Stored: true, Layout: &granary.Range{Offset: off, Length: granary.FileSizeMax - off}})
		if err != nil {
			return 0, err
		}
		if found.Layout == nil {
			return 0, granary.Errorf(granary.KindInternal, "count blocks", ino.String(), "the answer has no layout")
		}
		for _, e := range found.Layout.Extents {
			if e.Block != last {
				count++
			}
			last = e.Block
		}
		n := len(found.Layout.Extents)
		if !found.Layout.Truncated || n == 0 {
			return count, nil
		}
		end := found.Layout.Extents[n-1]
		off = end.Offset + end.Length
	}
}

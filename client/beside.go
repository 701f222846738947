package client

import (
	"slices"

	"github.com/dsorchard/granary"
)

// Beside returns at most n regular files of a file's directory that have content, and of at most so many bytes, as far as that is known without
// asking: those that follow it in the directory's listing, and then those from its beginning.
func (c *Client) Beside(file granary.InodeID, n int, size uint64) []granary.InodeID {
	k := c.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.things[thing{inode: file}]
	if k.left() <= 0 || i == nil || !i.known {
		return nil
	}
	dir := k.things[thing{inode: i.attr.Parent}]
	if dir == nil {
		return nil
	}
	for _, p := range dir.pages {
		if at := slices.Index(p.inodes, file); at >= 0 {
			return k.small(p, at, n, size)
		}
	}
	return nil
}

// small returns at most n small files of a page, from a place on and around.
func (k *kept) small(p *page, at, n int, size uint64) (files []granary.InodeID) {
	for step := 1; step < len(p.inodes) && len(files) < n; step++ {
		id := p.inodes[(at+step)%len(p.inodes)]
		i := k.things[thing{inode: id}]
		if i != nil && i.known && i.attr.Type == granary.TypeRegular && i.attr.Size > 0 && i.attr.Size <= size {
			files = append(files, id)
		}
	}
	return files
}

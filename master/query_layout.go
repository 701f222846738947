package master

import (
	"fmt"
	"slices"

	"github.com/dsorchard/granary"
)

// layoutExtentsMax bounds the extents of one Layout.
const layoutExtentsMax = 4096

// layout returns where the bytes of a range of a file are.
func (v *view) layout(r *inodeRecord, q granary.Range) (*granary.Layout, error) {
	a := &granary.Layout{Size: r.Size, ContentVersion: r.ContentVersion}
	if r.Inline > 0 {
		x, err := read[bytesRecord](v, keyInline(r.Inode))
		if err != nil {
			return nil, err
		}
		if x == nil {
			return nil, granary.Errorf(granary.KindCorrupt, "lookup", r.Inode.String(), "its inline content is gone")
		}
		a.Inline = x.Bytes
	}
	assembly, next, err := v.assembly(r)
	if err != nil {
		return nil, err
	}
	if r.ExtentBytes == 0 && assembly == nil || q.Offset >= r.Size || q.Length == 0 {
		return a, nil
	}
	end := q.Offset + min(q.Length, r.Size-q.Offset)
	for _, s := range sourcesOf(r, assembly, next, q.Offset, end) {
		if err := v.extents(a, &s, q.Offset, end); err != nil {
			return nil, err
		}
		if a.Truncated {
			break
		}
	}
	return a, v.locate(a)
}

// extents adds those of a source that lie in [from, to) of the file to a layout.
func (v *view) extents(a *granary.Layout, s *extentSource, from, to uint64) error {
	lower, upper, ok := s.windows(from, to)
	if !ok {
		return nil
	}
	return v.scan(lower, upper, func(k, b []byte) (bool, error) {
		w, err := unmarshalWindow(keyID(k, 1), b)
		if err != nil {
			return false, errStore(k, err)
		}
		for _, p := range w.Pieces {
			p, ok := s.place(p)
			if !ok || p.end() <= from || p.Offset >= to {
				continue
			}
			if len(a.Extents) == layoutExtentsMax {
				a.Truncated = true
				return false, nil
			}
			a.Extents = append(a.Extents, granary.Extent{Offset: p.Offset, Length: p.Length, Block: p.Block, ChunkOffset: p.ChunkOffset})
		}
		return true, nil
	})
}

// locate adds the blocks that a layout's extents name, and their volumes: each once, by id.
func (v *view) locate(a *granary.Layout) error {
	blocks := make([]granary.BlockID, 0, len(a.Extents))
	for i := range a.Extents {
		blocks = append(blocks, a.Extents[i].Block)
	}
	slices.Sort(blocks)
	var volumes []granary.VolumeID
	for _, id := range slices.Compact(blocks) {
		b, err := read[blockRecord](v, keyBlock(id))
		if err != nil {
			return err
		}
		if b == nil {
			return granary.Errorf(granary.KindCorrupt, "lookup", fmt.Sprint(id), "an extent names a block that does not exist")
		}
		a.Blocks = append(a.Blocks, granary.BlockInfo{ID: id, Hash: b.Hash, RawLength: b.RawLength, Location: b.Location})
		volumes = append(volumes, b.Location.Volume)
	}
	slices.Sort(volumes)
	for _, id := range slices.Compact(volumes) {
		r, err := read[volumeRecord](v, keyVolume(id))
		if err != nil {
			return err
		}
		if r == nil {
			return granary.Errorf(granary.KindCorrupt, "lookup", fmt.Sprint(id), "a block lies in a volume that does not exist")
		}
		a.Volumes = append(a.Volumes, *v.places.volume(id, r, v.up))
	}
	return nil
}

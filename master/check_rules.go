package master

import (
	"github.com/cespare/xxhash/v2"

	"github.com/dsorchard/granary"
)

func (a *audit) checkInodes() {
	for id, r := range a.inodes {
		if a.queued[id] != nil {
			a.bad("inode %d is in the queue, too", id)
		}
		fixed := id == granary.RootInode || id == id.Dataset().System()
		switch {
		case r.IsDir():
			if !fixed && a.names[id] != 1 {
				a.bad("directory %d has %d names", id, a.names[id])
			}
			if r.Entries != a.entries[id] || r.Subdirs != a.subdirs[id] || uint64(r.Nlink) != 2+r.Subdirs {
				a.bad("directory %d: %d entries, %d directories, %d links; counted %d and %d", id, r.Entries, r.Subdirs, r.Nlink, a.entries[id], a.subdirs[id])
			}
		case uint64(r.Nlink) != a.names[id]:
			a.bad("inode %d has %d links and %d names", id, r.Nlink, a.names[id])
		case r.Nlink == 0 && (r.Lost == 0) != (a.orphans[id] != 0), r.Nlink > 0 && (a.orphans[id] != 0 || r.Lost != 0):
			a.bad("inode %d has %d links, is kept by session %d, and nameless since %d", id, r.Nlink, a.orphans[id], r.Lost)
		}
		if r.Lost != a.nameless[id] {
			a.bad("inode %d is nameless since %d, and listed as that since %d", id, r.Lost, a.nameless[id])
		}
		a.checkContent(id, r)
	}
	for id, session := range a.orphans {
		if a.inodes[id] == nil || !a.sessions[session] && !a.ending[session] {
			a.bad("session %d keeps inode %d: one of them does not exist", session, id)
		}
	}
	for id := range a.nameless {
		if a.inodes[id] == nil {
			a.bad("inode %d is listed as nameless, and does not exist", id)
		}
	}
	for _, m := range []map[granary.InodeID]uint64{a.extents, a.inline, a.xattrs} {
		for id := range m {
			if a.inodes[id] == nil && a.queued[id] == nil {
				a.bad("something hangs on inode %d, which does not exist", id)
			}
		}
	}
}

// checkNames verifies that what has the name of a directory, and is none, says so.
func (a *audit) checkNames() {
	for k, twin := range a.otherNames {
		if twin != a.dirNames[k] {
			a.bad("dentry %q: says that there is a directory of the same name: %t", k, twin)
		}
	}
}

// checkLists verifies that flags tell which attributes there are, and that an access control list is that of the mode. A
// capability of before there was a flag has none.
func (a *audit) checkLists(id granary.InodeID, r *inodeRecord) {
	const lists = granary.FlagACL | granary.FlagDefaultACL
	there, told := a.special[id], r.Flags&(lists|granary.FlagCapability)
	if told&lists != there&lists || told&^there != 0 || told&granary.FlagDefaultACL != 0 && !r.IsDir() {
		a.bad("inode %d: a %s with attributes of flags %x has flags %x", id, r.Type, there, told)
	}
	if encrypted := (there | r.Flags) & granary.FlagEncrypted; encrypted&there&r.Flags != encrypted || encrypted != 0 && r.Type != granary.TypeRegular {
		a.bad("inode %d: a %s with attributes of flags %x has flags %x", id, r.Type, there, r.Flags)
	}
	if r.Flags&granary.FlagACL == 0 {
		return
	}
	l, err := parseACL("check", id.String(), a.lists[id])
	if err != nil || l == nil || l.minimal() || l.mode() != r.Mode&modeAccess {
		a.bad("inode %d: mode %o and access control list %v, %v", id, r.Mode, l, err)
	}
}

func (a *audit) checkContent(id granary.InodeID, r *inodeRecord) {
	a.checkLists(id, r)
	if r.ExtentBytes != a.extents[id] || r.Inline != a.inline[id] || r.Xattrs != a.xattrs[id] {
		a.bad("inode %d: %d bytes in extents, %d inline, %d attributes; counted %d, %d, %d", id,
			r.ExtentBytes, r.Inline, r.Xattrs, a.extents[id], a.inline[id], a.xattrs[id])
	}
	covered := uint64(0)
	if w := a.windows0[id]; w != nil {
		for _, p := range w.Pieces {
			if p.Offset < r.Inline {
				covered += min(p.end(), r.Inline) - p.Offset
			}
		}
	}
	if a.assemblies[id] == nil && r.Allocated != r.ExtentBytes+r.Inline-covered || a.assemblies[id] != nil && r.Allocated != r.Size || r.Inline > 0 && covered == r.Inline || r.Inline > r.Size {
		a.bad("inode %d: size %d, allocated %d of %d in extents and %d inline, %d of it covered", id, r.Size, r.Allocated, r.ExtentBytes, r.Inline, covered)
	}
}

// checkAssemblies verifies that each file that is put together of parts has its list, and each list its parts.
func (a *audit) checkAssemblies() {
	for id, r := range a.inodes {
		assembling := r.Flags&granary.FlagAssembling != 0
		if listed := a.assemblies[id] != nil; assembling != listed {
			a.bad("inode %d is being assembled: %t, has a list of parts: %t", id, assembling, listed)
		}
	}
	for id, r := range a.assemblies {
		if _, ok := a.partsDone[id]; !ok {
			a.bad("the assembly of inode %d is not queued", id)
		}
		for i, p := range r.Parts {
			switch part := a.inodes[p.Inode]; {
			case part == nil:
				a.bad("part %d of inode %d does not exist", i, id)
			case uint64(i) < a.partsDone[id] && (part.Size != 0 || part.ExtentBytes != 0 && a.inodes[id] != nil), uint64(i) >= a.partsDone[id] && part.Size != p.Size:
				a.bad("part %d of inode %d, %d of which are done, has %d bytes, %d in extents", i, id, a.partsDone[id], part.Size, part.ExtentBytes)
			}
		}
	}
	for id := range a.partsDone {
		if a.assemblies[id] == nil {
			a.bad("the assembly of inode %d is queued, and has no list", id)
		}
	}
}

// unmoved returns the bytes that count for an assembled file and no longer for those of its parts that have them still.
func (a *audit) unmoved(id granary.InodeID) (n uint64) {
	parts := a.assemblies[id].Parts
	for _, p := range parts[min(a.partsDone[id], uint64(len(parts))):] {
		n += p.Size
	}
	return n
}

func (a *audit) checkBlocks() {
	live := map[granary.VolumeID]uint64{}
	var unique, stored uint64
	for id, b := range a.blocks {
		if b.Refs == 0 || b.Refs != a.refs[id] {
			a.bad("block %d has %d references, counted %d", id, b.Refs, a.refs[id])
		}
		if a.hashes[id] != xxhash.Sum64(keyHash(b.Domain, b.Hash)) {
			a.bad("block %d is not found by its hash", id)
		}
		if v := a.volumes[b.Location.Volume]; v == nil || b.Location.Offset+uint64(b.Location.Length) > v.Watermark {
			a.bad("block %d lies beyond the watermark of its volume", id)
		}
		a.checkReach(id, b)
		live[b.Location.Volume] += uint64(b.Location.Length)
		unique += uint64(b.RawLength)
		stored += uint64(b.Location.Length)
	}
	if len(a.hashes) != len(a.blocks) {
		a.bad("%d hashes for %d blocks", len(a.hashes), len(a.blocks))
	}
	for id := range a.refs {
		if a.blocks[id] == nil {
			a.bad("block %d is referenced and does not exist", id)
		}
	}
	for id, v := range a.volumes {
		a.checkVolume(id, v, live[id])
	}
	a.checkPlaces()
	if unique != a.head.UniqueBytes || stored != a.head.BlockBytes {
		a.bad("%d unique bytes, %d stored; counted %d and %d", a.head.UniqueBytes, a.head.BlockBytes, unique, stored)
	}
}

func (a *audit) checkSums() {
	sums := map[granary.DatasetID]*datasetRecord{}
	var total datasetRecord
	dying := uint64(0)
	of := func(id granary.InodeID) *datasetRecord {
		if sums[id.Dataset()] == nil {
			sums[id.Dataset()] = &datasetRecord{}
		}
		return sums[id.Dataset()]
	}
	for id, r := range a.inodes {
		d := of(id)
		d.Inodes++
		if r.IsDir() {
			continue
		}
		if r.Lost != 0 {
			continue // it counts for nobody
		}
		d.Files++
		total.Files++
		if r.Type == granary.TypeRegular {
			d.LogicalBytes += r.Size
			total.LogicalBytes += r.Size
		}
	}
	for id, r := range a.assemblies {
		n := a.unmoved(id)
		of(r.Upload).LogicalBytes -= n
		total.LogicalBytes -= n
	}
	for id, r := range a.queued {
		of(id).Inodes++
		if r.IsDir() {
			dying++
		}
	}
	for id, d := range a.datasets {
		if c := of(id.Root()); c.Inodes != d.Inodes || c.Files != d.Files || c.LogicalBytes != d.LogicalBytes {
			a.bad("dataset %d is %+v, counted %+v", id, *d, *c)
		}
	}
	for id := range sums {
		if a.datasets[id] == nil {
			a.bad("dataset %d does not exist", id)
		}
	}
	h := &a.head
	if h.Files != total.Files || h.LogicalBytes != total.LogicalBytes || h.Queue != a.queue || h.DyingDirs != dying || h.Sessions != uint64(len(a.sessions)) {
		a.bad("head %+v, counted %d files, %d bytes, %d queued, %d dying, %d sessions", *h, total.Files, total.LogicalBytes, a.queue, dying, len(a.sessions))
	}
}

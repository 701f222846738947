package master

import (
	"context"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// violationsMax is how many violations a report tells; it counts all.
const violationsMax = 100

// StateReport is what a check of a state found.
type StateReport struct {
	Cluster      granary.ClusterID
	Index        granary.Index // of the last entry in it
	Time         granary.Time  // of the last command in it
	Incarnation  uint64
	Inodes       uint64 // files, directories and others that have a name or are kept open
	Blocks       uint64
	Volumes      uint64
	Datasets     uint64
	Sessions     uint64
	Queued       uint64   // removals not completed yet
	LogicalBytes uint64   // sum of the sizes of files
	BlockBytes   uint64   // of blocks, as stored
	Violations   []string // the first of them
	Violated     uint64   // how many there are
}

// Err is nil if the check found nothing wrong.
func (r *StateReport) Err() error {
	if r.Violated == 0 {
		return nil
	}
	errs := make([]error, 0, len(r.Violations)+1)
	for _, v := range r.Violations {
		errs = append(errs, errors.New(v))
	}
	if more := r.Violated - uint64(len(r.Violations)); more > 0 {
		errs = append(errs, fmt.Errorf("and %d more", more))
	}
	return granary.Errorf(granary.KindCorrupt, "check", string(r.Cluster), "%w", errors.Join(errs...))
}

// CheckState checks the state in a directory, which nobody else may use: it recounts references,
// names, links, sums and quotas, and looks for what hangs on nothing. It changes nothing.
func CheckState(ctx context.Context, dir string) (*StateReport, error) {
	st, err := openState(dir, stateOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	r, err := st.audit(ctx)
	return r, errors.Join(err, st.close())
}

// audit recounts everything that the state keeps counts of.
type audit struct {
	report   StateReport
	head     headRecord
	inodes   map[granary.InodeID]*inodeRecord
	queued   map[granary.InodeID]*inodeRecord
	names    map[granary.InodeID]uint64 // dentries that lead to an inode
	entries  map[granary.InodeID]uint64
	subdirs  map[granary.InodeID]uint64
	orphans  map[granary.InodeID]granary.SessionID
	nameless map[granary.InodeID]granary.Index
	extents  map[granary.InodeID]uint64
	windows0 map[granary.InodeID]*windowRecord
	inline   map[granary.InodeID]uint64
	xattrs   map[granary.InodeID]uint64
	blocks   map[granary.BlockID]*blockRecord
	refs     map[granary.BlockID]uint64
	hashes   map[granary.BlockID]uint64 // digest of the key that leads to a block
	volumes  map[granary.VolumeID]*volumeRecord
	writing  map[granary.VolumeID]granary.SessionID
	datasets map[granary.DatasetID]*datasetRecord
	sessions map[granary.SessionID]bool
	ending   map[granary.SessionID]bool
	queue    uint64

	owners     map[ownerKey]*ownerRecord
	rootNames  map[granary.DatasetID]string
	forgotten  map[granary.DatasetID]bool // gone, with owners in the queue
	assemblies map[granary.InodeID]*assemblyRecord
	partsDone  map[granary.InodeID]uint64
}

func (a *audit) bad(format string, args ...any) {
	a.report.Violated++
	if len(a.report.Violations) < violationsMax {
		a.report.Violations = append(a.report.Violations, fmt.Sprintf(format, args...))
	}
}

// check verifies the invariants of the state.
func (s *state) check() error {
	r, err := s.audit(context.Background())
	if err != nil {
		return err
	}
	return r.Err()
}

// audit checks the state as it is now, whatever is applied meanwhile.
func (s *state) audit(ctx context.Context) (*StateReport, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return nil, errClosed("check")
	}
	snap := s.db.NewSnapshot()
	a := newAudit()
	err := a.run(ctx, snap)
	if err := errors.Join(err, snap.Close()); err != nil {
		return nil, granary.Errorf(granary.KindInternal, "check", "", "metadata store: %w", err)
	}
	a.finish()
	return &a.report, nil
}

func newAudit() *audit {
	return &audit{
		inodes: map[granary.InodeID]*inodeRecord{}, queued: map[granary.InodeID]*inodeRecord{},
		names: map[granary.InodeID]uint64{}, entries: map[granary.InodeID]uint64{}, subdirs: map[granary.InodeID]uint64{},
		orphans: map[granary.InodeID]granary.SessionID{}, nameless: map[granary.InodeID]granary.Index{}, extents: map[granary.InodeID]uint64{},
		windows0: map[granary.InodeID]*windowRecord{},
		inline:   map[granary.InodeID]uint64{}, xattrs: map[granary.InodeID]uint64{},
		blocks: map[granary.BlockID]*blockRecord{}, refs: map[granary.BlockID]uint64{}, hashes: map[granary.BlockID]uint64{},
		volumes: map[granary.VolumeID]*volumeRecord{}, writing: map[granary.VolumeID]granary.SessionID{},
		datasets: map[granary.DatasetID]*datasetRecord{},
		sessions: map[granary.SessionID]bool{}, ending: map[granary.SessionID]bool{},
		owners: map[ownerKey]*ownerRecord{}, rootNames: map[granary.DatasetID]string{}, forgotten: map[granary.DatasetID]bool{},
		assemblies: map[granary.InodeID]*assemblyRecord{}, partsDone: map[granary.InodeID]uint64{},
	}
}

// run reads all tables, and then compares.
func (a *audit) run(ctx context.Context, r pebble.Reader) error {
	for _, table := range []byte{tableHead, tableInode, tableQueue, tableAssembly, tableSession, tableDentry, tableOrphan, tableNoName, tableExtent, tableInline,
		tableXattr, tableBlock, tableHash, tableVolume, tableWriting, tableDataset, tableOwner} {
		if err := a.scan(ctx, r, table); err != nil {
			return err
		}
	}
	a.checkInodes()
	a.checkAssemblies()
	a.checkBlocks()
	a.checkSums()
	a.checkUsage()
	return nil
}

// auditKeys is how many keys are read between two looks at whether to go on.
const auditKeys = 4096

func (a *audit) scan(ctx context.Context, r pebble.Reader, table byte) error {
	prefix := []byte{table}
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyEnd(prefix)})
	if err != nil {
		return err
	}
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n++; n%auditKeys == 0 && ctx.Err() != nil {
			return errors.Join(ctx.Err(), it.Close())
		}
		a.load(it.Key(), it.Value())
	}
	return errors.Join(it.Error(), it.Close())
}

// finish fills in what the report tells besides.
func (a *audit) finish() {
	r, h := &a.report, &a.head
	r.Cluster, r.Index, r.Time, r.Incarnation = h.Cluster, granary.Index(h.Applied), h.Time, h.Incarnation
	r.Inodes, r.Blocks, r.Volumes = uint64(len(a.inodes)), uint64(len(a.blocks)), uint64(len(a.volumes))
	r.Datasets, r.Sessions, r.Queued = uint64(len(a.datasets)), uint64(len(a.sessions)), a.queue
	r.LogicalBytes, r.BlockBytes = h.LogicalBytes, h.BlockBytes
}

func decoded[T any, P record[T]](a *audit, k, b []byte) P {
	r, err := unmarshal[T, P](b)
	if err != nil {
		a.bad("key %q: %v", k, err)
		return P(new(T))
	}
	return r
}

func (a *audit) load(k, b []byte) {
	inode := granary.InodeID(keyID(k, 0))
	switch k[0] {
	case tableHead:
		a.head = *decoded[headRecord](a, k, b)
	case tableInode:
		a.inodes[inode] = decoded[inodeRecord](a, k, b)
	case tableQueue:
		a.queue++
		id := keyID(k[1:], 0)
		switch queueKind(k[1]) {
		case queueInode:
			a.queued[granary.InodeID(id)] = decoded[inodeRecord](a, k, b)
		case queueSession:
			a.ending[granary.SessionID(id)] = true
		case queueOwners:
			a.forgotten[granary.DatasetID(id)] = true
		case queueAssembly:
			a.partsDone[granary.InodeID(id)] = decoded[numberRecord](a, k, b).Number
		}
	case tableAssembly:
		r := decoded[assemblyRecord](a, k, b)
		a.assemblies[inode] = r
		a.queued[r.Upload] = &r.Dir
	case tableSession:
		a.sessions[granary.SessionID(inode)] = true
	case tableDentry:
		a.loadDentry(k, b)
	case tableOrphan:
		a.orphans[granary.InodeID(keyID(k, 1))] = granary.SessionID(inode)
	case tableNoName:
		a.loadNameless(namelessOf(k))
	case tableExtent:
		a.loadWindow(k, b)
	case tableInline:
		a.inline[inode] = uint64(len(decoded[bytesRecord](a, k, b).Bytes))
	case tableXattr:
		a.xattrs[inode]++
	case tableBlock:
		a.blocks[granary.BlockID(inode)] = decoded[blockRecord](a, k, b)
	case tableHash:
		a.hashes[granary.BlockID(decoded[numberRecord](a, k, b).Number)] = xxhash.Sum64(k)
	case tableVolume:
		a.volumes[granary.VolumeID(inode)] = decoded[volumeRecord](a, k, b)
	case tableWriting:
		a.writing[granary.VolumeID(keyID(k, 1))] = granary.SessionID(inode)
	case tableDataset:
		a.datasets[granary.DatasetID(inode)] = decoded[datasetRecord](a, k, b)
	case tableOwner:
		a.loadOwner(k, b)
	}
}

func (a *audit) loadNameless(n nameless) {
	if n.Since == 0 || a.nameless[n.Inode] != 0 {
		a.bad("inode %d is listed as nameless since %d and %d", n.Inode, n.Since, a.nameless[n.Inode])
	}
	a.nameless[n.Inode] = n.Since
}

func (a *audit) loadDentry(k, b []byte) {
	d := decoded[dentryRecord](a, k, b)
	parent := granary.InodeID(keyID(k, 0))
	name, dir := dentryName(k)
	if err := checkName("check", name); err != nil {
		a.bad("dentry %q: %v", k, err)
	}
	child := a.inodes[d.Inode]
	switch {
	case child == nil:
		a.bad("%d/%s leads to inode %d, which does not exist", parent, name, d.Inode)
		return
	case child.Type != d.Type || child.IsDir() != dir:
		a.bad("%d/%s: type %d, but the inode's is %d", parent, name, d.Type, child.Type)
	case a.inodes[parent] == nil && a.queued[parent] == nil:
		a.bad("%d/%s lies in no directory", parent, name)
	case dir && child.Parent != parent:
		a.bad("%d/%s: the directory's parent is %d", parent, name, child.Parent)
	}
	if id := d.Inode.Dataset(); d.Inode == id.Root() {
		a.rootNames[id] = name
	}
	a.names[d.Inode]++
	a.entries[parent]++
	if dir {
		a.subdirs[parent]++
	}
}

func (a *audit) loadWindow(k, b []byte) {
	inode, n := granary.InodeID(keyID(k, 0)), keyID(k, 1)
	w, err := unmarshalWindow(n, b)
	if err != nil {
		a.bad("window %d of %d: %v", n, inode, err)
		return
	}
	if len(w.Pieces) == 0 {
		a.bad("window %d of %d is empty", n, inode)
	}
	a.extents[inode] += w.bytes()
	for _, p := range w.Pieces {
		a.refs[p.Block]++
		r := a.inodes[inode]
		if r != nil && checkMoved("check", r) == nil && n < r.windowsEnd() && p.end() > r.Size {
			a.bad("inode %d has an extent up to %d, beyond its %d bytes", inode, p.end(), r.Size)
		}
	}
	if r := a.inodes[inode]; n == 0 && r != nil && r.Inline > 0 {
		a.windows0[inode] = w
	}
}

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

func (a *audit) checkContent(id granary.InodeID, r *inodeRecord) {
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
		if v.LiveBytes != live[id] {
			a.bad("volume %d has %d live bytes, counted %d", id, v.LiveBytes, live[id])
		}
		owner, listed := a.writing[id]
		if listed != (v.State != granary.VolumeSealed) || owner != v.Owner || owner != 0 && !a.sessions[owner] {
			a.bad("volume %d is %s of %d, listed %t under %d", id, v.State, v.Owner, listed, owner)
		}
	}
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

package master

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	report  StateReport
	head    headRecord
	inodes  map[granary.InodeID]*inodeRecord
	queued  map[granary.InodeID]*inodeRecord
	names   map[granary.InodeID]uint64 // dentries that lead to an inode
	entries map[granary.InodeID]uint64
	subdirs map[granary.InodeID]uint64
	orphans map[granary.InodeID]granary.SessionID

	versions   map[granary.InodeID]uint64       // records of table V of a directory
	unnumbered map[string]granary.ObjectVersion // what says which version of a name has no id, by the beginning of its key …
	withoutID  map[string]granary.ObjectVersion // … and which has none
	dirNames   map[string]bool                  // keys of dentries, of directories and without their '/' …
	otherNames map[string]bool                  // … and of what is none: whether they say that there is such a directory, too
	nameless   map[granary.InodeID]granary.Index
	extents    map[granary.InodeID]uint64
	windows0   map[granary.InodeID]*windowRecord
	inline     map[granary.InodeID]uint64
	xattrs     map[granary.InodeID]uint64
	lists      map[granary.InodeID][]byte        // access control lists
	special    map[granary.InodeID]granary.Flags // that tell of attributes which are there
	blocks     map[granary.BlockID]*blockRecord
	refs       map[granary.BlockID]uint64
	hashes     map[granary.BlockID]uint64 // digest of the key that leads to a block
	volumes    map[granary.VolumeID]*volumeRecord
	writing    map[granary.VolumeID]granary.SessionID
	placed     uint64 // blocks in table y
	holds      map[granary.DiskID]uint64
	fine       map[[2]uint64]granary.Index       // windows that are cut too finely, and which entry stored them
	marked     map[[2]uint64]bool                // … and those that are marked as such
	marksAt    granary.Index                     // the entry that made the first mark
	sweeps     map[granary.InodeID]granary.Index // inodes whose policy was changed
	disks      map[granary.DiskID]*diskRecord
	datasets   map[granary.DatasetID]*datasetRecord
	sessions   map[granary.SessionID]bool
	ending     map[granary.SessionID]bool
	queue      uint64

	owners     map[ownerKey]*ownerRecord
	rootNames  map[granary.DatasetID]string
	forgotten  map[granary.DatasetID]bool // gone, with owners in the queue
	assemblies map[granary.InodeID]*assemblyRecord
	partsDone  map[granary.InodeID]uint64

	locks     []*locksRecord
	lockMarks map[lockMark]uint64
	unlocking map[granary.InodeID]bool // gone, with locks in the queue

	delegations  map[granary.InodeID]granary.SessionID
	delegates    map[granary.InodeID]granary.SessionID // as indexed by session
	paths        *pathLocks
	identities   []*identityRecord
	identityUses map[identityUse]bool
	lockedNames  map[lockedName][]granary.InodeID // what path locks say that names lead to …
	leadTo       map[lockedName][]granary.InodeID // … and where they lead

	changes changesSeen
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
	a := &audit{
		inodes: map[granary.InodeID]*inodeRecord{}, queued: map[granary.InodeID]*inodeRecord{},
		names: map[granary.InodeID]uint64{}, entries: map[granary.InodeID]uint64{}, subdirs: map[granary.InodeID]uint64{},
		versions: map[granary.InodeID]uint64{}, unnumbered: map[string]granary.ObjectVersion{}, withoutID: map[string]granary.ObjectVersion{},
		dirNames: map[string]bool{}, otherNames: map[string]bool{},
		orphans: map[granary.InodeID]granary.SessionID{}, nameless: map[granary.InodeID]granary.Index{}, extents: map[granary.InodeID]uint64{},
		windows0: map[granary.InodeID]*windowRecord{},
		inline:   map[granary.InodeID]uint64{}, xattrs: map[granary.InodeID]uint64{},
		lists: map[granary.InodeID][]byte{}, special: map[granary.InodeID]granary.Flags{},
		blocks: map[granary.BlockID]*blockRecord{}, refs: map[granary.BlockID]uint64{}, hashes: map[granary.BlockID]uint64{},
		volumes: map[granary.VolumeID]*volumeRecord{}, writing: map[granary.VolumeID]granary.SessionID{},
		fine: map[[2]uint64]granary.Index{}, marked: map[[2]uint64]bool{}, sweeps: map[granary.InodeID]granary.Index{},
		holds: map[granary.DiskID]uint64{}, disks: map[granary.DiskID]*diskRecord{},
		datasets: map[granary.DatasetID]*datasetRecord{},
		sessions: map[granary.SessionID]bool{}, ending: map[granary.SessionID]bool{},
		owners: map[ownerKey]*ownerRecord{}, rootNames: map[granary.DatasetID]string{}, forgotten: map[granary.DatasetID]bool{},
		lockMarks: map[lockMark]uint64{}, unlocking: map[granary.InodeID]bool{},
		assemblies: map[granary.InodeID]*assemblyRecord{}, partsDone: map[granary.InodeID]uint64{},
		delegations: map[granary.InodeID]granary.SessionID{}, delegates: map[granary.InodeID]granary.SessionID{},
		identityUses: map[identityUse]bool{}, lockedNames: map[lockedName][]granary.InodeID{}, leadTo: map[lockedName][]granary.InodeID{},
	}
	a.paths = newPathLocks(func(id granary.InodeID) granary.InodeID { return a.inodes[id].Parent })
	return a
}

// run reads all tables, and then compares.
func (a *audit) run(ctx context.Context, r pebble.Reader) error {
	for _, table := range []byte{tableHead, tableInode, tableQueue, tableAssembly, tableSession, tablePathLock, tableDentry, tableOrphan, tableNoName, tableExtent, tableInline,
		tableXattr, tableBlock, tableHash, tableVolume, tableWriting, tablePlace, tableHolds, tableDisk, tableDataset, tableOwner,
		tableFine, tableVersion, tableSweep, tableSwept, tableLocks, tableLocker, tableDelegation, tableDelegate, tableIdentity, tableIdentityUse, tableChange} {
		if err := a.scan(ctx, r, table); err != nil {
			return err
		}
	}
	a.checkInodes()
	a.checkNames()
	a.checkVersions()
	a.checkAssemblies()
	a.checkBlocks()
	a.checkMarks()
	a.checkSums()
	a.checkUsage()
	a.checkLocks()
	a.checkDelegations()
	a.checkIdentities()
	a.checkPathLocks()
	a.checkPathNames()
	a.checkChanges()
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
		case queueLocks:
			a.unlocking[granary.InodeID(id)] = true
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
	case tablePathLock:
		a.loadPathLock(k, b)
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
		a.loadXattr(inode, k, b)
	case tableBlock:
		a.blocks[granary.BlockID(inode)] = decoded[blockRecord](a, k, b)
	case tableHash:
		a.hashes[granary.BlockID(decoded[numberRecord](a, k, b).Number)] = xxhash.Sum64(k)
	case tableVolume:
		a.volumes[granary.VolumeID(inode)] = decoded[volumeRecord](a, k, b)
	case tableWriting:
		a.writing[granary.VolumeID(keyID(k, 1))] = granary.SessionID(inode)
	case tablePlace:
		a.loadPlace(k, b)
	case tableHolds:
		a.loadHolds(k)
	case tableDisk:
		a.disks[granary.DiskID(k[1:])] = decoded[diskRecord](a, k, b)
	case tableDataset:
		a.datasets[granary.DatasetID(inode)] = decoded[datasetRecord](a, k, b)
	case tableOwner:
		a.loadOwner(k, b)
	case tableVersion:
		a.loadVersion(k, b)
	case tableFine:
		a.loadMark(k, b)
	case tableSweep:
		a.sweeps[inode] = granary.Index(decoded[numberRecord](a, k, b).Number)
	case tableSwept:
		a.loadSwept(inode, k, b)
	case tableLocks:
		a.loadLocks(k, b)
	case tableLocker:
		a.loadLockOwner(k, b)
	case tableIdentity:
		a.loadIdentity(k, b)
	case tableIdentityUse:
		a.loadIdentityUse(k)
	case tableDelegation:
		a.delegations[inode] = decoded[delegationRecord](a, k, b).Session
	case tableDelegate:
		a.delegates[granary.InodeID(keyID(k, 1))] = granary.SessionID(inode)
	case tableChange:
		a.loadChanges(k, b)
	}
}

func (a *audit) loadXattr(inode granary.InodeID, k, b []byte) {
	a.xattrs[inode]++
	name := string(k[9:])
	a.special[inode] |= granary.FlagOfXattr(name)
	if name == granary.XattrACL {
		a.lists[inode] = decoded[bytesRecord](a, k, b).Bytes
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
	if dir {
		a.dirNames[string(k[1:len(k)-1])] = true
	} else {
		a.otherNames[string(k[1:])] = d.Twin
	}
	if strings.IndexByte(name, '/') >= 0 || dir && d.Twin {
		a.bad("dentry %q is no name, or a directory's that says it is none", k)
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
	a.checkPathName(parent, name, d)
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
	if w.fine() {
		d := open(b)
		a.fine[[2]uint64{uint64(inode), n}] = d.index
	}
	if r := a.inodes[inode]; n == 0 && r != nil && r.Inline > 0 {
		a.windows0[inode] = w
	}
}

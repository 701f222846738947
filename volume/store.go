package volume

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/dsorchard/granary"
)

// What errors call the operations.
const (
	opOpen      = "volume.open"
	opJoin      = "volume.join"
	opAppend    = "volume.append"
	opRead      = "volume.read"
	opSeal      = "volume.seal"
	opDrop      = "volume.drop"
	opList      = "volume.list"
	opUsage     = "volume.usage"
	opVerify    = "volume.verify"
	opSums      = "volume.sums"
	opBuild     = "volume.build"
	opScrub     = "volume.scrub"
	opHeartbeat = "volume.heartbeat"
)

// Store is the shards on a server's disks. Its methods may be called concurrently.
type Store struct {
	o     Options
	left  []leftOut // of the start, and then of comeBack alone
	files *fileCache
	alarm *alarm
	clock clock
	yield *yielder
	stop  chan struct{}

	buildSyncEvery uint64 // see buildSyncEveryDefault

	disksMu sync.RWMutex
	disks   []*dataDisk // in the order of Options.Dirs, those left out not among them; those that came later behind them
	byID    map[granary.DiskID]*dataDisk

	joinMu sync.Mutex // one JoinCluster at a time, and no disk comes meanwhile

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // calls in flight, and the walks
}

// served returns the disks, in a slice that is the caller's.
func (s *Store) served() []*dataDisk {
	s.disksMu.RLock()
	defer s.disksMu.RUnlock()
	return slices.Clone(s.disks)
}

// diskOf returns a disk by its id, or nil.
func (s *Store) diskOf(id granary.DiskID) *dataDisk {
	s.disksMu.RLock()
	defer s.disksMu.RUnlock()
	return s.byID[id]
}

// unlock lets go of the directories.
func (s *Store) unlock() error {
	var errs []error
	for _, d := range s.disks {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}

// ServerID returns the server's id, which its disks carry.
func (s *Store) ServerID() granary.ServerID { return s.served()[0].ident.Load().Server }

// Cluster returns the cluster that the disks belong to, or "".
func (s *Store) Cluster() granary.ClusterID { return s.served()[0].ident.Load().Cluster }

// JoinCluster makes the disks the cluster's, durably. Disks of another cluster stay what they are: KindInvalid.
func (s *Store) JoinCluster(id granary.ClusterID) error {
	s.joinMu.Lock()
	defer s.joinMu.Unlock()
	if !validID(string(id)) {
		return granary.Errorf(granary.KindInvalid, opJoin, string(id), "a cluster id has 32 lower-case hexadecimal digits")
	}
	if err := s.begin(opJoin, string(id)); err != nil {
		return err
	}
	defer s.exit()
	disks := slices.DeleteFunc(s.served(), func(d *dataDisk) bool { return d.gone.Load() != nil })
	for _, d := range disks {
		if c := d.ident.Load().Cluster; c != "" && c != id {
			return granary.Errorf(granary.KindInvalid, opJoin, d.dir, "the disk belongs to cluster %s, not %s", c, id)
		}
	}
	// A crash in between leaves some disks without a cluster: the next Open gives them that of the others.
	for i := len(disks) - 1; i >= 0; i-- { // the first disk last: Cluster tells its
		d := disks[i]
		next := *d.ident.Load()
		next.Cluster = id
		if err := d.setIdentity(next); err != nil {
			return err
		}
	}
	return nil
}

// begin counts a call in, until exit; KindUnavailable if the store is closed.
func (s *Store) begin(op, subject string) error {
	if !s.count() {
		return shuttingDown(op, subject)
	}
	return nil
}

func shuttingDown(op, subject string) error {
	return granary.Errorf(granary.KindUnavailable, op, subject, "the volume server is shutting down")
}

// count counts a call in, until exit, unless the store is closed.
func (s *Store) count() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}

// enter begins a call on a shard and finds its disk.
func (s *Store) enter(op string, ref granary.ShardRef) (*dataDisk, error) {
	d := s.diskOf(ref.Disk)
	if d == nil {
		return nil, granary.Errorf(granary.KindNotFound, op, ref.String(), "server %s has no such disk", s.ServerID())
	}
	if reason := d.gone.Load(); reason != nil {
		return nil, granary.Errorf(granary.KindNotFound, op, ref.String(), "server %s has lost the disk %s: %s", s.ServerID(), d.dir, *reason)
	}
	if !s.count() {
		return nil, shuttingDown(op, ref.String())
	}
	return d, nil
}

// exit ends a call.
func (s *Store) exit() { s.running.Done() }

// ReadAt reads len(p) bytes at off of a shard's stream; fewer, with a nil error, only where the stream
// ends. Holes are zeros. It returns the stream's length too. KindNotFound if there is no such shard; KindCorrupt
// or KindUnavailable, naming the disk, if the bytes cannot be read.
func (s *Store) ReadAt(ctx context.Context, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error) {
	if off < 0 {
		return 0, 0, granary.Errorf(granary.KindInvalid, opRead, ref.String(), "negative offset %d", off)
	}
	if err := ctx.Err(); err != nil {
		return 0, 0, interrupted(opRead, ref.String(), err)
	}
	d, err := s.enter(opRead, ref)
	if err != nil {
		return 0, 0, err
	}
	defer s.exit()
	s.yield.serve()
	defer s.yield.leave()
	sh, f, err := d.open(opRead, shardKey{ref.Volume, ref.Shard})
	if err != nil {
		return 0, 0, err
	}
	defer d.files.release(f)
	return sh.readAt(f, p, off)
}

// List returns the shards of a disk, in the order of their volumes. One whose head does not hold, or whose file is gone, is
// listed as Damaged, with a Created of its own; one that cannot be read for another reason as Poisoned.
func (s *Store) List(disk granary.DiskID) ([]granary.ShardInfo, error) {
	d, err := s.enter(opList, granary.ShardRef{Disk: disk})
	if err != nil {
		return nil, err
	}
	defer s.exit()
	if err := d.missNames(); err != nil {
		return nil, err
	}
	infos := []granary.ShardInfo{}
	for _, sh := range d.list() {
		if info, ok := d.learn(sh.key); ok {
			infos = append(infos, info)
		}
	}
	return infos, nil
}

// missNames finds the shards whose files somebody has taken away.
func (d *dataDisk) missNames() error {
	before := d.list() // what is made from here on is not missed
	names, err := d.fs.ReadDir(shardsName)
	if err != nil {
		d.noteFailure(err)
		return granary.Errorf(granary.KindUnavailable, opList, string(d.id()), "disk %s: %w", d.dir, err)
	}
	there := make(map[shardKey]bool, len(names))
	for _, name := range names {
		if key, ok := parseShardName(name); ok {
			there[key] = true
		}
	}
	for _, sh := range before {
		if !there[sh.key] && d.lookup(sh.key) == sh {
			sh.damage("its file is gone")
		}
	}
	return nil
}

// learn describes a shard, after reading what it takes unless that is known; false if it was dropped.
func (d *dataDisk) learn(key shardKey) (granary.ShardInfo, bool) {
	sh := d.lookup(key)
	if sh == nil {
		return granary.ShardInfo{}, false
	}
	if _, counted := sh.space(); counted && sh.state.Load() != nil {
		return sh.info(), true
	}
	opened, f, err := d.open(opList, key)
	if err == nil {
		sh = opened // another may have taken its place
		sh.account(f)
		_, err = sh.load(opList, f)
		d.files.release(f)
	} else if sh = d.lookup(key); sh == nil {
		return granary.ShardInfo{}, false
	}
	info := sh.info()
	if err != nil && info.Damaged == "" {
		info.Poisoned = err.Error()
	}
	return info, true
}

// Usage reports the disks, in the order of Options.Dirs, as they were at most a second ago; a disk that
// does not answer is ReadOnly. One that was left out at the start, or whose directory is gone, is not among them.
// Right after Open, until every shard has been looked at once, Used is too low.
func (s *Store) Usage() []granary.DiskUsage {
	disks := s.served()
	usages := make([]granary.DiskUsage, 0, len(disks))
	for _, d := range disks {
		if d.gone.Load() == nil {
			usages = append(usages, d.usage(s.o.ReserveBytes))
		}
	}
	return usages
}

// Close waits for the calls in flight, refuses others, and lets go of the directories.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	s.running.Wait()
	return errors.Join(s.files.closeAll(), s.unlock())
}

// interrupted makes the error of a call whose context ended: KindUnavailable for a deadline, after
// which the caller may try elsewhere, KindCanceled otherwise.
func interrupted(op, subject string, err error) error {
	kind := granary.KindCanceled
	if errors.Is(err, context.DeadlineExceeded) {
		kind = granary.KindUnavailable
	}
	return granary.Errorf(kind, op, subject, "%w", err)
}

package volume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// dataDisk is one directory of shards.
type dataDisk struct {
	dir      string
	class    string
	fs       disk.FS
	lock     io.Closer
	log      *slog.Logger
	files    *fileCache
	alarm    *alarm
	clock    *clock
	scrub    *scrubber
	ident    atomic.Pointer[identity] // replaced by JoinCluster
	used     atomic.Int64             // bytes that shard files take
	sumBytes atomic.Int64             // of memory, for the checksums of open shards
	walked   chan struct{}            // closed when every shard's space has been counted, and what open ones hold is known
	sample   atomic.Pointer[sample]   // of the file system's space
	gone     atomic.Pointer[string]   // why nothing of the disk is served any more
	fullAt   atomic.Int64             // clock of the last write that found no space; 0 for none

	slow    atomic.Pointer[string] // why it should be emptied although it works
	latency latency                // of its shard files

	rosterVersion uint64 // that it has; of the start alone

	mu       sync.Mutex
	shards   map[shardKey]*shard
	building map[shardKey]bool // places of shards in the making
	readOnly string            // why nothing is appended any more, or ""
}

// id returns the disk's id.
func (d *dataDisk) id() granary.DiskID { return d.ident.Load().Disk }

// ref names a shard of this disk.
func (d *dataDisk) ref(k shardKey) granary.ShardRef {
	return granary.ShardRef{Disk: d.id(), Volume: k.volume, Shard: k.index}
}

// openDir opens and locks a directory and reads its identity; the Disk of a directory yet to be
// formatted is "". Nothing is written into a directory that is not ours.
func openDir(o *Options, dir string) (d *dataDisk, err error) {
	fsys, err := o.OpenFS(dir)
	if err != nil {
		return nil, granary.Errorf(granary.KindUnavailable, opOpen, dir, "%w", err)
	}
	if err := refuseUnlessOurs(fsys, dir); err != nil {
		return nil, err
	}
	lock, err := fsys.Lock(lockName)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, granary.Errorf(granary.KindBusy, opOpen, dir, "another volume server is running on the directory")
	}
	if err != nil {
		return nil, granary.Errorf(granary.KindUnavailable, opOpen, dir, "%s: %w", lockName, err)
	}
	d = &dataDisk{
		dir: dir, class: o.Classes[dir], fs: fsys, lock: lock, log: o.Log.With("disk", dir),
		walked: make(chan struct{}), shards: make(map[shardKey]*shard), building: make(map[shardKey]bool),
	}
	// Again, now that nobody else can be formatting it.
	err = refuseUnlessOurs(fsys, dir)
	var id identity
	if err == nil {
		id, _, err = readIdentity(fsys, dir)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	d.ident.Store(&id)
	return d, nil
}

// refuseUnlessOurs returns an error if the directory is neither a disk of Granary's nor empty.
func refuseUnlessOurs(fsys disk.FS, dir string) error {
	names, err := fsys.ReadDir(rootName)
	if err != nil {
		return granary.Errorf(granary.KindUnavailable, opOpen, dir, "%w", err)
	}
	if slices.Contains(names, identityName) {
		return nil
	}
	return refuseForeign(fsys, dir, names)
}

// setIdentity writes the identity if it differs from what is there.
func (d *dataDisk) setIdentity(id identity) error {
	old := d.ident.Load()
	if old.Cluster == id.Cluster && old.Server == id.Server && old.Disk == id.Disk {
		return nil
	}
	if old.Disk == "" { // first, so that a disk with an identity has the directory
		if err := errors.Join(d.fs.MkdirAll(shardsName), d.fs.SyncDir(rootName)); err != nil {
			return granary.Errorf(granary.KindUnavailable, opOpen, d.dir, "%w", err)
		}
	}
	if err := writeIdentity(d.fs, d.dir, id); err != nil {
		return err
	}
	d.ident.Store(&id)
	return nil
}

// scanNames learns which shards there are, from their names alone, and removes what was never finished.
func (d *dataDisk) scanNames() error {
	names, err := d.fs.ReadDir(shardsName)
	if errors.Is(err, fs.ErrNotExist) {
		return granary.Errorf(granary.KindCorrupt, opOpen, d.dir, "the disk has an identity, but its directory %s is gone", shardsName)
	}
	if err != nil {
		return granary.Errorf(granary.KindUnavailable, opOpen, d.dir, "%w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, newSuffix) {
			if err := d.fs.Remove(shardsName + "/" + name); err != nil {
				return granary.Errorf(granary.KindUnavailable, opOpen, d.dir, "%w", err)
			}
			continue
		}
		key, ok := parseShardName(name)
		if !ok {
			d.log.Warn("a file that is no shard lies among the shards", "name", name)
			continue
		}
		sh := newShard(d, key)
		sh.exists.Store(true)
		d.shards[key] = sh
	}
	return nil
}

// lookup returns the shard if it exists.
func (d *dataDisk) lookup(key shardKey) *shard {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sh := d.shards[key]; sh != nil && sh.exists.Load() {
		return sh
	}
	return nil
}

// open finds a shard and acquires its file, for callers that do not have its turn. The file is that of the shard, even if another
// takes its place at that moment.
func (d *dataDisk) open(op string, key shardKey) (*shard, *openFile, error) {
	for {
		sh := d.lookup(key)
		if sh == nil {
			return nil, nil, granary.Errorf(granary.KindNotFound, op, d.ref(key).String(), "disk %s has no such shard", d.dir)
		}
		f, err := d.files.acquire(sh)
		switch {
		case err == nil:
			return sh, f, nil
		case !sh.exists.Load():
			continue // dropped or replaced meanwhile
		}
		sh.noteRead(err)
		return nil, nil, d.failure(op, key, err)
	}
}

// list returns the shards that exist, in the order of volume and index.
func (d *dataDisk) list() []*shard {
	d.mu.Lock()
	all := make([]*shard, 0, len(d.shards))
	for _, sh := range d.shards {
		if sh.exists.Load() {
			all = append(all, sh)
		}
	}
	d.mu.Unlock()
	sortShards(all)
	return all
}

// sortShards orders shards by volume and index.
func sortShards(all []*shard) {
	slices.SortFunc(all, func(a, b *shard) int { return a.key.compare(b.key) })
}

// take returns the shard with its turn taken, whether or not it exists yet; give returns it.
func (d *dataDisk) take(ctx context.Context, key shardKey) (*shard, error) {
	for {
		d.mu.Lock()
		sh := d.shards[key]
		if sh == nil {
			sh = newShard(d, key)
			d.shards[key] = sh
		}
		d.mu.Unlock()
		select {
		case sh.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !sh.gone {
			return sh, nil
		}
		<-sh.turn // dropped while we waited: its successor has another shard struct
	}
}

// give ends the turn. A shard that was not made after all is forgotten.
func (d *dataDisk) give(sh *shard) {
	if !sh.exists.Load() && !sh.gone {
		d.forget(sh)
	}
	<-sh.turn
}

// forget removes the shard from the disk's table. The caller has the turn.
func (d *dataDisk) forget(sh *shard) {
	sh.exists.Store(false)
	d.mu.Lock()
	delete(d.shards, sh.key)
	d.mu.Unlock()
	sh.gone = true
	sh.appended.begin(0)
}

// writeBarred returns why nothing may be appended, or "".
func (d *dataDisk) writeBarred() string {
	d.mu.Lock()
	reason := d.readOnly
	d.mu.Unlock()
	if reason != "" {
		return reason
	}
	now := d.clock.now()
	if stuck := d.latency.stuck(now); stuck > stuckAfter {
		return silence(stuck)
	}
	return d.sample.Load().trouble(now)
}

// noteFailure takes note of what an error says about the disk itself: that it is failing, or full.
func (d *dataDisk) noteFailure(err error) {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		d.fullAt.Store(max(d.clock.now(), 1))
		return
	}
	for _, failing := range []error{syscall.EIO, syscall.EROFS, syscall.ENXIO, syscall.ENODEV, syscall.EUCLEAN} {
		if errors.Is(err, failing) {
			d.barWrites(err.Error())
			return
		}
	}
}

// failing returns why the disk should be emptied, or "".
func (d *dataDisk) failing() string {
	d.mu.Lock()
	reason := d.readOnly
	d.mu.Unlock()
	if slow := d.slow.Load(); reason == "" && slow != nil {
		reason = *slow
	}
	now := d.clock.now()
	if stuck := d.latency.stuck(now); reason == "" && stuck > stuckFailing {
		reason = silence(stuck)
	}
	return cmp.Or(reason, d.sample.Load().hanging(now))
}

// full returns why there is no room, or "".
func (d *dataDisk) full(reserve uint64) string {
	if at := d.fullAt.Load(); at != 0 && d.clock.now()-at < fullFor {
		return "full: a write found no space"
	}
	if s := d.sample.Load(); s.err == nil && s.usage.Free <= reserve {
		return fmt.Sprintf("full: %d bytes free, and %d are kept in reserve", s.usage.Free, reserve)
	}
	return ""
}

// vanish takes the disk out of service: its directory is not there any more.
func (d *dataDisk) vanish(reason string) {
	if d.gone.CompareAndSwap(nil, &reason) {
		d.log.Error("the disk is gone, and is not served any more", "reason", reason)
		d.alarm.ring()
	}
}

// barWrites makes the disk read-only, and failing, until the server is started again.
func (d *dataDisk) barWrites(reason string) {
	d.mu.Lock()
	first := d.readOnly == ""
	if first {
		d.readOnly = reason
	}
	d.mu.Unlock()
	if first {
		d.log.Error("disk takes no more writes", "reason", reason)
		d.alarm.ring()
	}
}

// failure makes the error that a caller gets for a failed access to the disk.
func (d *dataDisk) failure(op string, key shardKey, err error) error {
	subject := d.ref(key).String()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return granary.Errorf(granary.KindNotFound, op, subject, "disk %s: %w", d.dir, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return granary.Errorf(granary.KindNoSpace, op, subject, "disk %s: %w", d.dir, err)
	}
	return granary.Errorf(granary.KindUnavailable, op, subject, "disk %s: %w", d.dir, err)
}

// checkRoom returns KindNoSpace unless size more bytes fit beside the reserve.
func (d *dataDisk) checkRoom(op string, key shardKey, size, reserve uint64) error {
	u, err := d.fs.Usage()
	if err != nil {
		return d.failure(op, key, err)
	}
	if need := reserve + size + streamOffset; u.Free < need {
		return granary.Errorf(granary.KindNoSpace, op, d.ref(key).String(),
			"disk %s has %d bytes free and keeps %d in reserve; %d are asked for", d.dir, u.Free, reserve, size)
	}
	return nil
}

// usage reports the disk, without touching it.
func (d *dataDisk) usage(reserve uint64) granary.DiskUsage {
	space := d.sample.Load()
	du := granary.DiskUsage{
		Disk: d.id(), Path: d.dir, Used: uint64(max(d.used.Load(), 0)),
		Total: space.usage.Total, ReadOnly: cmp.Or(d.writeBarred(), d.full(reserve)), Class: d.class,
		Failing: d.failing(), Scrub: d.scrub.report(),
	}
	if space.usage.Free > reserve {
		du.Free = space.usage.Free - reserve
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, sh := range d.shards {
		if sh.exists.Load() {
			du.Shards++
		}
	}
	return du
}

// troubled lists the shards that nothing may be appended to, and those of which bytes are lost.
func (d *dataDisk) troubled() (poisoned, damaged []granary.ShardInfo) {
	var found []*shard
	d.mu.Lock()
	for _, sh := range d.shards {
		if sh.exists.Load() && (sh.poisonedBy.Load() != nil || sh.damagedBy.Load() != nil) {
			found = append(found, sh)
		}
	}
	d.mu.Unlock()
	sortShards(found)
	for _, sh := range found {
		info := sh.info()
		if info.Poisoned != "" {
			poisoned = append(poisoned, info)
		}
		if info.Damaged != "" {
			damaged = append(damaged, info)
		}
	}
	return poisoned, damaged
}

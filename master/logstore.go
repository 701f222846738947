package master

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
	"github.com/dsorchard/granary/internal/raftlog"
)

// Names in a node's directory.
const (
	stableName = "raft.db" // term and vote; in directories of format 1 also the log
	logName    = "log"     // the log
)

// logFormatKey tells in the stable store which format the log has. It is missing while entries may be in raft.db.
const logFormatKey = "granary.log"

const logFormat = 1

// raftStores are what a Raft node stands on: its log, and its term and vote.
type raftStores struct {
	stable *raftboltdb.BoltStore
	logs   *raftlog.Log
}

// openStores opens both. A directory whose entries are in raft.db is brought to the form that has them in a log of
// their own; one that lacks either store, and has the other, is refused.
// covered returns the index of the newest snapshot.
func openStores(o *Options, covered func() (uint64, error)) (s raftStores, err error) {
	dir := o.Dir
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	hasStable, err := fileExists(filepath.Join(dir, stableName))
	if err != nil {
		return s, err
	}
	hasLog, err := fileExists(filepath.Join(dir, logName))
	if err != nil {
		return s, err
	}
	if hasLog && !hasStable {
		return s, granary.Errorf(granary.KindCorrupt, "master.open", dir, "the directory has a Raft log, but no %s with the node's term and vote", stableName)
	}
	if s.stable, err = openStable(dir); err != nil {
		return s, err
	}
	format, err := s.stable.GetUint64([]byte(logFormatKey))
	switch {
	case errors.Is(err, raftboltdb.ErrKeyNotFound):
		if err := s.migrate(dir, hasLog, covered, o.hook); err != nil {
			return s, err
		}
	case err != nil:
		return s, openError(dir, err)
	case format != logFormat:
		return s, granary.Errorf(granary.KindNotSupported, "master.open", dir, "the Raft log has format %d, and this release knows %d", format, logFormat)
	case !hasLog:
		return s, granary.Errorf(granary.KindCorrupt, "master.open", dir, "the Raft log is gone: there is a %s, but no %s", stableName, logName)
	}
	d, err := disk.OS(filepath.Join(dir, logName))
	if err != nil {
		return s, openError(dir, err)
	}
	if o.logDisk != nil {
		d = o.logDisk(d)
	}
	s.logs, err = raftlog.Open(d, raftlog.Options{MustExist: true, Covered: covered, Log: o.Log})
	return s, err
}

// watchDisk ends the Raft node when its log can take nothing more: it would be elected, and depose itself at the first
// entry, again and again. The others elect one of themselves; this one answers that it does not lead.
func (s *Server) watchDisk() {
	select {
	case <-s.raft.logs.Failed():
	case <-s.ctx.Done():
		return
	}
	s.log.Error("the disk of the Raft log failed: this master takes no part in the cluster until it is started again", "dir", s.opts.Dir)
	if err := s.raft.shutdown(); err != nil {
		s.log.Error("Raft did not end", "error", err)
	}
}

func (s *raftStores) close() error {
	var errs []error
	if s.logs != nil {
		errs = append(errs, s.logs.Close())
	}
	if s.stable != nil {
		errs = append(errs, s.stable.Close())
	}
	return errors.Join(errs...)
}

// hasRaftState reports whether a node has been in a directory.
func hasRaftState(dir string) (bool, error) {
	stable, err := fileExists(filepath.Join(dir, stableName))
	if stable || err != nil {
		return stable, err
	}
	return fileExists(filepath.Join(dir, logName))
}

func fileExists(name string) (bool, error) {
	_, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, openError(name, err)
	}
	return true, nil
}

// openStable opens raft.db, or makes it; its name is durable before anything else is made beside it.
func openStable(dir string) (*raftboltdb.BoltStore, error) {
	stable, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, stableName), BoltOptions: boltOptions()})
	if err != nil {
		return nil, openError(dir, err)
	}
	if err := syncDir(dir); err != nil {
		return nil, errors.Join(err, stable.Close())
	}
	return stable, nil
}

func boltOptions() *bbolt.Options {
	return &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, Timeout: time.Second}
}

func openLog(dir string, o raftlog.Options) (*raftlog.Log, error) {
	d, err := disk.OS(dir)
	if err != nil {
		return nil, openError(dir, err)
	}
	return raftlog.Open(d, o)
}

// migrate gives a directory its log: a new one an empty log, one of format 1 the entries that are in raft.db. The log is
// made beside its place and named when it is durable. Then raft.db is replaced by one that has all but the entries, and
// says that the log counts: until that moment it is raft.db that counts, and a crash leaves what can be made again.
func (s *raftStores) migrate(dir string, hasLog bool, covered func() (uint64, error), hook func(string) error) error {
	first, last, err := lastRun(s.stable, covered)
	if err != nil {
		return err
	}
	place := filepath.Join(dir, logName)
	if hasLog { // a crash came between the two steps, or somebody has put an old raft.db here
		if err := s.checkCopied(place, first, last); err != nil {
			return err
		}
	} else {
		if err := s.copyLog(place+tmpSuffix, first, last); err != nil {
			return err
		}
		if err := hook("migrate: copied"); err != nil {
			return err
		}
		if err := errors.Join(os.Rename(place+tmpSuffix, place), syncDir(dir)); err != nil {
			return openError(place, err)
		}
	}
	if err := hook("migrate: log"); err != nil {
		return err
	}
	if last == 0 {
		if err := s.stable.SetUint64([]byte(logFormatKey), logFormat); err != nil {
			return openError(dir, err)
		}
		return nil
	}
	return s.replaceStable(dir, hook)
}

// lastRun finds the entries of raft.db that are still needed: those after the last gap, which Raft leaves before what
// comes after a snapshot that it has received. What lies before it that snapshot must hold.
func lastRun(store *raftboltdb.BoltStore, covered func() (uint64, error)) (first, last uint64, err error) {
	lowest, err := store.FirstIndex()
	if err != nil {
		return 0, 0, openError(stableName, err)
	}
	if last, err = store.LastIndex(); err != nil {
		return 0, 0, openError(stableName, err)
	}
	for first = last; first > lowest; first-- {
		err := store.GetLog(first-1, new(raft.Log))
		if errors.Is(err, raft.ErrLogNotFound) {
			break
		}
		if err != nil {
			return 0, 0, openError(stableName, err)
		}
	}
	if first == lowest {
		return first, last, nil
	}
	snapshot, err := covered()
	if err != nil {
		return 0, 0, err
	}
	if first > snapshot+1 {
		return 0, 0, granary.Errorf(granary.KindCorrupt, "master.open", stableName,
			"the log lacks entry %d, and the newest snapshot is of %d", first-1, snapshot)
	}
	return first, last, nil
}

// copyBytesMax is how much is copied between two syncs.
const copyBytesMax = 4 << 20

// copyLog makes a log of entries of raft.db in a directory, durably.
func (s *raftStores) copyLog(dir string, first, last uint64) (err error) {
	if err := os.RemoveAll(dir); err != nil {
		return openError(dir, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return openError(dir, err)
	}
	logs, err := openLog(dir, raftlog.Options{Covered: func() (uint64, error) { return first - 1, nil }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	var batch []*raft.Log
	bytes := 0
	for i := first; i <= last && last > 0; i++ {
		l := new(raft.Log)
		if err := s.stable.GetLog(i, l); err != nil {
			return openError(stableName, err)
		}
		batch = append(batch, l)
		bytes += len(l.Data)
		if bytes < copyBytesMax && i < last {
			continue
		}
		if err := logs.StoreLogs(batch); err != nil {
			return err
		}
		batch, bytes = nil, 0
	}
	return nil
}

// checkCopied checks that a log is the copy of the entries of raft.db.
func (s *raftStores) checkCopied(dir string, first, last uint64) (err error) {
	logs, err := openLog(dir, raftlog.Options{MustExist: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	gotFirst, err := logs.FirstIndex()
	if err != nil {
		return err
	}
	gotLast, err := logs.LastIndex()
	if err != nil {
		return err
	}
	different := gotFirst != first || gotLast != last
	for i := first; i <= last && last > 0 && !different; i++ {
		var old, copied raft.Log
		if err := errors.Join(s.stable.GetLog(i, &old), logs.GetLog(i, &copied)); err != nil {
			return openError(dir, err)
		}
		different = old.Term != copied.Term || old.Type != copied.Type || string(old.Data) != string(copied.Data)
	}
	if different {
		return granary.Errorf(granary.KindCorrupt, "master.open", dir,
			"%s does not know of the log beside it, which is another than its own: was an old one put in its place?", stableName)
	}
	return nil
}

// replaceStable replaces raft.db by one without entries, in one step, which gives the disk space back as well.
func (s *raftStores) replaceStable(dir string, hook func(string) error) error {
	name := filepath.Join(dir, stableName)
	if err := s.stable.Close(); err != nil {
		return openError(name, err)
	}
	s.stable = nil
	if err := os.RemoveAll(name + tmpSuffix); err != nil {
		return openError(name, err)
	}
	if err := copyStable(name, name+tmpSuffix); err != nil {
		return openError(name, err)
	}
	if err := hook("migrate: stable"); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(name+tmpSuffix, name), syncDir(dir)); err != nil {
		return openError(name, err)
	}
	if err := hook("migrate: done"); err != nil {
		return err
	}
	var err error
	s.stable, err = openStable(dir)
	return err
}

// copyStable copies all but the entries into a new file, with the format of the log, and syncs it.
func copyStable(from, to string) (err error) {
	old, err := bbolt.Open(from, 0o600, boltOptions())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	// Its methods are those of the library, which knows where its keys are.
	next, err := raftboltdb.New(raftboltdb.Options{Path: to, BoltOptions: boltOptions()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, next.Close()) }()
	err = old.View(func(tx *bbolt.Tx) error {
		conf := tx.Bucket([]byte("conf"))
		if conf == nil {
			return granary.Errorf(granary.KindCorrupt, "master.open", from, "it has no term and vote")
		}
		return conf.ForEach(next.Set)
	})
	if err != nil {
		return err
	}
	return next.SetUint64([]byte(logFormatKey), logFormat)
}

package volume

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/dsorchard/granary"
)

// Open opens the directories, formats those that are empty, and locks each. It reads no shard, so it
// takes no longer with many than with few. It refuses, naming the directory, one in use by another
// server, one that holds other things than a disk, one of a newer format, and directories that belong to different servers or
// clusters.
//
// A directory that cannot be read, or whose identity is damaged, does not keep the server from serving the others: it is left out, which
// is logged. So is one that is empty, missing, or holds other things, although it held a disk of this server at its last start: a mount
// point that nothing is mounted on is not a new disk, unless Options.Format says so. When such a directory holds its disk again, it is served
// from then on (comeBack).
func Open(o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Store{
		o: o, byID: make(map[granary.DiskID]*dataDisk), files: newFileCache(o.OpenFilesMax),
		alarm: newAlarm(), stop: make(chan struct{}), buildSyncEvery: buildSyncEveryDefault,
		yield: newYielder(),
	}
	if err := s.openDirs(); err != nil {
		return nil, errors.Join(err, s.unlock())
	}
	s.running.Go(func() { s.clock.run(s.stop) })
	s.running.Go(func() { s.compareDisks(s.stop) })
	for _, d := range s.disks {
		s.start(d)
	}
	if len(s.left) > 0 {
		s.running.Go(func() { s.comeBack(s.stop) })
	}
	return s, nil
}

// leftOut is a directory that is not served.
type leftOut struct {
	dir string
	err error
}

// leave leaves a directory out.
func (s *Store) leave(dir string, err error) {
	s.left = append(s.left, leftOut{dir, err})
	s.o.Log.Error("a directory is left out: it is served once it holds its disk again; or start the server with --format to make it a new disk",
		"disk", dir, "error", err)
}

// openDirs opens all directories, and writes to none before all of them have been found good.
func (s *Store) openDirs() error {
	known, err := s.openThere()
	if err != nil {
		return err
	}
	common, err := s.commonIdentity()
	if err != nil {
		return err
	}
	for _, d := range slices.Clone(s.disks) {
		if err := s.enlist(d, common); granary.IsKind(err, granary.KindInvalid) {
			return err
		} else if err != nil {
			s.disks = slices.DeleteFunc(s.disks, func(other *dataDisk) bool { return other == d })
			delete(s.byID, d.id())
			s.leave(d.dir, errors.Join(err, d.lock.Close()))
		}
	}
	if len(s.disks) == 0 {
		return s.left[0].err
	}
	known.update(s)
	return nil
}

// openThere opens the directories, and leaves out those that are dead. It returns which disks there should be.
func (s *Store) openThere() (known roster, err error) {
	failures := make(map[string]error)
	for _, dir := range s.o.Dirs {
		d, err := openDir(&s.o, dir)
		if err != nil {
			failures[dir] = err
			continue
		}
		s.join(d)
	}
	known = s.readRosters()
	for _, dir := range s.o.Dirs {
		if err := failures[dir]; err != nil {
			if err := s.settleFailure(known, dir, err); err != nil {
				return known, err
			}
		}
	}
	for _, d := range slices.Clone(s.disks) {
		if id := known.missing(d.dir, s.disks); d.id() == "" && id != "" && !s.o.mayFormat(d.dir) {
			s.disks = slices.DeleteFunc(s.disks, func(other *dataDisk) bool { return other == d })
			err := granary.Errorf(granary.KindUnavailable, opOpen, d.dir, "it held disk %s, and is empty: is nothing mounted there?", id)
			s.leave(d.dir, errors.Join(err, d.lock.Close()))
		}
	}
	slices.SortFunc(s.disks, func(a, b *dataDisk) int { return slices.Index(s.o.Dirs, a.dir) - slices.Index(s.o.Dirs, b.dir) })
	named := slices.ContainsFunc(s.disks, func(d *dataDisk) bool { return d.id() != "" })
	if len(s.left) > 0 && !named { // it would become another server
		return known, s.left[0].err
	}
	return known, nil
}

// join takes a directory that was opened among the disks.
func (s *Store) join(d *dataDisk) {
	s.equip(d)
	s.disks = append(s.disks, d)
}

// equip gives a disk its share of what the server has.
func (s *Store) equip(d *dataDisk) {
	d.files, d.alarm, d.clock, d.scrub = s.files, s.alarm, &s.clock, newScrubber(d, s.o.ScrubEvery)
}

// start begins what runs for each disk.
func (s *Store) start(d *dataDisk) {
	d.look()
	s.running.Go(func() { d.walk(s.stop) })
	s.running.Go(func() { d.watch(s.stop) })
	s.running.Go(func() { d.scrub.run(s.stop) })
}

// settleFailure decides what becomes of a directory that could not be opened.
func (s *Store) settleFailure(known roster, dir string, err error) error {
	id := known.missing(dir, s.disks)
	switch granary.KindOf(err) {
	case granary.KindUnavailable:
		if errors.Is(err, fs.ErrNotExist) && s.o.makeDir != nil && (id == "" || s.o.mayFormat(dir)) {
			return s.makeAndOpen(dir)
		}
	case granary.KindCorrupt:
	case granary.KindInvalid: // it holds other things
		if id == "" {
			return err
		}
	default:
		return err
	}
	s.leave(dir, err)
	return nil
}

// makeAndOpen makes a directory that is new to the server.
func (s *Store) makeAndOpen(dir string) error {
	if err := s.o.makeDir(dir); err != nil {
		s.leave(dir, granary.Errorf(granary.KindUnavailable, opOpen, dir, "%w", err))
		return nil
	}
	d, err := openDir(&s.o, dir)
	if err != nil {
		return err
	}
	s.join(d)
	return nil
}

// enlist makes a directory a disk of the server, and learns the names of its shards.
func (s *Store) enlist(d *dataDisk, common identity) error {
	id := *d.ident.Load()
	id.Server, id.Cluster = common.Server, common.Cluster
	if id.Disk == "" {
		id.Disk = granary.DiskID(newID())
		d.log.Info("formatting a new disk", "id", string(id.Disk))
	}
	if err := d.setIdentity(id); err != nil {
		return err
	}
	if other := s.byID[id.Disk]; other != nil {
		return granary.Errorf(granary.KindInvalid, opOpen, d.dir, "both it and %s are disk %s: one is a copy of the other", other.dir, id.Disk)
	}
	if err := d.scanNames(); err != nil {
		return err
	}
	s.byID[id.Disk] = d
	return nil
}

// commonIdentity returns the server and the cluster that all disks belong to.
func (s *Store) commonIdentity() (identity, error) {
	var common identity
	var serverDir, clusterDir string
	if s.o.Cluster != "" {
		common.Cluster, clusterDir = s.o.Cluster, "the configuration"
	}
	for _, d := range s.disks {
		id := d.ident.Load()
		if id.Disk == "" {
			continue
		}
		if common.Server == "" {
			common.Server, serverDir = id.Server, d.dir
		}
		if id.Server != common.Server {
			return common, granary.Errorf(granary.KindInvalid, opOpen, d.dir,
				"the disk belongs to server %s, but %s to server %s", id.Server, serverDir, common.Server)
		}
		if common.Cluster == "" {
			common.Cluster, clusterDir = id.Cluster, d.dir
		}
		if id.Cluster != "" && id.Cluster != common.Cluster {
			return common, granary.Errorf(granary.KindInvalid, opOpen, d.dir,
				"the disk belongs to cluster %s, but %s to cluster %s", id.Cluster, clusterDir, common.Cluster)
		}
	}
	if common.Server == "" {
		common.Server = granary.ServerID(newID())
	}
	return common, nil
}

// absolute returns the directory as the roster names it.
func absolute(dir string) string {
	if path, err := filepath.Abs(dir); err == nil {
		return path
	}
	return filepath.Clean(dir)
}

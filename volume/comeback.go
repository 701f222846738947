package volume

import (
	"errors"
	"slices"
	"time"

	"github.com/dsorchard/granary"
)

// comeBack looks again and again at the directories that were left out at the start, until all are served or the server stops.
func (s *Store) comeBack(stop <-chan struct{}) {
	ticker := time.NewTicker(s.o.retryEvery)
	defer ticker.Stop()
	for len(s.left) > 0 {
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
		s.left = slices.DeleteFunc(s.left, func(l leftOut) bool {
			err := s.takeBack(l.dir)
			if err == nil {
				s.o.Log.Info("a directory that was left out is served again", "disk", l.dir)
				s.alarm.ring()
			} else {
				s.o.Log.Debug("a directory is still left out", "disk", l.dir, "error", err)
			}
			return err == nil
		})
	}
}

// takeBack serves a directory that was left out, if it holds a disk of this server, as one that was there at the start must. Nothing is
// formatted, and no file is made in what may be an empty mount point.
func (s *Store) takeBack(dir string) error {
	fsys, err := s.o.OpenFS(dir)
	if err != nil {
		return granary.Errorf(granary.KindUnavailable, opOpen, dir, "%w", err)
	}
	if _, there, err := readIdentity(fsys, dir); err != nil || !there {
		return errors.Join(err, granary.Errorf(granary.KindUnavailable, opOpen, dir, "it holds no disk"))
	}
	d, err := openDir(&s.o, dir)
	if err != nil {
		return err
	}
	if err := s.admit(d); err != nil {
		return errors.Join(err, d.lock.Close())
	}
	s.start(d)
	return nil
}

// admit makes a directory one of the disks that are served.
func (s *Store) admit(d *dataDisk) error {
	s.joinMu.Lock()
	defer s.joinMu.Unlock()
	id := *d.ident.Load()
	refuse := func(format string, args ...any) error {
		return granary.Errorf(granary.KindInvalid, opOpen, d.dir, format, args...)
	}
	switch other := s.diskOf(id.Disk); {
	case id.Disk == "":
		return refuse("it holds no disk")
	case id.Server != s.ServerID():
		return refuse("the disk belongs to server %s", id.Server)
	case other != nil:
		return refuse("both it and %s are disk %s: one is a copy of the other", other.dir, id.Disk)
	case id.Cluster != "" && id.Cluster != s.Cluster():
		return refuse("the disk belongs to cluster %s", id.Cluster)
	}
	s.equip(d)
	id.Cluster = s.Cluster()
	if err := d.setIdentity(id); err != nil {
		return err
	}
	if err := d.scanNames(); err != nil {
		return err
	}
	s.disksMu.Lock()
	defer s.disksMu.Unlock()
	s.disks = append(s.disks, d)
	s.byID[id.Disk] = d
	return nil
}

package volume

import (
	"context"
	"errors"
	"io/fs"

	"github.com/dsorchard/granary"
)

// createdUnknown stands for the creation of a shard whose head cannot be read. No shard that can be read has it.
const createdUnknown granary.Time = 1

// Drop removes a shard. One that does not exist is dropped already. An epoch below the highest seen is KindStale, and so is a creation other
// than that of the shard that is there: it was made after the caller looked. 0 stands for any. A shard whose head cannot
// be read has no epoch, and is listed with a creation of its own kind: it is removed for that, and for 0.
func (s *Store) Drop(ctx context.Context, ref granary.ShardRef, epoch granary.Epoch, created granary.Time) error {
	d, err := s.enter(opDrop, ref)
	if err != nil {
		return err
	}
	defer s.exit()
	sh, err := d.take(ctx, shardKey{ref.Volume, ref.Shard})
	if err != nil {
		return interrupted(opDrop, ref.String(), err)
	}
	defer d.give(sh)
	if !sh.exists.Load() {
		return nil
	}
	is, err := sh.refuseLower(opDrop, epoch)
	if err != nil {
		return err
	}
	if created != 0 && created != is {
		return granary.Errorf(granary.KindStale, opDrop, ref.String(), "the shard was created at %d, not %d", is, created)
	}
	if err := d.remove(sh); err != nil {
		d.noteFailure(err)
		return d.failure(opDrop, sh.key, err)
	}
	if err := d.fs.SyncDir(shardsName); err != nil {
		d.noteFailure(err)
		d.barWrites(shardsName + ": " + err.Error())
		return d.failure(opDrop, sh.key, err)
	}
	return nil
}

// remove takes the shard's file and its name away. The caller has the turn.
func (d *dataDisk) remove(sh *shard) error {
	sh.openMu.Lock() // nobody opens the name from here on for this shard
	defer sh.openMu.Unlock()
	if err := d.fs.Remove(sh.key.fileName()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.files.forget(sh)
	d.forget(sh)
	sh.unaccount()
	return nil
}

// swap gives a shard's name to a file, and its place to the fresh shard. The caller has the turn of the old one.
func (d *dataDisk) swap(old, fresh *shard, fileName string) error {
	old.openMu.Lock() // as in remove
	defer old.openMu.Unlock()
	if err := d.fs.Rename(fileName, old.key.fileName()); err != nil {
		return err
	}
	d.files.forget(old)
	d.mu.Lock() // in one step: there is no moment at which lookup finds neither
	d.shards[fresh.key] = fresh
	old.exists.Store(false)
	d.mu.Unlock()
	old.gone = true
	old.appended.begin(0)
	old.unaccount()
	return nil
}

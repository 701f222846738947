package master

import (
	"errors"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// How far a restored state skips ahead. After the backup the cluster went on for a while: it gave out ids, versions and
// epochs, which clients, volume servers and users still hold, and which the restored state knows nothing of. Each of these
// must be more than was given out since the backup, and little enough for many restores.
const (
	skipIndex   = 1 << 40 // entries, and with them versions, session ids and fencing tokens: 16 million restores
	skipID      = 1 << 40 // blocks, volumes, sessions
	skipEpoch   = 1 << 32 // of each volume
	skipInode   = 1 << 32 // of each dataset; a dataset has 2^40 in all: 255 restores
	skipDataset = 1 << 16 // there are 2^24 in all: 255 restores
	skipPolicy  = 1 << 16 // of 2^32

	restoreKeysMax   = 10_000  // in one batch
	restoreSessions  = 100     // that one batch ends
	restoredTerm     = 1       // the log begins anew
	restoreIndexRoom = 1 << 48 // entries that a restored cluster must have before it at least
)

// reincarnate makes the state of a backup the first one of a cluster that goes on from there: its incarnation rises, all
// that is counted up skips ahead, its sessions end as if they had expired, and nothing is left of the nodes of its Raft
// group. It is not crash safe: who calls it works on a copy.
func (s *state) reincarnate() error {
	head, err := skipAhead(s.head)
	if err != nil {
		return err
	}
	r := &rewriter{s: s, index: granary.Index(head.Applied), batch: s.db.NewBatch()}
	err = r.all()
	if err == nil {
		err = r.changes()
	}
	if err == nil {
		err = r.put(keyHead(), marshal(&head, r.index))
	}
	if err == nil {
		err = r.commit(0)
	}
	if err := errors.Join(err, r.batch.Close()); err != nil {
		return err
	}
	s.head = head
	if err := s.txn.log.load(s.db); err != nil {
		return err
	}
	s.nodes.Store(readMembers(s.db))
	s.publish()
	if err := s.endAllSessions(); err != nil {
		return err
	}
	return s.sync()
}

// skipAhead returns the head of the next incarnation.
func skipAhead(h headRecord) (headRecord, error) {
	if h.Cluster == "" {
		return h, granary.Errorf(granary.KindInvalid, "restore", "", "the backup is of no cluster")
	}
	for _, c := range []struct {
		name         string
		last         uint64
		skip, newest uint64
	}{
		{"entries", h.Applied, skipIndex, math.MaxUint64 - restoreIndexRoom},
		{"sessions", uint64(h.LastSession), skipID, math.MaxUint64 - restoreIndexRoom},
		{"blocks", uint64(h.LastBlock), skipID, math.MaxUint64 - restoreIndexRoom},
		{"volumes", uint64(h.LastVolume), skipID, math.MaxUint64 - restoreIndexRoom},
		{"datasets", uint64(h.LastDataset), skipDataset, uint64(datasetMax) - skipDataset},
		{"policies", uint64(h.LastPolicy), skipPolicy, math.MaxUint32 - skipPolicy},
	} {
		if c.last > c.newest-c.skip {
			return h, errExhausted(c.name, c.last)
		}
	}
	h.Applied += skipIndex
	h.Term = restoredTerm
	h.LastSession += skipID
	h.LastBlock += skipID
	h.Restored = append(slices.Clone(h.Restored), h.LastVolume)
	h.LastVolume += skipID
	h.LastDataset += skipDataset
	h.LastPolicy += skipPolicy
	h.Incarnation++
	h.beginWindow()
	h.CheckIndex, h.CheckDigest = 0, 0
	return h, nil
}

func errExhausted(what string, last uint64) error {
	return granary.Errorf(granary.KindTooLarge, "restore", "", "the ids of %s are at %d: too few are left to skip those that may have been given out since the backup", what, last)
}

// rewriter changes many records of a state that nobody else uses.
type rewriter struct {
	s     *state
	index granary.Index
	batch *pebble.Batch
}

// commit writes the batch if it has as many changes as that.
func (r *rewriter) commit(atLeast uint32) error {
	if r.batch.Count() < atLeast {
		return nil
	}
	if err := r.batch.Commit(pebble.NoSync); err != nil {
		return err
	}
	r.batch.Reset()
	return nil
}

func (r *rewriter) put(k, v []byte) error { return r.batch.Set(k, v, nil) }

func (r *rewriter) all() error {
	for _, table := range []byte{tableMember, tableJoined} {
		if err := r.each(table, func(k, _ []byte) error { return r.batch.Delete(k, nil) }); err != nil {
			return err
		}
	}
	if err := r.each(tableDataset, r.dataset); err != nil {
		return err
	}
	return r.each(tableVolume, r.volume)
}

// changes begins the change log anew: what was changed after the backup was seen by those who watched, and is not in it.
func (r *rewriter) changes() error {
	settings := r.s.txn.log.settings
	if !settings.Set {
		return nil
	}
	settings.From, settings.Trimmed = r.index, 0
	err := r.batch.DeleteRange(key(tableChange), keyEnd(key(tableChange)), nil)
	if err == nil {
		err = r.put(keyChangeLog(), marshal(&settings, r.index))
	}
	return err
}

// each calls f for all records of a table as they were before.
func (r *rewriter) each(table byte, f func(k, v []byte) error) error {
	prefix := key(table)
	it, err := r.s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyEnd(prefix)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		err := f(it.Key(), it.Value())
		if err == nil {
			err = r.commit(restoreKeysMax)
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Error(), it.Close())
}

func (r *rewriter) dataset(k, v []byte) error {
	d, err := unmarshal[datasetRecord](v)
	if err != nil {
		return errStore(k, err)
	}
	if d.NextInode > inodeIDsMax-2*skipInode {
		return errExhausted("inodes of a dataset", d.NextInode)
	}
	d.NextInode += skipInode
	return r.put(k, marshal(d, r.index))
}

// volume raises the epoch of a volume above all that its servers may have seen. Of one that was open, endSession
// raises it once more.
func (r *rewriter) volume(k, v []byte) error {
	rec, err := unmarshal[volumeRecord](v)
	if err != nil {
		return errStore(k, err)
	}
	if rec.Epoch > math.MaxUint64-2*skipEpoch {
		return errExhausted("epochs of a volume", uint64(rec.Epoch))
	}
	rec.Epoch += skipEpoch
	return r.put(k, marshal(rec, r.index))
}

// endAllSessions applies what a leader would propose if they all had expired. Their volumes are sealed, and their
// orphans and results queued for removal.
func (s *state) endAllSessions() error {
	sessions := s.sessions()
	for len(sessions) > 0 {
		n := min(restoreSessions, len(sessions))
		c := &command{Time: s.head.Time + 1}
		for _, session := range sessions[:n] {
			c.Items = append(c.Items, &expireSession{Session: session.ID})
		}
		data, err := c.marshal()
		if err != nil {
			return err
		}
		results := s.apply([]entry{{Index: s.head.Applied + 1, Term: restoredTerm, Data: data}})
		if err := failure(nil, results[0]); err != nil {
			return err
		}
		sessions = sessions[n:]
	}
	return nil
}

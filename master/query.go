package master

import (
	"context"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// view is one state of the store, as a query reads it.
type view struct {
	ctx    context.Context
	r      pebble.Reader
	head   headRecord
	places *places
	live   liveness
	walk   walker
	looked int           // how often done was called
	cred   *granary.Cred // who asks; nil: nothing is refused

	exact bool // the index of the answer must be that of the snapshot
	keeps bool // the answer is to be kept: granary.QueryRequest.Keep

	asking  granary.SessionID // which asks; 0 for none
	hints   *nameHints        // of the state
	seen    *seenRecords      // of the state; nil for none
	holders bool              // there may be sessions that hold directories
}

// query answers a query from one snapshot, and returns the index of an entry that the snapshot holds, the last or nearly so.
func (s *state) query(ctx context.Context, q granary.Query, live liveness) (granary.Answer, granary.Index, error) {
	return s.queryFor(ctx, 0, nil, q, live)
}

// queryFor is query on behalf of a session, and of a caller.
func (s *state) queryFor(ctx context.Context, asking granary.SessionID, cred *granary.Cred, q granary.Query, live liveness) (granary.Answer, granary.Index, error) {
	return s.queryView(ctx, &view{live: live, cred: cred, asking: asking}, q)
}

// queryView is query by a view that says who asks, and how. If sessions attend, the index is exact.
func (s *state) queryView(ctx context.Context, v *view, q granary.Query) (granary.Answer, granary.Index, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return nil, 0, errClosed("query")
	}
	snap := s.borrow()
	defer s.share.giveBack(snap)
	v.ctx, v.r, v.head, v.holders, v.places, v.hints, v.seen = ctx, snap, snap.head, snap.holders, s.places.Load(), &s.logWatch.hints, &s.seen
	if v.exact || s.watcher.Load() != nil { // who attends from now on keeps nothing older than the snapshot
		exact, err := snap.exact()
		if err != nil {
			return nil, 0, err
		}
		v.head = exact
	}
	a, err := v.answer(q)
	if err := firstError(err, v.walk.close()); err != nil {
		return nil, granary.Index(v.head.Applied), err
	}
	return a, granary.Index(v.head.Applied), nil
}

func (v *view) answer(q granary.Query) (granary.Answer, error) {
	switch q := q.(type) {
	case *granary.Lookup:
		return v.lookup(q)
	case *granary.ReadDir:
		return v.readDir(q)
	case *granary.List:
		return v.list(q)
	case *granary.HasChunks:
		return v.hasChunks(q)
	case *granary.StatFS:
		return v.statFS(q)
	case *granary.GetPolicy:
		return v.getPolicy(q)
	case *granary.GetUser:
		return v.getUser(q)
	case *granary.GetIdentity:
		return v.getIdentity(q)
	case *granary.ListIdentities:
		return v.listIdentities(q)
	case *granary.ListIdentityUses:
		return v.listIdentityUses(q)
	case *granary.ResolveIdentity:
		return v.resolveIdentity(q)
	case *granary.ListVolumes:
		return v.listVolumes(q)
	case *granary.GetVolume:
		return v.getVolume(q)
	case *granary.ListBlocks:
		return v.listBlocks(q)
	case *granary.GetUpkeep:
		return v.getUpkeep()
	case *granary.ListDisks:
		return v.listDisks()
	case *granary.GetStatus:
		return v.status()
	case *granary.ListDatasets:
		return v.listDatasets(q)
	case *granary.ListUsage:
		return v.listUsage(q)
	case *granary.GetLock:
		return v.getLock(q)
	case *granary.ListLocks:
		return v.listLocks(q)
	case *granary.ListPathLocks:
		return v.listPathLocks(q)
	case *granary.Watch:
		return v.changes(q)
	case *granary.GetChangeLog:
		return v.getChangeLog()
	}
	return nil, granary.Errorf(granary.KindNotSupported, "query", "", "this master does not know %T", q)
}

// read returns a record, or nil if there is none. An error of the store, or a value that does not
// decode, is the reader's to report: unlike apply, it forks no history.
func read[T any, P record[T]](v *view, k []byte) (P, error) {
	b, closer, err := v.r.Get(k)
	if err == pebble.ErrNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, errStore(k, err)
	}
	r, err := unmarshal[T, P](b)
	if err == nil {
		err = closer.Close()
	}
	if err != nil {
		return nil, errStore(k, err)
	}
	return r, nil
}

func errStore(k []byte, err error) error {
	return granary.Errorf(granary.KindCorrupt, "query", fmt.Sprintf("key %q", k), "metadata store: %w", err)
}

// scan calls f for the keys in [lower, upper), until it says false or fails. Key and value are lent.
func (v *view) scan(lower, upper []byte, f func(k, b []byte) (bool, error)) error {
	it, err := v.r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return errStore(lower, err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		more, err := f(it.Key(), it.Value())
		if err == nil {
			err = v.done()
		}
		if err != nil {
			return firstError(err, it.Close())
		}
		if !more {
			break
		}
	}
	if err := it.Close(); err != nil {
		return errStore(lower, err)
	}
	return nil
}

// done returns an error when the asker has given up. It is for loops: every so often it looks.
func (v *view) done() error {
	if v.looked++; v.looked%64 != 1 {
		return nil
	}
	if err := v.ctx.Err(); err != nil {
		return granary.Errorf(granary.KindCanceled, "query", "", "%w", err)
	}
	return nil
}

// child reads the inode that a dentry names, which must exist.
func (v *view) child(id granary.InodeID) (*inodeRecord, error) {
	r, err := v.inode(id)
	if err == nil && r == nil {
		err = granary.Errorf(granary.KindCorrupt, "query", id.String(), "a name leads to an inode that does not exist")
	}
	return r, err
}

// hasChunks answers which chunks there are that a new file may refer to: in a volume of enough
// parity, whose shards are all there. What lies in a volume that has lost some is better written again.
func (v *view) hasChunks(q *granary.HasChunks) (granary.Answer, error) {
	if len(q.Hashes) > granary.HasChunksMax {
		return nil, granary.Errorf(granary.KindTooLarge, "has chunks", "", "%d hashes, of %d at most", len(q.Hashes), granary.HasChunksMax)
	}
	a := &granary.ChunksHad{Has: make([]bool, len(q.Hashes))}
	sound := map[granary.VolumeID]bool{}
	for i, h := range q.Hashes {
		r, err := read[numberRecord](v, keyHash(q.Dataset, h))
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		b, err := read[blockRecord](v, keyBlock(granary.BlockID(r.Number)))
		if err != nil {
			return nil, err
		}
		at := b.Location.Volume
		if _, asked := sound[at]; !asked {
			if sound[at], err = v.sound(at, int(q.Parity)); err != nil {
				return nil, err
			}
		}
		a.Has[i] = sound[at]
	}
	return a, nil
}

// sound reports whether a volume has at least that much parity, and all of its shards.
func (v *view) sound(id granary.VolumeID, parity int) (bool, error) {
	r, err := read[volumeRecord](v, keyVolume(id))
	if err != nil || r.ParityShards < parity {
		return false, err
	}
	return !slices.ContainsFunc(v.places.volume(id, r, v.up).Shards, func(p granary.ShardPlace) bool { return !p.Up }), nil
}

func (v *view) getPolicy(q *granary.GetPolicy) (granary.Answer, error) {
	r, err := read[policyRecord](v, keyPolicy(q.Policy))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, granary.Errorf(granary.KindNotFound, "get policy", fmt.Sprint(q.Policy), "")
	}
	return &granary.PolicyIs{Policy: r.Policy}, nil
}

func (v *view) getUser(q *granary.GetUser) (granary.Answer, error) {
	r, err := read[userRecord](v, keyUser(q.AccessKey))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, granary.Errorf(granary.KindNotFound, "get user", q.AccessKey, "")
	}
	r.AccessKey = q.AccessKey
	return &granary.UserIs{User: r.User}, nil
}

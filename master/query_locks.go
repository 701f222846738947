package master

import (
	"cmp"
	"slices"

	"github.com/dsorchard/granary"
)

// getLock finds a lock that keeps its asker from one: of those in the way, the one that begins first.
func (v *view) getLock(q *granary.GetLock) (granary.Answer, error) {
	inode, err := v.inode(q.Inode)
	if err != nil {
		return nil, err
	}
	if inode == nil {
		return nil, granary.Errorf(granary.KindNotFound, "get lock", q.Inode.String(), "")
	}
	r, err := v.locks(q.Inode, q.Space)
	if err != nil {
		return nil, err
	}
	asked := fileLock{Lock: granary.Lock{LockKey: q.LockKey, LockRange: q.LockRange, Session: q.Session, Exclusive: q.Exclusive}}
	var found *granary.Lock
	for i := range r.Held {
		h := &r.Held[i]
		if asked.conflicts(h) && (found == nil || cmp.Or(cmp.Compare(h.Start, found.Start), cmp.Compare(h.Token, found.Token)) < 0) {
			found = &h.Lock
		}
	}
	if found == nil {
		return &granary.LockIs{}, nil
	}
	locks := []granary.Lock{*found}
	err = v.nameClients(locks)
	return &granary.LockIs{Lock: &locks[0]}, err
}

// locks reads the locks on an inode; none if there is no record.
func (v *view) locks(id granary.InodeID, space granary.LockSpace) (*locksRecord, error) {
	r, err := read[locksRecord](v, keyLocks(id, space))
	if r == nil {
		r = &locksRecord{}
	}
	r.locate(id, space)
	return r, err
}

// nameClients fills in whose the locks are.
func (v *view) nameClients(locks []granary.Lock) error {
	names := map[granary.SessionID]string{}
	for i := range locks {
		id := locks[i].Session
		name, known := names[id]
		if !known {
			s, err := read[sessionRecord](v, keySession(id))
			if err != nil {
				return err
			}
			if s != nil {
				name = s.Client
			}
			names[id] = name
		}
		locks[i].Client = name
	}
	return nil
}

// listLocks lists the locks on an inode, or on a page of inodes.
func (v *view) listLocks(q *granary.ListLocks) (granary.Answer, error) {
	limit := q.Limit
	if limit <= 0 || limit > granary.LocksPageMax {
		limit = granary.LocksPageMax
	}
	lower, upper := key(tableLocks, uint64(q.After)+1), keyEnd(key(tableLocks))
	if q.Inode != 0 {
		lower, upper = key(tableLocks, uint64(q.Inode)), key(tableLocks, uint64(q.Inode)+1)
	}
	a := &granary.Locks{}
	inodes, last := 0, granary.InodeID(0)
	err := v.scan(lower, upper, func(k, b []byte) (bool, error) {
		id, space := locksOf(k)
		if id != last {
			if inodes == limit || len(a.Locks) >= granary.LocksMax {
				a.Next = last
				return false, nil
			}
			inodes, last = inodes+1, id
		}
		r, err := unmarshal[locksRecord](b)
		if err != nil {
			return false, errStore(k, err)
		}
		r.locate(id, space)
		for _, list := range [...][]fileLock{r.Held, r.Waiting} {
			for i := range list {
				a.Locks = append(a.Locks, list[i].Lock)
			}
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(a.Locks, func(x, y granary.Lock) int {
		return cmp.Or(cmp.Compare(x.Inode, y.Inode), cmp.Compare(x.Token, y.Token), cmp.Compare(x.Start, y.Start))
	})
	return a, v.nameClients(a.Locks)
}

// lockOutcome tells what became of a request, from one state.
func (s *state) lockOutcome(req *granary.AwaitLock) (granary.LockOutcome, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return granary.LockOutcome{}, errClosed("await lock")
	}
	if req.Key.Space == granary.LockPaths {
		return s.pathLockOutcome(granary.LockID(req.Key.Owner))
	}
	r := &locksRecord{}
	k := keyLocks(req.Key.Inode, req.Key.Space)
	if b := readKey(s.db, k); b != nil {
		var err error
		if r, err = unmarshal[locksRecord](b); err != nil {
			return granary.LockOutcome{}, errStore(k, err)
		}
	}
	owner := &fileLock{Lock: granary.Lock{LockKey: req.Key, Session: req.Session}}
	if i := r.waits(owner); i >= 0 && r.Waiting[i].Token == req.Token {
		return granary.LockOutcome{State: granary.LockWaits}, nil
	}
	// What is granted has the token of its grant, which is not below that of the request.
	if token := r.tokenOf(owner); token >= req.Token && token != 0 {
		return granary.LockOutcome{State: granary.LockHeld, Token: token}, nil
	}
	return granary.LockOutcome{State: granary.LockGone}, nil
}

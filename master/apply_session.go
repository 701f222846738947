package master

import (
	"slices"

	"github.com/dsorchard/granary"
)

// session returns an open session, or nil.
func (t *txn) session(id granary.SessionID) *sessionRecord {
	r := t.sessions.get(t, id)
	if r.Opened == 0 { // every session was opened later
		return nil
	}
	r.ID = id
	return r
}

// openSession makes a session, or finds the one that an earlier try made.
func (t *txn) openSession(it *openSession) granary.Result {
	if it.Nonce != 0 {
		found := t.pending.recall.opened[openedBy{it.Client, it.Nonce}]
		if found != 0 {
			return granary.Result{Offset: uint64(found)}
		}
	}
	id := max(granary.SessionID(t.index), t.head.LastSession+1)
	t.head.LastSession = id
	t.head.Sessions++
	*t.sessions.get(t, id) = sessionRecord{Client: it.Client, Nonce: it.Nonce, Opened: t.now}
	t.sessions.touch(id)
	t.noteOpened(id, it.Client, it.Nonce)
	return granary.Result{Offset: uint64(id)}
}

// endSession closes a session: its volumes are sealed at once, and its locks given up if they are few; orphans, results and more
// locks are queued.
func (t *txn) endSession(id granary.SessionID) granary.Result {
	s := t.session(id)
	if s == nil {
		return failed(granary.KindExpired, "close session", "", "session %d is not open", id)
	}
	t.noteEnded(id, s)
	prefix := key(tableWriting, uint64(id))
	t.scan(prefix, keyEnd(prefix), func(k, _ []byte) bool {
		t.seal(granary.VolumeID(keyID(k, 1)))
		return true
	})
	t.sessions.remove(t, id)
	t.head.Sessions--
	left := lockCleanInline
	t.endLocks(id, &left)
	enqueue(t, queueSession, uint64(id), &numberRecord{})
	return granary.Result{}
}

// initCluster makes the fixed things of a new cluster.
func (t *txn) initCluster(it *initCluster) granary.Result {
	if t.head.Cluster != "" {
		return granary.Result{}
	}
	t.head.Cluster = it.Cluster
	t.head.LastPolicy = 1
	store(t, keyPolicy(1), &policyRecord{granary.DefaultPolicy()})
	store(t, keyUser(it.RootUser.AccessKey), &userRecord{it.RootUser})
	root := t.addDataset(granary.RootDataset, &inodeRecord{Attr: granary.Attr{
		Mode: 0o755, UID: it.UID, GID: it.GID, Policy: 1, Parent: granary.RootInode}})
	t.head.LastDataset = granary.RootDataset
	buckets := &inodeRecord{Attr: granary.Attr{Inode: granary.BucketsInode, Mode: 0o755, UID: it.UID, GID: it.GID, Policy: 1}}
	t.addInode(buckets, granary.TypeDirectory)
	t.addName(root, granary.BucketsName, buckets)
	return granary.Result{}
}

// setMember records the gRPC address of a node, or forgets the node.
func (t *txn) setMember(it *setMember) granary.Result {
	t.membersChanged = true
	if it.GRPCAddr == "" {
		t.del(keyMember(it.ID))
		t.del(keyJoined(it.ID))
		return granary.Result{}
	}
	r := memberRecord{GRPCAddr: it.GRPCAddr}
	if old := fetch[memberRecord](t, keyMember(it.ID)); old != nil {
		r.Added = old.Added
	}
	store(t, keyMember(it.ID), &r)
	return granary.Result{}
}

// addMember records a node that is taken in by command: from then on the state says where it is, not the list of
// founding members.
func (t *txn) addMember(it *addMember) granary.Result {
	t.membersChanged = true
	store(t, keyMember(it.ID), &memberRecord{GRPCAddr: it.GRPCAddr, Added: true})
	return granary.Result{}
}

// setUser creates or replaces an S3 user.
func (t *txn) setUser(op *granary.SetUser) granary.Result {
	if err := t.onlySuper("set user", op.User.AccessKey); err != nil {
		return granary.Result{Err: err}
	}
	if op.User.AccessKey == "" || len(op.User.AccessKey) > granary.NameLengthMax {
		return failed(granary.KindInvalid, "set user", op.User.AccessKey, "an access key has 1 to %d bytes", granary.NameLengthMax)
	}
	store(t, keyUser(op.User.AccessKey), &userRecord{op.User})
	return granary.Result{}
}

// setRoot makes a user the only root user.
func (t *txn) setRoot(u *granary.User) granary.Result {
	t.scan(key(tableUser), keyEnd(key(tableUser)), func(k, v []byte) bool {
		r, err := unmarshal[userRecord](v)
		must(err)
		if r.Root {
			t.del(k)
		}
		return true
	})
	return t.setUser(&granary.SetUser{User: *u})
}

// registerServer records a server and the disks in it. A disk stays with the server that last
// reported it.
func (t *txn) registerServer(s *granary.Server) granary.Result {
	if s.ID == "" {
		return failed(granary.KindInvalid, "register server", "", "the server has no id")
	}
	r := fetch[serverRecord](t, keyServer(s.ID))
	if r == nil {
		r = &serverRecord{}
	}
	r.Addr, r.Zone, r.Rack = s.Addr, s.Zone, s.Rack
	for _, d := range s.Disks {
		if !slices.Contains(r.Disks, d) {
			r.Disks = append(r.Disks, d)
		}
	}
	slices.Sort(r.Disks)
	store(t, keyServer(s.ID), r)
	t.takeDisks(s)
	t.serversChanged = true
	return granary.Result{}
}

// takeDisks removes a server's disks from the others.
func (t *txn) takeDisks(s *granary.Server) {
	t.scan(key(tableServer), keyEnd(key(tableServer)), func(k, v []byte) bool {
		if string(k[1:]) == string(s.ID) {
			return true
		}
		r, err := unmarshal[serverRecord](v)
		must(err)
		n := len(r.Disks)
		r.Disks = slices.DeleteFunc(r.Disks, func(d granary.DiskID) bool { return slices.Contains(s.Disks, d) })
		if len(r.Disks) != n {
			store(t, k, r)
		}
		return true
	})
}

package master

import (
	"fmt"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

func sprintf(format string, args []any) string { return fmt.Sprintf(format, args...) }

// apply applies entries in order: one batch for all. It returns one slice of results for each entry,
// one result for each item: nil for an entry that was applied before or holds no data. It panics on
// an error of the store and on an entry it cannot decode.
//
// The batch holds the applied index, so whatever prefix of the batches a crash leaves, Raft's log
// continues it exactly. Nothing is synced here: the log is what makes entries durable.
func (s *state) apply(entries []entry) [][]granary.Result {
	s.applying.Lock()
	defer s.applying.Unlock()
	results := make([][]granary.Result, len(entries))
	t := s.txn
	watcher := s.watcher.Load()
	t.begin(s)
	t.watched = watcher != nil
	for i, e := range entries {
		if e.Index > t.head.Applied {
			results[i] = t.applyEntry(e)
		}
	}
	if t.head.Applied != s.head.Applied {
		t.index = granary.Index(t.head.Applied)
		store(t, keyHead(), &t.head)
		t.pending.keep()
		if t.log.keptCut != 0 {
			t.pending.cut = [2][]byte{keyChanges(0), keyChanges(t.log.keptCut + 1)}
		}
		volumes := s.changes.of(t.pending)
		s.seen.change(t.pending, t.head.Applied)
		t.pending.commit()
		s.changes.note(volumes)
		s.leases.note(t.leases)
	}
	s.head = t.head
	if t.serversChanged {
		s.places.Store(readPlaces(s.db))
	}
	if t.membersChanged {
		s.nodes.Store(readMembers(s.db))
	}
	s.publish()
	s.share.forget()
	s.lockWatch.tell(t.lockNews)
	if watcher != nil {
		watcher.applied(t.items, t.touched, granary.Index(s.head.Applied))
	}
	if t.log.written {
		s.logWatch.tell()
	}
	return results
}

// applyEntry applies one entry to the batch.
func (t *txn) applyEntry(e entry) []granary.Result {
	t.index = granary.Index(e.Index)
	t.head.Applied, t.head.Term = e.Index, e.Term
	t.saved = t.head
	if e.Data == nil {
		return nil
	}
	c, err := unmarshalCommand(e.Data)
	if err != nil {
		panic(fmt.Sprintf("master: log entry %d: %v", e.Index, err))
	}
	t.parents = c.version > commandVersionNoParents
	t.acls = c.version > commandVersionNoACLs
	t.escapes = c.version > commandVersionNoEscapes
	t.marks = c.version > commandVersionNoMarks
	t.classes = c.version > commandVersionNoClasses
	if t.places = c.version > commandVersionNoPlaces; !t.places {
		t.head.IndexVolume, t.head.IndexBlock = 1, 1
	}
	t.numbered = 0
	t.closeWindow(e.Index)
	t.now = max(c.Time, t.head.Time+1)
	t.head.Time = t.now
	t.saved = t.head
	results := make([]granary.Result, len(c.Items))
	for i, it := range c.Items {
		t.touchedBefore = len(t.touched)
		results[i] = t.applyItem(it)
		if t.watched {
			t.noteItem(it, &results[i])
		}
	}
	t.endEntry()
	t.foldEntry()
	return results
}

// applyItem applies one item: whole, or not at all when its result is an error.
func (t *txn) applyItem(it item) granary.Result {
	m, isMutation := it.(*mutation)
	if isMutation {
		return t.applyMutation(m)
	}
	t.cred, t.unchecked, t.asking, t.fences, t.origin = granary.Cred{}, false, 0, nil, 0
	r := t.doItem(it)
	t.settle(&r)
	return r
}

// settle keeps or drops what an item did.
func (t *txn) settle(r *granary.Result) {
	r.Index = t.index
	r.Missing, t.missing = t.missing, nil
	if r.Err != nil {
		t.drop()
	} else {
		t.keep()
	}
}

// doItem does one item that the leader made.
func (t *txn) doItem(it item) granary.Result {
	switch it := it.(type) {
	case *openSession:
		return t.openSession(it)
	case *expireSession:
		return t.endSession(it.Session)
	case *registerServer:
		return t.registerServer(&it.Server)
	case *shardsSealed:
		return t.shardsSealed(it)
	case *reclaim:
		return t.reclaim(it.Limit)
	case *drop:
		return t.dropNameless(it)
	case *initCluster:
		return t.initCluster(it)
	case *setMember:
		return t.setMember(it)
	case *addMember:
		return t.addMember(it)
	case *memberJoined:
		store(t, keyJoined(it.ID), &numberRecord{})
		return granary.Result{}
	case *setRoot:
		return t.setRoot(&it.User)
	case *verifyDigest:
		return t.verifyDigest(it)
	case *beginChangeLog:
		return t.beginChangeLog(it)
	case *trimChanges:
		return t.trimChanges(it)
	}
	return t.doUpkeep(it)
}

// doUpkeep does one item by which the leader maintains volumes.
func (t *txn) doUpkeep(it item) granary.Result {
	switch it := it.(type) {
	case *shardsDamaged:
		return t.shardsDamaged(it)
	case *aimShard:
		return t.aimShard(it)
	case *condemn:
		return t.condemn(it)
	case *forgetVolume:
		return t.forgetVolume(it)
	case *indexBlocks:
		return t.indexBlocks(it)
	case *setDisk:
		return t.setDisk(&it.SetDisk)
	case *sealOpen:
		return t.sealOpen(it)
	case *sweepDone:
		return t.sweepDone(it)
	case *sweepAt:
		return t.sweepAt(it)
	case *serversAbsent:
		return t.serversAbsent(it)
	case *adoptShard:
		return t.adoptShard(it)
	case *expirePaths:
		return t.expirePaths(it)
	}
	panic(fmt.Sprintf("master: item %T is not known", it))
}

// applyMutation applies a request of a session once: a repeated one gets the first result.
func (t *txn) applyMutation(m *mutation) granary.Result {
	op, seq := opName(m.Request.Op), m.Request.Seq
	session := t.session(m.Session)
	if session == nil {
		return granary.Result{Index: t.index, Err: granary.Errorf(granary.KindExpired, op, "", "session %d is not open", m.Session)}
	}
	t.forgetResults(session, m.LowestUnacked)
	t.keep()
	if stored := t.result(m.Session, seq); stored != nil && seq >= session.Lowest {
		r, err := wire.UnmarshalResult(stored)
		must(err)
		return *r
	}
	if seq < session.Lowest || seq == 0 {
		return granary.Result{Index: t.index, Err: granary.Errorf(granary.KindStale, op, "",
			"request %d of session %d was acknowledged before", seq, m.Session)}
	}
	if seq-session.Lowest >= granary.UnackedMax { // or a client that acknowledges nothing would fill the store
		return granary.Result{Index: t.index, Err: granary.Errorf(granary.KindTooLarge, op, "",
			"request %d of session %d: it has acknowledged results below %d only, and %d at most are kept",
			seq, m.Session, session.Lowest, granary.UnackedMax)}
	}
	t.cred, t.unchecked, t.asking, t.fences, t.origin = m.Request.Cred, m.unchecked, m.Session, nil, m.Request.Origin
	var r granary.Result
	if m.Request.Under == nil {
		r = t.doFenced(m.Session, &m.Request)
	} else {
		r = t.doUnder(m.Session, &m.Request)
	}
	if r.Err == nil {
		if err := t.checkQuotas(op); err != nil {
			r = granary.Result{Err: err}
		}
	}
	t.settle(&r)
	if kindIs(r.Err, granary.KindDelegated) {
		return r // as if it had not come: it may come again, under the same number
	}
	if _, closed := m.Request.Op.(*granary.CloseSession); closed {
		return r
	}
	b, err := wire.AppendResult(t.pending.arena.room(valueRoom), &r)
	must(err)
	t.storeResult(m.Session, seq, t.pending.arena.take(b))
	return r
}

// doFenced does a request if the locks that it depends on are held, and brings path locks to where what they are on is now.
func (t *txn) doFenced(session granary.SessionID, request *granary.Request) granary.Result {
	if !fenced(request.Op) {
		return t.do(session, request)
	}
	if len(request.Fences) > 0 {
		if err := t.checkFences(request); err != nil {
			return granary.Result{Err: err}
		}
	}
	r := t.do(session, request)
	if r.Err == nil {
		if err := t.settleMoved(opName(request.Op), ""); err != nil {
			r = granary.Result{Err: err}
		}
	}
	return r
}

// do dispatches a request.
func (t *txn) do(session granary.SessionID, request *granary.Request) granary.Result {
	switch op := request.Op.(type) {
	case *granary.Create:
		return t.create(session, op)
	case *granary.Unlink:
		return t.unlink(op)
	case *granary.Rmdir:
		return t.rmdir(op)
	case *granary.RemoveTree:
		return t.removeTree(op)
	case *granary.Rename:
		return t.rename(op)
	case *granary.Link:
		return t.link(session, op)
	case *granary.SetAttr:
		return t.setAttr(op)
	case *granary.SetXattr:
		return t.setXattr(op)
	case *granary.RemoveXattr:
		return t.removeXattr(op)
	case *granary.Commit:
		return t.commit(session, op)
	case *granary.CopyRange:
		return t.copyRange(op)
	case *granary.Release:
		return t.release(session, op)
	case *granary.SetPolicy:
		return t.setPolicy(op)
	case *granary.OpenVolume:
		return t.openVolume(session, op)
	case *granary.SealVolume:
		return t.sealVolume(session, op)
	case *granary.CloseSession:
		return t.endSession(session)
	case *granary.AcquireLock:
		return t.acquireLock(session, op)
	case *granary.ReleaseLock:
		return t.releaseLock(session, op)
	case *granary.CancelLock:
		return t.cancelLock(session, op)
	case *granary.LeaseInodes:
		return t.leaseInodes(session, op)
	case *granary.TakeDelegation:
		return t.takeDelegation(session, op)
	case *granary.ReturnDelegation:
		return t.returnDelegation(session, op)
	case *granary.AcquirePaths:
		return t.acquirePaths(session, op)
	case *granary.RenewPaths:
		return t.renewPaths(op)
	case *granary.ReleasePaths:
		return t.releasePaths(session, op)
	case *granary.SetUser:
		return t.setUser(op)
	case *granary.PutIdentity:
		return t.putIdentity(op)
	case *granary.DeleteIdentity:
		return t.deleteIdentity(op)
	case *granary.Allocate:
		return t.allocate(op)
	case *granary.Assemble:
		return t.assemble(session, op)
	case *granary.CreateDataset:
		return t.createDataset(op)
	case *granary.SetQuota:
		return t.setQuota(&request.Cred, op)
	case *granary.PlaceShard:
		return t.placeShard(op)
	case *granary.MoveBlocks:
		return t.moveBlocks(session, op)
	case *granary.MoveVolume:
		return t.moveVolume(op)
	case *granary.SetDisk:
		return t.setDisk(op)
	case *granary.ForgetServer:
		return t.forgetServer(op)
	case *granary.SetUpkeep:
		return t.setUpkeep(op)
	case *granary.DamageShards:
		return t.damageShards(op)
	case *granary.SetChangeLog:
		return t.setChangeLog(op)
	case *granary.AdoptVolume:
		return t.adoptVolume(op)
	case *granary.ForgetDisk:
		return t.forgetDisk(op)
	}
	return failed(granary.KindNotSupported, opName(request.Op), "", "this master does not know the operation")
}

func kindIs(err *granary.Error, k granary.Kind) bool { return err != nil && err.Kind == k }

// failed is a result that is an error.
func failed(kind granary.Kind, op, subject, format string, args ...any) granary.Result {
	return granary.Result{Err: granary.Errorf(kind, op, subject, format, args...)}
}

// opName names an operation in errors.
func opName(op granary.Op) string {
	switch op.(type) {
	case *granary.Create:
		return "create"
	case *granary.Unlink:
		return "unlink"
	case *granary.Rmdir:
		return "rmdir"
	case *granary.RemoveTree:
		return "remove tree"
	case *granary.Rename:
		return "rename"
	case *granary.Link:
		return "link"
	case *granary.SetAttr:
		return "setattr"
	case *granary.SetXattr:
		return "setxattr"
	case *granary.RemoveXattr:
		return "removexattr"
	case *granary.Commit:
		return "commit"
	case *granary.CopyRange:
		return "copy range"
	case *granary.Release:
		return "release"
	case *granary.SetPolicy:
		return "set policy"
	case *granary.OpenVolume:
		return "open volume"
	case *granary.SealVolume:
		return "seal volume"
	case *granary.CloseSession:
		return "close session"
	case *granary.AcquireLock:
		return "acquire lock"
	case *granary.ReleaseLock:
		return "release lock"
	case *granary.CancelLock:
		return "cancel lock"
	case *granary.LeaseInodes:
		return "lease inodes"
	case *granary.TakeDelegation:
		return "take delegation"
	case *granary.ReturnDelegation:
		return "return delegation"
	case *granary.AcquirePaths:
		return "lock paths"
	case *granary.RenewPaths:
		return "renew lock"
	case *granary.ReleasePaths:
		return "release lock"
	case *granary.SetUser:
		return "set user"
	case *granary.PutIdentity:
		return "put identity"
	case *granary.DeleteIdentity:
		return "delete identity"
	case *granary.Allocate:
		return "allocate"
	case *granary.Assemble:
		return "assemble"
	case *granary.CreateDataset:
		return "create dataset"
	case *granary.SetQuota:
		return "set quota"
	case *granary.PlaceShard:
		return "place shard"
	case *granary.MoveBlocks:
		return "move blocks"
	case *granary.SetDisk:
		return "set disk"
	case *granary.ForgetServer:
		return "forget server"
	case *granary.MoveVolume:
		return "move volume"
	case *granary.SetUpkeep:
		return "set upkeep"
	case *granary.DamageShards:
		return "damage shards"
	case *granary.AdoptVolume:
		return "adopt volume"
	case *granary.ForgetDisk:
		return "forget disk"
	case *granary.SetChangeLog:
		return "set change log"
	}
	return "mutate"
}

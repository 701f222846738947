package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// fakeCluster is a metadata master in memory, just good enough for the client: sessions, sequence
// numbers, uploads, commits, volumes. Several endpoints serve it, of which one leads. It checks what
// the real state machine checks of a commit, and counts what took effect.
type fakeCluster struct {
	mu       sync.Mutex
	rand     *rand.Rand
	leader   string
	addrs    []string
	hints    bool                            // followers name the leader
	fault    func(op string) (fate fakeFate) // asked at each call that reaches the leader; nil for none
	index    granary.Index
	nonces   map[uint64]granary.SessionID
	sessions map[granary.SessionID]*fakeSession
	policy   granary.Policy
	policies map[granary.PolicyID]granary.Policy // others than policy, which is 1

	classRules []granary.Xattr            // of storage classes
	dirs       map[granary.InodeID]string // paths of directories but the root
	k, m       int                        // what auto gives
	shards     *fakeShards
	down       map[granary.DiskID]bool // the master's opinion

	inodes  map[granary.InodeID]*fakeInode
	names   map[string]granary.InodeID
	chunks  map[granary.Hash]granary.BlockID
	blocks  map[granary.BlockID]granary.BlockInfo
	volumes map[granary.VolumeID]*granary.Volume

	opens fakeOpens // of the leader
	work  *fakeWork

	effects    map[string]int // by "session/op/name": how often it was applied
	mutates    int            // Mutate calls that arrived
	requests   int            // requests in them
	hasAsked   int            // hashes asked for
	keptAlive  int
	opSessions int
	openErr    *granary.Error // what OpenVolume answers, if set
	following  bool           // followers answer queries
	followed   int            // queries that they answered
	hold       chan struct{}  // if set, Mutate calls wait until it is closed
}

type fakeSession struct {
	lowest  uint64
	results map[uint64]granary.Result
}

type fakeInode struct {
	attr    granary.Attr
	inline  []byte
	extents []granary.Extent
	xattrs  []granary.Xattr
	orphan  granary.SessionID
}

// fakeFate is what happens to a call.
type fakeFate int

const (
	fateServed    fakeFate = iota
	fateRefused            // KindUnavailable, nothing happens
	fateReplyLost          // it happens, the caller hears KindIndeterminate
	fateHangs              // it happens, the caller's deadline passes
	fateDeposed            // nothing happens, and another endpoint leads from now on
)

func newFakeCluster(seed uint64, masters int) *fakeCluster {
	f := &fakeCluster{
		rand:  rand.New(rand.NewPCG(seed, 1)),
		hints: true, index: 10,
		nonces: map[uint64]granary.SessionID{}, sessions: map[granary.SessionID]*fakeSession{},
		policy: granary.DefaultPolicy(), k: 2, m: 1,
		down:   map[granary.DiskID]bool{},
		inodes: map[granary.InodeID]*fakeInode{}, names: map[string]granary.InodeID{},
		chunks: map[granary.Hash]granary.BlockID{}, blocks: map[granary.BlockID]granary.BlockInfo{},
		volumes: map[granary.VolumeID]*granary.Volume{}, effects: map[string]int{}, opens: newFakeOpens(1),
		work: newFakeWork(),
	}
	for i := range masters {
		f.addrs = append(f.addrs, fmt.Sprintf("master%d", i))
	}
	f.leader = f.addrs[0]
	f.inodes[granary.RootInode] = &fakeInode{attr: granary.Attr{Inode: granary.RootInode, Type: granary.TypeDirectory, Policy: 1}}
	return f
}

func (f *fakeCluster) dial(addr string) (wire.Master, func() error, error) {
	if !slices.Contains(f.addrs, addr) {
		return nil, nil, fmt.Errorf("no route to %s", addr)
	}
	return &fakeMaster{f, addr}, nil, nil
}

// expire ends a session as the leader would.
func (f *fakeCluster) expire(id granary.SessionID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sessions, id)
	delete(f.opens.files, id)
	for _, v := range f.volumes {
		if v.Owner == id {
			f.seal(v)
		}
	}
}

func (f *fakeCluster) seal(v *granary.Volume) {
	v.Epoch, v.State, v.Owner = v.Epoch+1, granary.VolumeSealed, 0
}

type fakeMaster struct {
	f    *fakeCluster
	addr string
}

// serve runs fn at the leader, with the fate that the fault plan gives.
func (m *fakeMaster) serve(ctx context.Context, op string, fn func() error) error {
	f := m.f
	f.mu.Lock()
	if m.addr != f.leader {
		hint := &granary.NotLeader{}
		if f.hints {
			hint.Leader = f.leader
		}
		f.mu.Unlock()
		return granary.Errorf(granary.KindUnavailable, op, m.addr, "%w", hint)
	}
	fate := fateServed
	if f.fault != nil {
		fate = f.fault(op)
	}
	var err error
	switch fate {
	case fateRefused:
		err = granary.Errorf(granary.KindUnavailable, op, m.addr, "refused")
	case fateDeposed:
		f.leader = f.addrs[(slices.Index(f.addrs, f.leader)+1)%len(f.addrs)]
		f.opens = newFakeOpens(f.opens.term + 1)
		f.work.depose()
		err = granary.Errorf(granary.KindUnavailable, op, m.addr, "%w", &granary.NotLeader{})
	case fateReplyLost:
		err = fn()
		if err == nil {
			err = granary.Errorf(granary.KindIndeterminate, op, m.addr, "reply lost")
		}
	case fateHangs:
		if err = fn(); err == nil {
			f.mu.Unlock()
			<-ctx.Done()
			return ctx.Err()
		}
	default:
		err = fn()
	}
	f.mu.Unlock()
	return err
}

// follows reports whether this endpoint does not lead, but answers queries that any node may.
func (m *fakeMaster) follows() bool {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	return m.addr != m.f.leader && m.f.following
}

// serveFollowing runs fn at a follower.
func (m *fakeMaster) serveFollowing(_ context.Context, _ string, fn func() error) error {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	m.f.followed++
	return fn()
}

func (m *fakeMaster) OpenSession(ctx context.Context, req *granary.OpenSession) (info *granary.SessionInfo, err error) {
	err = m.serve(ctx, "session", func() error {
		id, ok := m.f.nonces[req.Nonce]
		if !ok {
			m.f.index++
			m.f.opSessions++
			id = granary.SessionID(m.f.index)
			m.f.nonces[req.Nonce] = id
			m.f.sessions[id] = &fakeSession{results: map[uint64]granary.Result{}}
			m.f.opens.complete[id] = true
		}
		info = &granary.SessionInfo{Session: id, Cluster: "c0ffee", TTL: granary.Time(30 * time.Second)}
		return nil
	})
	return info, err
}

func (m *fakeMaster) KeepAlive(ctx context.Context, req *granary.KeepAlive) (*granary.KeepAliveReply, error) {
	reply := &granary.KeepAliveReply{}
	return reply, m.serve(ctx, "keepalive", func() error {
		m.f.keptAlive++
		reply.Term = m.f.opens.term
		m.f.opens.take(req)
		if m.f.sessions[req.Session] == nil {
			return granary.Errorf(granary.KindExpired, "keepalive", "", "")
		}
		return nil
	})
}

func (m *fakeMaster) Identify(context.Context) (*granary.MasterIdentity, error) {
	return nil, granary.Errorf(granary.KindNotSupported, "identify", "", "")
}

func (m *fakeMaster) ReadIndex(context.Context) (granary.Index, error) {
	return 0, granary.Errorf(granary.KindNotSupported, "read index", "", "")
}

func (m *fakeMaster) ChangeMember(context.Context, *granary.MemberChange) error {
	return granary.Errorf(granary.KindNotSupported, "change member", "", "")
}

func (m *fakeMaster) ReadBackup(context.Context, *granary.ReadBackup) (*granary.BackupPiece, error) {
	return nil, granary.Errorf(granary.KindNotSupported, "read backup", "", "")
}

func (m *fakeMaster) Attend(context.Context, *granary.Attend) (*granary.Notices, error) {
	return nil, granary.Errorf(granary.KindNotSupported, "attend", "", "")
}

func (m *fakeMaster) AwaitLock(context.Context, *granary.AwaitLock) (granary.LockOutcome, error) {
	return granary.LockOutcome{}, granary.Errorf(granary.KindNotSupported, "await lock", "", "")
}

func (m *fakeMaster) Heartbeat(context.Context, *granary.Heartbeat) (*granary.HeartbeatReply, error) {
	return nil, granary.Errorf(granary.KindNotSupported, "heartbeat", "", "")
}

func (m *fakeMaster) Mutate(ctx context.Context, req *granary.MutateRequest) (results []granary.Result, err error) {
	m.f.mu.Lock()
	hold := m.f.hold
	m.f.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, granary.Errorf(granary.KindCanceled, "mutate", "", "%w", ctx.Err())
		}
	}
	err = m.serve(ctx, "mutate", func() error {
		f := m.f
		s := f.sessions[req.Session]
		if s == nil {
			return granary.Errorf(granary.KindExpired, "mutate", "", "")
		}
		f.mutates++
		f.index++
		s.lowest = max(s.lowest, req.LowestUnacked)
		for _, r := range req.Requests {
			f.requests++
			result := f.once(req.Session, s, r)
			if op, ok := r.Op.(*granary.Create); ok && op.Open && result.Err == nil {
				f.opens.open(req.Session, result.Attr.Inode)
			}
			results = append(results, result)
		}
		for seq := range s.results {
			if seq < s.lowest {
				delete(s.results, seq)
			}
		}
		return nil
	})
	if err != nil {
		results = nil
	}
	return results, err
}

// once applies a request unless its result is known.
func (f *fakeCluster) once(id granary.SessionID, s *fakeSession, r granary.Request) granary.Result {
	if r.Seq < s.lowest {
		return granary.Result{Err: granary.Errorf(granary.KindStale, "mutate", "", "seq %d is below %d", r.Seq, s.lowest)}
	}
	if old, ok := s.results[r.Seq]; ok {
		return old
	}
	result := f.apply(id, r.Op)
	result.Index = f.index
	if s.results != nil {
		s.results[r.Seq] = result
	}
	return result
}

func failed(err *granary.Error) granary.Result { return granary.Result{Err: err} }

func (f *fakeCluster) apply(id granary.SessionID, op granary.Op) granary.Result {
	switch op := op.(type) {
	case *granary.Create:
		return f.create(id, op)
	case *granary.Commit:
		return f.commit(id, op)
	case *granary.Link:
		n := f.inodes[op.Inode]
		if n == nil {
			return failed(granary.Errorf(granary.KindNotFound, "link", "", ""))
		}
		f.effects["link/"+op.Name]++
		n.orphan = 0
		n.xattrs = append(n.xattrs, op.Xattrs...)
		f.names[op.Name] = op.Inode
		return granary.Result{Attr: n.attr}
	case *granary.Release:
		f.effects["release"]++
		delete(f.inodes, op.Inode)
		return granary.Result{}
	case *granary.OpenVolume:
		return f.openVolume(id, op)
	case *granary.SealVolume:
		v := f.volumes[op.Volume]
		if v == nil || v.Epoch != op.Epoch || v.Owner != id {
			return failed(granary.Errorf(granary.KindStale, "seal", "", ""))
		}
		f.effects["seal"]++
		f.seal(v)
		return granary.Result{Volume: v}
	case *granary.CloseSession:
		delete(f.sessions, id)
		for ino, n := range f.inodes {
			if n.orphan == id {
				delete(f.inodes, ino)
			}
		}
		return granary.Result{}
	case *granary.DamageShards:
		return f.damageShards(op)
	case *granary.PlaceShard:
		return f.placeShard(op)
	case *granary.MoveBlocks:
		return f.moveBlocks(id, op)
	case *granary.SetPolicy:
		return f.setPolicy(op)
	case *granary.SetXattr:
		f.effects["setxattr/"+op.Xattr.Name]++
		if op.Xattr.Name == "busy" && f.effects["setxattr/busy"] < 3 {
			return failed(granary.Errorf(granary.KindBusy, "setxattr", "", ""))
		}
		return granary.Result{}
	}
	return failed(granary.Errorf(granary.KindNotSupported, fmt.Sprintf("%T", op), "", ""))
}

func (f *fakeCluster) create(id granary.SessionID, op *granary.Create) granary.Result {
	if old := f.names[op.Name]; old != 0 && op.Open {
		return granary.Result{Attr: f.inodes[old].attr}
	}
	if f.names[op.Name] != 0 && !op.Replace && !op.Anonymous {
		return failed(granary.Errorf(granary.KindExists, "create", op.Name, ""))
	}
	n := &fakeInode{xattrs: op.Xattrs}
	n.attr = granary.Attr{Inode: granary.RootDataset.Inode(uint64(f.index)*1000 + uint64(len(f.inodes))), Type: op.Type, Policy: 1}
	if op.Content != nil {
		if r := f.write(id, n, op.Content, 0); r.Err != nil {
			return r
		}
	}
	f.inodes[n.attr.Inode] = n
	f.effects["create/"+op.Name]++
	if op.Anonymous {
		n.orphan = id
	} else {
		f.names[op.Name] = n.attr.Inode
	}
	return granary.Result{Attr: n.attr, Created: true}
}

func (f *fakeCluster) commit(id granary.SessionID, op *granary.Commit) granary.Result {
	n := f.inodes[op.Inode]
	if n == nil {
		return failed(granary.Errorf(granary.KindNotFound, "commit", op.Inode.String(), ""))
	}
	if op.Rewrite != 0 {
		return f.rewrite(id, n, op)
	}
	var base uint64
	if op.AtEnd {
		base = n.attr.Size
	}
	r := f.write(id, n, &op.Content, base)
	if r.Err == nil {
		f.effects["commit"]++
		r.Offset = base
	}
	return r
}

// write binds content to an inode, or changes nothing.
func (f *fakeCluster) write(id granary.SessionID, n *fakeInode, c *granary.Content, base uint64) granary.Result {
	if r := f.check(id, c); r.Err != nil {
		return r
	}
	if c.Inline != nil {
		end := c.InlineOffset + base + uint64(len(c.Inline))
		if len(n.extents) > 0 || end > uint64(f.policy.InlineMax) {
			return failed(granary.Errorf(granary.KindInvalid, "commit", "", "inline"))
		}
		n.inline = append(n.inline, make([]byte, max(0, int(end)-len(n.inline)))...)
		copy(n.inline[c.InlineOffset+base:], c.Inline)
		n.attr.Size = max(n.attr.Size, end)
	}
	ids := make([]granary.BlockID, len(c.Chunks))
	for i, ch := range c.Chunks {
		if _, ok := f.chunks[ch.Hash]; !ok {
			b := granary.BlockID(len(f.blocks) + 1)
			f.blocks[b] = granary.BlockInfo{ID: b, Hash: ch.Hash, RawLength: ch.RawLength, Location: ch.Location}
			f.chunks[ch.Hash] = b
		}
		if ch.New {
			v := f.volumes[ch.Location.Volume]
			v.Watermark = max(v.Watermark, ch.Watermark)
		}
		ids[i] = f.chunks[ch.Hash]
	}
	for _, e := range c.Extents {
		n.punch(base+e.Offset, e.Length)
		n.extents = append(n.extents, granary.Extent{Offset: base + e.Offset, Length: e.Length, Block: ids[e.Chunk], ChunkOffset: e.ChunkOffset})
		n.attr.Size = max(n.attr.Size, base+e.Offset+e.Length)
	}
	slices.SortFunc(n.extents, func(a, b granary.Extent) int { return int(a.Offset) - int(b.Offset) })
	if c.Size > 0 {
		n.attr.Size = max(n.attr.Size, base+c.Size)
	}
	n.attr.ContentVersion, n.attr.Version = f.index, f.index
	return granary.Result{Attr: n.attr}
}

// check refuses what the state machine refuses.
func (f *fakeCluster) check(id granary.SessionID, c *granary.Content) granary.Result {
	var missing, stale []uint32
	for i, ch := range c.Chunks {
		if !ch.New {
			if _, ok := f.chunks[ch.Hash]; !ok {
				missing = append(missing, uint32(i))
			}
			continue
		}
		v := f.volumes[ch.Location.Volume]
		switch {
		case v == nil || v.State != granary.VolumeOpen || v.Owner != id || v.Epoch != ch.Location.Epoch:
			stale = append(stale, uint32(i))
		case ch.Location.Offset+uint64(ch.Location.Length) > ch.Watermark, int(ch.Location.Shard) >= v.DataShards:
			return failed(granary.Errorf(granary.KindInvalid, "commit", "", "location %+v, watermark %d", ch.Location, ch.Watermark))
		}
	}
	for _, e := range c.Extents {
		if uint64(e.ChunkOffset)+e.Length > uint64(c.Chunks[e.Chunk].RawLength) {
			return failed(granary.Errorf(granary.KindInvalid, "commit", "", "extent %+v beyond its chunk", e))
		}
	}
	if len(stale) > 0 {
		return granary.Result{Err: granary.Errorf(granary.KindStale, "commit", "", ""), Missing: stale}
	}
	if len(missing) > 0 {
		return granary.Result{Err: granary.Errorf(granary.KindMissingChunks, "commit", "", ""), Missing: missing}
	}
	return granary.Result{}
}

// punch removes a range from the extents.
func (n *fakeInode) punch(offset, length uint64) {
	end := offset + length
	var kept []granary.Extent
	for _, e := range n.extents {
		eEnd := e.Offset + e.Length
		if eEnd <= offset || e.Offset >= end {
			kept = append(kept, e)
			continue
		}
		if e.Offset < offset {
			left := e
			left.Length = offset - e.Offset
			kept = append(kept, left)
		}
		if eEnd > end {
			right := e
			right.Offset, right.Length = end, eEnd-end
			right.ChunkOffset += uint32(end - e.Offset)
			kept = append(kept, right)
		}
	}
	n.extents = kept
}

func (f *fakeCluster) openVolume(id granary.SessionID, op *granary.OpenVolume) granary.Result {
	if f.openErr != nil {
		return failed(f.openErr)
	}
	p := f.policyOf(op.Policy)
	k, m := p.DataShards, p.ParityShards
	if p.Auto() {
		k, m = f.k, f.m
	}
	v := &granary.Volume{
		ID: granary.VolumeID(len(f.volumes) + 1), Epoch: 1, State: granary.VolumeOpen, Owner: id,
		DataShards: k, ParityShards: m, Policy: op.Policy, Auto: p.Auto(),
	}
	disks := slices.Clone(f.shards.disks)
	f.rand.Shuffle(len(disks), func(i, j int) { disks[i], disks[j] = disks[j], disks[i] })
	for _, d := range disks {
		if len(v.Shards) < k+m && !slices.Contains(op.Exclude, d) && !f.down[d] {
			v.Shards = append(v.Shards, granary.ShardPlace{Disk: d, Server: granary.ServerID(d), Addr: string(d), Up: true})
		}
	}
	if len(v.Shards) < k+m {
		return failed(granary.Errorf(granary.KindNoSpace, "open volume", "", "%d of %d disks", len(v.Shards), k+m))
	}
	f.effects["openvolume"]++
	f.volumes[v.ID] = v
	out := *v
	return granary.Result{Volume: &out}
}

func (m *fakeMaster) Query(ctx context.Context, req *granary.QueryRequest) (answer granary.Answer, index granary.Index, err error) {
	serve := m.serve
	if req.Follower && m.follows() {
		serve = m.serveFollowing
	}
	err = serve(ctx, "query", func() error {
		f := m.f
		if req.MinIndex > f.index {
			return granary.Errorf(granary.KindInternal, "query", "", "index %d of the future", req.MinIndex)
		}
		index = f.index
		switch q := req.Query.(type) {
		case *granary.GetPolicy:
			answer = &granary.PolicyIs{Policy: f.policyOf(q.Policy)}
		case *granary.HasChunks:
			had := &granary.ChunksHad{}
			for _, h := range q.Hashes {
				f.hasAsked++
				_, ok := f.chunks[h]
				had.Has = append(had.Has, ok)
			}
			answer = had
		case *granary.Lookup:
			ino := q.Base
			if q.Path != "" {
				ino = f.names[q.Path]
			}
			if ino == granary.BucketsInode {
				answer = &granary.Found{Entry: granary.Entry{Attr: granary.Attr{Inode: ino, Type: granary.TypeDirectory}}, Xattrs: f.classRules}
				return nil
			}
			n := f.inodes[ino]
			if n == nil {
				return granary.Errorf(granary.KindNotFound, "lookup", q.Path, "")
			}
			if q.Open && f.sessions[req.Session] == nil {
				return granary.Errorf(granary.KindExpired, "lookup", q.Path, "")
			}
			if q.Open {
				f.opens.open(req.Session, ino)
			}
			answer = &granary.Found{Entry: granary.Entry{Name: q.Path, Attr: n.attr}, Xattrs: n.xattrs, Layout: f.layout(n)}
		case *granary.GetVolume, *granary.ListBlocks, *granary.ReadDir:
			var err error
			answer, err = f.askUpkeep(q)
			return err
		default:
			return granary.Errorf(granary.KindNotSupported, "query", "", "%T", q)
		}
		return nil
	})
	return answer, index, err
}

func (f *fakeCluster) layout(n *fakeInode) *granary.Layout {
	l := &granary.Layout{Size: n.attr.Size, ContentVersion: n.attr.ContentVersion, Inline: slices.Clone(n.inline), Extents: slices.Clone(n.extents)}
	blocks, volumes := map[granary.BlockID]bool{}, map[granary.VolumeID]bool{}
	for _, e := range n.extents {
		if !blocks[e.Block] {
			blocks[e.Block] = true
			l.Blocks = append(l.Blocks, f.blocks[e.Block])
		}
		if v := f.blocks[e.Block].Location.Volume; !volumes[v] {
			volumes[v] = true
			out := *f.volumes[v]
			out.Shards = slices.Clone(out.Shards)
			for i := range out.Shards {
				out.Shards[i].Up = !f.down[out.Shards[i].Disk]
			}
			l.Volumes = append(l.Volumes, out)
		}
	}
	return l
}

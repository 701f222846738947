package client

import (
	"cmp"
	"context"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/dsorchard/granary"
)

// fakeWork is how the leader of a fakeCluster gives out tasks: those that are wanted, and who has them.
type fakeWork struct {
	wanted map[granary.TaskID]granary.Task
	leased map[granary.TaskID]string
	drop   []granary.TaskID // to be told to who has them
	last   map[granary.TaskID]granary.TaskReport
	ended  chan granary.TaskReport
	polls  int
}

func newFakeWork() *fakeWork {
	return &fakeWork{
		wanted: map[granary.TaskID]granary.Task{}, leased: map[granary.TaskID]string{},
		last: map[granary.TaskID]granary.TaskReport{}, ended: make(chan granary.TaskReport, 1000),
	}
}

// depose forgets what only a leader knows.
func (w *fakeWork) depose() { clear(w.leased) }

func (w *fakeWork) serve(req *granary.WorkRequest) *granary.WorkReply {
	w.polls++
	reply := &granary.WorkReply{Drop: w.drop}
	w.drop = nil
	has := map[granary.TaskID]bool{}
	for _, r := range req.Reports {
		id := r.Task.ID
		has[id] = true
		if _, ok := w.wanted[id]; !ok {
			if !r.Ended {
				reply.Drop = append(reply.Drop, id)
			}
			continue
		}
		w.leased[id], w.last[id] = req.Worker, r
		if r.Ended {
			delete(w.wanted, id)
			delete(w.leased, id)
			w.ended <- r
		}
	}
	for id, worker := range w.leased {
		if worker == req.Worker && !has[id] {
			delete(w.leased, id) // the reply that gave it was lost
		}
	}
	for id, t := range w.wanted {
		if w.leased[id] == "" && len(reply.Tasks) < req.Room {
			w.leased[id] = req.Worker
			reply.Tasks = append(reply.Tasks, t)
		}
	}
	return reply
}

func (m *fakeMaster) Work(ctx context.Context, req *granary.WorkRequest) (reply *granary.WorkReply, err error) {
	err = m.serve(ctx, "work", func() error {
		reply = m.f.work.serve(req)
		return nil
	})
	if err != nil {
		reply = nil
	}
	return reply, err
}

// want adds a task.
func (f *fakeCluster) want(t granary.Task) granary.TaskID {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.index++
	t.ID = granary.TaskID(f.index)
	f.work.wanted[t.ID] = t
	return t.ID
}

// aim commits a target for a shard, and wants it made there.
func (f *fakeCluster) aim(kind granary.TaskKind, id granary.VolumeID, shard int, to granary.DiskID) granary.TaskID {
	f.mu.Lock()
	v := f.volumes[id]
	v.Shards[shard].Target = to
	v.Shards[shard].Lost = kind == granary.TaskRepair
	t := granary.Task{
		Kind: kind, Volume: id, Epoch: v.Epoch, Shard: uint8(shard),
		Target: granary.ShardPlace{Disk: to, Server: granary.ServerID(to), Addr: string(to), Up: true},
	}
	f.mu.Unlock()
	return f.want(t)
}

// sealAll seals all volumes and their shards, and returns what the shards hold.
func (f *fakeCluster) sealAll() map[granary.VolumeID][][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shards.mu.Lock()
	defer f.shards.mu.Unlock()
	all := map[granary.VolumeID][][]byte{}
	for id, v := range f.volumes {
		if v.State == granary.VolumeOpen {
			f.seal(v)
		}
		v.Ends = make([]uint64, v.DataShards)
		for _, b := range f.blocks {
			if b.Location.Volume == id {
				v.Ends[b.Location.Shard] = max(v.Ends[b.Location.Shard], b.Location.Offset+uint64(b.Location.Length))
			}
		}
		for i := range v.Shards {
			p := &v.Shards[i]
			p.Sealed = true
			ref := granary.ShardRef{Disk: p.Disk, Volume: id, Shard: uint8(i)}
			sh := f.shards.shards[ref]
			if sh == nil {
				sh = &fakeShard{}
				f.shards.shards[ref] = sh
			}
			sh.data = append(sh.data, make([]byte, max(0, int(v.Watermark)-len(sh.data)))...)[:v.Watermark]
			sh.seal()
			all[id] = append(all[id], slices.Clone(sh.data))
		}
	}
	return all
}

func (f *fakeCluster) damageShards(op *granary.DamageShards) granary.Result {
	v := f.volumes[op.Volume]
	if v == nil || v.Epoch != op.Epoch {
		return granary.Result{Err: granary.Errorf(granary.KindStale, "damage shards", "", "epoch %d", op.Epoch)}
	}
	for i := range v.Shards {
		v.Shards[i].Lost = v.Shards[i].Lost || op.Shards&(1<<i) != 0
	}
	return granary.Result{}
}

func (f *fakeCluster) placeShard(op *granary.PlaceShard) granary.Result {
	v := f.volumes[op.Volume]
	if v == nil || v.Epoch != op.Epoch || int(op.Shard) >= len(v.Shards) || v.Shards[op.Shard].Target != op.To {
		return failed(granary.Errorf(granary.KindStale, "place shard", "", ""))
	}
	f.effects["placeshard"]++
	v.Shards[op.Shard] = granary.ShardPlace{Disk: op.To, Server: granary.ServerID(op.To), Addr: string(op.To), Up: true, Sealed: true}
	return granary.Result{Volume: v}
}

func (f *fakeCluster) moveBlocks(id granary.SessionID, op *granary.MoveBlocks) granary.Result {
	var stale, left []uint32
	for i, mv := range op.Moves {
		if v := f.volumes[mv.To.Volume]; v == nil || v.State != granary.VolumeOpen || v.Owner != id || v.Epoch != mv.To.Epoch {
			stale = append(stale, uint32(i))
		}
	}
	if len(stale) > 0 {
		return granary.Result{Err: granary.Errorf(granary.KindStale, "move blocks", "", ""), Missing: stale}
	}
	f.effects["moveblocks"]++
	for i, mv := range op.Moves {
		v := f.volumes[mv.To.Volume]
		v.Watermark = max(v.Watermark, mv.Watermark)
		b, ok := f.blocks[mv.Block]
		if !ok || b.Location != mv.From {
			left = append(left, uint32(i))
			continue
		}
		f.effects["moved"]++
		b.Location = mv.To
		f.blocks[mv.Block] = b
	}
	return granary.Result{Missing: left}
}

func (f *fakeCluster) askUpkeep(q granary.Query) (granary.Answer, error) {
	switch q := q.(type) {
	case *granary.GetVolume:
		v := f.volumes[q.Volume]
		if v == nil {
			return nil, granary.Errorf(granary.KindNotFound, "volume", "", "%d", q.Volume)
		}
		out := *v
		out.Shards = slices.Clone(v.Shards)
		for i := range out.Shards {
			out.Shards[i].Up = !f.down[out.Shards[i].Disk] && !out.Shards[i].Lost
		}
		return &granary.VolumeIs{Volume: out}, nil
	case *granary.ListBlocks:
		page := &granary.Blocks{}
		for _, b := range f.blocks {
			if at := b.Location; at.Volume == q.Volume && (at.Shard > q.Shard || at.Shard == q.Shard && at.Offset >= q.From) {
				page.Blocks = append(page.Blocks, granary.StoredBlock{Block: b, Dataset: granary.RootDataset, Refs: 1})
			}
		}
		slices.SortFunc(page.Blocks, func(a, b granary.StoredBlock) int {
			x, y := a.Block.Location, b.Block.Location
			return cmp.Or(cmp.Compare(x.Shard, y.Shard), cmp.Compare(x.Offset, y.Offset))
		})
		limit := 3 // pages are small, so that there are several
		if page.More = len(page.Blocks) > limit; page.More {
			page.Blocks = page.Blocks[:limit]
		}
		return page, nil
	case *granary.ReadDir:
		return f.readDir(q), nil
	}
	return nil, granary.Errorf(granary.KindNotSupported, "query", "", "%T", q)
}

func (f *fakeCluster) policyOf(id granary.PolicyID) granary.Policy {
	if p, ok := f.policies[id]; ok {
		return p
	}
	return f.policy
}

// mkdir makes a directory at a path, with a policy of its own or that of the one above.
func (f *fakeCluster) mkdir(path string, policy granary.PolicyID, own bool) granary.InodeID {
	f.index++
	a := granary.Attr{Inode: granary.RootDataset.Inode(uint64(f.index) * 1000), Type: granary.TypeDirectory, Policy: policy}
	if own {
		a.Flags = granary.FlagPolicy
	}
	if f.dirs == nil {
		f.dirs = map[granary.InodeID]string{}
	}
	f.inodes[a.Inode], f.names[path], f.dirs[a.Inode] = &fakeInode{attr: a}, a.Inode, path+"/"
	return a.Inode
}

func (f *fakeCluster) readDir(q *granary.ReadDir) *granary.Directory {
	key := func(name string, isDir bool) string {
		if isDir {
			name += "/"
		}
		return name
	}
	after := key(q.After, q.AfterDir)
	page := &granary.Directory{}
	for path, inode := range f.names {
		name, ok := strings.CutPrefix(path, f.dirs[q.Inode])
		a := f.inodes[inode].attr
		if ok && !strings.Contains(name, "/") && key(name, a.IsDir()) > after {
			page.Entries = append(page.Entries, granary.Entry{Name: name, Attr: a})
		}
	}
	slices.SortFunc(page.Entries, func(a, b granary.Entry) int {
		return cmp.Compare(key(a.Name, a.Attr.IsDir()), key(b.Name, b.Attr.IsDir()))
	})
	if page.More = len(page.Entries) > 2; page.More {
		page.Entries = page.Entries[:2]
	}
	return page
}

func (f *fakeCluster) setPolicy(op *granary.SetPolicy) granary.Result {
	if op.Inode == 0 && op.Policy.StorageClass != "" {
		for id, p := range f.policies {
			if p == op.Policy {
				return granary.Result{Attr: granary.Attr{Policy: id}}
			}
		}
		id := granary.PolicyID(100 + len(f.policies))
		f.policies[id] = op.Policy
		return granary.Result{Attr: granary.Attr{Policy: id}}
	}
	n := f.inodes[op.Inode]
	same := op.Policy.StorageClass != "" && op.Policy.StorageClass == f.policyOf(n.attr.Policy).StorageClass
	if n.attr.Flags&granary.FlagPolicy != 0 && !same || !op.Inherited {
		return failed(granary.Errorf(granary.KindStale, "set policy", "", ""))
	}
	f.effects["setpolicy"]++
	n.attr.Policy = 1
	for id, p := range f.policies {
		if p == op.Policy {
			n.attr.Policy = id
		}
	}
	return granary.Result{Attr: n.attr}
}

// rewrite is a Commit with Rewrite: it changes nothing that can be seen.
func (f *fakeCluster) rewrite(id granary.SessionID, n *fakeInode, op *granary.Commit) granary.Result {
	before := n.attr
	if before.ContentVersion != op.Rewrite {
		return failed(granary.Errorf(granary.KindStale, "rewrite", "", ""))
	}
	for _, e := range op.Content.Extents {
		covered := uint64(0)
		for _, old := range n.extents {
			from, to := max(old.Offset, e.Offset), min(old.Offset+old.Length, e.Offset+e.Length)
			covered += max(from, to) - from
		}
		if covered != e.Length {
			return failed(granary.Errorf(granary.KindInvalid, "rewrite", "", "a hole"))
		}
	}
	r := f.write(id, n, &op.Content, 0)
	n.attr = before
	if r.Err == nil {
		f.effects["rewrite"]++
	}
	return r
}

const fakePage = 4096

func pageSums(data []byte) []uint32 {
	var sums []uint32
	for p := range slices.Chunk(data, fakePage) {
		sums = append(sums, crc32.Checksum(p, castagnoli))
	}
	return sums
}

func (sh *fakeShard) seal() { sh.sums = pageSums(sh.data) }

func (s *fakeShards) ReadSealed(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (int, uint64, error) {
	n, length, err := s.ReadAt(ctx, addr, ref, p, off)
	if err != nil {
		return n, length, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.shards[ref]
	if sh.sums == nil && len(sh.data) > 0 {
		return 0, length, granary.Errorf(granary.KindInvalid, "read", ref.String(), "not sealed")
	}
	for i := off / fakePage; i*fakePage < off+int64(n); i++ {
		page := sh.data[i*fakePage : min((i+1)*fakePage, int64(len(sh.data)))]
		if crc32.Checksum(page, castagnoli) != sh.sums[i] {
			return 0, length, granary.Errorf(granary.KindCorrupt, "read", ref.String(), "page %d", i)
		}
	}
	return n, length, nil
}

func (s *fakeShards) Build(ctx context.Context, addr string, b *granary.Build, r io.Reader) error {
	if addr != string(b.Ref.Disk) {
		return granary.Errorf(granary.KindInvalid, "build", b.Ref.String(), "wrong server %s", addr)
	}
	s.mu.Lock()
	onBuild := s.onBuild
	s.mu.Unlock()
	var data []byte
	for buf := make([]byte, 100_000); ; {
		if onBuild != nil {
			if err := onBuild(b, len(data)); err != nil {
				return err
			}
		}
		n, err := r.Read(buf)
		data = append(data, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return granary.Errorf(granary.KindUnavailable, "build", b.Ref.String(), "the stream broke at %d: %v", len(data), err)
		}
	}
	if uint64(len(data)) != b.Length {
		return granary.Errorf(granary.KindUnavailable, "build", b.Ref.String(), "%d bytes of %d", len(data), b.Length)
	}
	sh := &fakeShard{data: data}
	sh.seal()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shards[b.Ref] = sh
	return nil
}

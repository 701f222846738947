package fsck

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
	"github.com/dsorchard/granary/internal/block"
)

// fake is a cluster of one sealed volume and some files, in memory.
type fake struct {
	mu      sync.Mutex
	codec   *block.Codec
	volumes map[granary.VolumeID]*granary.Volume
	blocks  map[granary.BlockID]*granary.StoredBlock
	shards  map[granary.ShardRef]*fakeShard
	away    map[granary.DiskID]bool
	dirs    map[granary.InodeID][]granary.Entry
	files   map[granary.InodeID][]granary.Extent
	before  func(q granary.Query) // called, without the lock, before a query is answered
}

type fakeShard struct {
	data, sealed []byte
	info         granary.ShardInfo
}

const fakeVolume granary.VolumeID = 7

// newFake makes a volume of k+m with so many blocks, and for each a file that has it twice.
func newFake(t *testing.T, k, m, blocks int) *fake {
	t.Helper()
	f := &fake{
		codec: block.NewCodec(), volumes: map[granary.VolumeID]*granary.Volume{}, blocks: map[granary.BlockID]*granary.StoredBlock{},
		shards: map[granary.ShardRef]*fakeShard{}, away: map[granary.DiskID]bool{},
		dirs: map[granary.InodeID][]granary.Entry{}, files: map[granary.InodeID][]granary.Extent{},
	}
	v := &granary.Volume{ID: fakeVolume, Epoch: 2, State: granary.VolumeSealed, DataShards: k, ParityShards: m, Ends: make([]uint64, k)}
	data := make([][]byte, k)
	random := rand.NewChaCha8([32]byte{1})
	dir := granary.RootDataset.Inode(100)
	f.dirs[granary.RootInode] = []granary.Entry{{Name: "dir", Attr: granary.Attr{Inode: dir, Type: granary.TypeDirectory}}}
	for i := range blocks {
		plain := make([]byte, 20_000+i*17_777%80_000)
		random.Read(plain)
		id, shard := granary.BlockID(i+1), i%k
		if i/k%2 == 1 { // in a row of its own
			data[shard] = append(data[shard], make([]byte, -len(data[shard])&4095)...)
		}
		hash := block.HashOf(plain)
		stored := f.codec.Append(nil, granary.RootDataset, hash, plain, granary.CompressionNone)
		f.blocks[id] = &granary.StoredBlock{Dataset: granary.RootDataset, Refs: 2, Block: granary.BlockInfo{
			ID: id, Hash: hash, RawLength: uint32(len(plain)),
			Location: granary.Location{Volume: v.ID, Epoch: 1, Shard: uint8(shard), Offset: uint64(len(data[shard])), Length: uint32(len(stored))},
		}}
		data[shard] = append(data[shard], stored...)
		v.Ends[shard] = uint64(len(data[shard]))
		v.LiveBytes += uint64(len(stored))
		f.addFile(dir, fmt.Sprintf("file%02d", i), granary.RootDataset.Inode(uint64(200+i)), id)
	}
	for _, d := range data {
		v.Watermark = max(v.Watermark, uint64(len(d)+4095)&^4095)
	}
	for i := range data {
		data[i] = append(data[i], make([]byte, int(v.Watermark)-len(data[i]))...)
	}
	parity := make([][]byte, m)
	for i := range parity {
		parity[i] = make([]byte, v.Watermark)
	}
	code, err := erasure.New(k, m)
	if err == nil {
		err = code.Encode(data, parity)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, stream := range append(data, parity...) {
		disk := granary.DiskID(fmt.Sprintf("disk%d", i))
		v.Shards = append(v.Shards, granary.ShardPlace{Disk: disk, Server: granary.ServerID(disk), Addr: string(disk), Up: true, Sealed: true})
		ref := granary.ShardRef{Disk: disk, Volume: v.ID, Shard: uint8(i)}
		f.shards[ref] = &fakeShard{stream, slices.Clone(stream), granary.ShardInfo{
			Ref: ref, Epoch: v.Epoch, DataShards: k, ParityShards: m, Length: v.Watermark, Sealed: true, Created: granary.Time(i + 1),
		}}
	}
	f.volumes[v.ID] = v
	return f
}

// addFile makes a file that has a block, from its start on and once more.
func (f *fake) addFile(dir granary.InodeID, name string, inode granary.InodeID, id granary.BlockID) {
	length := uint64(f.blocks[id].Block.RawLength)
	f.files[inode] = []granary.Extent{{Length: length, Block: id}, {Offset: length, Length: length, Block: id}}
	f.dirs[dir] = append(f.dirs[dir], granary.Entry{Name: name, Attr: granary.Attr{
		Inode: inode, Type: granary.TypeRegular, Nlink: 1, Size: 2 * length, Allocated: 2 * length,
	}})
}

func (f *fake) shard(i int) *fakeShard {
	return f.shards[granary.ShardRef{Disk: granary.DiskID(fmt.Sprintf("disk%d", i)), Volume: fakeVolume, Shard: uint8(i)}]
}

// of returns the first block of a data shard.
func (f *fake) of(shard int) *granary.BlockInfo { return &f.blocks[granary.BlockID(shard+1)].Block }

func (f *fake) Query(_ context.Context, q granary.Query) (granary.Answer, error) {
	if f.before != nil {
		f.before(q)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch q := q.(type) {
	case *granary.ListVolumes:
		a := &granary.Volumes{}
		for id, v := range f.volumes {
			if id > q.After {
				a.Volumes = append(a.Volumes, f.clone(v))
			}
		}
		slices.SortFunc(a.Volumes, func(a, b granary.Volume) int { return cmp.Compare(a.ID, b.ID) })
		return a, nil
	case *granary.GetVolume:
		if v := f.volumes[q.Volume]; v != nil {
			return &granary.VolumeIs{Volume: f.clone(v)}, nil
		}
		return nil, granary.Errorf(granary.KindNotFound, "get volume", "", "")
	case *granary.ListDisks:
		a := &granary.Disks{}
		for i := range f.volumes[fakeVolume].Shards {
			id := fmt.Sprintf("disk%d", i)
			a.Servers = append(a.Servers, granary.Server{ID: granary.ServerID(id), Addr: id})
			a.Disks = append(a.Disks, granary.Disk{ID: granary.DiskID(id), Server: granary.ServerID(id), State: granary.DiskActive})
		}
		return a, nil
	case *granary.ListBlocks:
		return f.listBlocks(q), nil
	case *granary.ListDatasets:
		if q.After > 0 {
			return &granary.Datasets{}, nil
		}
		return &granary.Datasets{Datasets: []granary.Dataset{{ID: granary.RootDataset}}}, nil
	case *granary.ReadDir:
		return f.readDir(q), nil
	case *granary.Lookup:
		return f.lookup(q)
	case *granary.GetStatus:
		return &granary.Status{Files: uint64(len(f.files))}, nil
	}
	return nil, granary.Errorf(granary.KindNotSupported, "query", "", "%T", q)
}

func (f *fake) clone(v *granary.Volume) granary.Volume {
	c := *v
	c.Shards = slices.Clone(v.Shards)
	return c
}

func (f *fake) listBlocks(q *granary.ListBlocks) *granary.Blocks {
	a := &granary.Blocks{}
	for _, b := range f.blocks {
		if at := b.Block.Location; at.Volume == q.Volume && (at.Shard > q.Shard || at.Shard == q.Shard && at.Offset >= q.From) {
			a.Blocks = append(a.Blocks, *b)
		}
	}
	slices.SortFunc(a.Blocks, func(a, b granary.StoredBlock) int {
		x, y := a.Block.Location, b.Block.Location
		return cmp.Or(cmp.Compare(x.Shard, y.Shard), cmp.Compare(x.Offset, y.Offset))
	})
	if a.More = len(a.Blocks) > 3; a.More { // pages are small, so that there are several
		a.Blocks = a.Blocks[:3]
	}
	return a
}

func (f *fake) readDir(q *granary.ReadDir) *granary.Directory {
	all := f.dirs[q.Inode]
	from := 1 + slices.IndexFunc(all, func(e granary.Entry) bool { return e.Name == q.After })
	to := min(len(all), from+4)
	return &granary.Directory{Entries: slices.Clone(all[from:to]), More: to < len(all)}
}

// lookup answers with one extent at a time.
func (f *fake) lookup(q *granary.Lookup) (granary.Answer, error) {
	extents, ok := f.files[q.Base]
	if !ok {
		return nil, granary.Errorf(granary.KindNotFound, "lookup", "", "")
	}
	l := &granary.Layout{}
	for _, e := range extents {
		if f.blocks[e.Block] == nil {
			return nil, granary.Errorf(granary.KindCorrupt, "lookup", "", "an extent names a block that does not exist")
		}
		if e.Offset < q.Layout.Offset {
			continue
		}
		if l.Truncated = len(l.Extents) == 1; l.Truncated {
			break
		}
		l.Extents = append(l.Extents, e)
	}
	return &granary.Found{Entry: granary.Entry{Attr: granary.Attr{Inode: q.Base, Type: granary.TypeRegular}}, Layout: l}, nil
}

func (f *fake) Do(_ context.Context, _ granary.Cred, op granary.Op) (granary.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if a, ok := op.(*granary.AdoptVolume); ok {
		return f.adopt(a), nil
	}
	d, ok := op.(*granary.DamageShards)
	if v := f.volumes[d.Volume]; !ok || v.Epoch != d.Epoch {
		return granary.Result{}, granary.Errorf(granary.KindStale, "do", "", "%+v", op)
	}
	for i := range f.volumes[d.Volume].Shards {
		if d.Shards&(1<<i) != 0 {
			f.volumes[d.Volume].Shards[i].Lost = true
		}
	}
	return granary.Result{}, nil
}

// ReadLayout reads one block, from its shard or k others that are as they were sealed.
func (f *fake) ReadLayout(ctx context.Context, l *granary.Layout, p []byte, _ uint64) error {
	b, v := &l.Blocks[0], &l.Volumes[0]
	at := b.Location
	found := make([][]byte, len(v.Shards))
	for i := range v.Shards {
		buf := make([]byte, at.Length)
		read := f.ReadSealed
		if i == int(at.Shard) {
			read = f.ReadAt
		}
		if _, _, err := read(ctx, v.Shards[i].Addr, shardRef(v, i), buf, int64(at.Offset)); err == nil {
			found[i] = buf
		}
	}
	plain, err := f.codec.Decode(nil, found[at.Shard], b.Hash)
	if err != nil {
		found[at.Shard] = nil
		code, cerr := erasure.New(v.DataShards, v.ParityShards)
		if cerr != nil {
			return cerr
		}
		rebuilt := make([]byte, at.Length)
		if err := code.Reconstruct(found, int(at.Shard), rebuilt); err != nil {
			return err
		}
		if plain, err = f.codec.Decode(nil, rebuilt, b.Hash); err != nil {
			return err
		}
	}
	copy(p, plain)
	return nil
}

func (f *fake) List(_ context.Context, addr string, disk granary.DiskID) ([]granary.ShardInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away[disk] || addr != string(disk) {
		return nil, granary.Errorf(granary.KindUnavailable, "list", string(disk), "nobody there")
	}
	var infos []granary.ShardInfo
	for ref, sh := range f.shards {
		if ref.Disk == disk {
			infos = append(infos, sh.info)
		}
	}
	return infos, nil
}

func (f *fake) ReadAt(_ context.Context, _ string, ref granary.ShardRef, p []byte, off int64) (int, uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sh := f.shards[ref]
	switch {
	case f.away[ref.Disk]:
		return 0, 0, granary.Errorf(granary.KindUnavailable, "read", ref.String(), "nobody there")
	case sh == nil:
		return 0, 0, granary.Errorf(granary.KindNotFound, "read", ref.String(), "")
	case off > int64(len(sh.data)):
		return 0, uint64(len(sh.data)), nil
	}
	return copy(p, sh.data[off:]), uint64(len(sh.data)), nil
}

func (f *fake) ReadSealed(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (int, uint64, error) {
	n, length, err := f.ReadAt(ctx, addr, ref, p, off)
	if err != nil {
		return 0, 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := f.shards[ref].sealed; n < min(len(p), len(want)-int(off)) || !bytes.Equal(p[:n], want[off:int(off)+n]) {
		return 0, 0, granary.Errorf(granary.KindCorrupt, "read", ref.String(), "not as it was sealed")
	}
	return n, length, nil
}

func (f *fake) adopt(op *granary.AdoptVolume) granary.Result {
	v := &granary.Volume{ID: op.Volume, Epoch: op.Epoch, State: granary.VolumeSealed, DataShards: op.DataShards, ParityShards: op.ParityShards,
		Watermark: op.Watermark, Ends: make([]uint64, op.DataShards), LiveBytes: 1}
	for i, disk := range op.Disks {
		lost := op.Lost&(1<<i) != 0
		v.Shards = append(v.Shards, granary.ShardPlace{Disk: disk, Addr: string(disk), Up: !lost, Lost: lost, Sealed: true})
	}
	f.volumes[op.Volume] = v
	var r granary.Result
	for i, m := range op.Moves {
		if b := f.blocks[m.Block]; b.Block.Location == m.From {
			b.Block.Location = m.To
			f.volumes[m.From.Volume].LiveBytes -= uint64(m.From.Length)
		} else {
			r.Missing = append(r.Missing, uint32(i))
		}
	}
	return r
}

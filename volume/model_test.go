package volume

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// modelShard is what a shard should be.
type modelShard struct {
	exists bool
	epoch  granary.Epoch
	stream []byte
	sealed bool
	last   *granary.Append // repeated, it is acknowledged
}

// machine runs a store on a disk that loses power, beside a model of it.
type machine struct {
	mem    *disk.Mem
	faulty *disk.Faulty
	store  *Store
	disk   granary.DiskID
	shards map[granary.VolumeID]*modelShard
}

func (m *machine) open(t *rapid.T) {
	m.faulty = disk.NewFaulty(m.mem, nil)
	s, err := Open(Options{
		Dirs: []string{"d"}, Cluster: testCluster, ReserveBytes: 1, OpenFilesMax: 1, ScrubEvery: -1,
		OpenFS: func(string) (disk.FS, error) { return m.faulty, nil },
	})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	<-s.disks[0].walked // or its calls would come between those of the test
	m.store, m.disk = s, s.disks[0].id()
}

func (m *machine) close(t *rapid.T) {
	if err := m.store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func (m *machine) ref(v granary.VolumeID) granary.ShardRef {
	return granary.ShardRef{Disk: m.disk, Volume: v}
}

// crashDuring makes a call, and takes the power away before one of its disk accesses, or after it.
// It returns the call's error, and whether the call was over before the power went.
func (m *machine) crashDuring(t *rapid.T, at int, call func() error) (err error, over bool) {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "power"), 0))
	var after *disk.Mem
	count := 0
	m.faulty.SetHook(func(disk.Call) disk.Fault {
		if count == at {
			after = m.mem.CrashClone(r)
		}
		count++
		return disk.Fault{}
	})
	err = call()
	m.faulty.SetHook(nil)
	if over = after == nil; over {
		after = m.mem.CrashClone(r)
	}
	m.close(t)
	m.mem = after
	m.open(t)
	return err, over
}

// try makes a call that should end with the given kind. Sometimes the power fails during it; then check
// looks at the shard, and the call is made again, as whoever made it would.
func (m *machine) try(t *rapid.T, kind granary.Kind, call func() error, check func(), done func()) {
	at := rapid.IntRange(0, 40).Draw(t, "crash")
	if at > 25 {
		if err := call(); granary.KindOf(err) != kind {
			t.Fatalf("%v, want %v", err, kind)
		}
	} else if err, over := m.crashDuring(t, at, call); over {
		if granary.KindOf(err) != kind {
			t.Fatalf("%v, want %v", err, kind)
		}
	} else {
		check()
		if err := call(); granary.KindOf(err) != kind {
			t.Fatalf("again after a crash: %v, want %v", err, kind)
		}
	}
	if kind == granary.KindNone {
		done()
	}
}

// stream reads a whole shard; nil if there is none.
func (m *machine) stream(t *rapid.T, v granary.VolumeID) []byte {
	_, length, err := m.store.ReadAt(context.Background(), m.ref(v), nil, 0)
	if granary.IsKind(err, granary.KindNotFound) {
		return nil
	}
	p := make([]byte, length)
	n, _, err2 := m.store.ReadAt(context.Background(), m.ref(v), p, 0)
	if err != nil || err2 != nil || n != len(p) {
		t.Fatalf("reading volume %d: %v, %v: %d of %d", v, err, err2, n, length)
	}
	return p
}

func (m *machine) append(t *rapid.T) {
	v := granary.VolumeID(rapid.IntRange(1, 3).Draw(t, "volume"))
	sh := m.shards[v]
	prev := uint64(len(sh.stream))
	gap := rapid.SampledFrom([]uint64{0, 0, 1, 4096, 10000}).Draw(t, "gap")
	a := appendOf(m.ref(v), prev, prev+gap, fill(rapid.IntRange(1, 9000).Draw(t, "size"), byte(rapid.IntRange(0, 255).Draw(t, "seed"))))
	a.Epoch = granary.Epoch(rapid.IntRange(1, 6).Draw(t, "epoch"))
	kind := granary.KindNone
	switch {
	case a.Epoch < sh.epoch, sh.sealed:
		kind = granary.KindStale
	case rapid.IntRange(0, 9).Draw(t, "wrong") == 0:
		a.Prev, a.Offset = prev+5, prev+5
		kind = granary.KindInvalid
	}
	call := func() error { return m.store.Append(context.Background(), a) }
	if kind != granary.KindNone {
		m.try(t, kind, call, func() { m.checkShard(t, v) }, nil)
		return
	}
	done := func() {
		grown := append(append(sh.stream[:len(sh.stream):len(sh.stream)], make([]byte, gap)...), a.Data...)
		*sh = modelShard{exists: true, epoch: a.Epoch, stream: grown, last: a}
	}
	at := rapid.IntRange(0, 40).Draw(t, "crash")
	if at > 25 {
		if err := call(); err != nil {
			t.Fatal(err)
		}
		done()
		return
	}
	err, over := m.crashDuring(t, at, call)
	if !over {
		m.checkTorn(t, v, sh)
		err = call()
	}
	switch {
	case err == nil:
		done()
	case !over && granary.IsKind(err, granary.KindInvalid):
		// A torn tail does not fit the retry: the volume is sealed at what was acknowledged.
		if err := m.store.Seal(context.Background(), &granary.Seal{Ref: m.ref(v), Epoch: a.Epoch + 1, Length: prev}); err != nil {
			t.Fatal(err)
		}
		*sh = modelShard{exists: true, epoch: a.Epoch + 1, stream: sh.stream, sealed: true}
	default:
		t.Fatalf("append (crashed during it: %v): %v", !over, err)
	}
}

// checkTorn looks at a shard after a crash during an append: what was acknowledged is there.
func (m *machine) checkTorn(t *rapid.T, v granary.VolumeID, sh *modelShard) {
	got := m.stream(t, v)
	if got == nil && sh.exists || !bytes.HasPrefix(got, sh.stream) {
		t.Fatalf("after a crash, volume %d has %d bytes, and not the %d that were acknowledged", v, len(got), len(sh.stream))
	}
}

func (m *machine) repeat(t *rapid.T) {
	v := granary.VolumeID(rapid.IntRange(1, 3).Draw(t, "volume"))
	if sh := m.shards[v]; sh.last != nil {
		call := func() error { return m.store.Append(context.Background(), sh.last) }
		m.try(t, granary.KindNone, call, func() { m.checkShard(t, v) }, func() {})
	}
}

func (m *machine) seal(t *rapid.T) {
	v := granary.VolumeID(rapid.IntRange(1, 3).Draw(t, "volume"))
	sh := m.shards[v]
	epoch := granary.Epoch(rapid.IntRange(1, 7).Draw(t, "epoch"))
	length := uint64(rapid.IntRange(0, len(sh.stream)+5000).Draw(t, "length"))
	if sh.sealed && rapid.Bool().Draw(t, "same") {
		length = uint64(len(sh.stream))
	}
	asked := length
	kind := granary.KindNone
	switch {
	case epoch < sh.epoch:
		kind = granary.KindStale
	case sh.sealed && length > uint64(len(sh.stream)):
		kind = granary.KindInvalid
	case sh.sealed:
		length = uint64(len(sh.stream)) // at less, nothing is cut off
	}
	common := sh.stream[:min(length, uint64(len(sh.stream)))]
	call := func() error {
		return m.store.Seal(context.Background(), &granary.Seal{Ref: m.ref(v), Epoch: epoch, Length: asked})
	}
	check := func() {
		if got := m.stream(t, v); kind == granary.KindNone && !bytes.HasPrefix(got, common) {
			t.Fatalf("a crash during a seal at %d left %d bytes, others than there were", length, len(got))
		}
	}
	m.try(t, kind, call, check, func() {
		sealed := make([]byte, length)
		copy(sealed, common)
		*sh = modelShard{exists: true, epoch: epoch, stream: sealed, sealed: true}
		if err := m.store.Verify(context.Background(), m.ref(v)); err != nil {
			t.Fatal(err)
		}
	})
}

func (m *machine) build(t *rapid.T) {
	v := granary.VolumeID(rapid.IntRange(1, 3).Draw(t, "volume"))
	sh := m.shards[v]
	epoch := granary.Epoch(rapid.IntRange(1, 7).Draw(t, "epoch"))
	stream := sparse(rapid.IntRange(0, 6).Draw(t, "pages"), byte(rapid.IntRange(0, 255).Draw(t, "seed")))
	kind := granary.KindNone
	if epoch < sh.epoch {
		kind = granary.KindStale
	}
	call := func() error {
		return m.store.Build(context.Background(), buildOf(m.ref(v), epoch, uint64(len(stream))), bytes.NewReader(stream))
	}
	check := func() {
		if got := m.stream(t, v); bytes.Equal(got, stream) {
			if err := m.store.Verify(context.Background(), m.ref(v)); kind == granary.KindNone && err != nil {
				t.Fatal(err)
			}
		} else {
			m.checkShard(t, v)
		}
	}
	m.try(t, kind, call, check, func() {
		*sh = modelShard{exists: true, epoch: epoch, stream: stream, sealed: true}
		if err := m.store.Verify(context.Background(), m.ref(v)); err != nil {
			t.Fatal(err)
		}
	})
}

func (m *machine) drop(t *rapid.T) {
	v := granary.VolumeID(rapid.IntRange(1, 3).Draw(t, "volume"))
	sh := m.shards[v]
	epoch := granary.Epoch(rapid.IntRange(1, 7).Draw(t, "epoch"))
	kind := granary.KindNone
	if epoch < sh.epoch {
		kind = granary.KindStale
	}
	call := func() error { return m.store.Drop(context.Background(), m.ref(v), epoch, 0) }
	check := func() {
		if got := m.stream(t, v); got != nil && !bytes.Equal(got, sh.stream) {
			t.Fatal("a crash during a drop changed the shard")
		}
	}
	m.try(t, kind, call, check, func() { *sh = modelShard{} })
}

// checkShard compares one shard with the model.
func (m *machine) checkShard(t *rapid.T, v granary.VolumeID) {
	sh := m.shards[v]
	got := m.stream(t, v)
	if (got != nil) != sh.exists || !bytes.Equal(got, sh.stream) {
		t.Fatalf("volume %d: %d bytes, want %d (exists: %v)", v, len(got), len(sh.stream), sh.exists)
	}
}

// check compares everything with the model.
func (m *machine) check(t *rapid.T) {
	infos, err := m.store.List(m.disk)
	if err != nil {
		t.Fatal(err)
	}
	listed := make(map[granary.VolumeID]granary.ShardInfo)
	var used uint64
	for _, i := range infos {
		listed[i.Ref.Volume] = i
		used += i.Allocated
	}
	for v, sh := range m.shards {
		m.checkShard(t, v)
		i, ok := listed[v]
		if ok != sh.exists || i.Epoch != sh.epoch || i.Sealed != sh.sealed || i.Length != uint64(len(sh.stream)) || i.Poisoned != "" {
			t.Fatalf("volume %d is listed as %+v, want %+v", v, i, sh)
		}
	}
	if u := m.store.Usage()[0]; u.Used != used || u.Shards != len(infos) {
		t.Fatalf("usage %+v, but %d shards have %d bytes", u, len(infos), used)
	}
}

// Sequences of calls, restarts and power cuts at any disk access do what the model does (invariants 1, 2, 3 and 5).
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{mem: disk.NewMem(disk.MemOptions{}), shards: make(map[granary.VolumeID]*modelShard)}
		for v := granary.VolumeID(1); v <= 3; v++ {
			m.shards[v] = &modelShard{}
		}
		m.open(t)
		defer func() { m.store.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"append":  m.append,
			"append2": m.append,
			"append3": m.append,
			"repeat":  m.repeat,
			"seal":    m.seal,
			"build":   m.build,
			"drop":    m.drop,
			"restart": func(t *rapid.T) { m.close(t); m.open(t) },
			"":        m.check,
		})
	})
}

// Whatever moment the power goes during the formatting of disks or the joining of a cluster, the next start finds its way.
func TestCrashWhileFormatting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "power"), 0))
		mems := []*disk.Mem{disk.NewMem(disk.MemOptions{}), disk.NewMem(disk.MemOptions{})}
		at, count := rapid.IntRange(0, 60).Draw(t, "at"), 0
		var after []*disk.Mem
		var mu sync.Mutex // the disks are looked at side by side
		crash := func() {
			if after == nil {
				after = []*disk.Mem{mems[0].CrashClone(r), mems[1].CrashClone(r)}
			}
		}
		hook := func(disk.Call) disk.Fault {
			mu.Lock()
			defer mu.Unlock()
			if count == at {
				crash()
			}
			count++
			return disk.Fault{}
		}
		options := func(mems []*disk.Mem, hook func(disk.Call) disk.Fault) Options {
			fs := map[string]disk.FS{"a": disk.NewFaulty(mems[0], hook), "b": disk.NewFaulty(mems[1], hook)}
			return Options{Dirs: []string{"a", "b"}, ScrubEvery: -1, OpenFS: func(dir string) (disk.FS, error) { return fs[dir], nil }}
		}
		s, err := Open(options(mems, hook))
		if err != nil {
			t.Fatal(err)
		}
		<-s.disks[0].walked
		<-s.disks[1].walked
		if err := s.JoinCluster(testCluster); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		joined := after == nil
		crash()
		mu.Unlock()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, err = Open(options(after, nil))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if joined && s.Cluster() != testCluster {
			t.Fatal("the disks forgot their cluster")
		}
		if err := s.JoinCluster(testCluster); err != nil {
			t.Fatal(err)
		}
	})
}

package volume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// wantSealed fails the test unless every range of the shard reads, verified, as want does.
func wantSealed(t *testing.T, c *Client, addr string, ref granary.ShardRef, want []byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(len(want))))
	for range 200 {
		off, size := r.IntN(len(want)+10), r.IntN(len(want)+10)
		p := make([]byte, size)
		n, length, err := c.ReadSealed(context.Background(), addr, ref, p, int64(off))
		expected := want[min(off, len(want)):min(off+size, len(want))]
		if err != nil || length != uint64(len(want)) || !bytes.Equal(p[:n], expected) {
			t.Fatalf("%d bytes at %d: read %d of %d, %v; want %d", size, off, n, length, err, len(expected))
		}
	}
}

// clients returns a client by plain calls, and one over HTTP.
func clients(t *testing.T, s *Store) (map[string]*Client, string) {
	remote, addr := serve(t, s)
	local := NewClient()
	local.Attach(addr, s)
	return map[string]*Client{"local": local, "http": remote}, addr
}

func TestBuild(t *testing.T) {
	for _, name := range []string{"local", "http"} {
		for _, stream := range [][]byte{append(append(fill(50, 1), make([]byte, 5*buildPieceSize)...), 1), sparse(700, 1), sparse(3, 2), make([]byte, 3*pageSize), fill(2*buildPieceSize, 1), {7}, {}} {
			t.Run(fmt.Sprint(name, len(stream)), func(t *testing.T) {
				ctx := context.Background()
				dir := t.TempDir()
				s := open(t, testOptions(t, dir))
				both, addr := clients(t, s)
				c := both[name]
				ref := firstRef(s, 7)
				b := buildOf(ref, 3, uint64(len(stream)))
				if err := c.Build(ctx, addr, b, iotest.HalfReader(bytes.NewReader(stream))); err != nil {
					t.Fatal(err)
				}
				for range 2 { // also after a restart
					infos, err := c.List(ctx, addr, ref.Disk)
					if err != nil || len(infos) != 1 {
						t.Fatalf("list: %v, %v", infos, err)
					}
					i := infos[0]
					if i.Ref != ref || i.Epoch != 3 || i.DataShards != 2 || i.ParityShards != 1 || i.Length != b.Length || !i.Sealed || i.Created == 0 || i.Damaged != "" {
						t.Fatalf("listed as %+v", i)
					}
					if data := b.Length - b.Length/2; i.Allocated > streamOffset+data+16*pageSize && bytes.Contains(stream, make([]byte, 3*pageSize)) {
						t.Fatalf("holes take space: %d of %d", i.Allocated, b.Length)
					}
					wantStream(t, s, ref, stream)
					wantSealed(t, c, addr, ref, stream)
					if err := c.Verify(ctx, addr, ref); err != nil {
						t.Fatal(err)
					}
					if name == "http" {
						return
					}
					closeStore(t, s)
					s = open(t, testOptions(t, dir))
					c.Attach(addr, s)
				}
				wantKind(t, s.Append(ctx, appendOf(ref, b.Length, b.Length, []byte{1})), granary.KindStale)
			})
		}
	}
}

// A build takes the place of what is there, and whoever reads that goes on reading it.
func TestBuildReplaces(t *testing.T) {
	ctx := context.Background()
	s := openTemp(t)
	both, addr := clients(t, s)
	for v, old := range map[granary.VolumeID]func(ref granary.ShardRef){
		1: func(ref granary.ShardRef) { mustAppend(t, s, appendOf(ref, 0, 0, fill(50000, 1))) },
		2: func(ref granary.ShardRef) {
			if err := s.Build(ctx, buildOf(ref, 1, 50000), bytes.NewReader(fill(50000, 1))); err != nil {
				t.Fatal(err)
			}
		},
	} {
		ref := firstRef(s, v)
		old(ref)
		_, f, err := s.disks[0].open(opRead, shardKey{v, 0})
		if err != nil {
			t.Fatal(err)
		}
		stream := sparse(9, 3)
		if err := both["http"].Build(ctx, addr, buildOf(ref, 2, uint64(len(stream))), bytes.NewReader(stream)); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 50000)
		if _, err := f.ReadAt(p, streamOffset); err != nil || !bytes.Equal(p, fill(50000, 1)) {
			t.Fatalf("what was open reads otherwise: %v", err)
		}
		s.files.release(f)
		wantStream(t, s, ref, stream)
		for _, c := range both {
			wantKind(t, c.Build(ctx, addr, buildOf(ref, 1, 10), bytes.NewReader(fill(10, 1))), granary.KindStale)
		}
	}
	<-s.disks[0].walked
	var used uint64
	infos, err := s.List(s.disks[0].id())
	for _, i := range infos {
		used += i.Allocated
	}
	if u := s.Usage()[0]; err != nil || u.Used != used || u.Shards != 2 {
		t.Fatalf("usage %+v, but shards have %d bytes: %v", u, used, err)
	}
}

func TestBuildRefusals(t *testing.T) {
	ctx := context.Background()
	mem := disk.NewMem(disk.MemOptions{})
	s, _ := openFaulty(t, mem)
	both, addr := clients(t, s)
	volume := granary.VolumeID(0)
	lost := granary.Errorf(granary.KindCorrupt, "read", "", "too few shards")
	for _, name := range []string{"local", "http"} {
		c := both[name]
		for what, test := range map[string]struct {
			change func(b *granary.Build)
			r      io.Reader
			kind   granary.Kind
		}{
			"shape":       {func(b *granary.Build) { b.DataShards = 0 }, nil, granary.KindInvalid},
			"shard":       {func(b *granary.Build) { b.Ref.Shard = 3 }, nil, granary.KindInvalid},
			"epoch":       {func(b *granary.Build) { b.Epoch = 0 }, nil, granary.KindInvalid},
			"length":      {func(b *granary.Build) { b.Length = streamLengthMax + 1 }, nil, granary.KindTooLarge},
			"disk":        {func(b *granary.Build) { b.Ref.Disk = "x" }, nil, granary.KindNotFound},
			"ends early":  {nil, bytes.NewReader(fill(9999, 1)), granary.KindUnavailable},
			"ends at 0":   {nil, strings.NewReader(""), granary.KindUnavailable},
			"source":      {nil, io.MultiReader(bytes.NewReader(fill(5000, 1)), iotest.ErrReader(lost)), granary.KindCorrupt},
			"other error": {nil, iotest.ErrReader(errors.New("x")), granary.KindUnavailable},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				volume++ // over HTTP the client knows of a failure before the server does
				ref := firstRef(s, volume)
				mustAppend(t, s, appendOf(ref, 0, 0, fill(100, 1)))
				b := buildOf(ref, 2, 10000)
				if test.change != nil {
					test.change(b)
				}
				wantKind(t, c.Build(ctx, addr, b, test.r), test.kind)
				wantStream(t, s, ref, fill(100, 1))
				if names, err := mem.ReadDir(shardsName); name == "local" && (err != nil || len(names) != int(volume)) {
					t.Fatalf("left behind: %v, %v", names, err)
				}
			})
		}
	}
}

// Of two builds of a shard the second is refused, and so is whatever else would make the shard.
func TestBuildsOfOneShard(t *testing.T) {
	ctx := context.Background()
	s := openTemp(t)
	both, addr := clients(t, s)
	ref := firstRef(s, 1)
	r, w := io.Pipe()
	first := make(chan error)
	go func() { first <- both["http"].Build(ctx, addr, buildOf(ref, 2, 10000), r) }()
	if _, err := w.Write(fill(10, 1)); err != nil { // the server has asked for the body
		t.Fatal(err)
	}
	for _, c := range both {
		wantKind(t, c.Build(ctx, addr, buildOf(ref, 2, 5), strings.NewReader("hello")), granary.KindBusy)
	}
	wantKind(t, s.Append(ctx, appendOf(ref, 0, 0, fill(1, 1))), granary.KindBusy)
	wantKind(t, s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: 1}), granary.KindBusy)
	if err := s.Drop(ctx, ref, 2, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(fill(10000, 1)[10:]); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	wantStream(t, s, ref, fill(10000, 1))
}

func TestBuildKeepsReserve(t *testing.T) {
	mem := disk.NewMem(disk.MemOptions{Capacity: 4 << 20})
	o := testOptions(t, "d")
	o.ReserveBytes = 1 << 20
	o.OpenFS = func(string) (disk.FS, error) { return mem, nil }
	s := open(t, o)
	ref := firstRef(s, 1)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(100, 1)))
	before, err := mem.Usage()
	if err != nil {
		t.Fatal(err)
	}
	length := uint64(5 << 20)
	wantKind(t, s.Build(context.Background(), buildOf(ref, 2, length), bytes.NewReader(fill(int(length), 1))), granary.KindNoSpace)
	if after, err := mem.Usage(); err != nil || after != before {
		t.Fatalf("%+v before, %+v after, %v", before, after, err)
	}
	wantStream(t, s, ref, fill(100, 1))
	// As many zeros need no room.
	if err := s.Build(context.Background(), buildOf(ref, 2, length), bytes.NewReader(make([]byte, length))); err != nil {
		t.Fatal(err)
	}
}

// A request that is cut off, or damaged, makes no shard: not one with zeros where the rest would be, either.
func TestBuildOfBrokenRecords(t *testing.T) {
	s := openTemp(t)
	h := NewHandler(s)
	ref := firstRef(s, 1)
	data := fill(pageSize, 1)
	whole := appendRecord(appendRecord(nil, pageSize, data), 3*pageSize, nil)
	post := func(body []byte) int {
		r := httptest.NewRequest(http.MethodPost, fmt.Sprintf("%s/build?epoch=1&k=2&m=1&length=%d", shardPath(ref), 3*pageSize), bytes.NewReader(body))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	for cut := 0; cut < len(whole); cut += 7 {
		if code := post(whole[:cut]); code != http.StatusServiceUnavailable {
			t.Fatalf("cut at %d: %d", cut, code)
		}
	}
	for _, at := range []int{0, 9, 13, 100, len(whole) - 1, len(whole) - recordHead} {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1
		if code := post(damaged); code == http.StatusNoContent {
			t.Fatalf("flipped at %d: %d", at, code)
		}
	}
	for what, records := range map[string][]byte{
		"twice":       appendRecord(appendRecord(appendRecord(nil, 0, data), 0, data), 3*pageSize, nil),
		"beyond":      appendRecord(appendRecord(nil, 3*pageSize, data), 3*pageSize, nil),
		"not aligned": appendRecord(appendRecord(nil, 5, data), 3*pageSize, nil),
		"part":        appendRecord(appendRecord(nil, 0, data[:9]), 3*pageSize, nil),
		"zeros":       appendRecord(appendRecord(nil, 5, nil), 3*pageSize, nil),
		"back":        appendRecord(appendRecord(appendRecord(nil, 2*pageSize, nil), pageSize, nil), 3*pageSize, nil),
	} {
		if code := post(records); code != http.StatusBadRequest {
			t.Fatalf("%s: %d", what, code)
		}
	}
	if code := post(appendRecord(nil, 2*pageSize, nil)); code != http.StatusServiceUnavailable {
		t.Fatalf("zeros without an end: %d", code)
	}
	if u := s.Usage()[0]; u.Shards != 0 {
		t.Fatalf("usage %+v", u)
	}
	if code := post(whole); code != http.StatusNoContent {
		t.Fatalf("%d", code)
	}
	wantStream(t, s, ref, append(append(make([]byte, pageSize), data...), make([]byte, pageSize)...))
}

// Whenever the power goes during a build, the old shard is there or the new one, whole; and whatever call fails, the
// build says so, and leaves the old one or, if the directory could not be synced, the new one.
func TestBuildCutShort(t *testing.T) {
	ctx := context.Background()
	stream := sparse(20, 1)
	old := fill(9000, 2)
	prepare := func() (*disk.Mem, *Store, *disk.Faulty, granary.ShardRef) {
		mem := disk.NewMem(disk.MemOptions{})
		s, faulty := openFaulty(t, mem)
		ref := firstRef(s, 1)
		mustAppend(t, s, appendOf(ref, 0, 0, old))
		return mem, s, faulty, ref
	}
	whole := func(s *Store, ref granary.ShardRef) bool {
		_, length, err := s.ReadAt(ctx, ref, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if length == uint64(len(old)) {
			wantStream(t, s, ref, old)
			return false
		}
		wantStream(t, s, ref, stream)
		if err := s.Verify(ctx, ref); err != nil {
			t.Fatal(err)
		}
		return true
	}
	calls, news := 1, 0
	for at := 0; at < calls; at++ {
		for seed := range uint64(4) {
			mem, s, faulty, ref := prepare()
			var after *disk.Mem
			count := 0
			faulty.SetHook(func(disk.Call) disk.Fault {
				if count == at {
					after = mem.CrashClone(rand.New(rand.NewPCG(seed, uint64(at))))
				}
				count++
				return disk.Fault{}
			})
			if err := s.Build(ctx, buildOf(ref, 2, uint64(len(stream))), bytes.NewReader(stream)); err != nil {
				t.Fatal(err)
			}
			faulty.SetHook(nil)
			calls = count
			closeStore(t, s)
			s, _ = openFaulty(t, after)
			if whole(s, ref) {
				news++
			}
			if names, err := after.ReadDir(shardsName); err != nil || len(names) != 1 {
				t.Fatalf("left behind: %v, %v", names, err)
			}
			closeStore(t, s)
		}
		_, s, faulty, ref := prepare()
		count := 0
		var failed disk.Op
		faulty.SetHook(func(c disk.Call) disk.Fault {
			if count++; count == at+1 {
				failed = c.Op
				return disk.Fault{Err: syscall.EIO}
			}
			return disk.Fault{}
		})
		err := s.Build(ctx, buildOf(ref, 2, uint64(len(stream))), bytes.NewReader(stream))
		faulty.SetHook(nil)
		if failed != disk.OpAllocated && failed != disk.OpClose { // of the old file, which nobody needs
			wantKind(t, err, granary.KindUnavailable)
		}
		if is := whole(s, ref); is != (failed == disk.OpSyncDir || err == nil) {
			t.Fatalf("after a failed %s (%v), the new shard: %v", failed, err, is)
		}
		closeStore(t, s)
	}
	if calls < 10 || news == 0 {
		t.Fatalf("%d calls, %d new shards", calls, news)
	}
}

// ReadSealed notices what ReadAt does not, and tells the master at once.
func TestReadSealedFindsRot(t *testing.T) {
	ctx := context.Background()
	for _, name := range []string{"local", "http"} {
		t.Run(name, func(t *testing.T) {
			mem := disk.NewMem(disk.MemOptions{})
			s, faulty := openFaulty(t, mem)
			both, addr := clients(t, s)
			c := both[name]
			ref := firstRef(s, 1)
			mustAppend(t, s, appendOf(ref, 0, 0, fill(100000, 1)))
			_, _, err := c.ReadSealed(ctx, addr, ref, make([]byte, 10), 0)
			wantKind(t, err, granary.KindInvalid)
			if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: 100000}); err != nil {
				t.Fatal(err)
			}
			faulty.SetHook(func(c disk.Call) disk.Fault {
				if c.Op == disk.OpReadAt && c.Offset <= streamOffset+50000 && c.Offset+int64(c.Length) > streamOffset+50000 && c.Offset >= streamOffset {
					return disk.Fault{Flip: []int{int(streamOffset+50000-c.Offset) * 8}}
				}
				return disk.Fault{}
			})
			if _, _, err := c.ReadSealed(ctx, addr, ref, make([]byte, 40000), 0); err != nil {
				t.Fatal(err)
			}
			news := s.alarm.listen()
			_, _, err = c.ReadSealed(ctx, addr, ref, make([]byte, 10), 49500)
			wantKind(t, err, granary.KindCorrupt)
			<-news
			faulty.SetHook(nil)
			if damaged := s.heartbeat("", "", "").Damaged; len(damaged) != 1 || damaged[0].Ref != ref || damaged[0].Created == 0 {
				t.Fatalf("heartbeat says %+v", damaged)
			}
			if infos, err := s.List(ref.Disk); err != nil || !strings.Contains(infos[0].Damaged, "49152") {
				t.Fatalf("listed as %+v, %v", infos, err)
			}
		})
	}
}

// A build of many syncs goes on writing while one runs; one that fails ends it, and is not repeated.
func TestBuildSyncsOnTheWay(t *testing.T) {
	ctx := context.Background()
	mem := disk.NewMem(disk.MemOptions{})
	s, faulty := openFaulty(t, mem)
	s.buildSyncEvery = 2 << 20
	ref := firstRef(s, 1)
	stream := fill(9<<20, 1)
	var syncs atomic.Int64
	fail := int64(0)
	faulty.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpSync && syncs.Add(1) == fail {
			return disk.Fault{Err: syscall.EIO}
		}
		return disk.Fault{}
	})
	if err := s.Build(ctx, buildOf(ref, 1, uint64(len(stream))), bytes.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	if n := syncs.Load(); n != 5 {
		t.Fatalf("%d syncs", n)
	}
	wantSame := func() {
		t.Helper()
		_, f, err := s.disks[0].open(opRead, shardKey{1, 0})
		if err != nil {
			t.Fatal(err)
		}
		defer s.files.release(f)
		p := make([]byte, len(stream))
		if _, err := f.ReadAt(p, streamOffset); err != nil || !bytes.Equal(p, stream) {
			t.Fatalf("reads otherwise: %v", err)
		}
	}
	wantSame()
	for fail = 1; fail <= 5; fail++ {
		syncs.Store(0)
		s.disks[0].mu.Lock()
		s.disks[0].readOnly = ""
		s.disks[0].mu.Unlock()
		wantKind(t, s.Build(ctx, buildOf(ref, 1, uint64(len(stream))), bytes.NewReader(fill(len(stream), 2))), granary.KindUnavailable)
		if n := syncs.Load(); n != fail {
			t.Fatalf("%d syncs, the failed one is %d", n, fail)
		}
		wantSame()
	}
	if names, err := mem.ReadDir(shardsName); err != nil || len(names) != 1 {
		t.Fatalf("left behind: %v, %v", names, err)
	}
}

// Whoever reads while shards replace each other reads one of them, whole; and no file stays open that nobody can reach.
func TestBuildUnderReaders(t *testing.T) {
	ctx := context.Background()
	s := openTemp(t)
	ref := mustBuild(t, s, 1, 20000)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				p := make([]byte, 20000)
				n, _, err := s.ReadSealed(ctx, ref, p, 0)
				if err != nil || !bytes.Equal(p[:n], fill(n, p[0])) {
					t.Errorf("read %d bytes: %v", n, err)
					return
				}
				if infos, err := s.List(ref.Disk); err != nil || len(infos) != 1 || infos[0].Damaged != "" {
					t.Errorf("listed as %+v, %v", infos, err)
					return
				}
			}
		})
	}
	for i := range 60 {
		size := 10000 + 100*i
		if err := s.Build(ctx, buildOf(ref, 1, uint64(size)), bytes.NewReader(fill(size, byte(i)))); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	readers.Wait()
	if n := s.files.order.Len(); n != 1 {
		t.Fatalf("%d files are open", n)
	}
	if err := s.Drop(ctx, ref, 1, 0); err != nil || s.files.order.Len() != 0 {
		t.Fatalf("%d files are open, %v", s.files.order.Len(), err)
	}
}

package volume

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
)

func TestAppendReadSealDrop(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	ref := firstRef(s, 7)

	one, two := fill(5000, 1), fill(3000, 2)
	mustAppend(t, s, appendOf(ref, 0, 0, one))
	mustAppend(t, s, appendOf(ref, 5000, 8192, two))
	want := append(append(append([]byte{}, one...), make([]byte, 8192-5000)...), two...)
	wantStream(t, s, ref, want)

	mustAppend(t, s, appendOf(ref, 5000, 8192, two)) // repeated
	wantKind(t, s.Append(ctx, appendOf(ref, 5000, 8192, fill(3000, 3))), granary.KindInvalid)
	wantKind(t, s.Append(ctx, appendOf(ref, 0, 0, one)), granary.KindInvalid)
	wantKind(t, s.Append(ctx, appendOf(ref, 12000, 12000, one)), granary.KindInvalid)

	if n, length, err := s.ReadAt(ctx, ref, make([]byte, 10), 1<<30); n != 0 || length != uint64(len(want)) || err != nil {
		t.Fatalf("read beyond the end: %d, %d, %v", n, length, err)
	}

	const sealed = 8192 + 1000
	if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: sealed}); err != nil {
		t.Fatal(err)
	}
	if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: sealed}); err != nil {
		t.Fatalf("repeated seal: %v", err)
	}
	wantKind(t, s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 1, Length: sealed}), granary.KindStale)
	wantKind(t, s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 3, Length: sealed + 1}), granary.KindInvalid)
	// A master restored from a backup knows of less, at a higher epoch: nothing is cut off.
	for range 2 {
		if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 3, Length: sealed - 1000}); err != nil {
			t.Fatalf("seal at less than it is sealed at: %v", err)
		}
	}
	wantKind(t, s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: sealed}), granary.KindStale)
	wantStream(t, s, ref, want[:sealed])
	a := appendOf(ref, sealed, sealed, one)
	wantKind(t, s.Append(ctx, a), granary.KindStale)
	a.Epoch = 9
	wantKind(t, s.Append(ctx, a), granary.KindStale)
	if err := s.Verify(ctx, ref); err != nil {
		t.Fatal(err)
	}

	// The same after a restart.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, testOptions(t, dir))
	wantStream(t, s, ref, want[:sealed])
	infos, err := s.List(ref.Disk)
	if err != nil || len(infos) != 1 {
		t.Fatalf("list: %v, %v", infos, err)
	}
	i := infos[0]
	if i.Ref != ref || i.Epoch != 3 || i.DataShards != 2 || i.ParityShards != 1 || i.Length != sealed || !i.Sealed || i.Allocated == 0 || i.Poisoned != "" {
		t.Fatalf("listed as %+v", i)
	}
	<-s.disks[0].walked
	if u := s.Usage()[0]; u.Used != i.Allocated || u.Shards != 1 || u.Free == 0 || u.Path != dir {
		t.Fatalf("usage %+v, allocated %d", u, i.Allocated)
	}

	wantKind(t, s.Drop(ctx, ref, 1, 0), granary.KindStale)
	for range 2 {
		if err := s.Drop(ctx, ref, 3, 0); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = s.ReadAt(ctx, ref, make([]byte, 1), 0)
	wantKind(t, err, granary.KindNotFound)
	if u := s.Usage()[0]; u.Used != 0 || u.Shards != 0 {
		t.Fatalf("usage after drop: %+v", u)
	}
}

func TestAppendRefusals(t *testing.T) {
	s := openTemp(t)
	ref := firstRef(s, 7)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(10, 1)))
	for name, c := range map[string]struct {
		change func(a *granary.Append)
		kind   granary.Kind
	}{
		"checksum":       {func(a *granary.Append) { a.CRC32C++ }, granary.KindCorrupt},
		"empty":          {func(a *granary.Append) { a.Data = nil }, granary.KindInvalid},
		"too large":      {func(a *granary.Append) { a.Data = make([]byte, appendSizeMax+1) }, granary.KindTooLarge},
		"beyond limit":   {func(a *granary.Append) { a.Offset = streamLengthMax - 9 }, granary.KindTooLarge},
		"overflow":       {func(a *granary.Append) { a.Offset = ^uint64(0) }, granary.KindTooLarge},
		"below prev":     {func(a *granary.Append) { a.Offset = 9 }, granary.KindInvalid},
		"shard index":    {func(a *granary.Append) { a.Ref.Shard = 3 }, granary.KindInvalid},
		"no data shards": {func(a *granary.Append) { a.DataShards = 0 }, granary.KindInvalid},
		"other k":        {func(a *granary.Append) { a.DataShards = 3 }, granary.KindInvalid},
		"epoch 0":        {func(a *granary.Append) { a.Epoch = 0 }, granary.KindInvalid},
		"unknown disk":   {func(a *granary.Append) { a.Ref.Disk = "x" }, granary.KindNotFound},
		"missing shard":  {func(a *granary.Append) { a.Ref.Volume = 8 }, granary.KindInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			a := appendOf(ref, 10, 10, fill(10, 2))
			c.change(a)
			wantKind(t, s.Append(context.Background(), a), c.kind)
		})
	}
	wantStream(t, s, ref, fill(10, 1))
	if infos, err := s.List(ref.Disk); err != nil || len(infos) != 1 {
		t.Fatalf("a refused append left a shard: %v, %v", infos, err)
	}
}

func TestEpochs(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	ref := firstRef(s, 7)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(10, 1)))
	a := appendOf(ref, 10, 10, fill(10, 2))
	a.Epoch = 5
	mustAppend(t, s, a)
	for range 2 { // also after a restart
		wantKind(t, s.Append(ctx, appendOf(ref, 20, 20, fill(10, 3))), granary.KindStale)
		wantKind(t, s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 4, Length: 20}), granary.KindStale)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, testOptions(t, dir))
	}
	if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 5, Length: 20}); err != nil {
		t.Fatal(err)
	}
}

func TestSealMakesAndExtends(t *testing.T) {
	ctx := context.Background()
	s := openTemp(t)
	never, short := firstRef(s, 1), firstRef(s, 2)
	mustAppend(t, s, appendOf(short, 0, 0, fill(10, 1)))
	for _, ref := range []granary.ShardRef{never, short} {
		if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: 9000}); err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(ctx, ref); err != nil {
			t.Fatal(err)
		}
	}
	wantStream(t, s, never, make([]byte, 9000))
	wantStream(t, s, short, append(fill(10, 1), make([]byte, 8990)...))
	empty := firstRef(s, 3)
	if err := s.Seal(ctx, &granary.Seal{Ref: empty, Epoch: 2, Length: 0}); err != nil {
		t.Fatal(err)
	}
	wantStream(t, s, empty, nil)
	if err := s.Verify(ctx, empty); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyFindsRot(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	ref := firstRef(s, 1)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(3*scanBufferSize+5, 1)))
	wantKind(t, s.Verify(ctx, ref), granary.KindInvalid)
	if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: 3*scanBufferSize + 5}); err != nil {
		t.Fatal(err)
	}
	flip(t, filepath.Join(dir, "shards/1.0"), streamOffset+2*scanBufferSize+100)
	err := s.Verify(ctx, ref)
	wantKind(t, err, granary.KindCorrupt)
	if !strings.Contains(err.Error(), "offset 2097152") {
		t.Fatalf("the error names no place: %v", err)
	}
	flip(t, filepath.Join(dir, "shards/1.0"), streamOffset+2*scanBufferSize+100)
	if err := s.Verify(ctx, ref); err != nil {
		t.Fatal(err)
	}
	flip(t, filepath.Join(dir, "shards/1.0"), int64(tableOffset(3*scanBufferSize+5))+4)
	wantKind(t, s.Verify(ctx, ref), granary.KindCorrupt)
}

func TestCutFileIsCorrupt(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	ref := firstRef(s, 1)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(10000, 1)))
	if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: 10000}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "shards/1.0"), streamOffset+9000); err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.Verify(ctx, ref), granary.KindCorrupt)
	_, _, err := s.ReadAt(ctx, ref, make([]byte, 100), 8950)
	wantKind(t, err, granary.KindCorrupt)
	if n, _, err := s.ReadAt(ctx, ref, make([]byte, 100), 8900); n != 100 || err != nil {
		t.Fatalf("what is left cannot be read: %d, %v", n, err)
	}
}

// flip changes one byte of a file.
func flip(t *testing.T, name string, off int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 1)
	if _, err := f.ReadAt(p, off); err != nil {
		t.Fatal(err)
	}
	p[0] ^= 0x40
	if _, err := f.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
}

func TestManyShardsFewFiles(t *testing.T) {
	o := testOptions(t, t.TempDir())
	o.OpenFilesMax = 3
	s := open(t, o)
	for v := granary.VolumeID(1); v <= 10; v++ {
		mustAppend(t, s, appendOf(firstRef(s, v), 0, 0, fill(100, byte(v))))
	}
	for v := granary.VolumeID(1); v <= 10; v++ {
		wantStream(t, s, firstRef(s, v), fill(100, byte(v)))
	}
	if n := s.files.order.Len(); n > 3 {
		t.Fatalf("%d files are open", n)
	}
}

func TestClosedStore(t *testing.T) {
	s := openTemp(t)
	ref := firstRef(s, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.Append(context.Background(), appendOf(ref, 0, 0, fill(1, 1))), granary.KindUnavailable)
}

func TestDamagedHeadIsCorrupt(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	ref := firstRef(s, 1)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(100, 1)))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	flip(t, filepath.Join(dir, "shards/1.0"), 20)
	s = open(t, testOptions(t, dir))
	_, _, err := s.ReadAt(ctx, ref, make([]byte, 1), 0)
	wantKind(t, err, granary.KindCorrupt)
	wantKind(t, s.Append(ctx, appendOf(ref, 100, 100, fill(1, 1))), granary.KindCorrupt)
	wantKind(t, s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: 100}), granary.KindCorrupt)
	infos, err := s.List(ref.Disk)
	if err != nil || len(infos) != 1 || infos[0].Damaged == "" || infos[0].Created != createdUnknown {
		t.Fatalf("listed as %+v, %v", infos, err)
	}
	wantKind(t, s.Drop(ctx, ref, 1, 5), granary.KindStale)
	if err := s.Drop(ctx, ref, 1, infos[0].Created); err != nil {
		t.Fatal(err)
	}
}

// A drop that was meant for a shard does not hit the one that was made in its place.
func TestDropByCreation(t *testing.T) {
	ctx := context.Background()
	s := openTemp(t)
	ref := firstRef(s, 1)
	created := func() granary.Time {
		infos, err := s.List(ref.Disk)
		if err != nil || len(infos) != 1 {
			t.Fatalf("listed as %+v, %v", infos, err)
		}
		return infos[0].Created
	}
	mustAppend(t, s, appendOf(ref, 0, 0, fill(100, 1)))
	old := created()
	if err := s.Build(ctx, buildOf(ref, 1, 10), bytes.NewReader(fill(10, 2))); err != nil {
		t.Fatal(err)
	}
	if created() <= old {
		t.Fatalf("created at %d, and before at %d", created(), old)
	}
	wantKind(t, s.Drop(ctx, ref, 1, old), granary.KindStale)
	wantStream(t, s, ref, fill(10, 2))
	if err := s.Drop(ctx, ref, 1, created()); err != nil {
		t.Fatal(err)
	}
}

// A seal tells a shard that was never reached from one that has lost bytes.
func TestSealOfLostBytes(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	ref := firstRef(s, 1)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(10000, 1)))
	seal := func(ref granary.ShardRef, length, end uint64) error {
		return s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, DataShards: 2, ParityShards: 1, Length: length, End: end})
	}
	if err := os.Truncate(filepath.Join(dir, "shards/1.0"), streamOffset+9000); err != nil {
		t.Fatal(err)
	}
	wantKind(t, seal(ref, 20000, 9001), granary.KindCorrupt)
	wantKind(t, seal(ref, 20000, 20001), granary.KindInvalid)
	if infos, err := s.List(ref.Disk); err != nil || infos[0].Epoch != 1 || infos[0].Sealed {
		t.Fatalf("the refused seal left %+v, %v", infos, err)
	}
	wantKind(t, seal(ref, 20000, 9000), granary.KindCorrupt) // parity may be of what was appended, beyond what was committed
	closeStore(t, s)
	s = open(t, testOptions(t, dir)) // now nobody knows that there was more
	if err := seal(ref, 20000, 9000); err != nil {
		t.Fatal(err)
	}
	gone := firstRef(s, 2)
	wantKind(t, seal(gone, 20000, 1), granary.KindCorrupt)
	if err := seal(gone, 20000, 0); err != nil {
		t.Fatal(err)
	}
	infos, err := s.List(ref.Disk)
	if err != nil || len(infos) != 2 || infos[1].DataShards != 2 || infos[1].ParityShards != 1 {
		t.Fatalf("listed as %+v, %v", infos, err)
	}
	wantKind(t, s.Seal(ctx, &granary.Seal{Ref: gone, Epoch: 2, DataShards: 3, ParityShards: 1, Length: 20000}), granary.KindInvalid)
}

// A file that somebody took away is missed at the next listing.
func TestRemovedFileIsDamage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	ref := firstRef(s, 1)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(10, 1)))
	if err := os.Remove(filepath.Join(dir, "shards/1.0")); err != nil {
		t.Fatal(err)
	}
	infos, err := s.List(ref.Disk)
	if err != nil || len(infos) != 1 || infos[0].Damaged == "" {
		t.Fatalf("listed as %+v, %v", infos, err)
	}
	if damaged := s.heartbeat("", "", "").Damaged; len(damaged) != 1 || damaged[0].Ref != ref {
		t.Fatalf("heartbeat says %+v", damaged)
	}
	if err := s.Build(context.Background(), buildOf(ref, 1, 10), bytes.NewReader(fill(10, 2))); err != nil {
		t.Fatal(err)
	}
	wantStream(t, s, ref, fill(10, 2))
	if damaged := s.heartbeat("", "", "").Damaged; len(damaged) != 0 {
		t.Fatalf("heartbeat says %+v", damaged)
	}
}

package master

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// someLog applies operations of all sorts, and returns the log of them.
func someLog(m *machine, r *rand.Rand, n int) []entry {
	m.item(&registerServer{granary.Server{ID: "s1", Addr: "h:1", Disks: []granary.DiskID{"d1", "d2"}}})
	m.item(&setMember{"n1", "h:7400"})
	name := func() string { return fmt.Sprintf("%c", 'a'+r.IntN(6)) }
	path := func() string { return name() + "/" + name() + "/" + name() }
	some := func() granary.InodeID {
		return granary.RootDataset.Inode(granary.InodeCounterFirst + uint64(r.IntN(40)))
	}
	ops := []func(){
		func() {
			m.do(&granary.Create{Parent: granary.RootInode, Name: path(), Type: granary.TypeRegular, MakeParents: true, Replace: true,
				Content: ptr(m.content(0, []byte(path()))), Xattrs: []granary.Xattr{{Name: granary.XattrETag, Value: []byte("e")}}})
		},
		func() {
			m.do(&granary.Create{Parent: granary.RootInode, Name: path(), Type: granary.TypeRegular, MakeParents: true, Content: &granary.Content{Inline: []byte("in")}})
		},
		func() {
			m.do(&granary.Create{Parent: granary.RootInode, Type: granary.TypeRegular, Anonymous: true, Content: ptr(m.content(0, []byte("x")))})
		},
		func() {
			m.do(&granary.Rename{SrcParent: granary.RootInode, SrcName: name(), DstParent: granary.RootInode, DstName: name(), Exchange: r.IntN(2) == 0})
		},
		func() {
			m.do(&granary.Unlink{Parent: granary.RootInode, Name: path(), Path: true, Prune: true})
		},
		func() { m.do(&granary.RemoveTree{Parent: granary.RootInode, Name: name()}) },
		func() {
			m.do(&granary.Commit{Inode: some(), Content: m.content(uint64(r.IntN(20)), []byte(path())), AtEnd: r.IntN(2) == 0})
		},
		func() { m.do(&granary.SetAttr{Inode: some(), Size: ptr(uint64(r.IntN(30)))}) },
		func() {
			m.do(&granary.CopyRange{Src: some(), Dst: some(), SrcOffset: 1, DstOffset: uint64(r.IntN(9)), Length: 8})
		},
		func() {
			m.do(&granary.Allocate{Inode: some(), Offset: uint64(r.IntN(9)), Length: 9, Mode: granary.AllocateMode(r.IntN(3))})
		},
		func() {
			dir := m.do(&granary.Create{Parent: granary.RootDataset.System(), Name: "upload", Type: granary.TypeDirectory}).Attr.Inode
			op := &granary.Assemble{Upload: dir, UploadName: "upload", Create: granary.Create{Parent: granary.RootInode, Name: path(), Type: granary.TypeRegular, MakeParents: true}}
			for _, part := range []string{"1", "2"} {
				m.do(&granary.Create{Parent: dir, Name: part, Type: granary.TypeRegular, Content: ptr(m.content(0, []byte(path())))})
				op.Parts = append(op.Parts, part)
			}
			op.Sources, _ = m.s.resolve(context.Background(), op)
			m.do(op)
		},
		func() { m.do(&granary.Create{Parent: granary.BucketsInode, Name: name(), Type: granary.TypeDirectory}) },
		func() { m.do(&granary.Rmdir{Parent: granary.BucketsInode, Name: name()}) },
		func() { m.do(&granary.CreateDataset{Parent: granary.RootInode, Name: name(), UID: uint32(r.IntN(3))}) },
		func() { m.do(&granary.Rmdir{Parent: granary.RootInode, Name: name()}) },
		func() {
			m.do(&granary.SetAttr{Inode: some(), UID: ptr(uint32(r.IntN(3))), GID: ptr(uint32(r.IntN(3)))})
		},
		func() {
			m.do(&granary.SetQuota{Dataset: granary.DatasetID(1 + r.IntN(4)), Scope: granary.QuotaScope(r.IntN(3)), ID: uint32(r.IntN(3)),
				Limit: granary.Quota{Bytes: uint64(r.IntN(60)), Inodes: uint64(r.IntN(40))}})
		},
		func() { m.do(&granary.SetPolicy{Inode: some(), Policy: granary.Policy{InlineMax: r.IntN(4)}}) },
		func() { m.openVolume() },
		func() {
			m.do(&granary.AcquireLock{LockKey: granary.LockKey{Inode: some(), Space: granary.LockRanges, Owner: uint64(r.IntN(3))},
				LockRange: granary.LockRange{Start: uint64(r.IntN(9)), End: uint64(9 + r.IntN(9))}, Exclusive: r.IntN(2) == 0, Wait: r.IntN(2) == 0})
		},
		func() { m.do(&granary.SealVolume{Volume: m.volume, Epoch: 1}); m.volume = 0 },
		func() { m.item(&reclaim{Limit: 1 + r.IntN(20)}) },
		func() { m.item(&drop{Inodes: m.nameless(1 + r.IntN(4))}) },
		func() {
			var tr trimmer
			it, err := tr.look(m.s, m.time+granary.DefaultChangeLog().Keep-granary.Time(r.IntN(20_000)))
			if err != nil {
				m.t.Fatal(err)
			}
			if it != nil {
				m.item(it)
			}
		},
		func() {
			m.do(&granary.SetChangeLog{Settings: granary.ChangeLog{Keep: granary.DefaultChangeLog().Keep * granary.Time(min(1, r.IntN(4))), MaxBytes: 1 << 20}})
		},
		func() {
			m.item(&expireSession{m.session})
			m.session, m.seq, m.volume = granary.SessionID(m.item(&openSession{Client: "next"}).Offset), 0, 0
		},
		func() { // an entry of several items, with a retry
			m.time++
			c := command{Time: m.time}
			for i := range uint64(3) {
				c.Items = append(c.Items, &mutation{Session: m.session, Request: granary.Request{Seq: m.seq + 1 + i%2, Op: &granary.Create{
					Parent: granary.RootInode, Name: path(), Type: granary.TypeRegular, MakeParents: true}}})
			}
			m.seq += 2
			b, err := c.marshal()
			if err != nil {
				m.t.Fatal(err)
			}
			e := entry{Index: uint64(len(m.log) + 1), Term: 1, Data: b}
			m.log = append(m.log, e)
			m.s.apply([]entry{e})
		},
	}
	for range n {
		ops[r.IntN(len(ops))]()
	}
	return m.log
}

// TestBatchesDoNotMatter applies one log in different batches, with restarts and repeats between
// them, and expects the same keys and values, and the same results.
func TestBatchesDoNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		first := newMachine(t)
		defer first.close()
		log := someLog(first, rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1)), 60)
		first.check()
		want := dump(first.s)
		m := &machine{t: t, fs: vfs.NewMem()}
		m.open()
		defer func() { m.close() }()
		for at := 0; at < len(log); {
			n := rapid.IntRange(1, 20).Draw(rt, "batch")
			end := min(at+n, len(log))
			m.s.apply(log[max(0, at-3):end])
			at = end
			m.agree()
			if rapid.IntRange(0, 4).Draw(rt, "restart") == 0 {
				m.close()
				m.open()
			}
		}
		if got := dump(m.s); got != want {
			rt.Fatalf("another state:\n%s\nwant:\n%s", got, want)
		}
	})
}

// TestCrash loses power at any moment: what is left is the state after some entry, and the log from
// there on gives the same state.
func TestCrash(t *testing.T) {
	m := newMachine(t)
	log := someLog(m, rand.New(rand.NewPCG(3, 1)), 150)
	want := dump(m.s)
	m.close()
	fs := vfs.NewCrashableMem()
	c := &machine{t: t, fs: fs}
	c.open()
	r := rand.New(rand.NewPCG(4, 1))
	synced := uint64(0)
	for at := 0; at < len(log); {
		end := min(at+1+r.IntN(10), len(log))
		c.s.apply(log[at:end])
		at = end
		switch r.IntN(4) {
		case 0:
			if err := c.s.sync(); err != nil {
				t.Fatal(err)
			}
			synced, _ = c.s.applied()
		case 1:
			clone := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: r})
			c.close()
			fs, c.fs = clone, clone
			c.open()
			index, _ := c.s.applied()
			if index < synced {
				t.Fatalf("entry %d was synced, the store is at %d", synced, index)
			}
			if err := c.s.check(); err != nil {
				t.Fatal(err)
			}
			at = int(index)
		}
	}
	if got := dump(c.s); got != want {
		t.Fatal("another state after crashes")
	}
	c.close()
}

func TestCheckpoint(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	someLog(m, rand.New(rand.NewPCG(5, 1)), 100)
	want := dump(m.s)
	if err := m.s.checkpoint(filepath.Join("copies", "one")); err != nil {
		// The directory above must exist; in memory, too.
		if err := m.fs.MkdirAll("copies", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := m.s.checkpoint(filepath.Join("copies", "one")); err != nil {
			t.Fatal(err)
		}
	}
	someLog(m, rand.New(rand.NewPCG(6, 1)), 10)
	s, err := openState(filepath.Join("copies", "one"), stateOptions{FS: m.fs})
	if err != nil {
		t.Fatal(err)
	}
	if got := dump(s); got != want {
		t.Fatal("the checkpoint is another state")
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.query(context.Background(), &granary.GetStatus{}, allUp{}); !granary.IsKind(err, granary.KindUnavailable) {
		t.Fatalf("a closed state answers %v", err)
	}
}

func TestStatusHealth(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.item(&registerServer{granary.Server{ID: "s1", Addr: "h:1", Disks: []granary.DiskID{"d1"}}})
	m.item(&registerServer{granary.Server{ID: "s2", Addr: "h:2", Disks: []granary.DiskID{"d2"}}})
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular}).Attr.Inode
	m.ok(&granary.Commit{Inode: f, Content: m.content(0, []byte("data"))})
	for down, want := range map[granary.ServerID]granary.Health{"none": granary.HealthOK, "s1": granary.HealthAtRisk, "s2": granary.HealthAtRisk, "all": granary.HealthDataLoss} {
		a, _, err := m.s.query(context.Background(), &granary.GetStatus{}, downServer(down))
		if err != nil {
			t.Fatal(err)
		}
		if st := a.(*granary.Status); st.Health != want || (len(st.Reasons) == 0) != (want == granary.HealthOK) || st.Servers != 2 || st.Disks != 2 {
			t.Errorf("without %s: %+v", down, st)
		}
	}
	v := ask[*granary.Found](m, &granary.Lookup{Base: f, Layout: &granary.Range{Length: 1}}).Layout.Volumes[0]
	if v.Shards[1] != (granary.ShardPlace{Disk: "d2", Server: "s2", Addr: "h:2", Up: true}) {
		t.Fatalf("%+v", v)
	}
	if d := ask[*granary.Disks](m, &granary.ListDisks{}); len(d.Servers) != 2 || len(d.Disks) != 2 || d.Disks[1].Usage.Free != 600 {
		t.Fatalf("%+v", d)
	}
	m.item(&registerServer{granary.Server{ID: "s1", Addr: "h:1", Disks: []granary.DiskID{"d1", "d2"}}})
	if s := m.s.servers(); len(s[0].Disks) != 2 || len(s[1].Disks) != 0 {
		t.Fatalf("a disk that moved: %+v", s)
	}
}

type downServer granary.ServerID

func (d downServer) serverUp(id granary.ServerID) bool {
	return d != "all" && granary.ServerID(d) != id
}
func (downServer) usage(d granary.DiskID) (granary.DiskUsage, bool) {
	return granary.DiskUsage{Disk: d}, true
}

func TestCommandRoundTrip(t *testing.T) {
	c := &command{Time: -5, Items: []item{
		&mutation{Session: 1, LowestUnacked: 2, Request: granary.Request{Seq: 3, Cred: granary.Cred{UID: 4, GID: 5, Groups: []uint32{6}}, Op: &granary.Release{Inode: 7}}},
		&openSession{"c", 8}, &expireSession{9}, &shardsSealed{1, 2, 3}, &reclaim{-1}, &drop{[]granary.InodeID{3, 4}}, &verifyDigest{2, 3, 4}, &shardsDamaged{1, 2, 3, []granary.DiskID{"d"}}, &aimShard{1, 2, 3, "d"}, &condemn{4}, &forgetVolume{5}, &indexBlocks{6, 7}, &sweepDone{8, 9}, &sealOpen{10, 11},
		&setDisk{granary.SetDisk{Disk: "d", State: granary.DiskLost, Reason: "r"}}, &setDisk{granary.SetDisk{Disk: "d", Class: ptr("ssd")}},
		&setMember{"a", "b"},
		&registerServer{granary.Server{ID: "s", Addr: "a", Zone: "z", Rack: "r", Disks: []granary.DiskID{"d"}}},
		&initCluster{"c", granary.User{AccessKey: "a", SecretKey: "s", Name: "n", Root: true}, 0, 0},
		&initCluster{"c", granary.User{AccessKey: "a", SecretKey: "s", Name: "n", Root: true}, 0, 1<<32 - 2},
		&beginChangeLog{granary.DefaultChangeLog()}, &trimChanges{7, []granary.InodeID{8, 9}},
		&memberJoined{"m3"}, &addMember{"m4", "h:4"},
		&setRoot{granary.User{AccessKey: "b", SecretKey: "s", Name: "n", Root: true}},
	}}
	b, err := c.marshal()
	if err != nil {
		t.Fatal(err)
	}
	d, err := unmarshalCommand(b)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := d.marshal(); err != nil || string(again) != string(b) || len(d.Items) != len(c.Items) {
		t.Fatalf("%+v, %v", d, err)
	}
	for i := range b {
		if _, err := unmarshalCommand(b[:i]); err == nil {
			t.Fatalf("%d of %d bytes make a command", i, len(b))
		}
	}
}

// TestFoundingWithoutOwner decodes the founding entry of a cluster that knew no owner, and makes it again as it was.
func TestFoundingWithoutOwner(t *testing.T) {
	e := encoder{}
	putCommand(&e, 5, 1)
	e.u8(tagInitCluster)
	e.str("c")
	putUser(&e, &granary.User{AccessKey: "a", SecretKey: "s"})
	c, err := unmarshalCommand(e.b)
	if err != nil {
		t.Fatal(err)
	}
	if it := c.Items[0].(*initCluster); it.Cluster != "c" || it.RootUser.AccessKey != "a" || it.UID != 0 || it.GID != 0 {
		t.Fatalf("%+v", it)
	}
	if again, err := c.marshal(); err != nil || string(again) != string(e.b) {
		t.Fatalf("%x, %v, want %x", again, err, e.b)
	}
}

func FuzzCommand(f *testing.F) {
	b, err := (&command{Time: 1, Items: []item{&openSession{"c", 8}, &reclaim{5}}}).marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := unmarshalCommand(b); err == nil {
			if _, err := c.marshal(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzRecords decodes anything as everything: an error or a record, never a panic.
func FuzzRecords(f *testing.F) {
	f.Add(marshal(&inodeRecord{Target: "t"}, 5))
	f.Add(marshal(&windowRecord{Pieces: []piece{{1, 2, 3, 4}, {9, 1, 3, 0}}}, 5))
	f.Add(marshal(&assemblyRecord{Parts: []assemblyPart{{7, 1}, {5, 2}}, Upload: 3}, 5))
	f.Add(marshal(&volumeRecord{Disks: []granary.DiskID{"d"}}, 5))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, err := range []error{again[headRecord](b), again[inodeRecord](b), again[dentryRecord](b), again[bytesRecord](b), again[numberRecord](b),
			again[blockRecord](b), again[volumeRecord](b), again[serverRecord](b), again[sessionRecord](b), again[datasetRecord](b),
			again[policyRecord](b), again[userRecord](b), again[identityRecord](b), again[assemblyRecord](b)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if w, err := unmarshalWindow(3, b); err == nil {
			for i, p := range w.Pieces {
				if p.Length == 0 || p.Offset < 3*windowSize || p.end() > 4*windowSize || i > 0 && p.Offset < w.Pieces[i-1].end() {
					t.Fatalf("%+v", w.Pieces)
				}
			}
		}
		if r, err := wire.UnmarshalResult(b); err == nil && r == nil {
			t.Fatal("neither a result nor an error")
		}
	})
}

// again decodes, encodes, and decodes once more: what decodes must do so for good.
func again[T any, P record[T]](b []byte) error {
	r, err := unmarshal[T, P](b)
	if err != nil {
		return nil
	}
	_, err = unmarshal[T, P](marshal[T, P](r, 1))
	return err
}

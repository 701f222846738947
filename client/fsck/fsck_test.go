package fsck

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/dsorchard/granary"
)

// run checks everything.
func run(t *testing.T, f *fake, edit func(*Options)) *Report {
	t.Helper()
	o := Options{Cluster: f, Shards: f, Data: true, Refs: true, Paths: true}
	if edit != nil {
		edit(&o)
	}
	c := New(o)
	c.stripe = 50_000
	r, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// faults says what is wrong with the shards, as "index problem".
func (r *Report) shown() string {
	var list []string
	for _, f := range r.Faults {
		list = append(list, f.Ref.String()[:3]+" "+string(f.Problem))
	}
	return strings.Join(list, ", ")
}

func TestClean(t *testing.T) {
	f := newFake(t, 4, 2, 30)
	var phases []string
	r := run(t, f, func(o *Options) {
		o.Progress = func(p Progress) {
			if phases = append(phases, p.Phase); p.Total > 0 && p.Done > p.Total {
				t.Errorf("%+v", p)
			}
		}
	})
	v := f.volumes[fakeVolume]
	if !r.Clean() || len(r.Faults)+len(r.Orphans) > 0 || r.Held > 0 {
		t.Fatalf("%+v", r)
	}
	if r.Volumes != 1 || r.Shards != 6 || r.Blocks != 30 || r.Files != 30 || r.Bytes != 6*v.Watermark {
		t.Errorf("it has looked at %+v", r)
	}
	if phases = slices.Compact(phases); !slices.Equal(phases, []string{"shards", "data", "files"}) {
		t.Errorf("phases %v", phases)
	}
}

// Each kind of damage is found at the shard where it is, and loses nothing.
func TestDamages(t *testing.T) {
	for name, x := range map[string]struct {
		damage func(f *fake)
		want   string
		blind  bool // only reading finds it
	}{
		"a flipped byte":           {func(f *fake) { f.shard(1).data[70_000] ^= 1 }, "7.1 damaged", true},
		"a flipped byte of parity": {func(f *fake) { f.shard(5).data[150_000] ^= 1 }, "7.5 damaged", true},
		"a data shard sealed with other bytes than were written": {func(f *fake) {
			f.shard(2).data[90] ^= 1
			f.shard(2).sealed[90] ^= 1
		}, "7.2 damaged", true},
		"parity sealed with other bytes than were written": {func(f *fake) {
			f.shard(4).data[120_000] ^= 1
			f.shard(4).sealed[120_000] ^= 1
		}, "7.4 damaged", true},
		"a cut file":       {func(f *fake) { f.shard(0).data = f.shard(0).data[:100_000] }, "7.0 damaged", true},
		"a short shard":    {func(f *fake) { f.shard(3).info.Length-- }, "7.3 short", false},
		"a deleted shard":  {func(f *fake) { delete(f.shards, f.shard(3).info.Ref) }, "7.3 missing", false},
		"the server knows": {func(f *fake) { f.shard(3).info.Damaged = "rot" }, "7.3 damaged", false},
		"a failed sync":    {func(f *fake) { f.shard(3).info.Poisoned = "EIO" }, "7.3 poisoned", false},
		"no seal":          {func(f *fake) { f.shard(5).info.Sealed = false }, "7.5 unsealed", false},
		"another code":     {func(f *fake) { f.shard(5).info.DataShards = 5 }, "7.5 foreign", false},
		"a later epoch":    {func(f *fake) { f.shard(5).info.Epoch = 3 }, "7.5 ahead", false},
		"a server away":    {func(f *fake) { f.away["disk0"] = true }, "7.0 unreachable", false},
		"two servers away": {func(f *fake) { f.away["disk0"], f.away["disk1"] = true, true }, "7.0 unreachable, 7.1 unreachable", false},
		"known to be lost": {func(f *fake) { f.volumes[fakeVolume].Shards[1].Lost = true }, "7.1 lost", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, 4, 2, 20)
			x.damage(f)
			r := run(t, f, nil)
			if r.shown() != x.want || r.Clean() || len(r.Lost)+len(r.Damaged)+len(r.Refs) > 0 {
				t.Errorf("%q, not %q: %+v", r.shown(), x.want, r)
			}
			r = run(t, f, func(o *Options) { o.Data = false })
			if want := x.want; x.blind == (r.shown() == want) || r.Clean() != x.blind {
				t.Errorf("without data: %q: %+v", r.shown(), r)
			}
		})
	}
}

// With more shards lost than the volume can lose, exactly the files are named that have a block in them.
func TestLost(t *testing.T) {
	for _, data := range []bool{false, true} {
		f := newFake(t, 4, 2, 20)
		f.away["disk0"], f.away["disk5"] = true, true
		delete(f.shards, f.shard(2).info.Ref)
		r := run(t, f, func(o *Options) { o.Data = data })
		var want, got []string
		for i := range 20 {
			if i%4 == 0 || i%4 == 2 {
				want = append(want, "/dir/"+f.dirs[granary.RootDataset.Inode(100)][i].Name)
			}
		}
		for _, x := range r.Damaged {
			got = append(got, x.Path)
			if len(x.Ranges) != 1 || x.Ranges[0] != (granary.Range{Length: x.Size}) && x.Size != 0 {
				t.Errorf("%+v", x)
			}
		}
		if !slices.Equal(got, want) || len(r.Lost) != 10 || len(r.Refs) > 0 {
			t.Errorf("data %v: %v are named, not %v: %+v", data, got, want, r)
		}
		if r := run(t, f, func(o *Options) { o.Data, o.Paths, o.Refs = data, false, false }); len(r.Damaged) > 0 || r.Files > 0 || len(r.Lost) != 10 {
			t.Errorf("without paths: %+v", r)
		}
	}
}

// Damage of more shards than the volume can lose, but in different places, loses nothing.
func TestScatteredDamage(t *testing.T) {
	f := newFake(t, 4, 2, 20)
	for i := range 6 {
		f.shard(i).data[5_000+i*45_000] ^= 1
	}
	if r := run(t, f, nil); len(r.Faults) != 6 || len(r.Lost) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestReferences(t *testing.T) {
	f := newFake(t, 4, 2, 20)
	f.blocks[3].Refs = 1                                                         // too few
	f.blocks[4].Refs = 5                                                         // held by something without a name
	f.dirs[granary.RootInode] = append(f.dirs[granary.RootInode], granary.Entry{ // a block that is gone
		Name: "broken", Attr: granary.Attr{Inode: 999, Type: granary.TypeRegular, Nlink: 1, Size: 5, Allocated: 5},
	})
	f.files[999] = []granary.Extent{{Length: 5, Block: 888}}
	f.addFile(granary.RootDataset.System(), "upload", 1000, 5)
	f.blocks[5].Refs = 4
	f.addFile(granary.RootInode, "one", 1001, 6) // one file of two names
	f.addFile(granary.RootInode, "two", 1001, 6)
	f.blocks[6].Refs = 4
	for i := range f.dirs[granary.RootInode] {
		f.dirs[granary.RootInode][i].Attr.Nlink = 2
	}
	r := run(t, f, nil)
	if len(r.Refs) != 1 || r.Refs[0] != (RefFault{Block: 3, Counted: 2, Refs: 1}) || r.Held != 1 {
		t.Errorf("%+v", r)
	}
	if len(r.Damaged) != 1 || r.Damaged[0].Path != "/broken" || r.Damaged[0].Detail == "" {
		t.Errorf("%+v", r.Damaged)
	}
}

// What changes while it is looked at is no fault.
func TestLiveCluster(t *testing.T) {
	t.Run("a file is copied and removed", func(t *testing.T) {
		f := newFake(t, 4, 2, 20)
		var once sync.Once
		f.before = func(q granary.Query) { // all was walked: now it goes, and so do its references
			if _, ok := q.(*granary.ListDatasets); ok {
				once.Do(func() {
					f.mu.Lock()
					defer f.mu.Unlock()
					f.blocks[3].Refs = 1
					f.files[granary.RootDataset.Inode(202)] = f.files[granary.RootDataset.Inode(202)][:1]
				})
			}
		}
		if r := run(t, f, nil); !r.Clean() {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a shard is made anew elsewhere", func(t *testing.T) {
		f := newFake(t, 4, 2, 20)
		var lists int
		f.before = func(q granary.Query) {
			if _, ok := q.(*granary.ListBlocks); !ok {
				return
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if lists++; lists != 1 {
				return
			}
			sh := f.shard(1)
			delete(f.shards, sh.info.Ref)
			sh.info.Ref.Disk = "disk9"
			f.shards[sh.info.Ref] = sh
			f.volumes[fakeVolume].Shards[1].Disk, f.volumes[fakeVolume].Shards[1].Addr = "disk9", "disk9"
		}
		if r := run(t, f, nil); !r.Clean() {
			t.Errorf("%+v", r)
		}
	})
	t.Run("a volume is dropped", func(t *testing.T) {
		f := newFake(t, 4, 2, 20)
		var once sync.Once
		f.before = func(q granary.Query) {
			if _, ok := q.(*granary.ListBlocks); ok {
				once.Do(func() {
					f.mu.Lock()
					defer f.mu.Unlock()
					clear(f.files)
					clear(f.blocks)
					clear(f.shards)
					f.volumes[fakeVolume].State = granary.VolumeDropping
				})
			}
		}
		if r := run(t, f, nil); !r.Clean() {
			t.Errorf("%+v", r)
		}
	})
}

func TestOrphans(t *testing.T) {
	f := newFake(t, 2, 1, 5)
	add := func(volume granary.VolumeID, shard uint8) {
		ref := granary.ShardRef{Disk: "disk0", Volume: volume, Shard: shard}
		f.shards[ref] = &fakeShard{info: granary.ShardInfo{Ref: ref, Epoch: 1}}
	}
	add(3, 0)          // of a volume that is gone
	add(fakeVolume, 2) // which is elsewhere
	r := run(t, f, nil)
	if len(r.Orphans) != 2 || !r.Clean() {
		t.Errorf("%+v", r)
	}
	add(9, 0) // of a volume that is not known
	if r := run(t, f, nil); len(r.Orphans) != 3 || r.Clean() {
		t.Errorf("%+v", r)
	}
	f.volumes[fakeVolume].Shards[2].Target = "disk0" // a copy is being made
	delete(f.shards, granary.ShardRef{Disk: "disk0", Volume: 9})
	if r := run(t, f, nil); len(r.Orphans) != 1 || !r.Clean() {
		t.Errorf("%+v", r)
	}
}

// The masters are told of what they can mend, and it is waited for.
func TestRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, 4, 2, 20)
		f.shard(1).data[70_000] ^= 1
		f.shard(5).info.Epoch = 3
		c := New(Options{Cluster: f, Shards: f, Data: true})
		r, err := c.Run(t.Context())
		if err != nil || r.shown() != "7.1 damaged, 7.5 ahead" {
			t.Fatalf("%v: %+v", err, r)
		}
		looks := 0
		f.before = func(q granary.Query) {
			f.mu.Lock()
			defer f.mu.Unlock()
			v := f.volumes[fakeVolume]
			if v.Shards[5].Lost {
				t.Error("the masters were told of a shard that is ahead of them")
			}
			if v.Shards[1].Lost {
				if looks++; looks == 5 {
					v.Shards[1].Lost = false
				}
			}
		}
		r, err = c.Repair(t.Context(), true)
		if err != nil || looks != 5 || len(r.Faults) != 2 || !r.Faults[0].Mended || r.Faults[1].Mended || r.Clean() {
			t.Errorf("after %d looks: %v: %+v", looks, err, r)
		}
	})
}

// What was moved after the backup is found again in the volume that it was moved to, though two of its shards are gone.
func TestRebuild(t *testing.T) {
	f := newFake(t, 4, 2, 30)
	for i := range 6 { // the volume that is known is gone, and its blocks lie in another
		sh := f.shard(i)
		delete(f.shards, sh.info.Ref)
		sh.info.Ref.Volume = fakeVolume + 1000
		if i != 1 && i != 5 {
			f.shards[sh.info.Ref] = sh
		}
	}
	open := granary.ShardRef{Disk: "disk0", Volume: fakeVolume + 2000}
	f.shards[open] = &fakeShard{info: granary.ShardInfo{Ref: open, DataShards: 1}}
	c := New(Options{Cluster: f, Shards: f, Refs: true, Paths: true})
	r, err := c.Run(t.Context())
	if err != nil || len(r.Lost) != 30 || len(r.Damaged) != 30 {
		t.Fatalf("%v: %+v", err, r)
	}
	if r, err = c.Rebuild(t.Context()); err != nil || len(r.Lost)+len(r.Damaged)+len(r.Refs) > 0 || len(r.Salvaged) != 1 {
		t.Fatalf("%v: %+v", err, r)
	}
	if s := r.Salvaged[0]; s.Volume != fakeVolume+1000 || s.Blocks != 30 || s.Why != "" {
		t.Errorf("%+v", s)
	}
	if len(r.Orphans) != 1 || slices.ContainsFunc(r.Faults, func(f ShardFault) bool { return !f.Mended }) {
		t.Errorf("%+v", r)
	}
	for id, b := range f.blocks {
		if b.Block.Location.Volume != fakeVolume+1000 {
			t.Errorf("block %d is at %+v", id, b.Block.Location)
		}
	}
}

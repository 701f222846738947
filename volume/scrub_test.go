package volume

import (
	"bytes"
	"context"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// mustBuild builds a sealed shard of so many bytes.
func mustBuild(t *testing.T, s *Store, volume granary.VolumeID, size int) granary.ShardRef {
	t.Helper()
	ref := firstRef(s, volume)
	if err := s.Build(context.Background(), buildOf(ref, 1, uint64(size)), bytes.NewReader(fill(size, byte(volume)))); err != nil {
		t.Fatal(err)
	}
	return ref
}

// openScrubbed opens a store that scrubs by itself.
func openScrubbed(t *testing.T, fsys disk.FS, every time.Duration) *Store {
	o := testOptions(t, "d")
	o.ScrubEvery = every
	o.OpenFS = func(string) (disk.FS, error) { return fsys, nil }
	return open(t, o)
}

// flipping flips a bit of whatever is read at an offset of a file.
func flipping(name string, at int64) func(disk.Call) disk.Fault {
	return func(c disk.Call) disk.Fault {
		if c.Op == disk.OpReadAt && c.Name == name && c.Offset <= at && at < c.Offset+int64(c.Length) {
			return disk.Fault{Flip: []int{int(at-c.Offset) * 8}}
		}
		return disk.Fault{}
	}
}

func TestScrubOnDemand(t *testing.T) {
	for _, name := range []string{"local", "http"} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			dir := t.TempDir()
			s := open(t, testOptions(t, dir))
			both, addr := clients(t, s)
			c := both[name]
			for v := granary.VolumeID(1); v <= 5; v++ {
				mustBuild(t, s, v, 100_000)
			}
			mustAppend(t, s, appendOf(firstRef(s, 6), 0, 0, fill(1000, 6)))
			flip(t, filepath.Join(dir, "shards/2.0"), streamOffset+70000)
			flip(t, filepath.Join(dir, "shards/4.0"), int64(tableOffset(100_000))+5)
			if err := os.Truncate(filepath.Join(dir, "shards/5.0"), streamOffset+5); err != nil {
				t.Fatal(err)
			}
			id := s.disks[0].id()
			if u := s.Usage()[0]; u.Scrub != (granary.Scrub{}) {
				t.Fatalf("before: %+v", u.Scrub)
			}
			if err := c.Scrub(ctx, addr, id); err != nil {
				t.Fatal(err)
			}
			for news := s.alarm.listen(); s.Usage()[0].Scrub.Findings < 3; news = s.alarm.listen() {
				if s.Usage()[0].Scrub.Findings < 3 {
					<-news
				}
			}
			damaged := s.heartbeat("", "", "").Damaged
			if len(damaged) != 3 || damaged[0].Ref.Volume != 2 || damaged[1].Ref.Volume != 4 || damaged[2].Ref.Volume != 5 {
				t.Fatalf("heartbeat says %+v", damaged)
			}
			wantKind(t, c.Scrub(ctx, addr, "x"), granary.KindNotFound)
			s.disks[0].barWrites("test")
			wantKind(t, c.Scrub(ctx, addr, id), granary.KindUnavailable)
		})
	}
}

// A pass takes the time that it should, is repeated, goes on after a restart where it was, and faster when somebody asks.
func TestScrubPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 12 * time.Hour
		var read atomic.Int64
		faulty := disk.NewFaulty(disk.NewMem(disk.MemOptions{}), nil)
		s := openScrubbed(t, faulty, every)
		for v := granary.VolumeID(1); v <= 4; v++ {
			mustBuild(t, s, v, 10<<20)
		}
		faulty.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpReadAt && c.Length == scanBufferSize {
				read.Add(int64(c.Length))
			}
			return disk.Fault{}
		})
		time.Sleep(scrubWake + 15*time.Second)
		r := s.Usage()[0].Scrub
		if n := read.Load(); n < 14<<20 || n > 17<<20 {
			t.Fatalf("%d bytes were read in 15 s", n)
		}
		if r.Began == 0 || r.Ended != 0 || r.Bytes < 14<<20 || r.Bytes > 17<<20 || r.Total < 40<<20 || r.Total > 41<<20 {
			t.Fatalf("progress %+v", r)
		}
		closeStore(t, s)
		read.Store(0)
		s = openScrubbed(t, faulty, every)
		time.Sleep(scrubWake + 5*time.Second)
		if again := s.Usage()[0].Scrub; again.Began != r.Began || again.Bytes < 14<<20 || again.Total < 40<<20 || again.Total > 41<<20 {
			t.Fatalf("after a restart %+v, before %+v", again, r)
		}
		if err := s.Scrub(t.Context(), s.disks[0].id()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		r2 := s.Usage()[0].Scrub
		if r2.Began != r.Began || r2.Ended == 0 || r2.Total != 0 || r2.Findings != 0 {
			t.Fatalf("at the end %+v", r2)
		}
		if n := read.Load(); n != 30<<20 {
			t.Fatalf("the rest of the pass took %d bytes", n)
		}
		time.Sleep(every - time.Hour)
		if r3 := s.Usage()[0].Scrub; r3 != r2 {
			t.Fatalf("too early again: %+v", r3)
		}
		time.Sleep(2 * time.Hour)
		if r3 := s.Usage()[0].Scrub; r3.Began == r2.Began || r3.Ended == r2.Ended {
			t.Fatalf("not again: %+v", r3)
		}
	})
}

// What was found is known after a restart, and after any loss of power, unless the shard was built anew.
func TestFindingsSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := disk.NewMem(disk.MemOptions{})
		faulty := disk.NewFaulty(mem, nil)
		s := openScrubbed(t, faulty, -1)
		bad, mended := mustBuild(t, s, 1, 50000), mustBuild(t, s, 2, 50000)
		find := func(ref granary.ShardRef, name string) {
			faulty.SetHook(flipping(name, streamOffset+100))
			wantKind(t, s.Verify(t.Context(), ref), granary.KindCorrupt)
			faulty.SetHook(nil)
			synctest.Wait() // until it is written
		}
		find(bad, "shards/1.0.new")
		find(mended, "shards/2.0.new")
		mustBuild(t, s, 2, 60000)
		mem = mem.CrashClone(rand.New(rand.NewPCG(1, 2)))
		closeStore(t, s)

		faulty = disk.NewFaulty(mem, nil)
		s = openScrubbed(t, faulty, -1)
		<-s.disks[0].walked
		damaged := s.heartbeat("", "", "").Damaged
		if len(damaged) != 1 || damaged[0].Ref != bad || !strings.Contains(damaged[0].Damaged, "offset 0") {
			t.Fatalf("heartbeat says %+v", damaged)
		}
		if r := s.Usage()[0].Scrub; r.Findings != 2 {
			t.Fatalf("%+v", r)
		}
		// A state that cannot be read is lost, and nothing else.
		closeStore(t, s)
		if err := mem.Remove(scrubName); err != nil {
			t.Fatal(err)
		}
		if err := replaceFile(mem, scrubTmpName, scrubName, []byte(`{"format":1,"findings":7}`)); err != nil {
			t.Fatal(err)
		}
		s = openScrubbed(t, mem, -1)
		<-s.disks[0].walked
		if hb := s.heartbeat("", "", ""); len(hb.Damaged) != 0 || hb.Disks[0].Scrub.Findings != 0 {
			t.Fatalf("heartbeat says %+v", hb)
		}
	})
}

// A disk that fails in the middle of a pass is not read on, and nothing is written to it.
func TestScrubOfFailingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		faulty := disk.NewFaulty(disk.NewMem(disk.MemOptions{}), nil)
		s := openScrubbed(t, faulty, time.Hour)
		for v := granary.VolumeID(1); v <= 4; v++ {
			mustBuild(t, s, v, 2<<20)
		}
		var calls atomic.Int64
		faulty.SetHook(func(c disk.Call) disk.Fault {
			switch {
			case c.Op == disk.OpUsage || c.Name == identityName || c.Name == shardsName || c.Op == disk.OpClose:
				return disk.Fault{}
			case c.Op == disk.OpReadAt && c.Name == "shards/2.0.new":
				calls.Store(0)
				return disk.Fault{Err: syscall.EIO}
			}
			calls.Add(1)
			return disk.Fault{}
		})
		time.Sleep(3 * time.Hour)
		if n := calls.Load(); n != 0 {
			t.Fatalf("%d calls after the failure", n)
		}
		u := s.Usage()[0]
		if u.Failing == "" || u.Scrub.Ended != 0 || u.Scrub.Findings != 1 {
			t.Fatalf("usage %+v", u)
		}
		if hb := s.heartbeat("", "", ""); len(hb.Damaged) != 1 || hb.Damaged[0].Ref.Volume != 2 {
			t.Fatalf("heartbeat says %+v", hb.Damaged)
		}
	})
}

// The state is replaced whole, whenever the power goes.
func TestScrubStateIsWhole(t *testing.T) {
	mem := disk.NewMem(disk.MemOptions{})
	s, faulty := openFaulty(t, mem)
	c := s.disks[0].scrub
	c.save()
	calls := 1
	for at := 0; at < calls; at++ {
		count := 0
		var after *disk.Mem
		faulty.SetHook(func(disk.Call) disk.Fault {
			if count == at {
				after = mem.CrashClone(rand.New(rand.NewPCG(uint64(at), 3)))
			}
			count++
			return disk.Fault{}
		})
		c.mu.Lock()
		c.state.Bytes = uint64(at) + 1
		c.mu.Unlock()
		c.save()
		faulty.SetHook(nil)
		calls = count
		if got, err := readScrub(after); err != nil || got.Bytes != uint64(at) && got.Bytes != uint64(at)+1 {
			t.Fatalf("power lost before call %d: %+v, %v", at, got, err)
		}
	}
	if calls < 5 {
		t.Fatalf("%d calls", calls)
	}
	if _, err := readRoster(mem); err != nil {
		t.Fatal(err)
	}
	if _, err := readSmall(mem, "x"); !os.IsNotExist(err) {
		t.Fatalf("%v, want %v", err, fs.ErrNotExist)
	}
}

package volume

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// openFaulty opens a store on a disk that can be made to fail.
func openFaulty(t *testing.T, mem *disk.Mem) (*Store, *disk.Faulty) {
	t.Helper()
	faulty := disk.NewFaulty(mem, nil)
	o := testOptions(t, "d")
	o.OpenFS = func(string) (disk.FS, error) { return faulty, nil }
	s := open(t, o)
	<-s.disks[0].walked
	return s, faulty
}

// failing makes calls of one kind on shard files fail.
func failing(op disk.Op, fault disk.Fault) func(disk.Call) disk.Fault {
	return func(c disk.Call) disk.Fault {
		if c.Op == op && strings.HasPrefix(c.Name, shardsName) {
			return fault
		}
		return disk.Fault{}
	}
}

// Invariant 4: a failed sync is never repeated, and nothing is acknowledged after it.
func TestFailedSyncPoisons(t *testing.T) {
	ctx := context.Background()
	mem := disk.NewMem(disk.MemOptions{})
	s, faulty := openFaulty(t, mem)
	ref, other := firstRef(s, 1), firstRef(s, 2)
	one, two := fill(5000, 1), fill(100, 2)
	mustAppend(t, s, appendOf(ref, 0, 0, one))

	var syncs atomic.Int32
	faulty.SetHook(func(c disk.Call) disk.Fault {
		if c.Op != disk.OpSync {
			return disk.Fault{}
		}
		syncs.Add(1)
		return disk.Fault{Err: syscall.EIO}
	})
	a := appendOf(ref, 5000, 5000, two)
	wantKind(t, s.Append(ctx, a), granary.KindUnavailable)
	wantKind(t, s.Append(ctx, a), granary.KindUnavailable)
	wantKind(t, s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: 5000}), granary.KindUnavailable)
	wantKind(t, s.Append(ctx, appendOf(other, 0, 0, one)), granary.KindUnavailable)
	if n := syncs.Load(); n != 1 {
		t.Fatalf("%d syncs were tried", n)
	}
	hb := s.heartbeat("addr", "z", "r")
	if len(hb.Poisoned) != 1 || hb.Poisoned[0].Ref != ref || hb.Poisoned[0].Poisoned == "" || hb.Disks[0].ReadOnly == "" {
		t.Fatalf("heartbeat says %+v", hb)
	}
	p := make([]byte, 5000)
	if n, _, err := s.ReadAt(ctx, ref, p, 0); n != 5000 || err != nil {
		t.Fatalf("reading a poisoned shard: %d, %v", n, err)
	}

	// After a restart the repeat is written again, not only synced: the disk keeps it.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	faulty.SetHook(nil)
	s, faulty = openFaulty(t, mem)
	wrote := false
	faulty.SetHook(func(c disk.Call) disk.Fault {
		wrote = wrote || c.Op == disk.OpWriteAt
		return disk.Fault{}
	})
	mustAppend(t, s, a)
	if !wrote {
		t.Fatal("the repeat was acknowledged from the page cache")
	}
	after := mem.CrashClone(rand.New(rand.NewPCG(1, 1)))
	s, _ = openFaulty(t, after)
	wantStream(t, s, ref, append(one, two...))
}

func TestFailedWrites(t *testing.T) {
	one := fill(5000, 1)
	for name, c := range map[string]struct {
		hook    func(disk.Call) disk.Fault
		kind    granary.Kind
		poisons bool
		failing bool
	}{
		"io error": {failing(disk.OpWriteAt, disk.Fault{Err: syscall.EIO, Short: 600}), granary.KindUnavailable, true, true},
		"full":     {failing(disk.OpWriteAt, disk.Fault{Err: syscall.ENOSPC, Short: 600}), granary.KindNoSpace, false, false},
		"full, and cannot be cut": {func(c disk.Call) disk.Fault {
			switch c.Op {
			case disk.OpWriteAt:
				return disk.Fault{Err: syscall.ENOSPC, Short: 600}
			case disk.OpTruncate:
				return disk.Fault{Err: syscall.EIO}
			}
			return disk.Fault{}
		}, granary.KindUnavailable, true, true},
		"full at the sync": {failing(disk.OpSync, disk.Fault{Err: syscall.ENOSPC}), granary.KindUnavailable, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			s, faulty := openFaulty(t, disk.NewMem(disk.MemOptions{}))
			ref := firstRef(s, 1)
			mustAppend(t, s, appendOf(ref, 0, 0, one))
			a := appendOf(ref, 5000, 5000, one)
			faulty.SetHook(c.hook)
			wantKind(t, s.Append(ctx, a), c.kind)
			faulty.SetHook(nil)
			if u := s.Usage()[0]; u.ReadOnly == "" || (u.Failing != "") != c.failing {
				t.Fatalf("usage %+v", u)
			}
			if poisoned := len(s.heartbeat("", "", "").Poisoned) == 1; poisoned != c.poisons {
				t.Fatalf("poisoned: %v", poisoned)
			}
			if c.poisons {
				wantKind(t, s.Append(ctx, a), granary.KindUnavailable)
				return
			}
			wantStream(t, s, ref, one)
			mustAppend(t, s, a)
		})
	}
}

func TestFailedCreationLeavesNothing(t *testing.T) {
	for _, op := range []disk.Op{disk.OpCreate, disk.OpWriteAt, disk.OpSync, disk.OpRename} {
		t.Run(string(op), func(t *testing.T) {
			s, faulty := openFaulty(t, disk.NewMem(disk.MemOptions{}))
			ref := firstRef(s, 1)
			faulty.SetHook(failing(op, disk.Fault{Err: syscall.ENOSPC}))
			wantKind(t, s.Append(context.Background(), appendOf(ref, 0, 0, fill(1, 1))), granary.KindNoSpace)
			faulty.SetHook(nil)
			if u := s.Usage()[0]; u.Shards != 0 || u.Used != 0 {
				t.Fatalf("usage %+v", u)
			}
			mustAppend(t, s, appendOf(ref, 0, 0, fill(1, 1)))
		})
	}
}

func TestFailedSealsAndReads(t *testing.T) {
	ctx := context.Background()
	s, faulty := openFaulty(t, disk.NewMem(disk.MemOptions{}))
	ref := firstRef(s, 1)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(5000, 1)))
	faulty.SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpWriteAt && c.Offset >= streamOffset {
			return disk.Fault{Err: syscall.ENOSPC, Short: 1}
		}
		return disk.Fault{}
	})
	wantKind(t, s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: 4500}), granary.KindNoSpace)
	faulty.SetHook(nil)
	wantStream(t, s, ref, fill(4500, 1)) // cut, but not sealed
	if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 2, Length: 4500}); err != nil {
		t.Fatal(err)
	}
	faulty.SetHook(failing(disk.OpReadAt, disk.Fault{Err: syscall.EIO}))
	_, _, err := s.ReadAt(ctx, ref, make([]byte, 10), 0)
	wantKind(t, err, granary.KindUnavailable)
	if !strings.Contains(err.Error(), "disk d:") {
		t.Fatalf("the error does not name the disk: %v", err)
	}
	wantKind(t, s.Verify(ctx, ref), granary.KindUnavailable)
}

func TestReserveIsKept(t *testing.T) {
	mem := disk.NewMem(disk.MemOptions{Capacity: 1 << 20})
	o := testOptions(t, "d")
	o.ReserveBytes = 512 << 10
	o.OpenFS = func(string) (disk.FS, error) { return mem, nil }
	s := open(t, o)
	ref := firstRef(s, 1)
	data := fill(64<<10, 1)
	var length uint64
	for {
		err := s.Append(context.Background(), appendOf(ref, length, length, data))
		if err != nil {
			wantKind(t, err, granary.KindNoSpace)
			break
		}
		length += uint64(len(data))
	}
	u, err := mem.Usage()
	if err != nil || u.Free < o.ReserveBytes || u.Free > o.ReserveBytes+128<<10 {
		t.Fatalf("left %d of a reserve of %d: %v", u.Free, o.ReserveBytes, err)
	}
	if err := s.Seal(context.Background(), &granary.Seal{Ref: ref, Epoch: 2, Length: length}); err != nil { // may use it
		t.Fatal(err)
	}
}

// One sync serves everybody who wrote before it began.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, faulty := openFaulty(t, disk.NewMem(disk.MemOptions{}))
		ref := firstRef(s, 1)
		mustAppend(t, s, appendOf(ref, 0, 0, fill(100, 0)))
		release := make(chan struct{})
		var syncs atomic.Int32
		faulty.SetHook(func(c disk.Call) disk.Fault {
			if c.Op != disk.OpSync {
				return disk.Fault{}
			}
			syncs.Add(1)
			return disk.Fault{Wait: func() { <-release }}
		})
		errs := make(chan error, 9)
		for i := uint64(1); i <= 9; i++ {
			go func() { errs <- s.Append(context.Background(), appendOf(ref, 100*i, 100*i, fill(100, byte(i)))) }()
			synctest.Wait() // until it has written, and waits for a sync
		}
		close(release)
		for range 9 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := syncs.Load(); n != 2 {
			t.Errorf("%d syncs for nine appends", n)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A caller that gives up while another has the shard's turn does not wait for it.
func TestWaitingEndsWithContext(t *testing.T) {
	s := openTemp(t)
	ref := firstRef(s, 1)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(1, 1)))
	sh, err := s.disks[0].take(context.Background(), shardKey{1, 0})
	if err != nil {
		t.Fatal(err)
	}
	defer s.disks[0].give(sh)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	wantKind(t, s.Append(ctx, appendOf(ref, 1, 1, fill(1, 1))), granary.KindCanceled)
}

// The order of writes, syncs and names is the argument of doc.go; here it is, call by call.
func TestTraceOfCalls(t *testing.T) {
	ctx := context.Background()
	s, faulty := openFaulty(t, disk.NewMem(disk.MemOptions{}))
	ref := firstRef(s, 7)
	var trace strings.Builder
	faulty.SetHook(func(c disk.Call) disk.Fault {
		switch c.Op {
		case disk.OpReadAt, disk.OpUsage, disk.OpAllocated, disk.OpSize, disk.OpOpen, disk.OpClose:
		default:
			fmt.Fprintln(&trace, c)
		}
		return disk.Fault{}
	})
	step := func(name string, err error) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&trace, "-- %s\n", name)
	}
	step("first append acknowledged", s.Append(ctx, appendOf(ref, 0, 0, fill(100, 1))))
	step("second append acknowledged", s.Append(ctx, appendOf(ref, 100, 4096, fill(100, 1))))
	a := appendOf(ref, 4196, 8192, fill(100, 1))
	a.Epoch = 2
	step("append at a higher epoch acknowledged", s.Append(ctx, a))
	step("its repeat acknowledged", s.Append(ctx, a))
	step("seal acknowledged", s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 3, Length: 8192}))
	step("its repeat acknowledged", s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 3, Length: 8192}))
	step("build acknowledged", s.Build(ctx, buildOf(ref, 3, 4*pageSize+100), bytes.NewReader(sparse(4, 1))))
	step("drop acknowledged", s.Drop(ctx, ref, 3, 0))
	golden(t, "trace.golden", []byte(trace.String()))
}

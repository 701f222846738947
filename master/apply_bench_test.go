package master

import (
	"fmt"
	"testing"

	"github.com/dsorchard/granary"
)

const (
	benchItems = 32  // of an entry
	benchDirs  = 64  // that the files lie in
	benchLag   = 256 // requests whose results are not acknowledged yet
)

// applyBench is a state on disk, to which a benchmark applies entries that are made before the clock starts.
type applyBench struct {
	s       *state
	index   uint64
	seq     uint64
	session granary.SessionID
	dirs    []granary.InodeID
}

func newApplyBench(b *testing.B) *applyBench {
	b.Helper()
	s, err := openState(b.TempDir(), stateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.close(); err != nil {
			b.Error(err)
		}
	})
	x := &applyBench{s: s}
	x.apply(x.entry(b, &initCluster{Cluster: "c", RootUser: granary.User{AccessKey: "root", SecretKey: "secret", Root: true}}))
	x.apply(x.entry(b, &beginChangeLog{granary.DefaultChangeLog()}))
	x.session = granary.SessionID(x.apply(x.entry(b, &openSession{Client: "bench"}))[0].Offset)
	for i := range benchDirs {
		op := &granary.Create{Parent: granary.RootInode, Name: fmt.Sprint(i), Type: granary.TypeDirectory, Mode: 0o755}
		x.dirs = append(x.dirs, x.apply(x.entry(b, x.mutation(op)))[0].Attr.Inode)
	}
	return x
}

func (x *applyBench) mutation(op granary.Op) *mutation {
	x.seq++
	return &mutation{Session: x.session, LowestUnacked: max(x.seq, benchLag) - benchLag, Request: granary.Request{Seq: x.seq, Op: op}}
}

func (x *applyBench) entry(b *testing.B, items ...item) entry {
	x.index++
	data, err := (&command{Time: granary.Time(x.index * 1000), Items: items}).marshal()
	if err != nil {
		b.Fatal(err)
	}
	return entry{Index: x.index, Term: 1, Data: data}
}

func (x *applyBench) apply(e entry) []granary.Result { return x.s.apply([]entry{e})[0] }

// run applies n operations, and fails if one does.
func (x *applyBench) run(b *testing.B, n int, op func(i int) granary.Op) {
	b.Helper()
	b.StopTimer()
	entries := make([]entry, 0, n/benchItems+1)
	for at := 0; at < n; at += benchItems {
		var items []item
		for i := at; i < min(at+benchItems, n); i++ {
			items = append(items, x.mutation(op(i)))
		}
		entries = append(entries, x.entry(b, items...))
	}
	b.ResetTimer()
	b.StartTimer()
	cpu := cpuTime()
	for _, e := range entries {
		for _, r := range x.apply(e) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	b.StopTimer()
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(n), "cpu-ns/op")
}

func (x *applyBench) create(i int) granary.Op {
	return &granary.Create{Parent: x.dirs[i%benchDirs], Name: benchName(i), Type: granary.TypeRegular, Mode: 0o644, Exclusive: true}
}

func benchName(i int) string { return fmt.Sprintf("file-%08d", i) }

// BenchmarkApply applies entries of some operations, as every master does with those of the leader: what it costs beside
// Raft and the network. What is renamed and unlinked was made just before.
func BenchmarkApply(b *testing.B) {
	for _, v := range []struct {
		name string
		op   func(x *applyBench, i int) granary.Op
	}{
		{"create", (*applyBench).create},
		{"create-one-dir", func(x *applyBench, i int) granary.Op {
			return &granary.Create{Parent: x.dirs[0], Name: benchName(i), Type: granary.TypeRegular, Mode: 0o644, Exclusive: true}
		}},
		{"chmod", func(x *applyBench, i int) granary.Op {
			mode := uint32(0o600 + i%8)
			return &granary.SetAttr{Inode: x.dirs[i%benchDirs], Mode: &mode}
		}},
		{"rename", func(x *applyBench, i int) granary.Op {
			return &granary.Rename{SrcParent: x.dirs[i%benchDirs], SrcName: benchName(i), DstParent: x.dirs[(i+1)%benchDirs], DstName: benchName(i) + ".r"}
		}},
		{"unlink", func(x *applyBench, i int) granary.Op {
			return &granary.Unlink{Parent: x.dirs[i%benchDirs], Name: benchName(i)}
		}},
	} {
		b.Run(v.name, func(b *testing.B) {
			b.ReportAllocs()
			x := newApplyBench(b)
			if v.name == "rename" || v.name == "unlink" {
				x.run(b, b.N, x.create)
			}
			x.run(b, b.N, func(i int) granary.Op { return v.op(x, i) })
		})
	}
	b.Run("drop", func(b *testing.B) {
		b.ReportAllocs()
		x := newApplyBench(b)
		x.run(b, b.N, x.create)
		x.run(b, b.N, func(i int) granary.Op {
			return &granary.Unlink{Parent: x.dirs[i%benchDirs], Name: benchName(i)}
		})
		x.drop(b)
	})
}

// drop drops all files without a name.
func (x *applyBench) drop(b *testing.B) {
	b.ResetTimer()
	b.StartTimer()
	after := nameless{}
	for {
		found := x.s.nameless(after, dropMax)
		if len(found) == 0 {
			break
		}
		after = found[len(found)-1]
		it := &drop{}
		for _, n := range found {
			it.Inodes = append(it.Inodes, n.Inode)
		}
		if r := x.apply(x.entry(b, it))[0]; r.Offset != uint64(len(found)) {
			b.Fatalf("%d of %d are dropped", r.Offset, len(found))
		}
	}
	b.StopTimer()
}

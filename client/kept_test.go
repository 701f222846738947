package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
	"github.com/dsorchard/granary/master"
)

// keptCluster is a master, clients that keep what they are told, and one that does not.
type keptCluster struct {
	t       *testing.T
	clients []*Client
	plain   *Client
	mu      sync.Mutex
	inodes  []granary.InodeID
}

func newKeptCluster(t *testing.T, n int, keep int64) *keptCluster {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := master.Open(master.Options{Dir: t.TempDir(), GRPCAddr: "master", Listener: l, CacheBytes: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	open := func(keep int64) *Client {
		c, err := Open(t.Context(), Options{
			Masters: []string{"master"}, Shards: newFakeShards(1), KeepBytes: keep,
			Dial: func(string) (wire.Master, func() error, error) { return s, nil, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
		return c
	}
	k := &keptCluster{t: t, plain: open(0), inodes: []granary.InodeID{granary.RootInode}}
	for range n {
		k.clients = append(k.clients, open(keep))
	}
	return k
}

// attending waits until all clients attend.
func (k *keptCluster) attending() {
	for _, c := range k.clients {
		for c.KeptFor() == 0 {
			if _, err := c.Query(k.t.Context(), &granary.Lookup{Base: granary.RootInode}); err != nil {
				k.t.Fatal(err)
			}
			if k.t.Context().Err() != nil {
				return
			}
			sleep(k.t.Context(), time.Millisecond)
		}
	}
}

func (k *keptCluster) inode(r *rand.Rand) granary.InodeID {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.inodes[r.IntN(len(k.inodes))]
}

func name(r *rand.Rand) string { return string(rune('a' + r.IntN(4))) }

// op is something that a mount might do, and may fail.
func (k *keptCluster) op(r *rand.Rand) granary.Op {
	dir, dir2 := k.inode(r), k.inode(r)
	switch r.IntN(14) {
	case 0, 1, 2:
		typ := []granary.FileType{granary.TypeRegular, granary.TypeDirectory, granary.TypeDirectory, granary.TypeSymlink}[r.IntN(4)]
		op := &granary.Create{Parent: dir, Name: name(r), Type: typ, Mode: 0o755, Exclusive: r.IntN(2) == 0}
		if typ == granary.TypeSymlink {
			op.Target = "target"
		}
		return op
	case 3:
		return &granary.Unlink{Parent: dir, Name: name(r)}
	case 4:
		return &granary.Rmdir{Parent: dir, Name: name(r)}
	case 5, 6:
		return &granary.Rename{SrcParent: dir, SrcName: name(r), DstParent: dir2, DstName: name(r), Exchange: r.IntN(4) == 0}
	case 7:
		return &granary.Rename{SrcParent: dir, SrcName: name(r), DstParent: dir, DstName: name(r)}
	case 8:
		return &granary.Link{Inode: dir2, Parent: dir, Name: name(r)}
	case 9:
		mode := uint32(r.IntN(0o1000))
		return &granary.SetAttr{Inode: dir, Mode: &mode}
	case 10:
		size := uint64(r.IntN(100))
		return &granary.SetAttr{Inode: dir, Size: &size}
	case 11:
		return &granary.SetXattr{Inode: dir, Xattr: granary.Xattr{Name: "user." + name(r), Value: []byte(name(r))}}
	case 12:
		return &granary.RemoveXattr{Inode: dir, Name: "user." + name(r)}
	}
	if r.IntN(3) == 0 {
		return &granary.RemoveTree{Parent: dir, Name: name(r)}
	}
	return &granary.Commit{Inode: dir, Content: granary.Content{Inline: []byte(name(r)), Size: 1}}
}

func (k *keptCluster) do(c *Client, op granary.Op) {
	r, err := c.Do(context.Background(), granary.Cred{}, op)
	switch granary.KindOf(err) {
	case granary.KindIndeterminate, granary.KindCanceled, granary.KindInternal, granary.KindExpired:
		k.t.Errorf("%T %+v: %v", op, op, err)
	}
	if err == nil && r.Attr.Inode != 0 && r.Created {
		k.mu.Lock()
		k.inodes = append(k.inodes, r.Attr.Inode)
		k.mu.Unlock()
	}
}

func (k *keptCluster) question(r *rand.Rand) granary.Query {
	id := k.inode(r)
	switch r.IntN(4) {
	case 0:
		return &granary.Lookup{Base: id}
	case 1:
		return &granary.Lookup{Base: id, Path: name(r)}
	case 2:
		return &granary.ReadDir{Inode: id}
	}
	return &granary.Lookup{Base: id, Xattrs: true}
}

// compare asks a client, and who keeps nothing, the same. Where blocks lie, and the attendance, are not compared.
func (k *keptCluster) compare(c *Client, q granary.Query, after any) {
	k.t.Helper()
	before, beforeErr := k.plain.Query(k.t.Context(), q)
	got, err := c.Query(k.t.Context(), q)
	want, wantErr := k.plain.Query(k.t.Context(), q)
	if granary.KindOf(beforeErr) != granary.KindOf(wantErr) || !reflect.DeepEqual(before, want) { // an inode without a name has gone meanwhile
		k.compare(c, q, after)
		return
	}
	if granary.KindOf(err) != granary.KindOf(wantErr) {
		k.t.Fatalf("after %T %+v, %T %+v: %v, and in truth %v", after, after, q, q, err, wantErr)
	}
	if err != nil {
		return
	}
	if g, ok := got.(*granary.Found); ok {
		plain := *g
		plain.Attendance = 0
		got = &plain
	}
	if g, ok := got.(*granary.Directory); ok {
		got = &granary.Directory{Entries: g.Entries, More: g.More}
		if len(g.Entries) == 0 {
			got = &granary.Directory{More: g.More}
		}
	}
	if w, ok := want.(*granary.Directory); ok && len(w.Entries) == 0 {
		want = &granary.Directory{More: w.More}
	}
	if !reflect.DeepEqual(got, want) {
		k.t.Fatalf("after %T %+v, %T %+v:\n%+v, and in truth\n%+v", after, after, q, q, got, want)
	}
}

// TestKeptIsTrue: whoever changes what, and whatever is kept, each client answers what the master answers.
func TestKeptIsTrue(t *testing.T) {
	for _, keep := range []int64{1 << 20, 4000} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			k := newKeptCluster(t, 2, keep)
			k.attending()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			for range 1500 {
				op := k.op(r)
				k.do(k.clients[r.IntN(len(k.clients))], op)
				for range 3 {
					k.compare(k.clients[r.IntN(len(k.clients))], k.question(r), op)
				}
			}
			for _, c := range k.clients {
				s := c.Stats().Kept
				hits, misses := s.Hits, s.Misses
				t.Logf("%d of %d answers were kept", hits, hits+misses)
				if hits < 100 {
					t.Error("hardly anything was answered from what was kept")
				}
			}
		})
	}
}

// TestKeptTogether: the same when all work at once, for what is kept when they are done.
func TestKeptTogether(t *testing.T) {
	k := newKeptCluster(t, 3, 1<<20)
	k.attending()
	for round := range 10 {
		var wg sync.WaitGroup
		for i, c := range k.clients {
			for j := range 2 {
				r := rand.New(rand.NewPCG(uint64(round), uint64(10*i+j)))
				wg.Go(func() {
					for range 40 {
						k.do(c, k.op(r))
						if _, err := c.Query(t.Context(), k.question(r)); granary.IsKind(err, granary.KindInternal) {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		for _, c := range k.clients {
			for _, id := range k.inodes {
				k.compare(c, &granary.Lookup{Base: id}, round)
				k.compare(c, &granary.Lookup{Base: id, Xattrs: true}, round)
				k.compare(c, &granary.ReadDir{Inode: id}, round)
				for _, name := range []string{"a", "b", "c", "d"} {
					k.compare(c, &granary.Lookup{Base: id, Path: name}, round)
				}
			}
		}
	}
}

// TestKeptOnce: what does not change is asked for once, and so is what is not there; what the client makes itself, not at all.
func TestKeptOnce(t *testing.T) {
	k := newKeptCluster(t, 1, 1<<20)
	k.attending()
	c := k.clients[0]
	k.do(c, &granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory, Mode: 0o755})
	dir := k.inodes[len(k.inodes)-1]
	ask := func(q granary.Query) (missed uint64) {
		before := c.Stats().Kept.Misses
		for range 10 {
			if _, err := c.Query(t.Context(), q); err != nil && !granary.IsKind(err, granary.KindNotFound) {
				t.Error(err)
			}
		}
		after := c.Stats().Kept.Misses
		return after - before
	}
	for i := range 20 {
		k.do(c, &granary.Create{Parent: dir, Name: fmt.Sprint("f", i), Type: granary.TypeRegular, Mode: 0o644})
		if n := ask(&granary.Lookup{Base: dir, Path: fmt.Sprint("f", i)}) + ask(&granary.Lookup{Base: granary.RootInode, Path: "d"}); n > 0 && c.KeptFor() > 0 {
			t.Errorf("file %d: asked %d times", i, n)
		}
	}
	for _, q := range []granary.Query{&granary.Lookup{Base: dir, Path: "none"}, &granary.ReadDir{Inode: dir}, &granary.Lookup{Base: dir, Xattrs: true}} {
		if n := ask(q); n > 1 && c.KeptFor() > 0 {
			t.Errorf("%T: asked %d times", q, n)
		}
	}
}

package client

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"unsafe"

	"github.com/dsorchard/granary"
)

// lendingShards read into memory that they lend. What is released, or read too late, they spoil.
type lendingShards struct {
	*fakeShards
	t  *testing.T
	mu sync.Mutex
	// lent is by the first byte.
	lent     map[*byte]*lentMemory
	taken    int // reads into lent memory that were answered
	large    int // reads of slabPaged bytes and more, which began where the shard's pages do
	stuckFor int // of so many reads into lent memory one is not answered; 0: all are
	refuse   bool
}

type lentMemory struct {
	p        []byte
	released bool
	late     bool // a server may write to it
}

func spoilAll(p []byte) {
	for i := range p {
		p[i] = 0xEE
	}
}

func (s *lendingShards) Lend(size int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &lentMemory{p: make([]byte, size)}
	s.lent[&m.p[0]] = m
	return m.p
}

func (s *lendingShards) LendsReads(string) bool { return !s.refuse }

func (s *lendingShards) Release(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.lent[&p[0]]
	if m == nil || m.released {
		s.t.Error("memory is released that was not lent")
		return
	}
	m.released = true
	spoilAll(m.p)
}

func (s *lendingShards) ReadAt(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (int, uint64, error) {
	s.mu.Lock()
	skipped := uintptr(unsafe.Pointer(&p[0])) % slabPage // what is lent begins with a page
	m := s.lent[(*byte)(unsafe.Add(unsafe.Pointer(&p[0]), -int(skipped)))]
	stuck := false
	if m != nil {
		if len(p) >= slabPaged {
			s.large++
			if skipped != uintptr(off)%slabPage {
				s.t.Errorf("a read of %d bytes at %d goes to place %d of a page", len(p), off, skipped)
			}
		}
		if m.released || m.late {
			s.t.Error("a read goes into memory that another may still go into")
		}
		s.taken++
		stuck = s.stuckFor > 0 && s.taken%s.stuckFor == 0
		m.late = stuck
	}
	s.mu.Unlock()
	if stuck {
		<-ctx.Done()
		return 0, 0, granary.Errorf(granary.KindUnavailable, "read", ref.String(), "%w", ctx.Err())
	}
	n, length, err := s.fakeShards.ReadAt(ctx, addr, ref, p, off)
	s.writeLate()
	return n, length, err
}

// writeLate writes what was given up.
func (s *lendingShards) writeLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.lent {
		if m.late && m.released {
			spoilAll(m.p)
		}
	}
}

// count returns how many pieces of memory were lent, and how many of them are still.
func (s *lendingShards) count() (all, kept int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.lent {
		if !m.released {
			kept++
			if m.late {
				s.t.Error("memory is kept that a server may write to")
			}
		}
	}
	return len(s.lent), kept
}

// lendingCluster is a file of some MiB and a client that reads into lent memory.
func lendingCluster(t *testing.T, edit func(*Options)) (*lendingShards, *Client, []byte) {
	f, w := newCluster(t, 61, 6, policy(4, 2), nil)
	data := noise(61, 24<<20)
	if _, err := upload(w, "a", data); err != nil {
		t.Fatal(err)
	}
	s := &lendingShards{fakeShards: f.shards, t: t, lent: map[*byte]*lentMemory{}}
	c := openClient(t, f, func(o *Options) {
		o.Shards = s
		if edit != nil {
			edit(o)
		}
	})
	return s, c, data
}

// A stream goes through few pieces of lent memory again and again, and none is left when the client is closed.
func TestReadsIntoLentMemory(t *testing.T) {
	s, c, data := lendingCluster(t, nil)
	for range 3 {
		mustRead(t, c, "a", data)
		c.cache.clear()
	}
	s.mu.Lock()
	taken := s.taken
	s.mu.Unlock()
	if s.large == 0 {
		t.Error("no read was large")
	}
	if all, kept := s.count(); taken == 0 || all > taken*2/3 || kept == 0 {
		t.Errorf("%d reads went into %d pieces of memory, of which %d are kept", taken, all, kept)
	}
	c.slabs.lent.mu.Lock()
	idle := c.slabs.lent.idle
	c.slabs.lent.mu.Unlock()
	if idle > lentIdleMax {
		t.Errorf("%d bytes are kept unused", idle)
	}
	closeClient(t, c)
	if _, kept := s.count(); kept > 0 {
		t.Errorf("%d pieces of memory are lent by a client that is closed", kept)
	}
}

// Reads that were given up never spoil others: their memory is used for nothing else.
func TestLateReadsSpoilNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, data := lendingCluster(t, func(o *Options) { o.CacheBytes = 8 << 20 })
		s.stuckFor = 5
		for range 4 {
			mustRead(t, c, "a", data)
			s.writeLate()
		}
		synctest.Wait()
		s.count()
		closeClient(t, c)
		if all, kept := s.count(); kept > 0 || all < 5 {
			t.Errorf("of %d pieces of memory %d are lent by a client that is closed", all, kept)
		}
	})
}

// There are only so many slabs of lent memory, and what is not used makes room for others.
func TestLentSlabsAreBounded(t *testing.T) {
	f := &lendingShards{t: t, lent: map[*byte]*lentMemory{}}
	s := lentSlabs{from: f, all: map[*byte]struct{}{}}
	var held [][]byte
	for range lentMax {
		held = append(held, s.get(lentReadMin))
	}
	if s.get(lentReadMin) != nil {
		t.Error("more than lentMax")
	}
	if !s.put(held[0]) || s.put(make([]byte, lentReadMin)) {
		t.Error("it does not know its own")
	}
	if p := s.get(1 << 20); p == nil || len(s.all) != lentMax {
		t.Error("an unused one makes no room")
	}
	for _, p := range held[1:] {
		s.put(p)
	}
	if s.idle > lentIdleMax || s.get(slabMost+1) != nil || s.get(lentReadMin-1) != nil {
		t.Error("out of its bounds")
	}
}

package master

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// fakeRaft keeps what is proposed, and answers when told to.
type fakeRaft struct {
	landed  func(data []byte, results []granary.Result) // by the state machine; nil: only the future tells
	mu      sync.Mutex
	data    [][]byte
	entries []*command
	futures []*fakeFuture
}

type fakeFuture struct {
	done     chan struct{}
	err      error
	response any
}

func (f *fakeFuture) Error() error  { <-f.done; return f.err }
func (f *fakeFuture) Index() uint64 { return 0 }
func (f *fakeFuture) Response() any { return f.response }

func (r *fakeRaft) Apply(data []byte, _ time.Duration) raft.ApplyFuture {
	c, err := unmarshalCommand(data)
	if err != nil {
		panic(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &fakeFuture{done: make(chan struct{})}
	r.entries = append(r.entries, c)
	r.data = append(r.data, data)
	r.futures = append(r.futures, f)
	return f
}

// answer ends entry i: with results that carry the position of each item, or with an error.
func (r *fakeRaft) answer(i int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.futures[i]
	f.err = err
	if err == nil {
		results := make([]granary.Result, len(r.entries[i].Items))
		for j, it := range r.entries[i].Items {
			results[j].Offset = it.(*openSession).Nonce
		}
		f.response = results
		if r.landed != nil {
			r.landed(r.data[i], results)
		}
	}
	close(f.done)
}

func (r *fakeRaft) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.entries)
}

// startProposer runs a proposer in a synctest bubble; stop ends and awaits it.
func startProposer(t *testing.T, r *fakeRaft) (p *proposer, stop func()) {
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	p = newProposer(r, make(chan struct{}), 0, time.Now, m)
	r.landed = p.landed
	ctx, cancel := context.WithCancel(t.Context())
	go p.run(ctx)
	return p, func() {
		cancel()
		<-p.stopped
	}
}

func TestProposerPacksWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(fakeRaft)
		p, stop := startProposer(t, r)
		defer stop()
		var wg sync.WaitGroup
		ask := func(nonce uint64) {
			wg.Go(func() {
				results, err := p.propose(t.Context(), &openSession{Nonce: nonce})
				if err != nil || len(results) != 1 || results[0].Offset != nonce {
					t.Errorf("request %d got %v, %v", nonce, results, err)
				}
			})
			synctest.Wait()
		}
		for n := range uint64(proposalsFlying) {
			ask(n)
		}
		if r.count() != proposalsFlying {
			t.Fatalf("%d entries for %d lone requests", r.count(), proposalsFlying)
		}
		for n := range uint64(100) {
			ask(1000 + n)
		}
		if r.count() != proposalsFlying {
			t.Fatalf("%d entries in flight, more than %d", r.count(), proposalsFlying)
		}
		r.answer(0, nil)
		synctest.Wait()
		if r.count() != proposalsFlying+1 || len(r.entries[proposalsFlying].Items) != 100 {
			t.Fatalf("the next of %d entries does not hold all 100 that waited", r.count())
		}
		for i := 1; i < r.count(); i++ {
			r.answer(i, nil)
		}
		wg.Wait()
		for i := 1; i < r.count(); i++ {
			if r.entries[i].Time <= r.entries[i-1].Time {
				t.Errorf("entry %d is stamped no later than the one before", i)
			}
		}
	})
}

func TestProposerBoundsEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(fakeRaft)
		p, stop := startProposer(t, r)
		defer stop()
		big := string(make([]byte, 200<<10))
		if _, err := p.propose(t.Context(), &openSession{Client: big + big + big}); !granary.IsKind(err, granary.KindTooLarge) {
			t.Errorf("600 KiB: %v", err)
		}
		done := make(chan error, 1)
		go func() {
			results, err := p.propose(t.Context(), &openSession{Client: big + big, Nonce: 1}, &openSession{Client: big, Nonce: 2}, &openSession{Nonce: 3})
			if err == nil && (len(results) != 3 || results[0].Offset != 1 || results[2].Offset != 3) {
				err = errors.New("results are out of order")
			}
			done <- err
		}()
		for i, want := range []int{1, 2} {
			synctest.Wait()
			if r.count() != i+1 || len(r.entries[i].Items) != want {
				t.Fatalf("entry %d does not hold %d items", i, want)
			}
			r.answer(i, nil)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestProposerWhenRaftForgets: an entry that Raft never answers for is given up when Raft has gone.
func TestProposerWhenRaftForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newMetrics(nil)
		if err != nil {
			t.Fatal(err)
		}
		r, gone := new(fakeRaft), make(chan struct{})
		p := newProposer(r, gone, 0, time.Now, m)
		go p.run(t.Context())
		outcomes := make(chan error, proposalsFlying+1)
		for range cap(outcomes) {
			go func() {
				_, err := p.propose(t.Context(), &openSession{})
				outcomes <- err
			}()
			synctest.Wait()
		}
		close(gone)
		<-p.stopped
		kinds := map[granary.Kind]int{}
		for range cap(outcomes) {
			kinds[granary.KindOf(<-outcomes)]++
		}
		if kinds[granary.KindIndeterminate] != proposalsFlying || kinds[granary.KindUnavailable] != 1 {
			t.Errorf("%d entries in flight and one queued ended as %v", proposalsFlying, kinds)
		}
		for i := range r.count() { // the flyers end with their futures
			r.answer(i, raft.ErrRaftShutdown)
		}
	})
}

// TestProposerWithoutStateMachine: who proposed something gets its results from Raft too.
func TestProposerWithoutStateMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(fakeRaft)
		p, stop := startProposer(t, r)
		defer stop()
		r.landed = nil
		for n := range uint64(3) {
			go func() {
				synctest.Wait()
				r.answer(int(n), nil)
			}()
			if results, err := p.propose(t.Context(), &openSession{Nonce: n}); err != nil || results[0].Offset != n {
				t.Errorf("request %d got %v, %v", n, results, err)
			}
		}
	})
}

// TestProposerOutcomes: what is known of a request when its leader goes.
func TestProposerOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(fakeRaft)
		p, stop := startProposer(t, r)
		ask := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := p.propose(ctx, &openSession{})
				done <- err
			}()
			synctest.Wait()
			return done
		}
		lost := ask(t.Context())
		impatient, cancel := context.WithCancel(t.Context())
		gaveUp := ask(impatient)
		for range proposalsFlying - 2 {
			ask(t.Context())
		}
		refused := ask(t.Context())
		cancel()
		r.answer(0, raft.ErrLeadershipLost) // what waits flies in its place
		time.Sleep(3 * aloneMax)
		late := ask(t.Context())
		r.answer(proposalsFlying, raft.ErrNotLeader)
		synctest.Wait()
		queued := ask(t.Context())
		go stop()
		synctest.Wait()
		if r.count() != proposalsFlying+2 {
			t.Errorf("%d entries were proposed", r.count())
		}
		for i := 1; i < r.count(); i++ {
			if i != proposalsFlying {
				r.answer(i, raft.ErrRaftShutdown)
			}
		}
		<-p.stopped
		for name, want := range map[string]struct {
			done chan error
			kind granary.Kind
		}{
			"lost in flight":  {lost, granary.KindIndeterminate},
			"refused by Raft": {refused, granary.KindUnavailable},
			"gave up":         {gaveUp, granary.KindIndeterminate},
			"shut down":       {late, granary.KindIndeterminate},
			"still queued":    {queued, granary.KindUnavailable},
			"after the end":   {ask(t.Context()), granary.KindUnavailable},
		} {
			if err := <-want.done; granary.KindOf(err) != want.kind {
				t.Errorf("%s: %v, want %v", name, err, want.kind)
			}
		}
	})
}

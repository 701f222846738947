package client

import (
	"context"
	"runtime"

	"github.com/dsorchard/granary"
)

const (
	// batchesMax is how many Mutate calls a session has under way. While all are, requests gather
	// for the next one: many writers share calls, and Raft entries, and none waits for a timer.
	batchesMax = 3
	// batchBytesMax bounds a Mutate call well below granary.EntrySizeMax, unless a single request is larger.
	batchBytesMax = 256 << 10
)

// senders are the goroutines of a session that send what is queued, one Mutate call after the other. They are started
// as they are needed, and stay: a new goroutine would first have to grow the stack that a call takes. A caller who finds
// nothing under way sends for himself (carry): to be woken takes a goroutine its time.
type senders struct {
	wake   chan struct{} // one for each that is to take up work again
	idle   int           // wait for that
	busy   int           // do not; and callers who send for themselves
	coming bool          // one is on its way to the queue: who has something to send need not wake another
}

func newSenders() senders { return senders{wake: make(chan struct{}, batchesMax)} }

// pump has a sender come for what is queued. s.mu is held.
func (s *session) pump() {
	w := &s.senders
	if len(s.queue) == 0 || w.coming || w.busy == batchesMax {
		return
	}
	switch {
	case w.idle > 0:
		w.idle--
		w.wake <- struct{}{}
	case !s.c.spawn(s.serve):
		refuse(s.queue, errClosed)
		s.queue = nil
		return
	}
	w.busy++
	w.coming = true
}

// carry sends a batch of the caller's own. If his ctx ends before the answer comes, another goes on with it.
func (s *session) carry(ctx context.Context, batch []*call) {
	f := newSending(s, batch)
	if f.try(ctx) {
		s.pause()
		return
	}
	if !s.c.spawn(func() { f.try(s.c.ctx); s.pause() }) {
		f.try(s.c.ctx) // which has ended: it says so to whoever waits
	}
}

// pause says that a caller no more sends for himself.
func (s *session) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.senders.busy--
	s.pump()
}

// serve sends what is queued until the session or the client ends.
func (s *session) serve() {
	for {
		// Whoever is about to queue something does so first: what comes at the same time shares a call.
		runtime.Gosched()
		for batch := s.next(); len(batch) > 0; batch = s.next() {
			newSending(s, batch).try(s.c.ctx)
			runtime.Gosched()
		}
		select {
		case <-s.senders.wake:
		case <-s.lost:
			return // lose has dealt with the queue
		case <-s.c.ctx.Done():
			s.next() // which refuses what was queued meanwhile
			return
		}
	}
}

// next takes a batch; an empty one says that the sender is idle from now on.
func (s *session) next() []*call {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.senders.coming = false
	if s.c.ctx.Err() != nil {
		refuse(s.queue, errClosed)
		s.queue = nil
	}
	batch := s.take()
	if len(batch) == 0 {
		s.senders.busy--
		s.senders.idle++
		return nil
	}
	s.pump() // another comes for what did not fit
	return batch
}

// take removes the next batch from the queue and gives sequence numbers to it. s.mu is held.
func (s *session) take() []*call {
	var batch []*call
	size, n := 0, 0
	for _, q := range s.queue {
		if !q.gone {
			if len(batch) == granary.RequestsMax || len(batch) > 0 && size+q.size > batchBytesMax {
				break
			}
			s.last++
			q.req.Seq, q.sent = s.last, true
			s.unacked[s.last] = struct{}{}
			size += q.size
			batch = append(batch, q)
		}
		n++
	}
	s.queue = s.queue[n:]
	if len(s.queue) == 0 {
		s.queue = nil
	}
	return batch
}

package master

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pipeline is a pipeline of entries to a follower that ends itself once Raft has had an answer after which Raft reads
// no more of them.
//
// Raft sends and reads in two goroutines. After a refusal, or an answer of a newer term, the reader ends and expects
// the sender to notice; but a sender that waits for room in the pipeline, which nobody empties any more, never does. The
// follower would get nothing from this leader again, and the node could not be closed. Ended, the pipeline lets the
// sender go, and Raft begins anew with single calls.
type pipeline struct {
	raft.AppendPipeline
	await   func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse, <-chan struct{}) error // witness.awaitDurable
	answers chan raft.AppendFuture
	ended   chan struct{}
	end     sync.Once
	passing sync.WaitGroup
}

// AppendEntriesPipeline implements raft.Transport.
func (w *witness) AppendEntriesPipeline(id raft.ServerID, addr raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := w.Transport.AppendEntriesPipeline(id, addr)
	if err != nil {
		return nil, err
	}
	return newPipeline(inner, w.awaitDurable), nil
}

func newPipeline(inner raft.AppendPipeline, await func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse, <-chan struct{}) error) *pipeline {
	p := &pipeline{AppendPipeline: inner, await: await, answers: make(chan raft.AppendFuture), ended: make(chan struct{})}
	p.passing.Go(p.pass)
	return p
}

// pass hands answers on, up to one that is the last that Raft reads.
func (p *pipeline) pass() {
	for {
		select {
		case a := <-p.AppendPipeline.Consumer():
			last := !a.Response().Success || a.Response().Term > a.Request().Term
			if p.await(a.Request(), a.Response(), p.ended) != nil {
				_ = p.AppendPipeline.Close() // so that nothing more is sent in it: Raft begins anew with single calls
				return
			}
			select {
			case p.answers <- a:
			case <-p.ended:
				return
			}
			if last {
				_ = p.AppendPipeline.Close() // Close says what came of it
				return
			}
		case <-p.ended:
			return
		}
	}
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.end.Do(func() { close(p.ended) })
	p.passing.Wait()
	return p.AppendPipeline.Close()
}

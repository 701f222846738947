package master

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// fullPipeline has no room: who sends waits for its end, as in raft.NetworkTransport when nobody reads the answers.
type fullPipeline struct {
	answers chan raft.AppendFuture
	ended   chan struct{}
}

var errEnded = errors.New("ended")

// AppendEntries implements raft.AppendPipeline.
func (p *fullPipeline) AppendEntries(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	<-p.ended
	return nil, errEnded
}

// Consumer implements raft.AppendPipeline.
func (p *fullPipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *fullPipeline) Close() error {
	select {
	case <-p.ended:
	default:
		close(p.ended)
	}
	return nil
}

// appendAnswer is an answer to entries of term 5.
type appendAnswer struct {
	raft.AppendFuture
	resp raft.AppendEntriesResponse
}

func (a *appendAnswer) Request() *raft.AppendEntriesRequest {
	return &raft.AppendEntriesRequest{Term: 5}
}
func (a *appendAnswer) Response() *raft.AppendEntriesResponse { return &a.resp }
func (a *appendAnswer) Start() time.Time                      { return time.Time{} }

// TestPipelineLetsTheSenderGo: after an answer that is the last that Raft reads, what is being sent fails instead of
// waiting for ever; after others it goes on to wait.
func TestPipelineLetsTheSenderGo(t *testing.T) {
	for _, tt := range []struct {
		name string
		resp raft.AppendEntriesResponse
		last bool
	}{
		{"success", raft.AppendEntriesResponse{Term: 5, Success: true}, false},
		{"refusal", raft.AppendEntriesResponse{Term: 5}, true},
		{"newer term", raft.AppendEntriesResponse{Term: 6, Success: true}, true},
		{"lost connection", raft.AppendEntriesResponse{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := &fullPipeline{answers: make(chan raft.AppendFuture), ended: make(chan struct{})}
				p := newPipeline(inner, func(*raft.AppendEntriesRequest, *raft.AppendEntriesResponse, <-chan struct{}) error { return nil })
				sent := make(chan error, 1)
				go func() {
					_, err := p.AppendEntries(nil, nil)
					sent <- err
				}()
				inner.answers <- &appendAnswer{resp: tt.resp}
				if a := <-p.Consumer(); a.Response().Term != tt.resp.Term {
					t.Errorf("Raft reads %+v", a.Response())
				}
				synctest.Wait()
				select {
				case err := <-sent:
					if !tt.last || !errors.Is(err, errEnded) {
						t.Errorf("sent: %v", err)
					}
				default:
					if tt.last {
						t.Error("it waits")
					}
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

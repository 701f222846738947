package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/dsorchard/granary"
)

// pathMaster answers a lookup with its own path, or an error that names it, once it is let go.
type pathMaster struct {
	fakeMaster
	enter chan string   // each query that came in
	leave chan struct{} // closed to let them go
}

func (m *pathMaster) Work(context.Context, *granary.WorkRequest) (*granary.WorkReply, error) {
	return nil, granary.Errorf(granary.KindNotSupported, "work", "", "")
}

func (m *pathMaster) Query(ctx context.Context, req *granary.QueryRequest) (granary.Answer, granary.Index, error) {
	path := req.Query.(*granary.Lookup).Path
	m.enter <- path
	select {
	case <-m.leave:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	if len(path)%2 == 0 {
		return nil, 0, granary.Errorf(granary.KindNotFound, "lookup", path, "")
	}
	return &granary.Found{Rest: path}, req.MinIndex, nil
}

// TestQueriesGather: queries asked while others are under way share calls, and each gets its own answer or error.
func TestQueriesGather(t *testing.T) {
	const callers = 300
	m := &pathMaster{enter: make(chan string, callers), leave: make(chan struct{})}
	c, _ := serve(t, m)
	var asking sync.WaitGroup
	for i := range callers {
		asking.Go(func() {
			path := fmt.Sprintf("%0*d", 3+i%2, i)
			a, index, err := c.Query(t.Context(), &granary.QueryRequest{MinIndex: granary.Index(i), Query: &granary.Lookup{Base: 1, Path: path}})
			var e *granary.Error
			switch {
			case len(path)%2 == 0 && (!errors.As(err, &e) || e.Kind != granary.KindNotFound || e.Subject != path):
				t.Errorf("%s: %v", path, err)
			case len(path)%2 == 1 && (err != nil || a.(*granary.Found).Rest != path || index != granary.Index(i)):
				t.Errorf("%s: %+v, %d, %v", path, a, index, err)
			}
		})
	}
	seen := map[string]bool{}
	for range queriesFlying {
		seen[<-m.enter] = true
	}
	if len(m.enter) > 0 {
		t.Errorf("more than %d calls are under way", queriesFlying)
	}
	close(m.leave)
	asking.Wait()
	for len(m.enter) > 0 {
		seen[<-m.enter] = true
	}
	if len(seen) != callers {
		t.Errorf("%d queries came in, of %d", len(seen), callers)
	}
}

// TestGatheredQueryIsGivenUp: a caller that gives up does not wait, and does not take the others along; when all have,
// the call ends at the server, too.
func TestGatheredQueryIsGivenUp(t *testing.T) {
	m := &pathMaster{enter: make(chan string, 100), leave: make(chan struct{})}
	c, _ := serve(t, m)
	ask := func(ctx context.Context, path string) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, _, err := c.Query(ctx, &granary.QueryRequest{Query: &granary.Lookup{Base: 1, Path: path}})
			done <- err
		}()
		return done
	}
	all, stop := context.WithCancel(t.Context())
	var under []<-chan error
	for range queriesFlying {
		under = append(under, ask(all, "abc"))
	}
	for range queriesFlying {
		<-m.enter
	}
	one, giveUp := context.WithCancel(t.Context())
	waiting := ask(one, "one")
	giveUp()
	if err := <-waiting; !granary.IsKind(err, granary.KindCanceled) {
		t.Errorf("who gave up: %v", err)
	}
	patient := ask(t.Context(), "patient")
	stop()
	for _, done := range under {
		if err := <-done; !granary.IsKind(err, granary.KindCanceled) {
			t.Errorf("who was stopped: %v", err)
		}
	}
	if path := <-m.enter; path != "patient" {
		t.Errorf("%q was sent", path)
	}
	close(m.leave)
	if err := <-patient; err != nil {
		t.Errorf("who was patient: %v", err)
	}
}

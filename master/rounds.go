package master

import (
	"context"
	"sync"
)

// rounds shares one question among all who wait for its answer. A round begins only after all who
// take part in it have arrived, so its answer is younger than each of their calls. Rounds follow one
// another without a pause while somebody waits.
type rounds[T any] struct {
	ask    func(ctx context.Context, takers int) (T, error)
	called chan struct{} // says that somebody waits for the next round

	mu    sync.Mutex
	next  *round[T]
	ended bool
}

type round[T any] struct {
	takers int // who take part; under rounds.mu
	done   chan struct{}
	answer T
	err    error
}

func newRounds[T any](ask func(ctx context.Context, takers int) (T, error)) *rounds[T] {
	return &rounds[T]{ask: ask, called: make(chan struct{}, 1)}
}

// wait takes part in the next round. Once run has ended it fails at once.
func (v *rounds[T]) wait(ctx context.Context) (answer T, err error) {
	v.mu.Lock()
	if v.ended {
		v.mu.Unlock()
		return answer, context.Canceled
	}
	r := v.next
	if r == nil {
		r = &round[T]{done: make(chan struct{})}
		v.next = r
		kick(v.called)
	}
	r.takers++
	v.mu.Unlock()
	select {
	case <-r.done:
		return r.answer, r.err
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// run asks until ctx ends, and then tells those who wait.
func (v *rounds[T]) run(ctx context.Context) {
	for {
		select {
		case <-v.called:
			r := v.take(false)
			r.answer, r.err = v.ask(ctx, r.takers)
			close(r.done)
		case <-ctx.Done():
			if r := v.take(true); r != nil {
				r.err = ctx.Err()
				close(r.done)
			}
			return
		}
	}
}

func (v *rounds[T]) take(last bool) *round[T] {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.next
	v.next, v.ended = nil, last
	return r
}

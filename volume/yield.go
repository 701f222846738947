package volume

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// usersStay is how long after a read of users more of them are expected.
const usersStay = 20 * time.Millisecond

// A piece of upkeep beside users is followed by a rest of so many times what it took, but no longer than restMax, as a disk that answers late
// does not get better by it.
const (
	restShare = 1
	restMax   = 250 * time.Millisecond
)

// yielder has upkeep give way to users. Where nobody else wants anything, it goes as fast as it can. While users read, only half as many
// pieces of it are worked on at a time as there are processors, and after each its place rests for as long as the piece took: so the
// more users and upkeep are in each other's way, the less upkeep there is. What follows from a piece elsewhere, to rebuild others from it,
// is held back with it.
type yielder struct {
	serving atomic.Int64 // reads of users under way
	served  atomic.Int64 // when the last one ended, in nanoseconds since start
	away    atomic.Int64 // until when users may read files by themselves, likewise
	start   time.Time
	places  chan struct{}
}

func newYielder() *yielder {
	y := &yielder{start: time.Now(), places: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	y.served.Store(-int64(usersStay))
	return y
}

// serve counts a read of a user in, until leave.
func (y *yielder) serve() { y.serving.Add(1) }

func (y *yielder) leave() {
	y.served.Store(int64(time.Since(y.start)))
	y.serving.Add(-1)
}

// peeked notes that a user was told where a file lies, and will read it by itself for a time. How much, nobody knows here.
func (y *yielder) peeked() { y.away.Store(int64(time.Since(y.start) + peekFor)) }

// busy reports whether users are served, or may be reading by themselves.
func (y *yielder) busy() bool {
	now := int64(time.Since(y.start))
	return y.serving.Load() > 0 || now-y.served.Load() < int64(usersStay) || now < y.away.Load()
}

// do does a piece of upkeep when it may. It returns the error of ctx if that ends before.
func (y *yielder) do(ctx context.Context, piece func() error) error {
	if !y.busy() {
		return piece()
	}
	select {
	case y.places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	began := time.Now()
	err := piece()
	rest := min(restShare*time.Since(began), restMax)
	time.AfterFunc(rest, func() { <-y.places })
	return err
}

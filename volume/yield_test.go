package volume

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
)

// Upkeep does as much as it can when there are no users, no more than a share while there are, with a rest after each piece, and ends with its context.
func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYielder()
		time.Sleep(time.Second)
		work := func() (pieces int) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			done := make(chan int)
			const workers = 64
			for range workers {
				go func() {
					n := 0
					for ctx.Err() == nil && y.do(ctx, func() error { time.Sleep(10 * time.Millisecond); return nil }) == nil {
						n++
					}
					done <- n
				}()
			}
			for range workers {
				pieces += <-done
			}
			return pieces
		}
		if n := work(); n < 6000 {
			t.Errorf("%d pieces without users", n)
		}
		y.serve()
		if n, share := work(), 50*cap(y.places); n < share*9/10 || n > share*11/10 {
			t.Errorf("%d pieces beside users, and a share is %d", n, share)
		}
		y.leave()
		if !y.busy() {
			t.Error("no more reads of users are expected, right after one")
		}
		time.Sleep(usersStay)
		if n := work(); n < 6000 {
			t.Errorf("%d pieces after users", n)
		}
		y.peeked()
		if n, share := work(), 50*cap(y.places); n > share*11/10 {
			t.Errorf("%d pieces beside users who read by themselves, and a share is %d", n, share)
		}
		time.Sleep(peekFor)
		if n := work(); n < 6000 {
			t.Errorf("%d pieces after users who read by themselves", n)
		}
	})
}

// Reads of users are what upkeep gives way to, and its own reads are not.
func TestWhoIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTemp(t)
		ref := firstRef(s, 1)
		mustAppend(t, s, appendOf(ref, 0, 0, fill(pageSize, 1)))
		if err := s.Seal(t.Context(), &granary.Seal{Ref: ref, Epoch: 1, Length: pageSize}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(usersStay)
		p := make([]byte, pageSize)
		if _, _, err := s.ReadSealed(t.Context(), ref, p, 0); err != nil || s.yield.busy() {
			t.Errorf("upkeep read: %v", err)
		}
		if _, _, err := s.ReadAt(t.Context(), ref, p, 0); err != nil || !s.yield.busy() {
			t.Errorf("a user read: %v", err)
		}
	})
}

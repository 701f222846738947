package client

import "slices"

// loan is an arena that an upload needs for its segments, or for its cutter: others that have the same chunks on their way may need it for longer.
type loan struct{ size, users int }

// spare returns how many bytes an upload may hold beside its rows.
func (u *Upload) spare() int {
	if u.offset >= sprintMax && u.rows <= 2*u.most {
		return u.most
	}
	return 2 * u.most
}

// heldMax returns how many bytes an upload may hold: what is held back, and what is not sent, has room in it.
func (u *Upload) heldMax() int { return min(u.rows+u.spare(), uploadMax) }

// reserve waits until the upload may hold n bytes more. One that holds nothing may always hold a chunk, so that each of them goes on.
func (u *Upload) reserve(n int) error {
	return u.await(func() (fits bool, freed <-chan struct{}) {
		if u.held > 0 && u.held+n > u.heldMax() {
			return false, nil
		}
		if fits, freed = u.c.budget.take(n, u.held == 0); fits {
			u.held += n
		}
		return fits, freed
	})
}

// lentMax returns how many bytes the arenas of an upload may have: what its chunks do not fill of them, and the one that its cutter fills, may be
// as much more as its rows leave to it.
func (u *Upload) lentMax() int { return max(u.heldMax()+u.spare(), 2*arenaMax) }

// borrow returns an arena of size bytes as soon as the upload may have one more. When all chunks are settled it has but the cutter's last
// arena, and may always have another, of least bytes if there is no room for more: or many uploads that begin at the same time would all have the large one.
func (u *Upload) borrow(least, size int) (*arena, error) {
	got := size
	err := u.await(func() (fits bool, freed <-chan struct{}) {
		if u.lent+size <= u.lentMax() {
			if fits, freed = u.c.lending.take(size, false); fits {
				return true, nil
			}
		}
		if u.held == 0 {
			got = least
			return u.c.lending.take(least, true)
		}
		return false, freed
	})
	if err != nil {
		return nil, err
	}
	a := u.c.arenas.get(got)
	u.mu.Lock()
	u.giveBack(u.loan)
	u.loan = &loan{size: cap(a.memory), users: 1}
	u.lent += u.loan.size
	u.c.lending.take(u.loan.size-got, true) // the arena may be larger
	u.mu.Unlock()
	return a, nil
}

// giveBack ends one use of a loan; of none, it does nothing. u.mu is held.
func (u *Upload) giveBack(l *loan) {
	if l == nil {
		return
	}
	if l.users--; l.users == 0 {
		u.lent -= l.size
		u.c.lending.give(l.size)
	}
}

// await waits until there is room for more in memory: fits says so, or when to ask it again if not when something of the upload is settled. It is
// called with u.mu held.
func (u *Upload) await(fits func() (bool, <-chan struct{})) error {
	for {
		u.mu.Lock()
		if u.err != nil {
			u.mu.Unlock()
			return u.err
		}
		ok, freed := fits()
		u.mu.Unlock()
		if ok {
			return nil
		}
		if err := u.yield(); err != nil {
			return err
		}
		u.nudge()
		select {
		case <-u.wake:
		case <-freed:
		case <-u.ctx.Done():
			return u.failure()
		}
	}
}

// yield sends and commits what has been gathered and held back, before a wait for memory: who waits for what others hold while he keeps his
// own might wait for ever, and what waits anyway may as well be on its way.
func (u *Upload) yield() error {
	switch {
	case u.segment.size == 0 && len(u.segments) == 0:
		return nil
	case u.segment.size == 0:
		return u.commit()
	}
	if err := u.send(); err != nil || len(u.segments) == 0 {
		return err
	}
	return u.commit()
}

// nudge has the oldest row flushed that this upload has bytes in, although it is not full, if
// nothing else would set them free: rows wider than the memory an upload may have.
func (u *Upload) nudge() {
	u.mu.Lock()
	sent := slices.Clone(u.sent)
	u.mu.Unlock()
	for _, s := range sent {
		select {
		case <-s.stored:
		default:
			return // more is coming to the row
		}
	}
	for _, s := range sent {
		for _, b := range s.blocks {
			select {
			case <-b.done:
			default:
				b.w.hurry(b)
				return
			}
		}
	}
}

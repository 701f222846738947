package master

import (
	"context"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// watchPause is how long who watches, and was woken in vain, rests before the next look: others may change much.
const watchPause = 20 * time.Millisecond

// logWatch tells those who watch at this node that something was changed. It is of one state, as are the hints.
type logWatch struct {
	mu    sync.Mutex
	news  chan struct{} // closed by the next batch that has changes; nil: nobody waits for it
	hints nameHints
}

// next returns a channel that is closed when there is news.
func (w *logWatch) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.news == nil {
		w.news = make(chan struct{})
	}
	return w.news
}

// tell tells that there is.
func (w *logWatch) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.news != nil {
		close(w.news)
		w.news = nil
	}
}

// watch answers who watches: when there are changes, or after a time.
//
// That this node leads is confirmed once: so the first look sees all that was acknowledged before. What later looks see was committed,
// too, whoever leads by then, and comes after it.
func (s *Server) watch(ctx context.Context, req *granary.QueryRequest, q *granary.Watch) (granary.Answer, granary.Index, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	l, err := s.leader("watch")
	if err != nil {
		return nil, 0, err
	}
	if err := l.confirm(ctx); err != nil {
		return nil, 0, err
	}
	ask := *q
	wait := time.NewTimer(time.Duration(min(ask.Wait, granary.WatchWaitMax)))
	defer wait.Stop()
	for late := ask.Wait <= 0; ; {
		a, index, news, err := l.look(ctx, req, &ask)
		switch {
		case err != nil:
			return nil, 0, err
		case late || len(a.Changes) > 0 || a.Behind || a.Removed || a.More || ask.Start == granary.WatchNow:
			return a, index, l.settle(ctx, index) // nobody is told of what others still show as it was
		}
		ask.From, ask.Start = a.Next, granary.WatchFrom
		if late, err = l.rest(ctx, news, wait.C); err != nil {
			return nil, 0, err
		}
	}
}

// look answers as far as there are changes now. news tells of more.
func (l *leadership) look(ctx context.Context, req *granary.QueryRequest, q *granary.Watch) (*granary.Changes, granary.Index, *newsOf, error) {
	st := l.s.states.acquire()
	defer st.release()
	news := &newsOf{more: st.logWatch.next(), retired: st.retired} // before the look, or something might come between
	if err := l.s.reach(ctx, st, uint64(req.MinIndex)); err != nil {
		return nil, 0, nil, err
	}
	a, index, err := st.watch(ctx, req, q)
	return a, index, news, err
}

// newsOf is what who waits is woken by.
type newsOf struct{ more, retired <-chan struct{} }

// rest waits until there are changes, or the time is over.
func (l *leadership) rest(ctx context.Context, news *newsOf, over <-chan time.Time) (late bool, err error) {
	select {
	case <-news.more:
	case <-over:
		return true, nil
	case <-news.retired:
		return false, l.s.notLeader("watch")
	case <-l.ctx.Done():
		return false, l.s.notLeader("watch")
	case <-ctx.Done():
		return false, l.s.ended(ctx)
	}
	pause(ctx, watchPause)
	return false, nil
}

// watch answers from this state.
func (s *state) watch(ctx context.Context, req *granary.QueryRequest, q *granary.Watch) (*granary.Changes, granary.Index, error) {
	a, index, err := s.queryFor(ctx, req.Session, req.Cred, q, nil)
	if err != nil {
		return nil, index, err
	}
	return a.(*granary.Changes), index, nil
}

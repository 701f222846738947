package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

const (
	watchPath = "/-/v1/watch"

	watchBeat   = 15 * time.Second // between signs of life, when nothing changes
	watchersMax = 1000             // streams at one time
	watchRetry  = "retry: 2000\n"  // milliseconds after which a browser asks again when the stream has broken
)

// changeSource is where changes come from: fsChanges, and one in memory in the tests.
type changeSource interface {
	Watch(ctx context.Context, root granary.InodeID, name string, o client.WatchOptions) (changeFeed, error)
}

// changeFeed is one watch, as client.Watcher is.
type changeFeed interface {
	Next(ctx context.Context, wait time.Duration) ([]granary.Event, error)
	Position() granary.Position
}

// fsChanges is the changeSource over a filer.FS.
type fsChanges struct{ *filer.FS }

// Watch implements changeSource.
func (s fsChanges) Watch(ctx context.Context, root granary.InodeID, name string, o client.WatchOptions) (changeFeed, error) {
	w, err := s.FS.Watch(ctx, root, name, o)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// watchers are the streams that a handler serves.
type watchers struct {
	source  changeSource // nil: there are no changes to be had
	closing chan struct{}
	once    sync.Once
	places  chan struct{} // one is taken by each stream
}

func newWatchers() *watchers {
	return &watchers{closing: make(chan struct{}), places: make(chan struct{}, watchersMax)}
}

// Closing ends what would not end by itself: the streams of those who watch. New ones are refused.
func (h *Handler) Closing() {
	h.watchers.once.Do(func() { close(h.watchers.closing) })
}

// serveWatch streams the changes below a path as server-sent events.
func (q *request) serveWatch() error {
	w := q.h.watchers
	if w.source == nil {
		return granary.Errorf(granary.KindNotSupported, "watch", "", "there are no changes to be had here")
	}
	name, _, err := cleanPath(q.query.Get("path"))
	if err != nil {
		return err
	}
	o, err := q.watchStart()
	if err != nil {
		return err
	}
	select {
	case w.places <- struct{}{}:
		defer func() { <-w.places }()
	default:
		return granary.Errorf(granary.KindUnavailable, "watch", name, "%d others watch: too many", watchersMax)
	}
	ctx, cancel := context.WithCancel(q.r.Context())
	defer cancel()
	go func() { // ends with the request
		select {
		case <-w.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	feed, err := w.source.Watch(ctx, granary.RootInode, name, o)
	if err != nil {
		return err
	}
	s := &eventStream{w: q.w, control: http.NewResponseController(q.w)}
	if q.r.Method == http.MethodHead {
		s.begin()
		return nil
	}
	return s.run(ctx, feed)
}

// watchStart says where the stream begins: where one that broke had come to, or as the query says, or now.
func (q *request) watchStart() (client.WatchOptions, error) {
	from := q.query.Get("from")
	if last := q.r.Header.Get("Last-Event-ID"); last != "" {
		from = last
	}
	if from == "" {
		from = "now"
	}
	return filer.WatchStart(from)
}

// eventStream writes server-sent events.
type eventStream struct {
	w       *responseWriter
	control *http.ResponseController
	buf     bytes.Buffer
}

func (s *eventStream) begin() {
	header := s.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Accel-Buffering", "no") // of proxies
	s.w.WriteHeader(http.StatusOK)
}

// run sends changes until the client goes, the server closes, or there is nothing to watch any more.
func (s *eventStream) run(ctx context.Context, feed changeFeed) error {
	begun := false
	for {
		wait := watchBeat
		if !begun {
			wait = 0 // errors of the first look are answered with a status
		}
		events, err := feed.Next(ctx, wait)
		if !begun && (err == nil || isBehind(err)) {
			begun = true
			s.begin()
			if err := s.ready(feed.Position(), events); err != nil {
				return err
			}
		}
		if done, err := s.tell(ctx, feed, events, err); done || err != nil {
			return err
		}
	}
}

func isBehind(err error) bool {
	var behind *granary.Behind
	return errors.As(err, &behind)
}

// ready tells at what position the stream is, so that a client that hears of no change knows it, too.
func (s *eventStream) ready(at granary.Position, events []granary.Event) error {
	s.buf.WriteString(watchRetry)
	if len(events) > 0 { // they say it themselves
		s.buf.WriteString(": ready\n\n")
		return s.flush()
	}
	return s.send("ready", at, map[string]any{"at": at})
}

// tell sends what a look has given. done says that the stream is over.
func (s *eventStream) tell(ctx context.Context, feed changeFeed, events []granary.Event, failed error) (done bool, err error) {
	var behind *granary.Behind
	switch {
	case ctx.Err() != nil:
		return true, nil
	case errors.As(failed, &behind):
		return false, s.send("behind", feed.Position(), map[string]any{"oldest": behind.Oldest})
	case granary.IsKind(failed, granary.KindNotFound) && s.w.status != 0:
		return true, s.send("removed", feed.Position(), map[string]any{"at": feed.Position()})
	case failed != nil:
		return true, failed
	case len(events) == 0:
		s.buf.WriteString(":\n\n")
		return false, s.flush()
	}
	for i := range events {
		if err := s.event("change", events[i].At, filer.ChangeDocumentOf(&events[i])); err != nil {
			return true, err
		}
	}
	return false, s.flush()
}

// send sends one event.
func (s *eventStream) send(name string, at granary.Position, document any) error {
	if err := s.event(name, at, document); err != nil {
		return err
	}
	return s.flush()
}

// event makes one event. A document in JSON has no newline in it.
func (s *eventStream) event(name string, at granary.Position, document any) error {
	b, err := json.Marshal(document)
	if err != nil {
		return err
	}
	s.buf.WriteString("id: " + at.String() + "\nevent: " + name + "\ndata: ")
	s.buf.Write(b)
	s.buf.WriteString("\n\n")
	return nil
}

// flush sends what was made so far.
func (s *eventStream) flush() error {
	if _, err := s.w.Write(s.buf.Bytes()); err != nil {
		return err
	}
	s.buf.Reset()
	return s.control.Flush()
}

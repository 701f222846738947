package notify

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// fakeCluster is a cluster in memory, with one bucket.
type fakeCluster struct {
	mu       sync.Mutex
	xattrs   map[granary.InodeID]map[string][]byte
	version  granary.Index
	log      []granary.Event
	oldest   granary.Position // what the log keeps begins here
	kept     granary.ChangeLog
	sessions granary.SessionID
	locked   granary.SessionID // who has the bucket's lock; 0: nobody
	news     chan struct{}     // closed by the next change
	fail     func() error      // of what is written
}

const (
	fakeName = "bucket"
)

// bucketRoot is the root of the fake's bucket.
func bucketRoot() granary.InodeID { return granary.DatasetID(7).Root() }

func newFake() *fakeCluster {
	return &fakeCluster{xattrs: map[granary.InodeID]map[string][]byte{}, news: make(chan struct{}), version: 1, sessions: 1, oldest: granary.Position{Index: 1}}
}

// tell adds an entry to the log: changes of keys.
func (f *fakeCluster) tell(kind granary.ChangeKind, keys ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	index := granary.Index(1)
	if n := len(f.log); n > 0 {
		index = f.log[n-1].At.Index + 1
	}
	for i, key := range keys {
		f.log = append(f.log, granary.Event{At: granary.Position{Index: index, Seen: uint32(i + 1)}, Kind: kind, Type: granary.TypeRegular,
			Path: "/buckets/" + fakeName + "/" + key, Name: key[strings.LastIndex(key, "/")+1:], Size: uint64(index), ETag: "etag", Inode: 99})
	}
	f.wake()
}

func (f *fakeCluster) wake() {
	close(f.news)
	f.news = make(chan struct{})
}

func (f *fakeCluster) find(_ context.Context, inode granary.InodeID) (*granary.Found, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := &granary.Found{Entry: granary.Entry{Attr: granary.Attr{Inode: inode, Type: granary.TypeDirectory, Version: f.version}}}
	for name, value := range f.xattrs[inode] {
		found.Xattrs = append(found.Xattrs, granary.Xattr{Name: name, Value: value})
	}
	return found, nil
}

func (f *fakeCluster) list(context.Context, *granary.List) (*granary.Listing, error) {
	return &granary.Listing{}, nil
}

func (f *fakeCluster) set(_ context.Context, inode granary.InodeID, name string, value []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		if err := f.fail(); err != nil {
			return err
		}
	}
	if f.xattrs[inode] == nil {
		f.xattrs[inode] = map[string][]byte{}
	}
	f.xattrs[inode][name] = value
	f.version++
	return nil
}

func (f *fakeCluster) drop(_ context.Context, inode granary.InodeID, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.xattrs[inode], name)
	f.version++
	return nil
}

func (f *fakeCluster) settings(context.Context) (granary.ChangeLog, error) { return f.kept, nil }

func (f *fakeCluster) setSettings(_ context.Context, s granary.ChangeLog) error {
	f.kept = s
	return nil
}

func (f *fakeCluster) pending(_ context.Context, _ granary.InodeID, from granary.Position) (*granary.Changes, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &granary.Changes{Behind: from.Before(f.oldest)}
	for _, e := range f.log {
		if from.Before(e.At) {
			a.Changes = append(a.Changes, e)
		}
	}
	return a, nil
}

// fakeChanges reads the fake's log.
type fakeChanges struct {
	f    *fakeCluster
	from granary.Position
}

func (f *fakeCluster) watch(_ granary.InodeID, o client.WatchOptions) changes {
	c := &fakeChanges{f, o.From}
	if o.Start == granary.WatchNow {
		f.mu.Lock()
		defer f.mu.Unlock()
		c.from = granary.Position{Index: 1}
		if n := len(f.log); n > 0 {
			c.from.Index = f.log[n-1].At.Index + 1
		}
	}
	return c
}

func (c *fakeChanges) Begin(context.Context) error { return nil }

func (c *fakeChanges) Position() granary.Position { return c.from }

func (c *fakeChanges) Next(ctx context.Context, wait time.Duration) ([]granary.Event, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		c.f.mu.Lock()
		news, oldest := c.f.news, c.f.oldest
		var found []granary.Event
		for _, e := range c.f.log {
			if c.from.Before(e.At) && !e.At.Before(oldest) {
				found = append(found, e)
			}
		}
		c.f.mu.Unlock()
		if c.from.Before(oldest) {
			c.from = oldest
			return nil, granary.Errorf(granary.KindStale, "watch", "", "%w", &granary.Behind{Oldest: oldest})
		}
		if len(found) > 0 {
			found = found[:min(len(found), 1+rand.IntN(20))]
			c.from = found[len(found)-1].At
			return found, nil
		}
		select {
		case <-news:
		case <-over.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fakeSession is the cluster as one session has it.
type fakeSession struct {
	*fakeCluster
	id granary.SessionID // guarded by the cluster's mutex
}

func (f *fakeCluster) open() *fakeSession {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sessions++
	return &fakeSession{f, f.sessions}
}

// expire ends the session: it gets another.
func (s *fakeSession) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locked == s.id {
		s.locked = 0
	}
	s.sessions++
	s.id = s.sessions
	s.wake()
}

func (s *fakeSession) lock(ctx context.Context, _ granary.AcquireLock) (granary.SessionID, error) {
	for {
		s.mu.Lock()
		news := s.news
		if s.locked == 0 || s.locked == s.id {
			s.locked = s.id
			s.mu.Unlock()
			return s.locked, nil
		}
		s.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (s *fakeSession) unlock(context.Context, granary.ReleaseLock) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locked == s.id {
		s.locked = 0
		s.wake()
	}
	return nil
}

func (s *fakeSession) session() granary.SessionID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// fakeTarget takes messages, and fails now and then in the middle of some.
type fakeTarget struct {
	mu    sync.Mutex
	fails func() bool
	got   []arrived
	tests int
}

type arrived struct{ key, event, sequencer string }

func (t *fakeTarget) dial(Target) (Sender, error) { return &fakeSender{t}, nil }

type fakeSender struct{ t *fakeTarget }

func (s *fakeSender) Send(_ context.Context, messages []Message) ([]Message, error) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	taken := len(messages)
	failed := s.t.fails != nil && s.t.fails()
	if failed {
		taken = rand.IntN(len(messages))
	}
	for _, m := range messages[:taken] {
		var d struct {
			Event   string
			Records []record
		}
		if err := json.Unmarshal(m.Body, &d); err != nil {
			return messages, err
		}
		if d.Event != "" {
			s.t.tests++
			continue
		}
		r := &d.Records[0]
		s.t.got = append(s.t.got, arrived{r.S3.Object.Key, r.Name, r.S3.Object.Sequencer})
	}
	if failed {
		return slices.Clone(messages[min(taken, rand.IntN(taken+1)):]), errors.New("refused") // some arrived, and their acknowledgement did not
	}
	return nil, nil
}

func (s *fakeSender) Close() error { return nil }

func (t *fakeTarget) arrived() []arrived {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.got)
}

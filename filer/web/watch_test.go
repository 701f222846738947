package web

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// fakeChanges is a changeSource, and its feed: what Next gives, one after the other; then it waits.
type fakeChanges struct {
	looks []look
	asked client.WatchOptions
	path  string
	err   error // of Watch
	at    granary.Position
}

type look struct {
	events []granary.Event
	err    error
}

func (f *fakeChanges) Watch(_ context.Context, _ granary.InodeID, name string, o client.WatchOptions) (changeFeed, error) {
	f.asked, f.path = o, name
	return f, f.err
}

func (f *fakeChanges) Next(ctx context.Context, wait time.Duration) ([]granary.Event, error) {
	if len(f.looks) == 0 {
		if wait == 0 {
			return nil, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	next := f.looks[0]
	f.looks = f.looks[1:]
	for _, e := range next.events {
		f.at = e.At
	}
	return next.events, next.err
}

func (f *fakeChanges) Position() granary.Position { return f.at }

func TestWatchStream(t *testing.T) {
	d := newDoor(t)
	d.want(d.do("GET", "/-/v1/watch", ""), http.StatusNotImplemented)
	event := granary.Event{At: granary.Position{Index: 8, Seen: 2}, Kind: granary.ChangeCreate, Path: "/a/new\nline", Type: granary.TypeRegular, Inode: 9, Size: 7}
	fake := &fakeChanges{at: granary.Position{Index: 5}, looks: []look{
		{},
		{events: []granary.Event{event}},
		{err: granary.Errorf(granary.KindStale, "watch", "", "%w", &granary.Behind{Oldest: granary.Position{Index: 20}})},
		{err: granary.Errorf(granary.KindNotFound, "watch", "", "removed")},
	}}
	d.h.watchers.source = fake
	w := d.want(d.do("GET", "/-/v1/watch?path=/a/../b&from=oldest", ""), http.StatusOK)
	if fake.path != "/b" || fake.asked.Start != granary.WatchOldest || w.Header().Get("Content-Type") != "text/event-stream" || !w.Flushed {
		t.Errorf("%q, %+v, %v", fake.path, fake.asked, w.Header())
	}
	want := []string{
		"retry: 2000\nid: 5.0\nevent: ready\ndata: {\"at\":\"5.0\"}",
		":",
		"id: 8.2\nevent: change\ndata: {\"at\":\"8.2\",\"kind\":\"create\",\"time\":\"1970-01-01T00:00:00Z\",\"path\":\"/a/new\\nline\",\"type\":\"file\",\"inode\":9,\"size\":7,\"uid\":0}",
		"id: 8.2\nevent: behind\ndata: {\"oldest\":\"20.0\"}",
		"id: 8.2\nevent: removed\ndata: {\"at\":\"8.2\"}",
		"",
	}
	if got := w.Body.String(); got != strings.Join(want, "\n\n") {
		t.Errorf("%s", got)
	}
}

func TestWatchStarts(t *testing.T) {
	d := newDoor(t)
	fake := &fakeChanges{}
	d.h.watchers.source = fake
	gone := []look{{}, {err: granary.Errorf(granary.KindNotFound, "watch", "", "removed")}}
	for _, c := range []struct {
		query, last string
		want        client.WatchOptions
		status      int
	}{
		{"", "", client.WatchOptions{Start: granary.WatchNow}, http.StatusOK},
		{"?from=now", "7.3", client.WatchOptions{From: granary.Position{Index: 7, Seen: 3}}, http.StatusOK},
		{"?from=7", "", client.WatchOptions{From: granary.Position{Index: 7}}, http.StatusOK},
		{"?from=never", "", client.WatchOptions{}, http.StatusBadRequest},
	} {
		fake.looks, fake.asked = gone, client.WatchOptions{}
		d.want(d.do("GET", "/-/v1/watch"+c.query, "", "Last-Event-ID: "+c.last), c.status)
		if fake.asked != c.want {
			t.Errorf("%+v: %+v", c, fake.asked)
		}
	}
	d.want(d.do("POST", "/-/v1/watch", ""), http.StatusMethodNotAllowed)
	fake.err = granary.Errorf(granary.KindPermission, "watch", "/", "")
	d.want(d.do("GET", "/-/v1/watch", ""), http.StatusForbidden)
	fake.err, fake.looks = nil, []look{{err: granary.Errorf(granary.KindNotSupported, "watch", "", "no log")}}
	d.want(d.do("GET", "/-/v1/watch", ""), http.StatusNotImplemented)
}

// TestWatchEndsWithTheServer: a stream that would go on for ever ends when the server is about to close.
func TestWatchEndsWithTheServer(t *testing.T) {
	d := newDoor(t)
	d.h.watchers.source = &fakeChanges{}
	s := httptest.NewServer(d.h)
	defer s.Close()
	r, err := http.Get(s.URL + "/-/v1/watch")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	d.h.Closing()
	d.h.Closing()
	if body, err := io.ReadAll(r.Body); err != nil || !strings.Contains(string(body), "event: ready") {
		t.Errorf("%s, %v", body, err)
	}
}

// TestPageParts: what a page refers to is there, may be kept for good, and nothing else is.
func TestPageParts(t *testing.T) {
	d := newDoor(t)
	body := d.want(d.do("GET", "/", ""), http.StatusOK).Body.String()
	parts := regexp.MustCompile(`(?:src|href)="(/-/ui/[^"]+)"`).FindAllStringSubmatch(body, -1)
	if len(parts) != 2 {
		t.Fatal(parts)
	}
	seen := map[string]bool{}
	for queue := []string{parts[0][1], parts[1][1]}; len(queue) > 0; queue = queue[1:] {
		if seen[queue[0]] {
			continue
		}
		seen[queue[0]] = true
		w := d.want(d.do("GET", queue[0], ""), http.StatusOK)
		if kind := w.Header().Get("Content-Type"); !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || !strings.HasPrefix(kind, "text/") {
			t.Errorf("%s: %v", queue[0], w.Header())
		}
		dir := queue[0][:strings.LastIndexByte(queue[0], '/')+1]
		for _, m := range regexp.MustCompile(`from "\./([a-z]+\.js)"`).FindAllStringSubmatch(w.Body.String(), -1) {
			queue = append(queue, dir+m[1])
		}
	}
	if len(seen) != len(d.h.pages.files) {
		t.Errorf("%d of %d files are used: %v", len(seen), len(d.h.pages.files), seen)
	}
	for _, target := range []string{"/-/ui/0000000000000000/app.js", d.h.pages.base + "/listing.html", d.h.pages.base + "/none.js", "/-/ui/app.js"} {
		d.want(d.do("GET", target, ""), http.StatusNotFound)
	}
}

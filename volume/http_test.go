package volume

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// serve serves a store over HTTP, and returns a client and the address.
func serve(t *testing.T, s *Store) (*Client, string) {
	server := httptest.NewServer(NewHandler(s))
	t.Cleanup(server.Close)
	c := NewClient()
	t.Cleanup(func() { c.Close() })
	return c, strings.TrimPrefix(server.URL, "http://")
}

func TestHTTPRoundTrip(t *testing.T) {
	ctx := context.Background()
	s := openTemp(t)
	c, addr := serve(t, s)
	ref := firstRef(s, 7)
	ref.Shard = 2
	data := fill(1<<20, 1)
	if err := c.Append(ctx, addr, appendOf(ref, 0, 4096, data)); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 8192)
	n, length, err := c.ReadAt(ctx, addr, ref, p, 0)
	if n != len(p) || length != 4096+1<<20 || err != nil {
		t.Fatalf("read %d of %d: %v", n, length, err)
	}
	if !bytes.Equal(p[:4096], make([]byte, 4096)) || !bytes.Equal(p[4096:], data[:4096]) {
		t.Fatal("read other bytes than were written")
	}
	n, length, err = c.ReadAt(ctx, addr, ref, p, 1<<20)
	if n != 4096 || length != 4096+1<<20 || err != nil || !bytes.Equal(p[:n], data[1<<20-4096:]) {
		t.Fatalf("read over the end: %d of %d: %v", n, length, err)
	}
	n, length, err = c.ReadAt(ctx, addr, ref, p, 1<<40)
	if n != 0 || length != 4096+1<<20 || err != nil {
		t.Fatalf("read beyond the end: %d of %d: %v", n, length, err)
	}
	if err := c.Seal(ctx, addr, &granary.Seal{Ref: ref, Epoch: 2, Length: 4096 + 1<<20}); err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(ctx, addr, ref); err != nil {
		t.Fatal(err)
	}
	infos, err := c.List(ctx, addr, ref.Disk)
	if err != nil || len(infos) != 1 || infos[0].Ref != ref || !infos[0].Sealed || infos[0].Epoch != 2 {
		t.Fatalf("list: %+v, %v", infos, err)
	}
	usages, err := c.Usage(ctx, addr)
	if err != nil || len(usages) != 1 || usages[0].Disk != ref.Disk || usages[0].Shards != 1 {
		t.Fatalf("usage: %+v, %v", usages, err)
	}
	if err := c.Drop(ctx, addr, ref, 2, 0); err != nil {
		t.Fatal(err)
	}
}

// The error over HTTP is the error without.
func TestHTTPErrorsAreTheStores(t *testing.T) {
	ctx := context.Background()
	s := openTemp(t)
	c, addr := serve(t, s)
	local := NewClient()
	local.Attach(addr, s)
	ref := firstRef(s, 7)
	mustAppend(t, s, appendOf(ref, 0, 0, fill(10, 1)))
	sealed := firstRef(s, 8)
	if err := s.Seal(ctx, &granary.Seal{Ref: sealed, Epoch: 2, Length: 10}); err != nil {
		t.Fatal(err)
	}
	damaged := appendOf(ref, 10, 10, fill(10, 1))
	damaged.CRC32C++
	unknown := ref
	unknown.Disk = granary.DiskID(newID())
	for name, call := range map[string]func(c *Client) error{
		"stale":   func(c *Client) error { return c.Append(ctx, addr, appendOf(sealed, 10, 10, fill(1, 1))) },
		"invalid": func(c *Client) error { return c.Append(ctx, addr, appendOf(ref, 11, 11, fill(1, 1))) },
		"corrupt": func(c *Client) error { return c.Append(ctx, addr, damaged) },
		"no disk": func(c *Client) error { return c.Append(ctx, addr, appendOf(unknown, 0, 0, fill(1, 1))) },
		"no shard": func(c *Client) error {
			_, _, err := c.ReadAt(ctx, addr, firstRef(s, 9), make([]byte, 1), 0)
			return err
		},
		"negative": func(c *Client) error { _, _, err := c.ReadAt(ctx, addr, ref, make([]byte, 1), -1); return err },
		"reseal":   func(c *Client) error { return c.Seal(ctx, addr, &granary.Seal{Ref: sealed, Epoch: 2, Length: 11}) },
		"verify":   func(c *Client) error { return c.Verify(ctx, addr, ref) },
		"drop":     func(c *Client) error { return c.Drop(ctx, addr, sealed, 1, 0) },
		"list":     func(c *Client) error { _, err := c.List(ctx, addr, unknown.Disk); return err },
	} {
		t.Run(name, func(t *testing.T) {
			want, got := call(local), call(c)
			if want == nil || got == nil || got.Error() != want.Error() || granary.KindOf(got) != granary.KindOf(want) {
				t.Fatalf("over HTTP %v, without %v", got, want)
			}
		})
	}
}

func TestHTTPRefusesStreamsOfUnknownLength(t *testing.T) {
	s := openTemp(t)
	h := NewHandler(s)
	r := httptest.NewRequest(http.MethodPut, shardPath(firstRef(s, 1)), io.MultiReader(strings.NewReader("x")))
	r.ContentLength = -1
	for _, name := range []string{headerEpoch, headerDataShards, headerParityShards, headerPrev, headerOffset, headerCRC32C} {
		r.Header.Set(name, "1")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "Content-Length") {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	r = httptest.NewRequest(http.MethodPut, shardPath(firstRef(s, 1)), strings.NewReader("x"))
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Fatalf("without headers: %d %s", w.Code, w.Body)
	}
}

func TestClientCannotReach(t *testing.T) {
	s := openTemp(t)
	c := NewClient()
	ref := firstRef(s, 1)
	dead := httptest.NewServer(nil)
	addr := strings.TrimPrefix(dead.URL, "http://")
	dead.Close()
	wantKind(t, c.Append(context.Background(), addr, appendOf(ref, 0, 0, fill(1, 1))), granary.KindUnavailable)

	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(silent.Close)
	t.Cleanup(func() { close(release) })
	addr = strings.TrimPrefix(silent.URL, "http://")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, _, err := c.ReadAt(ctx, addr, ref, make([]byte, 1), 0)
	wantKind(t, err, granary.KindUnavailable)
	ctx, cancel = context.WithCancel(context.Background())
	cancel()
	wantKind(t, c.Seal(ctx, addr, &granary.Seal{Ref: ref, Epoch: 1, Length: 1}), granary.KindCanceled)

	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }))
	t.Cleanup(proxy.Close)
	wantKind(t, c.Drop(context.Background(), strings.TrimPrefix(proxy.URL, "http://"), ref, 1, 0), granary.KindUnavailable)
}

func TestHealth(t *testing.T) {
	s := openTemp(t)
	h := NewHandler(s)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	s.disks[0].barWrites("test")
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
}

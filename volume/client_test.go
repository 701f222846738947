package volume

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dsorchard/granary"
)

// writes is a connection that counts what is written to it.
type writes struct {
	net.Conn
	calls int
	got   bytes.Buffer
}

func (w *writes) Write(p []byte) (int, error) {
	w.calls++
	return w.got.Write(p)
}

// A body that lies in memory is written from there in one call; any other reader is copied, and never more than its limit.
func TestBodyConn(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<15)
	for name, c := range map[string]struct {
		r     io.Reader
		want  int
		calls int // 0: any
	}{
		"a body":            {io.LimitReader(newAppendBody(data), int64(len(data))), len(data), 1},
		"longer than meant": {io.LimitReader(newAppendBody(data), 1000), 1000, 0},
		"of unknown length": {newAppendBody(data), len(data), 0},
		"a stream":          {io.LimitReader(io.MultiReader(bytes.NewReader(data)), 70_000), 70_000, 0},
	} {
		w := &writes{}
		n, err := bodyConn{w}.ReadFrom(c.r)
		if n != int64(c.want) || err != nil || !bytes.Equal(w.got.Bytes(), data[:c.want]) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		if c.calls > 0 && w.calls != c.calls {
			t.Errorf("%s: %d calls", name, w.calls)
		}
		if left, err := io.Copy(io.Discard, c.r); left != 0 || err != nil {
			t.Errorf("%s: %d bytes are left, %v", name, left, err)
		}
	}
}

// longest is a connection that knows the longest write to it.
type longest struct {
	net.Conn
	bytes *atomic.Int64
}

func (l longest) Write(p []byte) (int, error) {
	l.bytes.Store(max(l.bytes.Load(), int64(len(p))))
	return l.Conn.Write(p)
}

// What net/http makes of the request of an append, it hands its body to the connection as it is, but for what the first buffer takes.
func TestAppendIsNotCopied(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	var got atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got.Store(n)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	var bytes atomic.Int64
	c := NewClient(func(_ *Client, transport *http.Transport) {
		transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			return bodyConn{longest{conn, &bytes}}, err
		}
	})
	defer c.Close()
	if err := c.Append(t.Context(), strings.TrimPrefix(server.URL, "http://"), &granary.Append{Data: data}); err != nil {
		t.Fatal(err)
	}
	if n, want := bytes.Load(), int64(len(data)-transportBuffer); n < want || got.Load() != int64(len(data)) {
		t.Errorf("the longest write has %d of %d bytes, and %d arrived", n, len(data), got.Load())
	}
}

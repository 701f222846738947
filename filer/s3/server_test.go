package s3

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/notify"
)

// server is a gateway over a store in memory, with one bucket "bucket".
type server struct {
	*httptest.Server
	store   *testStore
	handler *Handler
}

func newServer(t *testing.T) *server {
	t.Helper()
	f := newTestStore(t)
	if err := f.CreateBucket(t.Context(), granary.Cred{}, "bucket"); err != nil {
		t.Fatal(err)
	}
	h := newHandler(f, Options{Domain: "s3.test", Notify: notify.New(f.Client(), nil)})
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.Close()
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	s.Client().Transport.(*http.Transport).DisableCompression = true
	return &server{Server: s, store: f, handler: h}
}

// call is a request to be signed.
type call struct {
	method, target string // path and query, as on the wire
	header         map[string]string
	body           string
	payload        string // x-amz-content-sha256 if not the body's
	access, secret string // if not the root user's
	token          string
	unsigned       bool
	host           string
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

func (s *server) request(t *testing.T, c call) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.target, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range c.header {
		r.Header.Set(k, v)
	}
	if c.host != "" {
		r.Host = c.host
	}
	if c.payload == "" {
		sum := sha256.Sum256([]byte(c.body))
		c.payload = hex.EncodeToString(sum[:])
	}
	r.Header.Set("X-Amz-Content-Sha256", c.payload)
	if c.secret == "" {
		c.secret = testSecretKey
	}
	if c.unsigned {
		r.Header.Del("X-Amz-Content-Sha256")
		return r
	}
	if c.access == "" {
		c.access = testAccessKey
	}
	return signer.SignV4(*r, c.access, c.secret, c.token, "us-east-1")
}

func (s *server) do(t *testing.T, c call) answer {
	t.Helper()
	return s.send(t, s.request(t, c))
}

func (s *server) send(t *testing.T, r *http.Request) answer {
	t.Helper()
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(b), err: err}
}

func (a answer) want(t *testing.T, status int) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status is %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

func (a answer) wantCode(t *testing.T, c code) {
	t.Helper()
	var e errorDocument
	if err := xml.Unmarshal([]byte(a.body), &e); err != nil || e.Code != c || a.status != c.status() || e.RequestID == "" || e.RequestID != a.header.Get("X-Amz-Request-Id") {
		t.Fatalf("status %d, want %s: %s (%v)", a.status, c, a.body, err)
	}
}

func (s *server) put(t *testing.T, key, body string) answer {
	t.Helper()
	return s.do(t, call{method: "PUT", target: "/bucket/" + key, body: body}).want(t, 200)
}

func (s *server) keys(t *testing.T) []string {
	t.Helper()
	root, err := s.store.Bucket(t.Context(), "bucket")
	if err != nil {
		t.Fatal(err)
	}
	listing, err := s.store.List(t.Context(), &granary.List{Root: root, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, i := range listing.Items {
		keys = append(keys, i.Key)
	}
	return keys
}

func md5Hex(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }

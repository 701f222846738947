//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/dsorchard/granary/tests/cluster"
)

// balanced is the filers of a cluster behind one address for HTTP and one for S3, which take turns, connection by connection; one that does not
// answer is passed over.
type balanced struct {
	http, s3       string // URLs
	access, secret string
	client         *http.Client
}

// balance puts the filers of a cluster behind a balancer.
func balance(t *testing.T, d *cluster.Dev) *balanced {
	t.Helper()
	list, err := d.Processes()
	if err != nil {
		t.Fatal(err)
	}
	address := func(door string) string {
		var to []string
		for _, p := range list {
			if p.Role == "filer" {
				to = append(to, p.Addr[door])
			}
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var turn atomic.Int64
		forward(t, listener, func() (net.Conn, error) {
			var errs []error
			for first := turn.Add(1); len(errs) < len(to); first++ {
				c, err := net.Dial("tcp", to[int(first)%len(to)])
				if err == nil {
					return c, nil
				}
				errs = append(errs, err)
			}
			return nil, errors.Join(errs...)
		})
		return "http://" + listener.Addr().String()
	}
	// A connection for each request: nothing is sent twice, and each request may come to another filer.
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	return &balanced{http: address("http"), s3: address("s3"), access: d.AccessKey, secret: d.SecretKey,
		client: &http.Client{Transport: transport, Timeout: time.Minute}}
}

// reply is what came back.
type reply struct {
	status int
	etag   string
	body   []byte
}

// do sends a request, which is signed if its URL is that of S3.
func (b *balanced) do(ctx context.Context, method, url string, body []byte, header ...string) (reply, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if strings.HasPrefix(url, b.s3) {
		r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		r = signer.SignV4(*r, b.access, b.secret, "", "us-east-1")
	}
	answer, err := b.client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return reply{status: answer.StatusCode, etag: answer.Header.Get("Etag"), body: text}, err
}

// TestE2EOneWinner: through two filers behind one address, by S3 and HTTP, and in a mount, callers make the same object at the same moment, and then
// replace the one that they saw. Each time one has done it, and no other; what the object holds is what he wrote.
func TestE2EOneWinner(t *testing.T) {
	const rounds = 1000
	d := cluster.StartDev(t, 1, 2, "--filers", "2")
	b, mnt := balance(t, d), d.Mount(t)
	if r, err := b.do(t.Context(), http.MethodPut, b.s3+"/race", nil); err != nil || r.status != http.StatusOK {
		t.Fatalf("%d, %v: %s", r.status, err, r.body)
	}
	for round := range rounds {
		name := "object" + strconv.Itoa(round)
		s3, web, file := b.s3+"/race/"+name, b.http+"/buckets/race/"+name, filepath.Join(mnt, "buckets/race", name)
		tag := "made" // no two contents are the same, or the same ETag would come back
		content := func(caller int) []byte {
			return bytes.Repeat([]byte(fmt.Sprintf("%s %s by %d; ", name, tag, caller)), 1+round%2*400) // in the metadata, and as a block
		}
		put := func(url string, header ...string) func(int) (bool, error) {
			return func(caller int) (bool, error) {
				r, err := b.do(t.Context(), http.MethodPut, url, content(caller), header...)
				if err == nil && r.status/100 != 2 && r.status != http.StatusPreconditionFailed {
					err = fmt.Errorf("%d: %s", r.status, r.body)
				}
				return r.status/100 == 2, err
			}
		}
		first := []string{"If-None-Match", "*"}
		callers := []func(int) (bool, error){put(s3, first...), put(s3, first...), put(s3, first...), put(web, first...)}
		if round%4 == 0 {
			callers = append(callers, func(caller int) (bool, error) {
				f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
				if errors.Is(err, fs.ErrExist) {
					return false, nil
				}
				if err != nil {
					return false, err
				}
				_, err = f.Write(content(caller))
				return true, errors.Join(err, f.Close())
			})
		}
		etag := oneWins(t, b, s3, content, callers)
		tag = "replaced"
		then := []string{"If-Match", etag}
		oneWins(t, b, s3, content, []func(int) (bool, error){put(s3, then...), put(web, then...), put(s3, then...), put(s3, then...)})
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

// oneWins has callers do something at once, and returns the ETag of what is there then.
func oneWins(t *testing.T, b *balanced, url string, content func(caller int) []byte, callers []func(int) (bool, error)) string {
	t.Helper()
	won := make([]bool, len(callers))
	var running sync.WaitGroup
	for i, call := range callers {
		running.Go(func() {
			var err error
			if won[i], err = call(i); err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	running.Wait()
	winner := -1
	for i, w := range won {
		if w && winner >= 0 {
			t.Errorf("callers %d and %d have both won", winner, i)
		}
		if w {
			winner = i
		}
	}
	r, err := b.do(t.Context(), http.MethodGet, url, nil)
	if err != nil || r.status != http.StatusOK {
		t.Fatalf("GET: %d, %v: %s", r.status, err, r.body)
	}
	if winner < 0 || !bytes.Equal(r.body, content(winner)) {
		t.Errorf("caller %d has won, and what is there is %.60q", winner, r.body)
	}
	return r.etag
}

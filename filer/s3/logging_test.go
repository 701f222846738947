package s3

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

func (s *server) setLogging(t *testing.T, enabled string) answer {
	t.Helper()
	return s.do(t, call{method: "PUT", target: "/bucket?logging", body: "<BucketLoggingStatus><LoggingEnabled>" + enabled + "</LoggingEnabled></BucketLoggingStatus>"})
}

// TestAccessLog looks for the lines about some requests in the target bucket.
func TestAccessLog(t *testing.T) {
	s := newServer(t)
	if err := s.store.CreateBucket(t.Context(), granary.Cred{}, "logs"); err != nil {
		t.Fatal(err)
	}
	s.setLogging(t, "<TargetBucket>none</TargetBucket><TargetPrefix>p</TargetPrefix>").wantCode(t, codeInvalidLogTarget)
	s.setLogging(t, "<TargetPrefix>p</TargetPrefix>").wantCode(t, codeMalformedXML)
	s.setLogging(t, "<TargetBucket>logs</TargetBucket><TargetPrefix>p</TargetPrefix><TargetGrants/>").wantCode(t, codeNotImplemented)
	s.put(t, "unseen", "x")
	s.setLogging(t, "<TargetBucket>logs</TargetBucket><TargetPrefix>of/bucket-</TargetPrefix>").want(t, 200)
	s.put(t, "a b", "hello")
	s.do(t, call{method: "GET", target: "/bucket/a%20b", header: map[string]string{"User-Agent": "agent \"x\"", "Range": "bytes=1-2"}}).want(t, 206)
	s.do(t, call{method: "GET", target: "/bucket/none?versionId=null"}).want(t, 404)
	s.do(t, call{method: "GET", target: "/bucket/a%20b", unsigned: true}).want(t, 403)
	s.do(t, call{method: "GET", target: "/bucket?list-type=2"}).want(t, 200)
	s.visit(t, "GET", "bucket.site.test", "/a%20b")
	s.handler.logs.deliver(t.Context(), 0)
	key := regexp.MustCompile(`<Key>(of/bucket-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16})</Key>`).FindStringSubmatch(s.do(t, call{method: "GET", target: "/logs"}).want(t, 200).body)
	if key == nil {
		t.Fatal("no log is delivered")
	}
	lines := strings.Split(strings.TrimSpace(s.do(t, call{method: "GET", target: "/logs/" + key[1]}).want(t, 200).body), "\n")
	for i, want := range []string{
		`^` + ownerID + ` bucket \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] 127.0.0.1 ` + ownerID + ` [0-9A-F]{16} REST.PUT.OBJECT a%2520b "PUT /bucket/a%20b HTTP/1.1" 200 - - 5 \d+ \d+ - "[^"]*" - granary SigV4 - AuthHeader 127.0.0.1:\d+ - - -$`,
		`REST.GET.OBJECT a%2520b "GET /bucket/a%20b HTTP/1.1" 206 - 2 5 \d+ \d+ - "agent %22x%22" -`,
		`REST.GET.OBJECT none "GET /bucket/none\?versionId=null HTTP/1.1" 404 NoSuch\w+ \d+ - \d+ \d+ - "[^"]*" null`,
		` 127.0.0.1 - [0-9A-F]{16} REST.GET.OBJECT a%2520b "GET /bucket/a%20b HTTP/1.1" 403 AccessDenied \d+ - \d+ \d+ - "[^"]*" - granary - - - `,
		`REST.GET.BUCKET - "GET /bucket\?list-type=2 HTTP/1.1" 200 - \d+ - `,
		`WEBSITE.GET.OBJECT a%2520b "GET [^ ]*/a%20b HTTP/1.1" 404 NoSuchWebsiteConfiguration `,
	} {
		if len(lines) != 6 || !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Fatalf("line %d of\n%s\nis not\n%s", i, strings.Join(lines, "\n"), want)
		}
	}
	s.setLogging(t, "<TargetBucket>logs</TargetBucket><TargetPrefix>q/</TargetPrefix><TargetObjectKeyFormat><PartitionedPrefix/></TargetObjectKeyFormat>").want(t, 200)
	s.handler.logs.deliver(t.Context(), 0)
	s.put(t, "k", "x")
	s.handler.logs.deliver(t.Context(), 0)
	if a := s.do(t, call{method: "GET", target: "/logs?prefix=q/"}); !strings.Contains(a.body, "<Key>q/"+accountID+"/us-east-1/bucket/") {
		t.Error(a.body)
	}
	s.do(t, call{method: "PUT", target: "/bucket?logging", body: "<BucketLoggingStatus/>"}).want(t, 200)
	if a := s.do(t, call{method: "GET", target: "/bucket?logging"}).want(t, 200); strings.Contains(a.body, "Enabled") {
		t.Error(a.body)
	}
}

// TestAccessLogIsBounded has more lines come than are kept, and delivers to a bucket that is gone.
func TestAccessLogIsBounded(t *testing.T) {
	var said strings.Builder
	l := &accessLog{log: slog.New(slog.NewTextHandler(&said, nil)), now: time.Now, pending: map[logDestination]*gathered{}, full: make(chan struct{}, 1), store: newTestStore(t)}
	line := []byte(strings.Repeat("x", 1<<16))
	for i := range logPendingMax>>16 + 3 {
		l.add(fmt.Sprint("bucket", i%2), &loggingEnabled{TargetBucket: "gone"}, line)
	}
	if l.size != logPendingMax || l.left != 3 || len(l.full) != 1 {
		t.Fatal(l.size, l.left)
	}
	l.deliver(t.Context(), 0)
	if l.size != 0 || len(l.pending) != 0 || !strings.Contains(said.String(), "lines=3") || !strings.Contains(said.String(), "target=gone") {
		t.Fatal(l.size, said.String())
	}
}

func TestPaymentAndAcceleration(t *testing.T) {
	s := newServer(t)
	for _, c := range []struct{ sub, root, inner, want string }{
		{"requestPayment", "RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>", ""},
		{"requestPayment", "RequestPaymentConfiguration", "<Payer>Requester</Payer>", string(codeNotImplemented)},
		{"requestPayment", "RequestPaymentConfiguration", "<Payer>Nobody</Payer>", string(codeMalformedXML)},
		{"accelerate", "AccelerateConfiguration", "<Status>Suspended</Status>", ""},
		{"accelerate", "AccelerateConfiguration", "<Status>Enabled</Status>", string(codeNotImplemented)},
	} {
		a := s.do(t, call{method: "PUT", target: "/bucket?" + c.sub, body: "<" + c.root + ">" + c.inner + "</" + c.root + ">"})
		if c.want != "" {
			a.wantCode(t, code(c.want))
			continue
		}
		a.want(t, 200)
		if got := s.do(t, call{method: "GET", target: "/bucket?" + c.sub}).want(t, 200); !strings.Contains(got.body, c.inner) {
			t.Error(got.body)
		}
	}
}

func TestLogQuoted(t *testing.T) {
	got := []string{logQuoted(""), logQuoted("a b"), logQuoted("a\"\n\x7f")}
	if want := []string{"", `"a b"`, `"a%22%0A%7F"`}; !slices.Equal(got, want) {
		t.Fatal(got)
	}
}

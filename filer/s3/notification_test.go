package s3

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/notify"
)

// told is an event as a receiver gets it.
type told struct {
	Event   string // of a test event
	Bucket  string
	Records []struct {
		EventVersion, EventSource, EventName, EventTime string
		S3                                              struct {
			ConfigurationID string
			Bucket          struct{ Name string }
			Object          struct {
				Key, ETag, VersionID, Sequencer string
				Size                            *uint64
			}
		}
	}
}

// receiver is a webhook.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	tests  int
	events []told
	more   chan struct{}
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{more: make(chan struct{}, 1)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var e told
		body, err := io.ReadAll(q.Body)
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil || q.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", body, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if e.Event == "s3:TestEvent" && e.Bucket == "bucket" {
			r.tests++
			return
		}
		r.events = append(r.events, e)
		select {
		case r.more <- struct{}{}:
		default:
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// await returns what has come of a key's events, as "name size etag version", when there are so many events in all.
func (r *receiver) await(t *testing.T, n int) []told {
	t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		events := slices.Clone(r.events)
		r.mu.Unlock()
		if len(events) >= n {
			return events
		}
		select {
		case <-r.more:
		case <-timeout:
			t.Fatalf("%d of %d events: %+v", len(events), n, events)
		}
	}
}

// notifies has the bucket notify a target, and a runner deliver.
func (s *server) notifies(t *testing.T, r *receiver, rules string) {
	t.Helper()
	service := notify.New(s.store.Client(), nil)
	if err := service.AddTarget(t.Context(), notify.Target{Name: "hook", URL: r.URL + "/events"}, true); err != nil {
		t.Fatal(err)
	}
	s.do(t, call{method: "PUT", target: "/bucket?notification", body: "<NotificationConfiguration>" + rules + "</NotificationConfiguration>"}).want(t, 200)
	runner, err := notify.NewRunner(notify.RunnerOptions{Client: s.store.Client()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runner.Close(); err != nil {
			t.Error(err)
		}
	})
}

const hookARN = "arn:granary:sqs::hook:webhook"

func queueRule(id, events, filter string) string {
	rule := "<QueueConfiguration><Id>" + id + "</Id><Queue>" + hookARN + "</Queue>"
	for event := range strings.SplitSeq(events, " ") {
		rule += "<Event>" + event + "</Event>"
	}
	return rule + filter + "</QueueConfiguration>"
}

// allEvents are all that objects can have.
const allEvents = "s3:ObjectCreated:* s3:ObjectRemoved:* s3:ObjectTagging:* s3:ObjectAcl:Put s3:LifecycleExpiration:*"

// TestNotifications does what makes events, through several doors, and compares what arrives: of each key all of it, in order.
func TestNotifications(t *testing.T) {
	s, r := newServer(t), newReceiver(t)
	s.notifies(t, r, queueRule("all", allEvents, ""))
	root := s.root(t, "bucket")
	s.put(t, "plain%20%2B", "hello")
	s.put(t, "plain%20%2B", "hello again")
	s.do(t, call{method: "PUT", target: "/bucket/plain%20%2B?tagging", body: "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"}).want(t, 200)
	s.do(t, call{method: "DELETE", target: "/bucket/plain%20%2B"}).want(t, 204)
	id := s.initiate(t, "d/parts", nil)
	etag := s.part(t, "d/parts", id, 1, "of one part")
	s.do(t, call{method: "POST", target: "/bucket/d/parts?uploadId=" + id,
		body: "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + etag + "</ETag></Part></CompleteMultipartUpload>"}).want(t, 200)
	s.put(t, "marked/", "")
	s.do(t, call{method: "DELETE", target: "/bucket/marked/"}).want(t, 204)
	s.put(t, "odd//../", "x") // names that paths do not have
	s.do(t, call{method: "DELETE", target: "/bucket/odd//../"}).want(t, 204)

	// Another door, as a mount would.
	e, err := s.store.FS.Mkdir(t.Context(), granary.Cred{}, root, "mnt", 0o755, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.store.Client().Do(t.Context(), granary.Cred{}, &granary.Create{Parent: e.Attr.Inode, Name: "f", Type: granary.TypeRegular, Mode: 0o644,
		Content: &granary.Content{Inline: []byte("abc"), Size: 3}}); err != nil {
		t.Fatal(err)
	}
	r.await(t, 10) // keys are told as directories are called when the change is read
	if err := s.store.FS.Rename(t.Context(), granary.Cred{}, root, "mnt", root, "moved", filer.RenameFlags{}); err != nil {
		t.Fatal(err)
	}
	r.await(t, 12)
	if err := s.store.FS.Rename(t.Context(), granary.Cred{}, e.Attr.Inode, "f", root, "g", filer.RenameFlags{}); err != nil {
		t.Fatal(err)
	}

	want := map[string][]string{
		"plain +":  {"ObjectCreated:Put 5 " + md5Hex("hello"), "ObjectCreated:Put 11 " + md5Hex("hello again"), "ObjectTagging:Put*", "ObjectRemoved:Delete"},
		"d/parts":  {"ObjectCreated:CompleteMultipartUpload 11 *"},
		"marked/":  {"ObjectCreated:Put 0 " + granary.ETagEmpty, "ObjectRemoved:Delete"},
		"odd//../": {"ObjectCreated:Put 1 " + md5Hex("x"), "ObjectRemoved:Delete"},
		"mnt/f":    {"ObjectCreated:Put 3 *", "ObjectRemoved:Delete"},
		"moved/f":  {"ObjectCreated:Put 3 *", "ObjectRemoved:Delete"},
		"g":        {"ObjectCreated:Put 3 *"},
	}
	s.compare(t, r, want)
	if r.tests != 1 {
		t.Errorf("%d test events", r.tests)
	}
}

// compare waits for events, and compares them by key.
func (s *server) compare(t *testing.T, r *receiver, want map[string][]string) {
	t.Helper()
	n := 0
	for _, events := range want {
		n += len(events)
	}
	got, last := map[string][]string{}, map[string]string{}
	for _, e := range r.await(t, n) {
		rec := &e.Records[0]
		o := &rec.S3.Object
		key, err := url.QueryUnescape(o.Key)
		if err != nil || len(e.Records) != 1 || rec.S3.Bucket.Name != "bucket" || rec.EventVersion != "2.1" || rec.EventSource != "aws:s3" {
			t.Errorf("%+v: %v", e, err)
		}
		if _, err := time.Parse(time.RFC3339, rec.EventTime); err != nil {
			t.Error(err)
		}
		if o.Sequencer < last[key] || o.Sequencer == "" {
			t.Errorf("%s: %q comes after %q", key, o.Sequencer, last[key])
		}
		last[key] = o.Sequencer
		text := rec.EventName
		if o.Size != nil {
			text += fmt.Sprintf(" %d %s", *o.Size, o.ETag)
		}
		if o.VersionID != "" {
			text += " v"
		}
		got[key] = append(got[key], text)
	}
	for key, events := range want {
		if !slices.EqualFunc(got[key], events, func(is, pattern string) bool {
			start, any := strings.CutSuffix(pattern, "*")
			return is == pattern || any && strings.HasPrefix(is, start)
		}) {
			t.Errorf("of %s is told %q, want %q", key, got[key], events)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%q are told of, want %q", got, want)
	}
}

// TestNotificationOrigins: events tell how an object came about, or went.
func TestNotificationOrigins(t *testing.T) {
	s, r := newServer(t), newReceiver(t)
	s.notifies(t, r, queueRule("copies", "s3:ObjectCreated:Copy s3:ObjectCreated:Post", "")+queueRule("expired", "s3:LifecycleExpiration:*", ""))
	s.put(t, "a", "x")
	s.do(t, call{method: "PUT", target: "/bucket/b", header: map[string]string{"X-Amz-Copy-Source": "/bucket/a"}}).want(t, 200)
	s.do(t, call{method: "DELETE", target: "/bucket/a"}).want(t, 204)
	s.post(t, posting{policy: `{"expiration": "2100-01-01T00:00:00Z", "conditions": [{"bucket": "bucket"}, ["starts-with", "$key", ""], ["starts-with", "$x-amz-algorithm", ""], ["starts-with", "$x-amz-credential", ""], ["starts-with", "$x-amz-date", ""]]}`,
		fields: [][2]string{{"key", "form"}}, file: "x"}).want(t, 204)
	s.do(t, call{method: "PUT", target: "/bucket?versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"}).want(t, 200)
	_, after := s.lifecycle(t, "<Rule><Status>Enabled</Status><Filter><Prefix>b</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>")
	after(3 * time.Minute)
	s.compare(t, r, map[string][]string{"b": {"ObjectCreated:Copy 1 *", "LifecycleExpiration:DeleteMarkerCreated v"}, "form": {"ObjectCreated:Post 1 *"}})
}

// TestNotificationsOfVersions: in a bucket with versions events name them.
func TestNotificationsOfVersions(t *testing.T) {
	s, r := newServer(t), newReceiver(t)
	s.do(t, call{method: "PUT", target: "/bucket?versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"}).want(t, 200)
	s.notifies(t, r, queueRule("all", allEvents, ""))
	version := s.put(t, "k", "1").header.Get("X-Amz-Version-Id")
	marker := s.do(t, call{method: "DELETE", target: "/bucket/k"}).want(t, 204).header.Get("X-Amz-Version-Id")
	s.do(t, call{method: "DELETE", target: "/bucket/k?versionId=" + marker}).want(t, 204)
	s.do(t, call{method: "DELETE", target: "/bucket/k?versionId=" + version}).want(t, 204)
	s.compare(t, r, map[string][]string{"k": {"ObjectCreated:Put 1 " + md5Hex("1") + " v", "ObjectRemoved:DeleteMarkerCreated v", "ObjectRemoved:Delete v", "ObjectRemoved:Delete v"}})
	for i, want := range []string{version, marker, marker, version} {
		if is := r.events[i].Records[0].S3.Object.VersionID; is != want {
			t.Errorf("event %d is of version %s, want %s", i, is, want)
		}
	}
}

// TestNotificationFilters: an event goes where a rule wants it, and nowhere else.
func TestNotificationFilters(t *testing.T) {
	s, r := newServer(t), newReceiver(t)
	filter := func(rules ...string) string {
		text := "<Filter><S3Key>"
		for i := 0; i < len(rules); i += 2 {
			text += "<FilterRule><Name>" + rules[i] + "</Name><Value>" + rules[i+1] + "</Value></FilterRule>"
		}
		return text + "</S3Key></Filter>"
	}
	s.notifies(t, r, queueRule("jpg", "s3:ObjectCreated:*", filter("prefix", "img/", "suffix", ".jpg"))+queueRule("gone", "s3:ObjectRemoved:Delete", filter("Prefix", "img/")))
	for _, key := range []string{"img/a.jpg", "img/a.png", "a.jpg"} {
		s.put(t, key, "x")
	}
	for _, key := range []string{"img/a.png", "a.jpg"} {
		s.do(t, call{method: "DELETE", target: "/bucket/" + key}).want(t, 204)
	}
	s.put(t, "img/last.jpg", "x")
	s.compare(t, r, map[string][]string{
		"img/a.jpg": {"ObjectCreated:Put 1 *"}, "img/a.png": {"ObjectRemoved:Delete"}, "img/last.jpg": {"ObjectCreated:Put 1 *"},
	})
	got := s.do(t, call{method: "GET", target: "/bucket?notification"}).want(t, 200)
	for _, part := range []string{"<Id>jpg</Id>", "<Queue>" + hookARN + "</Queue>", "<Event>s3:ObjectCreated:*</Event>",
		"<FilterRule><Name>prefix</Name><Value>img/</Value></FilterRule><FilterRule><Name>suffix</Name><Value>.jpg</Value></FilterRule>"} {
		if !strings.Contains(got.body, part) {
			t.Errorf("%s is not in %s", part, got.body)
		}
	}
	s.do(t, call{method: "PUT", target: "/bucket?notification", body: "<NotificationConfiguration/>"}).want(t, 200)
	if got := s.do(t, call{method: "GET", target: "/bucket?notification"}).want(t, 200); strings.Contains(got.body, "Queue") {
		t.Error(got.body)
	}
}

// TestNotificationsRefused: what cannot be carried out is refused, and nothing is changed.
func TestNotificationsRefused(t *testing.T) {
	s, r := newServer(t), newReceiver(t)
	s.notifies(t, r, queueRule("was", "s3:ObjectCreated:*", ""))
	if err := notify.New(s.store.Client(), nil).AddTarget(t.Context(), notify.Target{Name: "dead", URL: "http://127.0.0.1:1/"}, false); err != nil {
		t.Fatal(err)
	}
	created := "s3:ObjectCreated:*"
	dead := strings.ReplaceAll(queueRule("dead", created, ""), ":hook:", ":dead:")
	for name, c := range map[string]struct {
		rules string
		code  code
	}{
		"no ARN":          {"<QueueConfiguration><Event>s3:ObjectCreated:*</Event></QueueConfiguration>", codeMalformedXML},
		"bad ARN":         {strings.ReplaceAll(queueRule("x", created, ""), hookARN, "arn:aws:sqs:us-east-1:1:q"), codeInvalidArgument},
		"unknown target":  {strings.ReplaceAll(queueRule("x", created, ""), ":hook:", ":none:"), codeInvalidArgument},
		"another type":    {strings.ReplaceAll(queueRule("x", created, ""), ":webhook<", ":kafka<"), codeInvalidArgument},
		"does not answer": {dead, codeInvalidArgument},
		"unknown event":   {queueRule("x", "s3:ReducedRedundancyLostObject", ""), codeInvalidArgument},
		"half an event":   {queueRule("x", "s3:*", ""), codeInvalidArgument},
		"no event":        {"<QueueConfiguration><Queue>" + hookARN + "</Queue></QueueConfiguration>", codeInvalidArgument},
		"overlap":         {queueRule("x", created, "") + queueRule("y", "s3:ObjectCreated:Put", ""), codeInvalidArgument},
		"same id":         {queueRule("x", created, "") + queueRule("x", "s3:ObjectRemoved:*", ""), codeInvalidArgument},
		"filter":          {queueRule("x", created, "<Filter><S3Key><FilterRule><Name>size</Name><Value>1</Value></FilterRule></S3Key></Filter>"), codeInvalidArgument},
		"event bridge":    {"<EventBridgeConfiguration/>", codeNotImplemented},
	} {
		a := s.do(t, call{method: "PUT", target: "/bucket?notification", body: "<NotificationConfiguration>" + c.rules + "</NotificationConfiguration>"})
		if !strings.Contains(a.body, "<Code>"+string(c.code)+"</Code>") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if got := s.do(t, call{method: "GET", target: "/bucket?notification"}).want(t, 200); !strings.Contains(got.body, "<Id>was</Id>") {
		t.Error(got.body)
	}
	s.do(t, call{method: "PUT", target: "/bucket?notification", body: "<NotificationConfiguration>" + dead + "</NotificationConfiguration>",
		header: map[string]string{"X-Amz-Skip-Destination-Validation": "true"}}).want(t, 200)
}

// TestNotificationsEndWithTheBucket: what a bucket was told to notify is forgotten when it is removed, after all has been told.
func TestNotificationsEndWithTheBucket(t *testing.T) {
	s, r := newServer(t), newReceiver(t)
	s.notifies(t, r, queueRule("all", allEvents, ""))
	s.put(t, "k", "x")
	s.do(t, call{method: "DELETE", target: "/bucket/k"}).want(t, 204)
	s.do(t, call{method: "DELETE", target: "/bucket"}).want(t, 204)
	s.compare(t, r, map[string][]string{"k": {"ObjectCreated:Put 1 *", "ObjectRemoved:Delete"}})
	service := notify.New(s.store.Client(), nil)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := service.RemoveTarget(t.Context(), "hook")
		if err == nil {
			return
		}
		if !granary.IsKind(err, granary.KindNotEmpty) || time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-again.C
	}
}

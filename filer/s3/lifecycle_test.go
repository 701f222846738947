package s3

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// lifecycle puts rules on the bucket, and returns what carries them out at a time that can be moved.
func (s *server) lifecycle(t *testing.T, rules string) (l *Lifecycle, after func(time.Duration)) {
	t.Helper()
	s.do(t, call{method: "PUT", target: "/bucket?lifecycle", body: "<LifecycleConfiguration>" + rules + "</LifecycleConfiguration>"}).want(t, 200)
	now := time.Now()
	l = newLifecycle(s.store, LifecycleOptions{Day: time.Minute, Now: func() time.Time { return now }})
	return l, func(d time.Duration) {
		t.Helper()
		now = now.Add(d)
		if err := l.pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *server) wantKeys(t *testing.T, want ...string) {
	t.Helper()
	if keys := s.keys(t); !slices.Equal(keys, want) {
		t.Fatalf("there are %q, want %q", keys, want)
	}
}

func TestLifecycleExpires(t *testing.T) {
	s := newServer(t)
	for _, key := range []string{"a", "logs/1", "logs/2", "logs/big", "tmp/x"} {
		body := "x"
		if key == "logs/big" {
			body = strings.Repeat("x", 100)
		}
		s.put(t, key, body)
	}
	s.do(t, call{method: "PUT", target: "/bucket/logs/2", body: "x", header: map[string]string{"X-Amz-Tagging": "keep=yes"}}).want(t, 200)
	_, after := s.lifecycle(t, `
		<Rule><Status>Enabled</Status><Filter><And><Prefix>logs/</Prefix><ObjectSizeLessThan>100</ObjectSizeLessThan></And></Filter><Expiration><Days>3</Days></Expiration></Rule>
		<Rule><Status>Enabled</Status><Filter><Tag><Key>keep</Key><Value>yes</Value></Tag></Filter><Expiration><Days>10</Days></Expiration></Rule>
		<Rule><Status>Disabled</Status><Filter><Prefix></Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>`)
	after(time.Minute)
	s.wantKeys(t, "a", "logs/1", "logs/2", "logs/big", "tmp/x")
	after(3 * time.Minute)
	s.wantKeys(t, "a", "logs/big", "tmp/x")
	s.put(t, "logs/3", "x")
	after(time.Second / 2) // no pass so soon after another
	s.wantKeys(t, "a", "logs/3", "logs/big", "tmp/x")

	s.do(t, call{method: "PUT", target: "/bucket/a", body: "x", header: map[string]string{"X-Amz-Tagging": "keep=yes"}}).want(t, 200)
	after(20 * time.Minute)
	s.wantKeys(t, "logs/big", "tmp/x")
	_, after = s.lifecycle(t, `<Rule><Status>Enabled</Status><Prefix>tmp</Prefix><Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration></Rule>`)
	after(time.Hour)
	s.wantKeys(t, "logs/big")
}

// versionsOf tells a key's versions, the newest first: "m" for a delete marker.
func (s *server) versionsOf(t *testing.T, key string) string {
	t.Helper()
	root, err := s.store.Bucket(t.Context(), "bucket")
	if err != nil {
		t.Fatal(err)
	}
	listing, err := s.store.List(t.Context(), &granary.List{Root: root, Prefix: key, Versions: true})
	if err != nil {
		t.Fatal(err)
	}
	var all string
	for _, i := range listing.Items {
		if i.Marker {
			all += "m"
		} else {
			all += fmt.Sprint(i.Attr.Size)
		}
	}
	return all
}

func TestLifecycleOfVersions(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/bucket?versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"}).want(t, 200)
	for n := range 5 {
		s.put(t, "k", strings.Repeat("x", n+1))
	}
	s.put(t, "gone", "x")
	s.do(t, call{method: "DELETE", target: "/bucket/gone"}).want(t, 204)
	_, after := s.lifecycle(t, `
		<Rule><Status>Enabled</Status><Filter/><NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration></Rule>`)
	after(time.Minute)
	if got := s.versionsOf(t, "k"); got != "54321" {
		t.Fatal(got)
	}
	after(3 * time.Minute)
	if got := s.versionsOf(t, "k"); got != "543" {
		t.Fatal(got)
	}
	// What is current gets a delete marker; one behind which nothing is left goes.
	_, after = s.lifecycle(t, `
		<Rule><Status>Enabled</Status><Filter><Prefix>k</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>
		<Rule><Status>Enabled</Status><Filter/><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration></Rule>
		<Rule><Status>Enabled</Status><Filter><Prefix>gone</Prefix></Filter><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration></Rule>`)
	after(10 * time.Minute)
	if k, gone := s.versionsOf(t, "k"), s.versionsOf(t, "gone"); k != "m543" || gone != "m" {
		t.Fatal(k, gone)
	}
	after(10 * time.Minute)
	if k, gone := s.versionsOf(t, "k"), s.versionsOf(t, "gone"); k != "m543" || gone != "" {
		t.Fatal(k, gone)
	}
}

func TestLifecycleHonoursLocks(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/locked", header: map[string]string{"X-Amz-Bucket-Object-Lock-Enabled": "true"}}).want(t, 200)
	hold := map[string]string{"X-Amz-Object-Lock-Legal-Hold": "ON"}
	s.do(t, call{method: "PUT", target: "/locked/k", body: "x", header: hold}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/locked/k", body: "y"}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/locked/k", body: "z"}).want(t, 200)
	rules := `<Rule><Status>Enabled</Status><Filter/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration></Rule>`
	s.do(t, call{method: "PUT", target: "/locked?lifecycle", body: "<LifecycleConfiguration>" + rules + "</LifecycleConfiguration>"}).want(t, 200)
	l := newLifecycle(s.store, LifecycleOptions{Now: func() time.Time { return time.Now().Add(50 * time.Hour) }})
	if err := l.bucket(t.Context(), "locked"); err != nil {
		t.Fatal(err)
	}
	if a := s.do(t, call{method: "GET", target: "/locked?versions"}); strings.Count(a.body, "<Version>") != 2 {
		t.Error(a.body)
	}
}

func TestLifecycleAbortsUploads(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "POST", target: "/bucket/old/k?uploads"}).want(t, 200)
	s.do(t, call{method: "POST", target: "/bucket/other?uploads"}).want(t, 200)
	_, after := s.lifecycle(t, `<Rule><Status>Enabled</Status><Filter><Prefix>old/</Prefix></Filter>
		<AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>`)
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{time.Minute, 2}, {3 * time.Minute, 1}} {
		after(step.after)
		if a := s.do(t, call{method: "GET", target: "/bucket?uploads"}); strings.Count(a.body, "<Upload>") != step.want {
			t.Errorf("after %v: %s", step.after, a.body)
		}
	}
}

func TestLifecycleRefused(t *testing.T) {
	s := newServer(t)
	const expires = "<Expiration><Days>1</Days></Expiration>"
	for rule, want := range map[string]code{
		"":                                      codeMalformedXML,
		"<Rule><Filter/>" + expires + "</Rule>": codeMalformedXML,
		"<Rule><Status>Enabled</Status><Filter/></Rule>":                                                                                                 codeMalformedXML,
		"<Rule><Status>Enabled</Status>" + expires + "</Rule>":                                                                                           codeMalformedXML,
		"<Rule><Status>Enabled</Status><Filter/><Expiration><Days>0</Days></Expiration></Rule>":                                                          codeInvalidArgument,
		"<Rule><Status>Enabled</Status><Filter/><Expiration></Expiration></Rule>":                                                                        codeMalformedXML,
		"<Rule><Status>Enabled</Status><Filter/><Expiration><Date>2030-01-01T01:00:00Z</Date></Expiration></Rule>":                                       codeInvalidArgument,
		"<Rule><Status>Enabled</Status><Filter/>" + expires + "<Transition><Days>1</Days></Transition></Rule>":                                           codeMalformedXML,
		"<Rule><ID>a</ID><Status>Enabled</Status><Filter/>" + expires + "</Rule><Rule><ID>a</ID><Status>Enabled</Status><Filter/>" + expires + "</Rule>": codeInvalidArgument,
	} {
		s.do(t, call{method: "PUT", target: "/bucket?lifecycle", body: "<LifecycleConfiguration>" + rule + "</LifecycleConfiguration>"}).wantCode(t, want)
	}
}

// TestLifecycleGoesOn begins a pass where another ended before its time.
func TestLifecycleGoesOn(t *testing.T) {
	s := newServer(t)
	for n := range 6 {
		s.put(t, fmt.Sprint("k", n), "x")
	}
	l, after := s.lifecycle(t, `<Rule><Status>Enabled</Status><Filter/><Expiration><Days>1</Days></Expiration></Rule>`)
	root, err := s.store.Bucket(t.Context(), "bucket")
	if err != nil {
		t.Fatal(err)
	}
	p := progress{began: l.now(), after: "k2"}
	if parseProgress(p.String()).after != "k2" || parseProgress("x").done != true {
		t.Error(p)
	}
	op := &granary.SetXattr{Inode: root.Dataset().System(), Xattr: granary.Xattr{Name: xattrProgress, Value: []byte(p.String())}}
	if err := s.store.SetXattr(t.Context(), granary.Cred{}, op); err != nil {
		t.Fatal(err)
	}
	after(10 * time.Minute)
	s.wantKeys(t, "k0", "k1", "k2")
	after(10 * time.Minute)
	s.wantKeys(t)
}

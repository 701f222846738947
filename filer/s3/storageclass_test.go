package s3

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// placed returns the policy of an object's file, and how the first block of its content is stored.
func (s *server) placed(t *testing.T, key string) (granary.Policy, granary.Volume) {
	t.Helper()
	found := s.layout(t, &granary.Lookup{Base: s.root(t, "bucket"), Path: key, Key: true, Layout: &granary.Range{Length: 1 << 30}})
	p, err := s.store.Client().Policy(t.Context(), found.Entry.Attr.Policy)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Layout.Volumes) == 0 {
		t.Fatalf("%s has no blocks", key)
	}
	b := found.Layout.Blocks[0]
	for _, v := range found.Layout.Volumes {
		if v.ID == b.Location.Volume {
			return p, v
		}
	}
	t.Fatal("no volume")
	return p, granary.Volume{}
}

func classOf(class string) map[string]string { return map[string]string{classHeader: class} }

// prose is content that has blocks, and shrinks.
func prose(seed string) string { return strings.Repeat(seed+" and so on, ", 4<<10) }

// TestStorageClasses: a class is accepted by whatever makes an object, decides how its content is stored, and is told by whatever tells of it.
func TestStorageClasses(t *testing.T) {
	s := newServer(t)
	if err := s.store.SetClassRule(t.Context(), "GLACIER_IR", &granary.ClassRule{Code: "1+0", Compression: "none"}); err != nil {
		t.Fatal(err)
	}
	s.do(t, call{method: "PUT", target: "/bucket/put", body: prose("put"), header: classOf("STANDARD_IA")}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/d/small", body: "x", header: classOf("ONEZONE_IA")}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/plain", body: prose("plain"), header: classOf("STANDARD")}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/copied", header: map[string]string{classHeader: "GLACIER_IR", "X-Amz-Copy-Source": "/bucket/plain"}}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/back", header: map[string]string{"X-Amz-Copy-Source": "/bucket/put"}}).want(t, 200)
	id := s.initiate(t, "parts", classOf("GLACIER_IR"))
	etag := s.part(t, "parts", id, 1, prose("parts"))
	for _, target := range []string{"/bucket?uploads", "/bucket/parts?uploadId=" + id} {
		if a := s.do(t, call{method: "GET", target: target}); !strings.Contains(a.body, "<StorageClass>GLACIER_IR<") {
			t.Errorf("%s: %s", target, a.body)
		}
	}
	s.do(t, call{method: "POST", target: "/bucket/parts?uploadId=" + id,
		body: "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>" + etag + "</ETag></Part></CompleteMultipartUpload>"}).want(t, 200)
	want := map[string]string{"put": "STANDARD_IA", "d/small": "ONEZONE_IA", "plain": "", "copied": "GLACIER_IR", "back": "", "parts": "GLACIER_IR"}
	for key, class := range want {
		a := s.do(t, call{method: "HEAD", target: "/bucket/" + key})
		if got := a.header.Get(classHeader); got != class {
			t.Errorf("HEAD of %s tells %q", key, got)
		}
		shown := "<StorageClass>" + class + "<"
		if class == "" {
			shown = "<StorageClass>STANDARD<"
		}
		for _, target := range []string{"/bucket?prefix=" + key, "/bucket?list-type=2&prefix=" + key, "/bucket?versions&prefix=" + key, "/bucket/" + key + "?attributes"} {
			a := s.do(t, call{method: "GET", target: target, header: map[string]string{"X-Amz-Object-Attributes": "StorageClass"}})
			if !strings.Contains(a.body, shown) {
				t.Errorf("%s: %s", target, a.body)
			}
		}
		if key == "d/small" {
			continue
		}
		p, v := s.placed(t, key)
		if p.StorageClass != class || class == "GLACIER_IR" && (p.Auto() || p.Compression != granary.CompressionNone) || class == "STANDARD_IA" && p.Compression != granary.CompressionZstd {
			t.Errorf("%s is stored by %+v", key, p)
		}
		if key == "parts" && v.Auto {
			t.Errorf("%s lies in a volume of another policy", key)
		}
	}
	for _, class := range []string{"GLACIER", "DEEP_ARCHIVE", "COLD"} {
		s.do(t, call{method: "PUT", target: "/bucket/no", body: "x", header: classOf(class)}).wantCode(t, codeInvalidStorageClass)
	}
	// In place, with the same content.
	s.do(t, call{method: "PUT", target: "/bucket/plain", header: map[string]string{classHeader: "STANDARD_IA", "X-Amz-Copy-Source": "/bucket/plain"}}).want(t, 200)
	if a := s.do(t, call{method: "GET", target: "/bucket/plain"}); a.header.Get(classHeader) != "STANDARD_IA" || a.body != prose("plain") {
		t.Error(a.header)
	}
}

// TestTransitions: what rules say is put into other classes when its time has come, and only further on in their order.
func TestTransitions(t *testing.T) {
	s, r := newServer(t), newReceiver(t)
	s.notifies(t, r, queueRule("moved", "s3:LifecycleTransition", ""))
	big := strings.Repeat("x", transitionSizeMin)
	for _, key := range []string{"logs/a", "logs/b", "other"} {
		s.put(t, key, big)
	}
	s.put(t, "logs/small", "x")
	s.do(t, call{method: "PUT", target: "/bucket/logs/c", body: big, header: classOf("GLACIER_IR")}).want(t, 200)
	s.do(t, call{method: "PUT", target: "/bucket/logs/tagged", body: big, header: map[string]string{"X-Amz-Tagging": "cold=yes"}}).want(t, 200)
	before := s.do(t, call{method: "HEAD", target: "/bucket/logs/a"})
	_, after := s.lifecycle(t, `
		<Rule><Status>Enabled</Status><Filter><Prefix>logs/</Prefix></Filter><Transition><Days>2</Days><StorageClass>STANDARD_IA</StorageClass></Transition>
			<Transition><Days>5</Days><StorageClass>GLACIER_IR</StorageClass></Transition></Rule>
		<Rule><Status>Enabled</Status><Filter><Tag><Key>cold</Key><Value>yes</Value></Tag></Filter><Transition><Days>2</Days><StorageClass>ONEZONE_IA</StorageClass></Transition></Rule>`)
	classes := func(want map[string]string) {
		t.Helper()
		for key, class := range want {
			a := s.do(t, call{method: "HEAD", target: "/bucket/" + key})
			if got := a.header.Get(classHeader); got != class {
				t.Errorf("%s is of class %q, want %q", key, got, class)
			}
		}
	}
	after(time.Minute)
	classes(map[string]string{"logs/a": "", "logs/tagged": ""})
	after(2 * time.Minute)
	classes(map[string]string{"logs/a": "STANDARD_IA", "logs/b": "STANDARD_IA", "logs/c": "GLACIER_IR", "logs/small": "", "logs/tagged": "ONEZONE_IA", "other": ""})
	now := s.do(t, call{method: "HEAD", target: "/bucket/logs/a"})
	for _, name := range []string{"Etag", "Last-Modified", "X-Amz-Checksum-Crc64nvme"} {
		if now.header.Get(name) != before.header.Get(name) {
			t.Errorf("%s was %q, and is %q", name, before.header.Get(name), now.header.Get(name))
		}
	}
	after(5 * time.Minute)
	classes(map[string]string{"logs/a": "GLACIER_IR", "logs/tagged": "GLACIER_IR", "other": ""})
	if p, _ := s.placed(t, "logs/a"); p.StorageClass != "GLACIER_IR" {
		t.Errorf("%+v", p)
	}
	s.compare(t, r, map[string][]string{
		"logs/a": {"LifecycleTransition 131072 *", "LifecycleTransition 131072 *"}, "logs/b": {"LifecycleTransition 131072 *", "LifecycleTransition 131072 *"},
		"logs/tagged": {"LifecycleTransition 131072 *", "LifecycleTransition 131072 *"}})
}

// TestTransitionsOfVersions: earlier versions have rules of their own.
func TestTransitionsOfVersions(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/bucket?versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"}).want(t, 200)
	for n := range 4 {
		s.put(t, "k", strings.Repeat("x", n+1))
	}
	_, after := s.lifecycle(t, `<Rule><Status>Enabled</Status><Filter><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></Filter><NoncurrentVersionTransition><NoncurrentDays>2</NoncurrentDays>
		<NewerNoncurrentVersions>1</NewerNoncurrentVersions><StorageClass>STANDARD_IA</StorageClass></NoncurrentVersionTransition></Rule>`)
	after(3 * time.Minute)
	a := s.do(t, call{method: "GET", target: "/bucket?versions"})
	var got []string
	for _, part := range strings.Split(a.body, "<StorageClass>")[1:] {
		got = append(got, part[:strings.Index(part, "<")])
	}
	if want := "STANDARD STANDARD STANDARD_IA STANDARD"; strings.Join(got, " ") != want {
		t.Errorf("the classes are %q, want %s", got, want)
	}
	s.do(t, call{method: "PUT", target: "/bucket?lifecycle", header: map[string]string{transitionHeader: "none"}, body: "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/>" +
		"<Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"}).wantCode(t, codeInvalidArgument)
}

func TestTransitionsRefused(t *testing.T) {
	s := newServer(t)
	move := func(text string) string { return "<Transition>" + text + "</Transition>" }
	const ia, days = "<StorageClass>STANDARD_IA</StorageClass>", "<Days>3</Days>"
	for actions, want := range map[string]code{
		move(days): codeMalformedXML,
		move(ia):   codeMalformedXML,
		move(days + "<Date>2030-01-01T00:00:00Z</Date>" + ia):                                            codeMalformedXML,
		move("<Days>-1</Days>" + ia):                                                                     codeInvalidArgument,
		move("<Date>2030-01-01T01:00:00Z</Date>" + ia):                                                   codeInvalidArgument,
		move(days + "<StorageClass>GLACIER</StorageClass>"):                                              codeInvalidStorageClass,
		move(days + "<StorageClass>STANDARD</StorageClass>"):                                             codeMalformedXML,
		move(days+ia) + move("<Days>4</Days>"+ia):                                                        codeInvalidRequest,
		move(days+ia) + move("<Date>2030-01-01T00:00:00Z</Date><StorageClass>GLACIER_IR</StorageClass>"): codeInvalidRequest,
		move(days+ia) + "<Expiration><Days>3</Days></Expiration>":                                        codeInvalidArgument,
		"<NoncurrentVersionTransition>" + ia + "</NoncurrentVersionTransition>":                          codeMalformedXML,
	} {
		s.do(t, call{method: "PUT", target: "/bucket?lifecycle", body: "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/>" + actions + "</Rule></LifecycleConfiguration>"}).wantCode(t, want)
	}
	a := s.do(t, call{method: "PUT", target: "/bucket?lifecycle", body: "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/>" + move(days+ia) + "</Rule></LifecycleConfiguration>"}).want(t, 200)
	if got := a.header.Get(transitionHeader); got != transitionSizeByAll {
		t.Errorf("%s is %q", transitionHeader, got)
	}
	if a := s.do(t, call{method: "GET", target: "/bucket?lifecycle"}); !strings.Contains(a.body, "<Transition><Days>3</Days>"+ia+"</Transition>") {
		t.Error(a.body)
	}
}

// TestEarlierVersionsFollow: what the rule of a class says is true of the earlier versions of objects, too.
func TestEarlierVersionsFollow(t *testing.T) {
	s := newServer(t)
	s.do(t, call{method: "PUT", target: "/bucket?versioning", body: "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"}).want(t, 200)
	for n := range 3 {
		s.do(t, call{method: "PUT", target: "/bucket/d/k", body: prose(fmt.Sprint("version ", n)), header: classOf("STANDARD_IA")}).want(t, 200)
	}
	s.do(t, call{method: "DELETE", target: "/bucket/d/k"}).want(t, 204)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- client.NewWorker(s.store.Client(), client.WorkerOptions{Shards: s.store.blocks}).Run(ctx)
	}()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if err := s.store.SetClassRule(t.Context(), "STANDARD_IA", &granary.ClassRule{Compression: "none"}); err != nil {
		t.Fatal(err)
	}
	// small tells how many of the versions are stored compressed, and how many by another policy than the rule says.
	small := func() (compressed, others int) {
		listing, err := s.store.List(t.Context(), &granary.List{Root: s.root(t, "bucket"), Versions: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range listing.Items {
			if item.Marker {
				continue
			}
			found := s.layout(t, &granary.Lookup{Base: item.Attr.Inode})
			for _, b := range found.Layout.Blocks {
				if b.Location.Length < b.RawLength {
					compressed++
				}
			}
			if p, err := s.store.Client().Policy(t.Context(), item.Attr.Policy); err != nil || p.Compression != granary.CompressionNone {
				others++
			}
		}
		return compressed, others
	}
	for give := time.Now().Add(time.Minute); ; {
		compressed, others := small()
		if compressed+others == 0 {
			return
		}
		if time.Now().After(give) {
			t.Fatalf("%d blocks are compressed still, %d versions have other policies", compressed, others)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

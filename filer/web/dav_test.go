package web

import (
	"strings"
	"testing"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

const davLock = `<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner><D:href>mailto:me</D:href></D:owner></D:lockinfo>`

// TestDavLocks: a lock of WebDAV is one of all doors.
func TestDavLocks(t *testing.T) {
	s := newStack(t)
	s.want(201, "MKCOL", "/-/dav/dir", "")
	s.want(201, "PUT", "/-/dav/dir/f", "old")
	w := s.want(200, "LOCK", "/-/dav/dir/", davLock, "Timeout: Infinite, Second-4100000000")
	token := w.Header().Get("Lock-Token")
	if !strings.HasPrefix(token, "<"+lockURN) || !strings.Contains(w.Body.String(), "Second-3600") {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
	if list := s.want(200, "GET", "/-/v1/locks?path=/dir/f", "").Body.String(); !strings.Contains(list, "mailto:me") || !strings.Contains(list, `"subtree":true`) {
		t.Error(list)
	}
	for _, r := range [][]string{
		{"PUT", "/-/dav/dir/f"}, {"PUT", "/dir/f"}, {"PUT", "/dir/f?append"}, {"DELETE", "/-/dav/dir/f"}, {"DELETE", "/-/dav/dir"}, {"MKCOL", "/-/dav/dir/sub"},
		{"LOCK", "/-/dav/dir/f"}, {"PROPPATCH", "/-/dav/dir/f"}, {"MOVE", "/-/dav/dir/f", "Destination: /-/dav/g"}, {"COPY", "/-/dav/dir/f", "Destination: /-/dav/dir/g"},
		{"LOCK", "/-/dav/dir/new"},
	} {
		body := map[string]string{"LOCK": davLock, "PROPPATCH": davPatch, "PUT": "new"}[r[0]]
		s.want(423, r[0], r[1], body, r[2:]...)
	}
	if s.content("/dir/f") != "old" {
		t.Error("a lock was no obstacle")
	}
	held := "If: (" + token + ")"
	s.want(200, "PUT", "/-/dav/dir/f", "new", held)
	s.want(412, "PUT", "/-/dav/dir/f", "other", "If: (<"+lockURN+"99999>)")
	s.want(412, "PUT", "/-/dav/dir/f", "other", `If: (["other"])`)
	s.want(412, "PUT", "/-/dav/dir/f", "other", "If: ("+token+` ["other"])`)
	s.want(400, "PUT", "/-/dav/dir/f", "other", "If: nonsense")
	s.want(200, "PUT", "/-/dav/dir/f", "newer", "If: ("+token+" ["+s.do("HEAD", "/dir/f", "").Header().Get("Etag")+"])")
	s.want(200, "PUT", "/dir/f", "newest", "Granary-Fence: "+strings.TrimSuffix(strings.TrimPrefix(token, "<"+lockURN), ">"))
	s.want(201, "MKCOL", "/-/dav/dir/sub", "", held)
	s.want(200, "LOCK", "/-/dav/dir", "", held, "Timeout: Second-100")
	s.want(204, "UNLOCK", "/-/dav/dir", "", "Lock-Token: "+token)
	s.want(409, "UNLOCK", "/-/dav/dir", "", "Lock-Token: "+token)
	s.want(412, "LOCK", "/-/dav/dir", "", held)
	s.want(412, "PUT", "/-/dav/dir/f", "x", held)
	s.want(204, "DELETE", "/-/dav/dir", "")

	token = s.want(201, "LOCK", "/-/dav/fresh", davLock, "Depth: 0").Header().Get("Lock-Token")
	s.want(423, "PUT", "/fresh", "x")
	s.want(204, "UNLOCK", "/-/dav/fresh", "", "Lock-Token: "+token)
	s.want(200, "PUT", "/fresh", "x")
	s.want(409, "LOCK", "/-/dav/no/such", davLock)
}

const davPatch = `<?xml version="1.0"?><D:propertyupdate xmlns:D="DAV:" xmlns:x="urn:x"><D:set><D:prop><x:color>red &amp; blue</x:color></D:prop></D:set></D:propertyupdate>`

func TestDavProperties(t *testing.T) {
	s := newStack(t)
	s.want(201, "PUT", "/-/dav/f.txt", "hello")
	s.want(201, "MKCOL", "/-/dav/d", "")
	s.want(207, "PROPPATCH", "/-/dav/f.txt", davPatch)
	s.want(207, "PROPPATCH", "/-/dav/d", davPatch)
	s.want(200, "PUT", "/-/dav/f.txt", "again")
	s.want(201, "COPY", "/-/dav/f.txt", "", "Destination: http://example.com/-/dav/d/g.txt")
	s.want(201, "COPY", "/-/dav/d", "", "Destination: /-/dav/e")
	for _, p := range []string{"/-/dav/f.txt", "/-/dav/d", "/-/dav/e/g.txt", "/-/dav/e"} {
		if got := s.want(207, "PROPFIND", p, "", "Depth: 0").Body.String(); !strings.Contains(got, "red &amp; blue") {
			t.Errorf("%s: %s", p, got)
		}
	}
	got := s.want(207, "PROPFIND", "/-/dav/d/", "", "Depth: 1").Body.String()
	etag := s.do("HEAD", "/d/g.txt", "").Header().Get("Etag")
	for _, part := range []string{"/-/dav/d/g.txt</", etag, "text/plain", "<D:getcontentlength>5<"} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in %s", part, got)
		}
	}
	s.want(403, "PROPFIND", "/-/dav/", "")
	s.want(403, "PROPFIND", "/-/dav/", "", "Depth: infinity")
	s.want(404, "PROPFIND", "/-/dav/none", "", "Depth: 0")
	s.want(207, "PROPPATCH", "/-/dav/f.txt", strings.NewReplacer("set>", "remove>", "red &amp; blue", "").Replace(davPatch))
	if got := s.want(207, "PROPFIND", "/-/dav/f.txt", "", "Depth: 0").Body.String(); strings.Contains(got, "red") {
		t.Error(got)
	}
}

func TestDavFiles(t *testing.T) {
	s := newStack(t)
	for _, dir := range []string{"/a", "/a/b", "/c"} {
		s.want(201, "MKCOL", "/-/dav"+dir, "")
	}
	s.want(405, "MKCOL", "/-/dav/a", "")
	s.want(409, "MKCOL", "/-/dav/x/y", "")
	s.want(409, "PUT", "/-/dav/x/y", "x")
	s.want(409, "PUT", "/-/dav/a", "x")
	s.want(201, "PUT", "/-/dav/a/b/f", "hello", "X-OC-Mtime: 1500000000")
	if w := s.want(200, "GET", "/-/dav/a/b/f", ""); w.Body.String() != "hello" || w.Header().Get("Last-Modified") != "Fri, 14 Jul 2017 02:40:00 GMT" {
		t.Errorf("%s %v", w.Body, w.Header())
	}
	if w := s.send("PUT", "/-/dav/a/b/f", brokenReader{strings.NewReader("new")}); w.Code != 400 || s.content("/a/b/f") != "hello" {
		t.Errorf("%d, and there is %q", w.Code, s.content("/a/b/f"))
	}
	s.want(201, "COPY", "/-/dav/a", "", "Destination: /-/dav/d")
	s.want(412, "COPY", "/-/dav/a", "", "Destination: /-/dav/c", "Overwrite: F")
	s.want(204, "COPY", "/-/dav/a/", "", "Destination: /-/dav/c/")
	s.want(201, "COPY", "/-/dav/a", "", "Destination: /-/dav/shallow", "Depth: 0")
	s.want(404, "GET", "/shallow/b/", "")
	s.want(204, "MOVE", "/-/dav/d", "", "Destination: /-/dav/c")
	s.want(404, "GET", "/d/", "")
	if s.content("/c/b/f") != "hello" {
		t.Error("/c/b/f")
	}
	s.want(204, "MOVE", "/-/dav/c/b/f", "", "Destination: /-/dav/shallow") // a file for a directory
	s.want(409, "MOVE", "/-/dav/shallow", "", "Destination: /-/dav/x/y")
	s.want(403, "MOVE", "/-/dav/a", "", "Destination: /-/dav/a/b/c")
	s.want(403, "MOVE", "/-/dav/a", "", "Destination: /-/dav/a")
	for _, to := range []string{"http://elsewhere.example/-/dav/x", "/x", "/-/davx"} {
		s.want(502, "MOVE", "/-/dav/a", "", "Destination: "+to)
	}
	s.want(403, "PUT", "/-/dav/-/x", "x")
	s.want(403, "DELETE", "/-/dav/", "")
	s.want(403, "PUT", "/-/dav/a/f", "x", "Origin: http://elsewhere.example")
	if w := s.want(200, "OPTIONS", "/-/dav/", ""); w.Header().Get("Dav") != "1, 2" {
		t.Error(w.Header())
	}
	if _, err := s.fs.Symlink(t.Context(), self(), granary.RootInode, "nowhere", "none"); err != nil {
		t.Fatal(err)
	}
	if got := s.want(207, "PROPFIND", "/-/dav/", "", "Depth: 1").Body.String(); !strings.HasSuffix(got, "</D:multistatus>") {
		t.Error(got)
	}
	info, err := s.fs.Stat(t.Context(), granary.RootInode, "/a/b/f", filer.StatOptions{})
	if err != nil || info.Attr.UID != 1000 {
		t.Errorf("%+v, %v", info, err)
	}
}

package web

import (
	"archive/tar"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

func basic(key, secret string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(key+":"+secret))
}

// put makes an identity.
func (s *stack) identity(i granary.Identity) {
	s.t.Helper()
	i.ID = i.Name
	if i.Kind != granary.IdentityKey {
		i.Path = "/"
	}
	if err := s.fs.PutIdentity(s.t.Context(), i); err != nil {
		s.t.Fatal(err)
	}
}

// newGuardedStack is a stack that asks who there is: alice and bob have uids, and carol has none. Alice and bob have directories.
func newGuardedStack(t *testing.T) *stack {
	s := newStack(t)
	h, err := NewHandler(Options{FS: s.fs, Auth: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, cred := range map[string]*granary.Cred{"alice": {UID: 2001, GID: 2001, Groups: []uint32{3000}}, "bob": {UID: 2002, GID: 2002}, "carol": nil} {
		s.identity(granary.Identity{Kind: granary.IdentityUser, Name: name, Cred: cred})
		s.identity(granary.Identity{Kind: granary.IdentityKey, Name: "K" + name, User: name, Secret: "secret of " + name})
		if cred == nil {
			continue
		}
		dir, err := s.fs.MkdirAll(t.Context(), *cred, granary.RootInode, "/", 0)
		if err != nil {
			t.Fatal(err)
		}
		home, err := s.fs.Mkdir(t.Context(), granary.Cred{}, dir.Attr.Inode, name, 0o755, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.fs.SetAttr(t.Context(), granary.Cred{}, &granary.SetAttr{Inode: home.Attr.Inode, UID: &cred.UID, GID: &cred.GID}); err != nil {
			t.Fatal(err)
		}
	}
	s.identity(granary.Identity{Kind: granary.IdentityKey, Name: "Koff", User: "alice", Secret: "secret of off", Disabled: true})
	s.h = h
	return s
}

func TestAuthentication(t *testing.T) {
	s := newGuardedStack(t)
	for name, c := range map[string]struct {
		header string
		status int
	}{
		"nobody":           {"X: y", 401},
		"another scheme":   {"Authorization: Digest x", 401},
		"no such key":      {basic("none", ""), 401},
		"no key":           {basic("", ""), 401},
		"another's secret": {basic("Kalice", "secret of bob"), 401},
		"no secret":        {basic("Kalice", ""), 401},
		"disabled":         {basic("Koff", "secret of off"), 401},
		"without a uid":    {basic("Kcarol", "secret of carol"), 403},
		"alice":            {basic("Kalice", "secret of alice"), 200},
		"bearer":           {"Authorization: Bearer Kalice:secret of alice", 200},
		"root":             {basic("key", "secret"), 200},
	} {
		for _, path := range []string{"/?format=json", "/-/dav/", "/-/v1/locks", "/-/none"} {
			status := c.status
			if path == "/-/none" && status == 200 {
				status = 404
			}
			w := s.do("GET", path, "", c.header)
			if w.Code != status {
				t.Errorf("%s, %s: %d, and not %d", name, path, w.Code, status)
			}
			if (w.Header().Get("Www-Authenticate") != "") != (status == 401) {
				t.Errorf("%s: %v", name, w.Header())
			}
		}
		if w := s.do("PUT", "/alice/f", "x", c.header); w.Code > 299 && c.status == 200 || w.Code < 300 && c.status != 200 {
			t.Errorf("%s, PUT: %d", name, w.Code)
		}
	}
	s.want(200, "GET", "/-/health", "")
	s.want(204, "OPTIONS", "/-/tus/", "")
	s.want(401, "OPTIONS", "/-/dav/", "")
}

// TestUsersMayWhatTheyMay: what a request does is done by its user, whatever it is that is done.
func TestUsersMayWhatTheyMay(t *testing.T) {
	s := newGuardedStack(t)
	alice, bob := basic("Kalice", "secret of alice"), basic("Kbob", "secret of bob")
	large := strings.Repeat("0123456789abcdef", 200_000)
	archive := tarOf(t, tarOther(tar.TypeDir, "d/", ""), tarFile("d/f", "of a tar"), tarOther(tar.TypeSymlink, "l", "d/f"))
	s.want(201, "PUT", "/alice/private", "secret", alice, "Granary-Mode: 600", "Granary-Xattr-user.k: v", "Granary-Mtime: 1")
	s.want(201, "PUT", "/alice/public", "open", alice)
	s.want(200, "POST", "/alice/public?append", large, alice)
	s.want(200, "PUT", "/alice/public?offset=0", "OPEN", alice)
	s.want(201, "POST", "/alice/new?append", large, alice)
	s.want(201, "PUT", "/alice/tree?extract", archive, alice)
	s.want(201, "POST", "/alice/tree?cp=/alice/tree2&recursive", "", alice)
	s.want(201, "PUT", "/alice/tree?extract&replace", archive, alice)
	s.want(201, "PUT", "/-/dav/alice/dav", "x", alice)
	s.want(207, "PROPPATCH", "/-/dav/alice/dav", davPatch, alice)
	s.want(201, "COPY", "/-/dav/alice/tree", "", alice, "Destination: /-/dav/alice/tree3")
	token := s.want(200, "LOCK", "/-/dav/alice/tree3", davLock, alice).Header().Get("Lock-Token")
	s.want(204, "UNLOCK", "/-/dav/alice/tree3", "", alice, "Lock-Token: "+token)
	for _, partial := range []bool{false, true} {
		headers := []string{alice, tusMeta("path", "/alice/tus"), "Upload-Length: 5"}
		if partial {
			headers = []string{alice, "Upload-Concat: partial", "Upload-Length: 5"}
		}
		at := s.tus(201, "POST", "/-/tus", nil, headers...).Get("Location")
		s.tus(404, "HEAD", at, nil, bob)
		s.patch(404, at, 0, strings.NewReader("mine!"), bob)
		s.patch(204, at, 0, strings.NewReader("mine!"), alice)
		if partial {
			s.tus(404, "POST", "/-/tus", nil, bob, "Upload-Concat: final;"+at, tusMeta("path", "/bob/stolen"))
			s.tus(201, "POST", "/-/tus", nil, alice, "Upload-Concat: final;"+at, tusMeta("path", "/alice/tus2"))
		}
	}
	for _, p := range []string{"private", "public", "new", "tree", "tree/d/f", "tree/l", "tree2", "tree2/d/f", "tree3/d/f", "dav", "tus", "tus2"} {
		info, err := s.fs.Stat(t.Context(), granary.RootInode, "/alice/"+p, filer.StatOptions{})
		if err != nil || info.Attr.UID != 2001 || info.Attr.GID != 2001 {
			t.Errorf("%s: %+v, %v", p, info, err)
		}
	}
	if w := s.want(200, "GET", "/alice/public", "", bob); w.Body.String() != "OPEN"+large {
		t.Error("/alice/public")
	}
	for _, r := range [][]string{
		{"GET", "/alice/private"}, {"HEAD", "/alice/private"}, {"PUT", "/alice/x"}, {"PUT", "/alice/public"}, {"POST", "/alice/public?append"}, {"PUT", "/alice/public?offset=0"},
		{"POST", "/alice/none?append"}, {"DELETE", "/alice/public"}, {"DELETE", "/alice?recursive"}, {"POST", "/alice/x?mkdir"}, {"POST", "/alice/public?mv=/bob/p"},
		{"POST", "/alice/private?cp=/bob/p"}, {"POST", "/alice/public?cp=/alice/p"}, {"POST", "/bob?cp=/alice/p&recursive"}, {"POST", "/bob?cp=/alice/tree&recursive&replace"},
		{"PUT", "/alice/x?extract"}, {"PUT", "/alice/tree?extract&replace"}, {"PUT", "/x"}, {"MKCOL", "/-/dav/alice/x"}, {"PUT", "/-/dav/alice/x"}, {"DELETE", "/-/dav/alice/public"},
		{"COPY", "/-/dav/alice/private", "Destination: /-/dav/bob/p"}, {"MOVE", "/-/dav/alice/public", "Destination: /-/dav/bob/p"}, {"PROPPATCH", "/-/dav/alice/public"}, {"LOCK", "/-/dav/alice/public"},
		{"GET", "/-/v1/watch?path=/alice"},
	} {
		body := map[string]string{"LOCK": davLock, "PROPPATCH": davPatch, "PUT": "new", "POST": "new"}[r[0]]
		if strings.Contains(r[1], "extract") {
			body = archive
		}
		if w := s.do(r[0], r[1], body, append(r[2:], bob)...); w.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", r, w.Code, w.Body)
		}
	}
	at := s.tus(201, "POST", "/-/tus", nil, bob, tusMeta("path", "/alice/tus"), "Upload-Length: 3").Get("Location")
	s.patch(403, at, 0, strings.NewReader("bob"), bob)
	s.tus(403, "HEAD", at, nil, bob)
	s.tus(204, "DELETE", at, nil, bob)
	if got := s.want(200, "GET", "/alice/private?stat", "", bob).Body.String(); strings.Contains(got, "user.k") {
		t.Error(got)
	}
	if s.want(200, "GET", "/alice/private", "", alice).Body.String() != "secret" || s.want(200, "GET", "/alice/tus", "", alice).Body.String() != "mine!" {
		t.Error("bob has changed something")
	}
	for _, name := range s.hidden() {
		if !strings.HasPrefix(name, tusPrefix) {
			t.Errorf("left hidden: %s", name)
		}
	}
}

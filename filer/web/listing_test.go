package web

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

func TestListingAsJSON(t *testing.T) {
	d := newDoor(t)
	d.store.add("/dir", granary.TypeDirectory, nil)
	d.store.add("/dir/file", granary.TypeRegular, []byte(digits))
	d.store.add("/dir/sub", granary.TypeDirectory, nil)
	d.store.link("/dir/link", "file")
	d.store.link("/to-dir", "dir")
	for _, target := range []string{"/dir/?format=json", "/to-dir/?format=json"} {
		w := d.want(d.do("GET", target, ""), http.StatusOK)
		var l listing
		if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		mtime := "2026-09-21T14:13:20.123456789Z"
		want := []listingEntry{
			{Name: "file", Href: "./file", Type: "file", Size: 10, Mtime: mtime, Mode: "0644"},
			{Name: "link", Href: "./link", Type: "symlink", Mtime: mtime, Mode: "0644", Target: "file"},
			{Name: "sub", Href: "./sub/", Type: "directory", Mtime: mtime, Mode: "0644"},
		}
		if !slices.Equal(l.Entries, want) || l.More || l.Next != "" {
			t.Errorf("%+v", l)
		}
	}
	for accept, page := range map[string]bool{
		"application/json": false, "*/*": true, "text/html": true, "text/html, application/json": true, "application/json;q=0": true,
	} {
		w := d.want(d.do("GET", "/dir/", "", "Accept: "+accept), http.StatusOK)
		if got := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html"); got != page {
			t.Errorf("%s: %s", accept, w.Header().Get("Content-Type"))
		}
	}
}

func TestDirectoryWithoutSlash(t *testing.T) {
	d := newDoor(t)
	for _, name := range []string{"dir", `\evil.example`, "%2e%2e", "a b?c#d"} {
		d.store.add("/"+name, granary.TypeDirectory, nil)
		for _, method := range []string{"GET", "HEAD"} {
			w := d.want(d.do(method, escapePath("/"+name)+"?format=json", ""), http.StatusMovedPermanently)
			want := "/" + url.PathEscape(name) + "/?format=json"
			if got := w.Header().Get("Location"); got != want {
				t.Errorf("%s: Location %q, and not %q", name, got, want)
			}
		}
	}
}

func TestListingPages(t *testing.T) {
	d := newDoor(t)
	var want []string
	for i := range 2500 {
		name := fmt.Sprintf("f%04d", i)
		want = append(want, name)
		d.store.add("/"+name, granary.TypeRegular, nil)
	}
	follow := func(target string) (got []string) {
		for pages := 0; target != ""; pages++ {
			var l listing
			w := d.want(d.do("GET", target, ""), http.StatusOK)
			if err := json.Unmarshal(w.Body.Bytes(), &l); err != nil || len(l.Entries) > pageEntriesMax || l.More != (l.Next != "") || pages > len(want) {
				t.Fatalf("%d entries: %v", len(l.Entries), err)
			}
			for _, e := range l.Entries {
				got = append(got, e.Name)
			}
			if target = ""; l.Next != "" {
				target = "/" + l.Next
			}
		}
		return got
	}
	if got := follow("/?format=json"); !slices.Equal(got, want) {
		t.Errorf("%d names", len(got))
	}
	if got := follow("/?format=json&limit=99"); !slices.Equal(got, want) {
		t.Errorf("%d names", len(got))
	}
	body := d.want(d.do("GET", "/", ""), http.StatusOK).Body.String()
	if !strings.Contains(body, `href="?after=f0999"`) || strings.Contains(body, "f1000") {
		t.Error("the first page")
	}
	body = d.want(d.do("GET", "/?after=f1999", ""), http.StatusOK).Body.String()
	if !strings.Contains(body, "f2499") || strings.Contains(body, `rel="next"`) || !strings.Contains(body, "first page") {
		t.Error("the last page")
	}
}

// TestListingOfAnyNames lists names of any bytes, and goes where the page leads.
func TestListingOfAnyNames(t *testing.T) {
	href := regexp.MustCompile(`<td class="name"><a href="([^"]*)">`)
	rapid.Check(t, func(rt *rapid.T) {
		d := newDoor(t)
		names := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string {
			return string(rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]byte("<>\"'&%:;\\\n\r#?. {}")), rapid.Byte()), 1, 12).Draw(t, "bytes"))
		}).Filter(func(s string) bool { return checkName(s) == nil && s != "-" }), 1, 8, rapid.ID).Draw(rt, "names")
		for i, name := range names {
			typ := granary.TypeRegular
			if i%2 == 1 {
				typ = granary.TypeDirectory
			}
			d.store.add("/"+name, typ, []byte("x"))
		}
		var l listing
		var reached []string
		if err := json.Unmarshal(d.do("GET", "/?format=json", "").Body.Bytes(), &l); err != nil {
			rt.Fatal(err)
		}
		for _, e := range l.Entries {
			reached = append(reached, resolve(rt, e.Href))
		}
		same(rt, names, reached)
		body := d.do("GET", "/", "").Body.String()
		if !utf8.ValidString(body) {
			rt.Error("the page is not UTF-8")
		}
		reached = nil
		for _, m := range href.FindAllStringSubmatch(body, -1) {
			reached = append(reached, resolve(rt, html.UnescapeString(m[1])))
		}
		same(rt, names, reached)
		for _, name := range names {
			if w := d.do("DELETE", escapePath("/"+name), ""); w.Code != http.StatusNoContent {
				rt.Errorf("DELETE %q: %d %s", name, w.Code, w.Body)
			}
		}
	})
}

func resolve(t *rapid.T, href string) string {
	base, _ := url.Parse("http://h/")
	u, err := base.Parse(href)
	if err != nil || u.Host != "h" || u.RawQuery != "" || u.Fragment != "" {
		t.Fatalf("%q leads to %v: %v", href, u, err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), "/")
}

func same(t *rapid.T, want, got []string) {
	want, got = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
	if !slices.Equal(want, got) {
		t.Fatalf("the page leads to %q, and there are %q", got, want)
	}
}

func TestNamesDoNotBecomeMarkup(t *testing.T) {
	d := newDoor(t)
	for _, name := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, "javascript:alert(1)",
		"new\nline", "bad\xff\xfeutf8", "exe\u202etxt.", "{{.}}", "</style><script>", "${alert(1)}",
	} {
		d.store.add("/x/"+path.Base("/"+name), granary.TypeRegular, nil)
		d.store.add("/"+name, granary.TypeDirectory, nil)
		d.store.link("/x/link "+path.Base("/"+name), name)
	}
	d.store.add("/x", granary.TypeDirectory, nil)
	for _, target := range []string{"/", "/x/", escapePath("/{{.}}/"), escapePath("/\"><img src=x onerror=alert(1)>/")} {
		w := d.want(d.do("GET", target, ""), http.StatusOK)
		body := w.Body.String()
		for _, bad := range []string{"<script>", "<img", `' onmouse`, `href="javascript:`, "\u202e", "new\nline", "ZgotmplZ", "\xff"} {
			if strings.Contains(body, bad) {
				t.Errorf("%s: there is %q in the page", target, bad)
			}
		}
		if n := strings.Count(body, "<script"); n != 1 {
			t.Errorf("%s: %d scripts", target, n)
		}
		nonce := regexp.MustCompile(`script-src 'nonce-(\w+)'`).FindStringSubmatch(w.Header().Get("Content-Security-Policy"))
		if nonce == nil || !strings.Contains(body, `<script nonce="`+nonce[1]+`" type="module" src="`) || !strings.Contains(body, `<link rel="stylesheet" nonce="`+nonce[1]+`" href="`) {
			t.Errorf("%s: %s", target, w.Header().Get("Content-Security-Policy"))
		}
	}
}

func TestListingOrderAndCrumbs(t *testing.T) {
	d := newDoor(t)
	d.store.add("/a", granary.TypeDirectory, nil)
	d.store.add("/a/b c", granary.TypeDirectory, nil)
	d.store.add("/a/b c/a-file", granary.TypeRegular, nil)
	d.store.add("/a/b c/z-dir", granary.TypeDirectory, nil)
	body := d.want(d.do("GET", "/a/b%20c/", ""), http.StatusOK).Body.String()
	if file, dir := strings.Index(body, "a-file"), strings.Index(body, "z-dir"); dir < 0 || file < dir {
		t.Error("files before directories")
	}
	for _, crumb := range []string{`<a href="../../">Granary</a>`, `<a href="../">a</a>`, `<a href="./">b c</a>`} {
		if !strings.Contains(body, crumb) {
			t.Errorf("no %s", crumb)
		}
	}
	if body := d.want(d.do("GET", "/", ""), http.StatusOK).Body.String(); strings.Contains(body, `href="../`) {
		t.Error("the root has a parent")
	}
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 1 << 20: "1.0 MiB", 64 << 40: "64.0 TiB", 1<<64 - 1: "16.0 EiB",
	} {
		if got := humanSize(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

package web

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// pageEntriesMax is how many entries one page of a listing has.
const pageEntriesMax = 1000

// list answers with a page of a directory's entries.
func (q *request) list(info *filer.Info) error {
	asJSON, err := q.wantsJSON()
	if err != nil {
		return err
	}
	limit, err := q.limit()
	if err != nil {
		return err
	}
	entries, more, err := q.h.store.Page(q.r.Context(), info.Attr.Inode, q.query.Get("after"), limit)
	if err != nil {
		return err
	}
	next := ""
	if more && len(entries) > 0 {
		next = q.nextPage(cursorOf(&entries[len(entries)-1]))
	}
	q.w.Header().Set("Vary", "Accept")
	if asJSON {
		return q.sendJSON(http.StatusOK, newListing(q.path, entries, next))
	}
	return q.sendPage(http.StatusOK, "listing.html", newListingPage(q.path, entries, next, q.query.Has("after")))
}

func (q *request) wantsJSON() (bool, error) {
	switch format := q.query.Get("format"); format {
	case "json":
		return true, nil
	case "html":
		return false, nil
	case "":
		return q.accepts("application/json") && !q.browser(), nil
	default:
		return false, granary.Errorf(granary.KindInvalid, "list", q.path, "the format %q; there are json and html", format)
	}
}

func (q *request) limit() (int, error) {
	text := q.query.Get("limit")
	if text == "" {
		return pageEntriesMax, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, granary.Errorf(granary.KindInvalid, "list", q.path, "the limit %q", text)
	}
	return min(n, pageEntriesMax), nil
}

// nextPage returns the reference to the page after a cursor: the same question, but for "after". It is
// percent-encoded, so that it holds any name.
func (q *request) nextPage(cursor string) string {
	query := url.Values{"after": {cursor}}
	for _, name := range []string{"format", "limit"} {
		if v := q.query.Get(name); v != "" {
			query.Set(name, v)
		}
	}
	return "?" + query.Encode()
}

type (
	// listing is a page of a directory as programs get it. Next is a reference, relative to the
	// directory, to the next page; it is empty on the last.
	listing struct {
		Path    string         `json:"path"`
		Entries []listingEntry `json:"entries"`
		More    bool           `json:"more"`
		Next    string         `json:"next"`
	}
	// listingEntry is one entry. Href is its percent-encoded reference, relative to the directory:
	// exact also where the name is not UTF-8, which JSON cannot say.
	listingEntry struct {
		Name   string `json:"name"`
		Href   string `json:"href"`
		Type   string `json:"type"`
		Size   uint64 `json:"size"`
		Mtime  string `json:"mtime"`
		Mode   string `json:"mode"`
		Target string `json:"target,omitempty"`
	}
)

// newListing makes a page for programs, in key order.
func newListing(dir string, entries []granary.Entry, next string) *listing {
	l := &listing{Path: strings.TrimSuffix(dir, "/") + "/", Entries: make([]listingEntry, len(entries)), More: next != "", Next: next}
	for i, e := range entries {
		l.Entries[i] = listingEntry{
			Name: e.Name, Href: hrefOf(&e), Type: e.Attr.Type.String(), Size: e.Attr.Size,
			Mtime: e.Attr.Mtime.Std().UTC().Format(time.RFC3339Nano), Mode: fmt.Sprintf("%04o", e.Attr.Mode), Target: e.Target,
		}
	}
	return l
}

// hrefOf returns a reference to an entry, relative to its directory. The "./" keeps a name with a colon
// from being taken for a URL with a scheme.
func hrefOf(e *granary.Entry) string {
	href := "./" + strings.ReplaceAll(url.PathEscape(e.Name), "%2F", "/") // in ?list names are paths
	if e.Attr.IsDir() {
		href += "/"
	}
	return href
}

type (
	// listingPage is a page of a directory as people get it.
	listingPage struct {
		Nonce  string
		Base   string // of scripts and style
		Title  string
		Crumbs []crumb
		Up     bool // there is a directory above
		Later  bool // this is not the first page
		Next   string
		Rows   []row
	}
	// crumb is a directory on the way from the root.
	crumb struct{ Name, Href string }
	row   struct {
		Name, Href, Target string
		Type               string
		Size, SizeExact    string
		Time, TimeExact    string
	}
)

func (p *listingPage) setNonce(nonce, base string) { p.Nonce, p.Base = nonce, base }

// newListingPage makes a page for people: directories first.
func newListingPage(dir string, entries []granary.Entry, next string, later bool) *listingPage {
	slices.SortStableFunc(entries, func(a, b granary.Entry) int {
		if d := cmp.Compare(rank(&a), rank(&b)); d != 0 {
			return d
		}
		return cmp.Compare(a.Name, b.Name)
	})
	p := &listingPage{Title: visible(dir), Crumbs: crumbs(dir), Up: dir != "/", Later: later, Next: next, Rows: make([]row, len(entries))}
	for i, e := range entries {
		mtime := e.Attr.Mtime.Std().UTC()
		p.Rows[i] = row{
			Name: visible(e.Name), Href: hrefOf(&e), Target: visible(e.Target), Type: e.Attr.Type.String(),
			Time: mtime.Format("2006-01-02 15:04"), TimeExact: mtime.Format(time.RFC3339Nano),
		}
		if e.Attr.Type == granary.TypeRegular {
			p.Rows[i].Size, p.Rows[i].SizeExact = humanSize(e.Attr.Size), fmt.Sprintf("%d bytes", e.Attr.Size)
		}
	}
	return p
}

func rank(e *granary.Entry) int {
	if e.Attr.IsDir() {
		return 0
	}
	return 1
}

// crumbs returns the directories from the root to a clean path, with references relative to it.
func crumbs(dir string) []crumb {
	names := strings.FieldsFunc(dir, func(r rune) bool { return r == '/' })
	list := make([]crumb, 0, len(names)+1)
	for i, name := range append([]string{"/"}, names...) {
		href := "./" + strings.Repeat("../", len(names)-i)
		list = append(list, crumb{Name: visible(name), Href: path.Clean(href) + "/"})
	}
	return list
}

// visible returns a name as it can be shown: what is not UTF-8 as U+FFFD, control characters as their
// pictures, and what would turn the direction of the text around, to make one name look like another,
// as U+FFFD too. html/template escapes the rest.
func visible(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ':
			return '\u2400' + r
		case r == 0x7f:
			return '\u2421'
		case r >= 0x80 && r < 0xa0, r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return '\uFFFD'
		default:
			return r
		}
	}, strings.ToValidUTF8(name, "\uFFFD"))
}

// humanSize writes a size in bytes with a binary unit.
func humanSize(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 1023.95 && unit < len("KMGTPE")-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}

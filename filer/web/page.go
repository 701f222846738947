package web

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"

	"github.com/dsorchard/granary"
)

//go:embed pages
var pageFiles embed.FS

// uiPath is where the scripts and the style of pages are. What follows is a digest of them all: so each may be kept for good.
const uiPath = "/-/ui/"

// pages are the templates, and what they refer to.
type pages struct {
	templates *template.Template
	files     map[string][]byte // scripts and styles by name
	base      string            // their path
}

func parsePages() (*pages, error) {
	p := &pages{files: map[string][]byte{}}
	var err error
	if p.templates, err = template.ParseFS(pageFiles, "pages/*.html"); err != nil {
		return nil, err
	}
	digest := sha256.New()
	err = fs.WalkDir(pageFiles, "pages", func(name string, d fs.DirEntry, err error) error {
		if err != nil || assetTypes(name) == "" {
			return err
		}
		b, err := pageFiles.ReadFile(name)
		p.files[path.Base(name)] = b
		digest.Write(b) // in the order of their names
		return err
	})
	p.base = uiPath + hex.EncodeToString(digest.Sum(nil)[:8])
	return p, err
}

// assetTypes returns the media type of a script or style; "" for what is none.
func assetTypes(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	}
	return ""
}

// page is what a template shows. Its style and script elements carry the nonce; no others are run, but for modules that those import.
type page interface{ setNonce(nonce, base string) }

// sendPage answers with a page.
func (q *request) sendPage(status int, name string, p page) error {
	nonce := rand.Text()
	p.setNonce(nonce, q.h.pages.base)
	var body bytes.Buffer
	if err := q.h.pages.templates.ExecuteTemplate(&body, name, p); err != nil {
		return err
	}
	header := q.w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "same-origin")
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-"+nonce+"'; style-src 'nonce-"+nonce+
		"'; img-src data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	q.w.WriteHeader(status)
	_, err := q.w.Write(body.Bytes())
	return err
}

// serveUI serves a script or a style. Of an earlier or later version of the program it is asked for while servers are
// being replaced: then the page is to be loaded anew.
func (q *request) serveUI() error {
	base, name := path.Split(q.path)
	body, ok := q.h.pages.files[name]
	if !ok || strings.TrimSuffix(base, "/") != q.h.pages.base {
		return granary.Errorf(granary.KindNotFound, "page", q.path, "it is of another version: load the page anew")
	}
	header := q.w.Header()
	header.Set("Content-Type", assetTypes(name))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	q.w.WriteHeader(http.StatusOK)
	if q.r.Method == http.MethodHead {
		return nil
	}
	_, err := q.w.Write(body)
	return err
}

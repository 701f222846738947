package web

import (
	"bytes"
	"crypto/rand"
	"embed"
	"html/template"
)

//go:embed pages
var pageFiles embed.FS

func parsePages() (*template.Template, error) {
	return template.ParseFS(pageFiles, "pages/*.html")
}

// page is what a template shows. Its style and script elements carry the nonce; no others are run.
type page interface{ setNonce(nonce string) }

// sendPage answers with a page.
func (q *request) sendPage(status int, name string, p page) error {
	nonce := rand.Text()
	p.setNonce(nonce)
	var body bytes.Buffer
	if err := q.h.pages.ExecuteTemplate(&body, name, p); err != nil {
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

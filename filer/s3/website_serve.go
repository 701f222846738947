package s3

import (
	"encoding/xml"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// website serves the buckets that have a website's configuration to browsers: anonymously, by what the policies of the buckets allow to all.
type website struct {
	h      *Handler
	domain string
}

// Website returns the handler of the buckets' websites. Which one a request is for, its host says: BUCKET.domain, or, if the host is no
// such, a bucket that is called as the host is.
func (h *Handler) Website(domain string) http.Handler {
	return &website{h: h, domain: strings.ToLower(strings.Trim(domain, "."))}
}

// ServeHTTP implements http.Handler.
func (w *website) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	q := w.h.newRequest(rw, r)
	q.query, q.identity = url.Values{}, identity{caller: anonymous()}
	q.bucket, q.key = w.bucket(r.Host), strings.TrimPrefix(r.URL.Path, "/")
	q.site = true
	v := &visit{request: q, path: q.key}
	defer q.logged()
	if err := v.serve(); err != nil {
		v.fail(err)
	}
}

// bucket returns which bucket a host means.
func (w *website) bucket(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(host)
	if w.domain != "" {
		if bucket, ok := strings.CutSuffix(host, "."+w.domain); ok {
			return bucket
		}
	}
	return host
}

// visit is a request to a website. The request's key is that of the document that is looked for.
type visit struct {
	*request
	path string // as it was asked for
	site *websiteConfiguration
}

func (v *visit) serve() error {
	switch v.r.Method {
	case http.MethodOptions:
		return v.preflight()
	case http.MethodGet, http.MethodHead:
	default:
		e := refuse(codeMethodNotAllowed, "The specified method is not allowed against this resource.")
		e.header = http.Header{"Allow": {"GET, HEAD, OPTIONS"}}
		return e
	}
	b, err := v.openBucket()
	if err != nil {
		return err
	}
	document, ok := b.Xattr(xattrWebsite)
	if !ok {
		return refuse(codeNoWebsite, "The specified bucket does not have a website configuration")
	}
	site := new(websiteConfiguration)
	if err := xml.Unmarshal(document, site); err != nil {
		return granary.Errorf(granary.KindCorrupt, "s3.website", v.bucket, "%w", err)
	}
	v.site = site
	v.allowOrigin()
	if site.RedirectAll != nil {
		v.redirect(site.RedirectAll, "")
		return nil
	}
	if rule := site.rule(v.path, 0); rule != nil {
		v.follow(rule)
		return nil
	}
	if v.key == "" || strings.HasSuffix(v.key, "/") {
		v.key += site.Index.Suffix
	}
	return v.document()
}

func (v *visit) follow(rule *websiteRule) {
	prefix := ""
	if rule.Condition != nil {
		prefix = rule.Condition.KeyPrefix
	}
	v.redirect(&rule.Redirect, prefix)
}

func (v *visit) redirect(r *websiteRedirect, prefix string) {
	to, status := r.target(v.r, v.path, prefix)
	v.w.Header().Set("Location", to)
	v.w.WriteHeader(status)
}

// document answers with the object that was asked for, or as it says.
func (v *visit) document() error {
	info, err := v.permitted(v.key)
	if err != nil {
		return err
	}
	if to, ok := info.Xattr(xattrPrefix + strings.ToLower(redirectHeader)); ok {
		v.w.Header().Set("Location", string(to))
		v.w.WriteHeader(http.StatusMovedPermanently)
		return nil
	}
	if v.r.Method == http.MethodHead {
		return v.headObject()
	}
	return v.getObject()
}

// permitted finds an object that everybody may read. That there is none is told to whoever may read it.
func (v *visit) permitted(key string) (*filer.Info, error) {
	b, err := v.openBucket()
	if err != nil {
		return nil, err
	}
	if err := v.permitKey("s3:GetObject", key, 0); err != nil {
		return nil, err
	}
	return v.findObject(b.Attr.Inode, key, 0)
}

// fail answers with an error: by a rule's redirect, with the website's own document, or with a page that tells it. An answer that has
// begun is cut off.
func (v *visit) fail(err error) {
	e := explain(err, codeNoSuchKey)
	status := e.code.status()
	if v.w.began {
		panic(http.ErrAbortHandler)
	}
	v.w.code = string(e.code)
	v.logFailure(e, status, err)
	if v.site != nil && v.site.RedirectAll == nil && status < 500 && (v.r.Method == http.MethodGet || v.r.Method == http.MethodHead) {
		if v.instead(e, status) {
			return
		}
	}
	v.errorPage(e, status)
}

// instead answers to an error as the configuration of the website says, if it does.
func (v *visit) instead(e *apiError, status int) bool {
	if status == http.StatusNotFound && !strings.HasSuffix(v.path, "/") && v.path != "" {
		if _, err := v.permitted(v.path + "/" + v.site.Index.Suffix); err == nil {
			v.w.Header().Set("Location", "/"+uriEncode(v.path, true)+"/")
			v.w.WriteHeader(http.StatusFound)
			return true
		}
	}
	if rule := v.site.rule(v.path, status); rule != nil {
		v.follow(rule)
		return true
	}
	if v.site.Error == nil {
		return false
	}
	if _, err := v.permitted(v.site.Error.Key); err != nil {
		return false
	}
	return v.errorDocument(e, status)
}

// errorDocument answers with the website's own document about an error; false if it could not be read.
func (v *visit) errorDocument(e *apiError, status int) bool {
	file, err := v.h.store.OpenKey(v.r.Context(), v.info.Attr.Inode, v.site.Error.Key, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	if err := v.unlock(file, sseHeader); err != nil {
		return false
	}
	info, header := file.Stat(), v.w.Header()
	header.Set("Content-Type", contentTypeDefault)
	setMetadata(header, info.Xattrs)
	header.Set("Etag", quoteETag(info.ETag()))
	header.Set("Last-Modified", info.Attr.Mtime.Std().UTC().Format(http.TimeFormat))
	header.Set("Content-Length", strconv.FormatInt(sizeOf(&info.Attr), 10))
	v.tellError(e)
	if v.r.Method == http.MethodHead || sizeOf(&info.Attr) == 0 {
		v.w.WriteHeader(status)
		return true
	}
	reader := file.NewReader(0, sizeOf(&info.Attr))
	defer reader.Close()
	if n, err := io.Copy(&lateWriter{w: v.w, status: status}, reader); err != nil || n != sizeOf(&info.Attr) {
		if v.w.began {
			panic(http.ErrAbortHandler)
		}
		for name := range header {
			header.Del(name)
		}
		header.Set("X-Amz-Request-Id", v.id)
		return false
	}
	return true
}

// tellError puts an error into headers, as AWS's websites do.
func (v *visit) tellError(e *apiError) {
	header := v.w.Header()
	header.Set("X-Amz-Error-Code", string(e.code))
	header.Set("X-Amz-Error-Message", e.message)
	header.Set("X-Amz-Id-2", hostID)
}

// errorPage answers with a page that tells an error.
func (v *visit) errorPage(e *apiError, status int) {
	title := fmt.Sprintf("%d %s", status, http.StatusText(status))
	var page strings.Builder
	fmt.Fprintf(&page, "<html>\n<head><title>%s</title></head>\n<body>\n<h1>%s</h1>\n<ul>\n<li>Code: %s</li>\n<li>Message: %s</li>\n", title, title, e.code, html.EscapeString(e.message))
	fmt.Fprintf(&page, "<li>RequestId: %s</li>\n<li>HostId: %s</li>\n</ul>\n<hr/>\n</body>\n</html>\n", v.id, hostID)
	header := v.w.Header()
	for name, values := range e.header {
		header[name] = values
	}
	v.tellError(e)
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(page.Len()))
	v.w.WriteHeader(status)
	if v.r.Method == http.MethodHead {
		return
	}
	if _, err := io.WriteString(v.w, page.String()); err != nil {
		panic(http.ErrAbortHandler)
	}
}

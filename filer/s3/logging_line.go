package s3

import (
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"time"
)

// logTimeFormat is that of times in access logs.
const logTimeFormat = "[02/Jan/2006:15:04:05 -0700]"

// logged has the request in the log of its bucket, if it has one. It comes after the answer.
func (q *request) logged() {
	if q.info == nil {
		return
	}
	document, ok := q.info.Xattr(xattrLogging)
	if !ok {
		return
	}
	if c := q.h.logs.configured(document); c != nil {
		q.h.logs.add(q.bucket, c, q.logLine())
	}
}

// logLine is a line of an access log:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
func (q *request) logLine() []byte {
	number := func(n int64) string { // none of 0
		if n <= 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	total := time.Since(q.began).Milliseconds()
	turnaround := total
	if !q.w.first.IsZero() {
		turnaround = q.w.first.Sub(q.began).Milliseconds()
	}
	signature, kind := q.logAuth()
	cipher, version := "", ""
	if q.r.TLS != nil {
		cipher, version = tls.CipherSuiteName(q.r.TLS.CipherSuite), strings.ReplaceAll(tls.VersionName(q.r.TLS.Version), "TLS 1", "TLSv1")
	}
	remote := q.r.RemoteAddr
	if host, _, err := net.SplitHostPort(remote); err == nil {
		remote = host
	}
	size := q.objectSize
	if q.body != nil && q.body.read > 0 && q.key != "" {
		size = q.body.read
	}
	var line strings.Builder
	for i, field := range []string{
		ownerID, q.bucket, q.h.now().UTC().Format(logTimeFormat), remote, q.logRequester(), q.id, q.logOperation(), uriEncode(uriEncode(q.key, true), true),
		logQuoted(q.r.Method + " " + q.r.RequestURI + " " + q.r.Proto), strconv.Itoa(q.w.status), q.w.code, number(q.w.sent), number(size),
		strconv.FormatInt(total, 10), strconv.FormatInt(turnaround, 10), logQuoted(q.r.Referer()), logQuoted(q.r.UserAgent()), q.query.Get("versionId"), hostID,
		signature, cipher, kind, q.r.Host, version, "", "",
	} {
		if i > 0 {
			line.WriteByte(' ')
		}
		if field == "" {
			field = "-"
		}
		line.WriteString(field)
	}
	line.WriteByte('\n')
	return []byte(line.String())
}

// logRequester says who asks, by id or ARN; "" for nobody.
func (q *request) logRequester() string {
	c := q.identity.caller
	switch {
	case c == nil || c.principal.Anonymous:
		return ""
	case c.root:
		return ownerID
	}
	return c.principal.ARNs[0]
}

// logAuth says how the request was signed.
func (q *request) logAuth() (signature, kind string) {
	if q.identity.scope.accessKey == "" {
		return "", ""
	}
	signature, kind = "SigV4", "AuthHeader"
	if q.identity.version2 {
		signature = "SigV2"
	}
	if q.presigned() {
		kind = "QueryString"
	}
	return signature, kind
}

// logQuoted writes what a client said so that it stays within its field and line.
func logQuoted(text string) string {
	if text == "" {
		return ""
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"':
			b.WriteString("%22")
		case c < ' ' || c == 0x7f:
			b.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(c)+0x100, 16))[1:])
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// note remembers of an answer what logs tell.
func (w *responseWriter) note(status int) {
	if w.status == 0 {
		w.status, w.first = status, time.Now()
	}
}

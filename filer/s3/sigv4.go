package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Fixed words of Signature Version 4:
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
const (
	algorithmV4      = "AWS4-HMAC-SHA256"
	scopeTerminator  = "aws4_request"
	scopeService     = "s3"
	serviceIAM       = "iam"
	serviceSTS       = "sts"
	dateTimeFormat   = "20060102T150405Z"
	dateFormat       = "20060102"
	emptySHA256      = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	payloadUnsigned  = "UNSIGNED-PAYLOAD"
	payloadChunked   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	payloadTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	payloadUnsignedT = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// scope is a credential scope: what a signing key is good for.
type scope struct {
	accessKey string
	date      string // yyyymmdd
	region    string
	service   string
}

// String returns the scope as strings to sign have it.
func (s scope) String() string {
	return s.date + "/" + s.region + "/" + s.service + "/" + scopeTerminator
}

// parseScope parses ACCESSKEY/DATE/REGION/SERVICE/aws4_request, or says what is wrong, as AWS does. An access key may hold slashes.
func parseScope(credential string) (s scope, wrong string) {
	parts := strings.Split(credential, "/")
	n := len(parts)
	if n < 5 {
		return s, `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`
	}
	s = scope{accessKey: strings.Join(parts[:n-4], "/"), date: parts[n-4], region: parts[n-3], service: parts[n-2]}
	_, err := time.Parse(dateFormat, s.date)
	switch {
	case s.accessKey == "":
		wrong = `the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".`
	case parts[n-1] != scopeTerminator:
		wrong = fmt.Sprintf("incorrect terminal %q. This endpoint uses %q.", parts[n-1], scopeTerminator)
	case s.service != scopeService && s.service != serviceIAM && s.service != serviceSTS:
		wrong = fmt.Sprintf("incorrect service %q. This endpoint belongs to %q.", s.service, scopeService)
	case err != nil:
		wrong = fmt.Sprintf("incorrect date format %q. This date in the credential must be in the format \"yyyyMMdd\".", s.date)
	}
	return s, wrong
}

// signature is a claim of Signature Version 4, from the Authorization header or the query.
type signature struct {
	scope     scope
	headers   []string // signed, lower-case, sorted
	signature string   // hexadecimal
}

// parseAuthorization parses the value of an Authorization header that begins with algorithmV4.
func parseAuthorization(value string) (signature, error) {
	var s signature
	malformed := func(format string, args ...any) error {
		return refuse(codeAuthMalformed, "The authorization header is malformed; "+format, args...)
	}
	fields := strings.Split(strings.TrimPrefix(value, algorithmV4), ",")
	if len(fields) != 3 {
		return s, malformed("the authorization header requires three components: Credential, SignedHeaders, and Signature.")
	}
	credential := ""
	for _, field := range fields {
		name, val, ok := strings.Cut(strings.TrimSpace(field), "=")
		if !ok {
			return s, malformed("the authorization component %q is malformed.", strings.TrimSpace(field))
		}
		switch name {
		case "Credential":
			credential = val
		case "SignedHeaders":
			s.headers = strings.Split(val, ";")
		case "Signature":
			s.signature = val
		}
	}
	var wrong string
	s.scope, wrong = parseScope(credential)
	switch {
	case credential == "":
		return s, malformed("missing Credential.")
	case len(s.headers) == 0 || s.headers[0] == "":
		return s, malformed("missing SignedHeaders.")
	case s.signature == "":
		return s, malformed("missing Signature.")
	case wrong != "":
		return s, malformed("%s", wrong)
	}
	return s, nil
}

// signingKey derives the key of a scope from a secret key.
func signingKey(secretKey string, s scope) []byte {
	key := hmacSHA256([]byte("AWS4"+secretKey), s.date)
	key = hmacSHA256(key, s.region)
	key = hmacSHA256(key, s.service)
	return hmacSHA256(key, scopeTerminator)
}

func hmacSHA256(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

func hexSHA256(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// stringToSign is step 2 of the signature.
func stringToSign(dateTime string, s scope, canonicalRequest string) string {
	return algorithmV4 + "\n" + dateTime + "\n" + s.String() + "\n" + hexSHA256(canonicalRequest)
}

// sameSignature compares a computed signature with a claimed one in constant time.
func sameSignature(computed, claimed string) bool {
	return subtle.ConstantTimeCompare([]byte(computed), []byte(claimed)) == 1
}

// canonicalRequest is step 1 of the signature. Query parameters named in omit are left out.
func canonicalRequest(r *http.Request, query url.Values, omit string, signedHeaders []string, payload string) string {
	const usual = 1 << 10
	b := make([]byte, 0, usual)
	line := func(parts ...string) {
		for _, p := range parts {
			b = append(b, p...)
		}
		b = append(b, '\n')
	}
	line(r.Method)
	line(uriEncode(r.URL.Path, true))
	line(canonicalQuery(query, omit))
	for _, name := range signedHeaders {
		line(name, ":", canonicalHeader(r, name))
	}
	line()
	line(strings.Join(signedHeaders, ";"))
	return string(append(b, payload...))
}

// canonicalQuery sorts parameters by encoded name, then by encoded value.
func canonicalQuery(query url.Values, omit string) string {
	if len(query) == 0 {
		return ""
	}
	pairs := make([]string, 0, len(query))
	for name, values := range query {
		if name == omit {
			continue
		}
		for _, v := range values {
			// '\x00' sorts below every encoded byte, as the end of a name must.
			pairs = append(pairs, uriEncode(name, false)+"\x00"+uriEncode(v, false))
		}
	}
	sort.Strings(pairs)
	return strings.ReplaceAll(strings.Join(pairs, "&"), "\x00", "=")
}

// canonicalHeader returns a header's values as they are signed. The server has taken some headers out
// of the map: they are put back from where it keeps them.
func canonicalHeader(r *http.Request, name string) string {
	values := r.Header.Values(name)
	switch {
	case name == "host":
		values = []string{r.Host}
	case name == "content-length" && len(values) == 0:
		values = []string{strconv.FormatInt(r.ContentLength, 10)}
	case name == "transfer-encoding" && len(values) == 0:
		values = r.TransferEncoding
	}
	if len(values) == 1 && isTrimmed(values[0]) {
		return values[0]
	}
	trimmed := make([]string, len(values))
	for i, v := range values {
		trimmed[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(trimmed, ",")
}

// isTrimmed reports whether a value of a header is certainly as it is signed: it has no spaces but single ones between what can be printed.
func isTrimmed(value string) bool {
	space := true
	for i := range len(value) {
		c := value[i]
		if c <= ' ' && (c != ' ' || space) || c > '~' {
			return false
		}
		space = c == ' '
	}
	return !space || value == ""
}

// uriEncode percent-encodes all but the unreserved characters of RFC 3986, and '/' if it is kept.
func uriEncode(s string, keepSlash bool) string {
	const digits = "0123456789ABCDEF"
	first := 0
	for first < len(s) && unreserved(s[first], keepSlash) {
		first++
	}
	if first == len(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	b.WriteString(s[:first])
	for _, c := range []byte(s[first:]) {
		if unreserved(c, keepSlash) {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

// unreserved reports whether uriEncode leaves a character as it is.
func unreserved(c byte, keepSlash bool) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' ||
		c == '-' || c == '_' || c == '.' || c == '~' || c == '/' && keepSlash
}

// unsignedHeaders returns the headers that had to be signed and are not, with ", " between them. Host must be; and every
// x-amz- header that is there, or else whoever carries a presigned URL could give it a new meaning
// (x-amz-copy-source makes a copy of a PUT).
func unsignedHeaders(r *http.Request, signed []string, presigned bool) string {
	var unsigned []string
	if !slices.Contains(signed, "host") {
		unsigned = append(unsigned, "host")
	}
	const prefix = "x-amz-"
	for name := range r.Header {
		if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
			continue
		}
		lower := strings.ToLower(name)
		if slices.Contains(signed, lower) {
			continue
		}
		if presigned && lower == "x-amz-content-sha256" { // the canonical request ends in it
			continue
		}
		unsigned = append(unsigned, lower)
	}
	slices.Sort(unsigned)
	return strings.Join(unsigned, ", ")
}

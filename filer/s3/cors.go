package s3

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
)

const corsRulesMax = 100

type corsConfiguration struct {
	XMLName xml.Name   `xml:"CORSConfiguration"`
	Xmlns   string     `xml:"xmlns,attr,omitempty"`
	Rules   []corsRule `xml:"CORSRule"`
}

type corsRule struct {
	ID             string   `xml:",omitempty"`
	AllowedOrigins []string `xml:"AllowedOrigin"`
	AllowedMethods []string `xml:"AllowedMethod"`
	AllowedHeaders []string `xml:"AllowedHeader,omitempty"`
	ExposeHeaders  []string `xml:"ExposeHeader,omitempty"`
	MaxAgeSeconds  *int     `xml:",omitempty"`
}

func checkCORS(c *corsConfiguration) error {
	if len(c.Rules) == 0 || len(c.Rules) > corsRulesMax {
		return malformedXML()
	}
	for _, r := range c.Rules {
		if len(r.AllowedOrigins) == 0 || len(r.AllowedMethods) == 0 {
			return malformedXML()
		}
		for _, m := range r.AllowedMethods {
			if !slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}, m) {
				return refuse(codeInvalidRequest, "Found unsupported HTTP method in CORS config. Unsupported method is %s", m)
			}
		}
		for _, o := range r.AllowedOrigins {
			if strings.Count(o, "*") > 1 {
				return refuse(codeInvalidRequest, "AllowedOrigin %q can not have more than one wildcard.", o)
			}
		}
		for _, h := range r.AllowedHeaders {
			if strings.Count(h, "*") > 1 {
				return refuse(codeInvalidRequest, "AllowedHeader %q can not have more than one wildcard.", h)
			}
		}
		for _, h := range r.ExposeHeaders {
			if strings.Contains(h, "*") {
				return refuse(codeInvalidRequest, "ExposeHeader %q contains wildcard. We currently do not support wildcard for ExposeHeader.", h)
			}
		}
	}
	c.XMLName, c.Xmlns = xml.Name{Local: "CORSConfiguration"}, xmlNamespace
	return nil
}

// matchesWildcard reports whether a text is a pattern with one "*" at most.
func matchesWildcard(pattern, text string) bool {
	before, after, ok := strings.Cut(pattern, "*")
	if !ok {
		return pattern == text
	}
	return len(text) >= len(before)+len(after) && strings.HasPrefix(text, before) && strings.HasSuffix(text, after)
}

// allowing returns the first rule that allows a request of an origin.
func (c *corsConfiguration) allowing(origin, method string, headers []string) *corsRule {
	for i := range c.Rules {
		r := &c.Rules[i]
		origins := slices.ContainsFunc(r.AllowedOrigins, func(p string) bool { return matchesWildcard(p, origin) })
		all := !slices.ContainsFunc(headers, func(h string) bool {
			return !slices.ContainsFunc(r.AllowedHeaders, func(p string) bool { return matchesWildcard(strings.ToLower(p), strings.ToLower(h)) })
		})
		if origins && all && slices.Contains(r.AllowedMethods, method) {
			return r
		}
	}
	return nil
}

// cors returns the rules of the request's bucket; nil if it has none.
func (q *request) cors() (*corsConfiguration, error) {
	b, err := q.openBucket()
	if err != nil {
		return nil, err
	}
	stored, ok := b.Xattr(xattrCORS)
	if !ok {
		return nil, nil
	}
	var c corsConfiguration
	if err := xml.Unmarshal(stored, &c); err != nil {
		return nil, granary.Errorf(granary.KindCorrupt, "s3.cors", q.bucket, "%w", err)
	}
	return &c, nil
}

func (r *corsRule) set(header http.Header, origin, method string) {
	if slices.Contains(r.AllowedOrigins, "*") {
		header.Set("Access-Control-Allow-Origin", "*")
	} else {
		header.Set("Access-Control-Allow-Origin", origin)
		header.Set("Access-Control-Allow-Credentials", "true")
	}
	header.Set("Access-Control-Allow-Methods", strings.Join(r.AllowedMethods, ", "))
	if len(r.ExposeHeaders) > 0 {
		header.Set("Access-Control-Expose-Headers", strings.Join(r.ExposeHeaders, ", "))
	}
	if r.MaxAgeSeconds != nil {
		header.Set("Access-Control-Max-Age", strconv.Itoa(*r.MaxAgeSeconds))
	}
	header.Add("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
}

// allowOrigin adds to an answer what lets a browser of the request's origin read it.
func (q *request) allowOrigin() {
	origin := q.r.Header.Get("Origin")
	if origin == "" || q.bucket == "" {
		return
	}
	c, err := q.cors()
	if err != nil || c == nil { // what is wrong with the bucket the operation says
		return
	}
	method := q.r.Method
	if asked := q.r.Header.Get("Access-Control-Request-Method"); asked != "" { // AWS goes by it whatever the request is
		method = asked
	}
	if rule := c.allowing(origin, method, requestedHeaders(q.r.Header)); rule != nil {
		rule.set(q.w.Header(), origin, method)
	}
}

// requestedHeaders returns the headers that a request says it has, or is going to have.
func requestedHeaders(header http.Header) []string {
	var headers []string
	for h := range strings.SplitSeq(header.Get("Access-Control-Request-Headers"), ",") {
		if h = strings.TrimSpace(h); h != "" {
			headers = append(headers, h)
		}
	}
	return headers
}

// preflight answers a browser that asks whether it may send a request. It is not signed.
func (q *request) preflight() error {
	origin, method := q.r.Header.Get("Origin"), q.r.Header.Get("Access-Control-Request-Method")
	switch {
	case origin == "":
		return refuse(codeBadRequest, "Insufficient information. Origin request header needed.")
	case !slices.Contains([]string{"GET", "PUT", "POST", "DELETE", "HEAD"}, method):
		return refuse(codeBadRequest, "Invalid Access-Control-Request-Method: %s", method)
	}
	headers := requestedHeaders(q.r.Header)
	c, err := q.cors()
	if err != nil {
		return err
	}
	if c == nil {
		return refuse(codeAccessForbidden, "CORSResponse: CORS is not enabled for this bucket.")
	}
	rule := c.allowing(origin, method, headers)
	if rule == nil {
		return refuse(codeAccessForbidden, "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.")
	}
	rule.set(q.w.Header(), origin, method)
	if len(headers) > 0 {
		q.w.Header().Set("Access-Control-Allow-Headers", strings.ToLower(strings.Join(headers, ", ")))
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}

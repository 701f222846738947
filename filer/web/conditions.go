package web

import (
	"net/http"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// conditional reports whether a request that changes something has conditions.
func conditional(r *http.Request) bool {
	return r.Header.Get("If-Match") != "" || r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Unmodified-Since") != ""
}

// precondition checks the conditions of a request against what is at its path (nil: nothing), and
// returns what must still hold when the change is made: RFC 9110, section 13. It returns nil where there
// are none.
func precondition(r *http.Request, path string, current *filer.Info) (*granary.Precondition, error) {
	if !conditional(r) {
		return nil, nil
	}
	failed := func(header string) error {
		return granary.Errorf(granary.KindPrecondition, "check", path, "%s does not hold", header)
	}
	m := &granary.Precondition{}
	if value := r.Header.Get("If-Match"); value != "" {
		tags, anything, err := parseETags(value)
		switch {
		case err != nil:
			return nil, err
		case current == nil, !anything && !tags.has(current, true):
			return nil, failed("If-Match")
		case anything:
			m.Present = true
		default:
			m.ETag = current.ETag()
		}
	} else if value := r.Header.Get("If-Unmodified-Since"); value != "" {
		since, err := http.ParseTime(value)
		if err == nil && current != nil { // an invalid date is ignored: RFC 9110, 13.1.4
			if current.Attr.Mtime.Std().Truncate(time.Second).After(since) {
				return nil, failed("If-Unmodified-Since")
			}
			m.Version = current.Attr.Version
		}
	}
	if value := r.Header.Get("If-None-Match"); value != "" {
		tags, anything, err := parseETags(value)
		switch {
		case err != nil:
			return nil, err
		case current != nil && (anything || tags.has(current, false)):
			return nil, failed("If-None-Match")
		case current == nil:
			m.Absent = true
		default:
			m.Version = current.Attr.Version
		}
	}
	if *m == (granary.Precondition{}) {
		return nil, nil
	}
	return m, nil
}

// etags are the entity tags of a header, as they were written.
type etags []string

// has reports whether the ETag of a file is among them. Only a strong comparison minds that a tag is
// weak. Directories and symbolic links have none.
func (t etags) has(info *filer.Info, strong bool) bool {
	if info.Attr.Type != granary.TypeRegular {
		return false
	}
	want := info.ETag()
	for _, tag := range t {
		opaque, weak := strings.CutPrefix(tag, "W/")
		if strings.Trim(opaque, `"`) == want && !(weak && strong) {
			return true
		}
	}
	return false
}

// parseETags reads a list of entity tags, or "*". Tags without quotes, as some clients send them, are
// taken for quoted ones.
func parseETags(value string) (tags etags, anything bool, err error) {
	rest := strings.TrimSpace(value)
	if rest == "*" {
		return nil, true, nil
	}
	for rest != "" {
		prefix := ""
		if after, weak := strings.CutPrefix(rest, "W/"); weak {
			prefix, rest = "W/", after
		}
		end := strings.IndexByte(rest, ',')
		if strings.HasPrefix(rest, `"`) {
			quote := strings.IndexByte(rest[1:], '"')
			if quote < 0 {
				return nil, false, granary.Errorf(granary.KindInvalid, "parse", value, "an entity tag without its closing quote")
			}
			end = quote + 2
		}
		if end < 0 {
			end = len(rest)
		}
		if tag := strings.TrimSpace(rest[:end]); tag != "" {
			tags = append(tags, prefix+tag)
		}
		rest = strings.TrimLeft(rest[end:], ", \t")
	}
	return tags, false, nil
}

// quoteETag writes an ETag as headers have it.
func quoteETag(etag string) string { return `"` + etag + `"` }

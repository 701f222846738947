package s3

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
)

// Outcomes of conditional headers.
type verdict int

const (
	proceed verdict = iota
	notModified
	preconditionFailed
)

// evaluate applies conditional headers in the order of RFC 9110 section 13.2.2. The headers' names
// begin with prefix: "" or "X-Amz-Copy-Source-".
func evaluate(header http.Header, prefix, etag string, modified time.Time) verdict {
	// Times in headers are whole seconds.
	modified = modified.Truncate(time.Second)
	if list := header.Get(prefix + "If-Match"); list != "" {
		if !matchesETag(list, etag) {
			return preconditionFailed
		}
	} else if t, err := http.ParseTime(header.Get(prefix + "If-Unmodified-Since")); err == nil && modified.After(t) {
		return preconditionFailed
	}
	if list := header.Get(prefix + "If-None-Match"); list != "" {
		if matchesETag(list, etag) {
			return notModified
		}
	} else if t, err := http.ParseTime(header.Get(prefix + "If-Modified-Since")); err == nil && !modified.After(t) {
		return notModified
	}
	return proceed
}

// matchesETag reports whether a list of ETags, or "*", has the one.
func matchesETag(list, etag string) bool {
	for candidate := range strings.SplitSeq(list, ",") {
		if c := strings.TrimSpace(candidate); c == "*" || unquoteETag(c) == etag {
			return true
		}
	}
	return false
}

// writeCondition returns the condition that a writing request sets on what is there: nil for none.
func writeCondition(header http.Header) (*granary.Precondition, error) {
	match, noneMatch := header.Get("If-Match"), header.Get("If-None-Match")
	switch {
	case match != "" && noneMatch != "":
		return nil, unsupportedHeader("If-None-Match")
	case noneMatch == "*":
		return &granary.Precondition{Absent: true}, nil
	case noneMatch != "":
		return nil, unsupportedHeader("If-None-Match")
	case match == "*":
		return &granary.Precondition{Present: true}, nil
	case strings.Contains(match, ","):
		return nil, unsupportedHeader("If-Match")
	case match != "":
		return &granary.Precondition{Present: true, ETag: unquoteETag(match)}, nil
	}
	return nil, nil
}

// byteRange is a range of a file.
type byteRange struct {
	offset, length int64
	partial        bool // it came from a Range header
}

// parseRange applies a Range header to a file of a size. What is not one well-formed range of bytes
// is ignored, as RFC 9110 section 14.2 allows; a range beyond the end is refused.
func parseRange(header string, size int64) (byteRange, error) {
	whole := byteRange{length: size}
	spec, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if !ok || !dash || strings.Contains(spec, ",") {
		return whole, nil
	}
	unsatisfiable := refuse(codeInvalidRange, "The requested range is not satisfiable").with("RangeRequested", header).with("ActualObjectSize", strconv.FormatInt(size, 10))
	from, err := strconv.ParseUint(first, 10, 63)
	if first == "" { // the last so many bytes
		n, err := strconv.ParseUint(last, 10, 63)
		switch {
		case err != nil:
			return whole, nil
		case n == 0:
			return whole, unsatisfiable
		case size == 0: // that is all of it
			return whole, nil
		}
		length := min(int64(n), size)
		return byteRange{offset: size - length, length: length, partial: true}, nil
	}
	if err != nil {
		return whole, nil
	}
	to := size - 1
	if last != "" {
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil || n < from {
			return whole, nil
		}
		to = min(to, int64(n))
	}
	if int64(from) >= size {
		return whole, unsatisfiable
	}
	return byteRange{offset: int64(from), length: to - int64(from) + 1, partial: true}, nil
}

// unsupportedHeader refuses a header that is not understood with this value, or beside another.
func unsupportedHeader(name string) error {
	return refuse(codeNotImplemented, "A header you provided implies functionality that is not implemented.").with("Header", name)
}

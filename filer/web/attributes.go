package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

const (
	mtimeHeader = "Granary-Mtime" // RFC 3339, or seconds since 1970 with decimals
	modeHeader  = "Granary-Mode"  // octal permission bits
	// xattrHeader begins the headers of extended attributes. What follows is the name in lower case, percent-encoded where it
	// is not that; the value is percent-encoded where it is not visible ASCII.
	xattrHeader = "Granary-Xattr-"
	// xattrsSentMax bounds the headers of attributes in an answer, in bytes: ?stat has them all.
	xattrsSentMax = 16 << 10
	// timeMax is how far from 1970 a time may be, in seconds: what 64 bits of nanoseconds hold.
	timeMax = 9_000_000_000

	userXattrPrefix = "user."
)

// attributes are what the headers of an upload say of the file.
type attributes struct {
	mtime  *granary.Time
	mode   uint32
	xattrs []granary.Xattr
}

// attributes reads them.
func (q *request) attributes() (*attributes, error) {
	a := &attributes{mode: fileMode}
	var err error
	if a.mtime, err = headerTime(q.r.Header); err != nil {
		return nil, err
	}
	if text := q.r.Header.Get(modeHeader); text != "" {
		mode, err := strconv.ParseUint(text, 8, 32)
		if err != nil || mode > 0o777 {
			return nil, granary.Errorf(granary.KindInvalid, "upload", q.path, "%s: %q are no permission bits, from 0 to 777", modeHeader, text)
		}
		a.mode = uint32(mode)
	}
	for header, values := range q.r.Header {
		escaped, is := strings.CutPrefix(header, xattrHeader)
		if !is {
			continue
		}
		x, err := parseXattr(escaped, strings.Join(values, ","))
		if err != nil {
			return nil, err
		}
		a.xattrs = append(a.xattrs, x)
	}
	return a, nil
}

// headerTime reads the time of modification that a client wants a file to have: X-OC-Mtime is ownCloud's, which rclone sends.
func headerTime(h http.Header) (*granary.Time, error) {
	for _, name := range []string{mtimeHeader, "X-Oc-Mtime", "Last-Modified"} {
		text := h.Get(name)
		if text == "" {
			continue
		}
		t, err := parseTime(text)
		if err != nil {
			return nil, granary.Errorf(granary.KindInvalid, "upload", "", "%s: %q is no time", name, text)
		}
		return &t, nil
	}
	return nil, nil
}

func parseTime(text string) (granary.Time, error) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil && max(seconds, -seconds) <= timeMax {
		return granary.Time(seconds * 1e9), nil
	}
	if whole, decimals, found := strings.Cut(text, "."); found && len(decimals) <= 9 && !strings.HasPrefix(whole, "-") {
		seconds, err := strconv.ParseUint(whole, 10, 33)
		nanoseconds, nerr := strconv.ParseUint((decimals + "000000000")[:9], 10, 64)
		if err == nil && nerr == nil {
			return granary.Time(seconds*1e9 + nanoseconds), nil
		}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		if t, err = http.ParseTime(text); err != nil {
			return 0, err
		}
	}
	if seconds := t.Unix(); max(seconds, -seconds) > timeMax {
		return 0, granary.Errorf(granary.KindInvalid, "parse", text, "the year %d", t.Year())
	}
	return granary.TimeOf(t), nil
}

// parseXattr reads one attribute. Those of other namespaces mean something to the store, or to kernels.
func parseXattr(escaped, value string) (granary.Xattr, error) {
	name, err := url.PathUnescape(strings.ToLower(escaped))
	if err == nil {
		value, err = url.PathUnescape(value)
	}
	switch {
	case err != nil:
		return granary.Xattr{}, granary.Errorf(granary.KindInvalid, "upload", "", "%s%s: %w", xattrHeader, escaped, err)
	case !strings.HasPrefix(name, userXattrPrefix) || name == userXattrPrefix:
		return granary.Xattr{}, granary.Errorf(granary.KindInvalid, "upload", "", "the attribute %q: names begin with %q", name, userXattrPrefix)
	case len(name) > granary.XattrNameMax || strings.ContainsRune(name, 0):
		return granary.Xattr{}, granary.Errorf(granary.KindInvalid, "upload", "", "the name of an attribute, %q", name)
	case len(value) > granary.XattrValueMax:
		return granary.Xattr{}, granary.Errorf(granary.KindTooLarge, "upload", "", "the attribute %q has %d bytes, of %d at most", name, len(value), granary.XattrValueMax)
	}
	return granary.Xattr{Name: name, Value: []byte(value)}, nil
}

// showAttributes puts the attributes of a file into an answer's header.
func showAttributes(h http.Header, info *filer.Info) {
	h.Set(modeHeader, "0"+strconv.FormatUint(uint64(info.Attr.Mode), 8))
	h.Set(mtimeHeader, info.Attr.Mtime.Std().UTC().Format(time.RFC3339Nano))
	room, omitted := xattrsSentMax, 0
	for _, x := range info.Xattrs {
		if !strings.HasPrefix(x.Name, userXattrPrefix) {
			continue
		}
		name, value := xattrHeader+escapeToken(x.Name), escapeValue(x.Value)
		if room -= len(name) + len(value); room < 0 {
			omitted++
			continue
		}
		h[http.CanonicalHeaderKey(name)] = []string{value}
	}
	if omitted > 0 {
		h.Set("Granary-Xattrs-Omitted", strconv.Itoa(omitted))
	}
}

// escapeToken writes a name so that it is one of a header's, where upper and lower case are the same.
func escapeToken(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-' {
			b.WriteByte(c)
			continue
		}
		escapeByte(&b, c)
	}
	return b.String()
}

// escapeValue writes bytes as visible ASCII.
func escapeValue(value []byte) string {
	var b strings.Builder
	for _, c := range value {
		if c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
			continue
		}
		escapeByte(&b, c)
	}
	return b.String()
}

func escapeByte(b *strings.Builder, c byte) {
	const digits = "0123456789abcdef"
	b.Write([]byte{'%', digits[c>>4], digits[c&15]})
}

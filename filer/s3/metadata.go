package s3

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/dsorchard/granary"
)

// xattrPrefix begins the attributes that keep headers of an object; the header's name in lower case
// follows.
const xattrPrefix = "granary.s3."

// xattrLongNames keeps the headers of user metadata with names too long for an attribute's, as a query.
const xattrLongNames = xattrPrefix + "long-metadata"

// metadataPrefix begins the headers of user metadata.
const metadataPrefix = "x-amz-meta-"

// redirectHeader says where a website would send whoever asks for the object. It is kept and told.
const redirectHeader = "X-Amz-Website-Redirect-Location"

// metadataSizeMax bounds the names and values of user metadata together, as in AWS.
const metadataSizeMax = 2 << 10

// Defaults where nothing was said, as in AWS.
const (
	contentTypeDefault = "binary/octet-stream"
	contentTypeMarker  = "application/x-directory; charset=UTF-8"
)

// storedHeaders are the headers that an object keeps besides user metadata.
func storedHeaders() []string {
	return []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Expires", redirectHeader}
}

// metadataOf returns the headers of a request that its object is to keep, as attributes. It refuses
// headers that ask for what would not be done.
func (q *request) metadataOf() ([]granary.Xattr, error) {
	if err := q.checkUnsupported(); err != nil {
		return nil, err
	}
	header := q.r.Header
	var xattrs []granary.Xattr
	for _, name := range storedHeaders() {
		value := header.Get(name)
		if name == "Content-Encoding" {
			value = withoutChunked(header.Values(name))
		}
		if value != "" {
			xattrs = append(xattrs, granary.Xattr{Name: xattrPrefix + strings.ToLower(name), Value: []byte(value)})
		}
	}
	size, long := 0, url.Values{}
	for name, values := range header {
		lower := strings.ToLower(name)
		user, ok := strings.CutPrefix(lower, metadataPrefix)
		if !ok {
			continue
		}
		value := strings.Join(values, ",")
		size += len(user) + len(value)
		if size > metadataSizeMax {
			return nil, refuse(codeMetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size")
		}
		if len(xattrPrefix)+len(lower) > granary.XattrNameMax {
			long.Set(lower, value)
			continue
		}
		xattrs = append(xattrs, granary.Xattr{Name: xattrPrefix + lower, Value: []byte(value)})
	}
	if len(long) > 0 {
		xattrs = append(xattrs, granary.Xattr{Name: xattrLongNames, Value: []byte(long.Encode())})
	}
	return xattrs, nil
}

// withoutChunked removes aws-chunked, which is of the transfer, from a Content-Encoding.
func withoutChunked(values []string) string {
	var kept []string
	for coding := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "aws-chunked") {
			kept = append(kept, coding)
		}
	}
	return strings.Join(kept, ",")
}

// checkUnsupported refuses what would silently be less than was asked for.
func (q *request) checkUnsupported() error {
	header := q.r.Header
	if to := header.Get(redirectHeader); to != "" && !strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "http://") && !strings.HasPrefix(to, "https://") {
		return refuse(codeInvalidRedirect, "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.")
	}
	if _, err := parseClass(header.Get(classHeader)); err != nil {
		return err
	}
	for name := range header {
		lower := strings.ToLower(name)
		switch {
		case lower == "x-amz-write-offset-bytes":
			return refuse(codeNotImplemented, "A header you provided implies functionality that is not implemented: %s.", lower)
		}
	}
	return nil
}

// isMetadata reports whether an attribute is a header of an object.
func isMetadata(x granary.Xattr) bool {
	name, ok := strings.CutPrefix(x.Name, xattrPrefix)
	return x.Name == xattrLongNames || ok && (strings.HasPrefix(name, metadataPrefix) || isStoredHeader(name))
}

// isProperty reports whether an attribute is what an upload gives to its object when it is completed.
func isProperty(x granary.Xattr) bool {
	return isMetadata(x) || x.Name == xattrTagging || x.Name == xattrACL || x.Name == granary.XattrRetention || x.Name == granary.XattrLegalHold
}

// setMetadata writes the headers that an object has kept. Names of user metadata are in lower case on
// the wire, as in AWS: SDKs hand them on as they come.
func setMetadata(header http.Header, xattrs []granary.Xattr) {
	for _, x := range xattrs {
		name, ok := strings.CutPrefix(x.Name, xattrPrefix)
		switch {
		case x.Name == xattrLongNames:
			long, _ := url.ParseQuery(string(x.Value)) // as it was encoded
			for name, values := range long {
				header[name] = values
			}
		case ok && strings.HasPrefix(name, metadataPrefix):
			header[name] = []string{string(x.Value)}
		case ok && isStoredHeader(name):
			header.Set(name, string(x.Value))
		}
	}
}

func isStoredHeader(lower string) bool {
	for _, name := range storedHeaders() {
		if strings.EqualFold(name, lower) {
			return true
		}
	}
	return false
}

package web

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"net/http"
	"strings"

	"github.com/dsorchard/granary"
)

// digest is what a header announces of a body, and what of it has come so far.
type digest struct {
	header string
	name   string // of the algorithm
	want   []byte
	hash.Hash
}

// digests are all that are announced of one body.
type digests []*digest

// Write implements io.Writer.
func (d digests) Write(p []byte) (int, error) {
	for _, one := range d {
		one.Hash.Write(p)
	}
	return len(p), nil
}

// check compares what was announced with what has come.
func (d digests) check(path string) error {
	for _, one := range d {
		if got := one.Sum(nil); !bytes.Equal(got, one.want) {
			return granary.Errorf(granary.KindInvalid, "upload", path, "the body's %s is %x, and not the %x of %s", one.name, got, one.want, one.header)
		}
	}
	return nil
}

// newHash returns the hash of an algorithm by the name that it has in the registries of RFC 3230 and RFC 9530, in lower case.
func newHash(name string) hash.Hash {
	switch name {
	case "md5":
		return md5.New()
	case "sha":
		return sha1.New()
	case "sha-256":
		return sha256.New()
	case "sha-512":
		return sha512.New()
	case "crc32c":
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	}
	return nil
}

// announced reads Content-MD5, Digest (RFC 3230), Content-Digest and Repr-Digest (RFC 9530). A header of which no digest is
// known here is refused: whoever sends one wants it checked.
func announced(r *http.Request) (digests, error) {
	var all digests
	for _, header := range []string{"Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		values := r.Header.Values(header)
		if len(values) == 0 {
			continue
		}
		known := 0
		for item := range strings.SplitSeq(strings.Join(values, ","), ",") {
			d, err := parseDigest(header, strings.TrimSpace(item))
			if err != nil {
				return nil, err
			}
			if d != nil {
				all = append(all, d)
				known++
			}
		}
		if known == 0 {
			return nil, granary.Errorf(granary.KindInvalid, "upload", "", "%s has no digest that is known here: there are sha-256, sha-512, md5 and crc32c", header)
		}
	}
	return all, nil
}

// parseDigest reads one digest of a header, or nil if its algorithm is not known.
func parseDigest(header, item string) (*digest, error) {
	name, text := "md5", item
	if header != "Content-Md5" {
		var found bool
		if name, text, found = strings.Cut(item, "="); !found {
			return nil, malformed(header, item)
		}
		name = strings.ToLower(strings.TrimSpace(name))
	}
	h := newHash(name)
	if h == nil {
		return nil, nil
	}
	if header == "Content-Digest" || header == "Repr-Digest" { // a byte sequence, perhaps with parameters: RFC 8941
		text, _, _ = strings.Cut(strings.TrimSpace(text), ";")
		var begins, ends bool
		text, begins = strings.CutPrefix(text, ":")
		text, ends = strings.CutSuffix(text, ":")
		if !begins || !ends {
			return nil, malformed(header, item)
		}
	}
	want, err := base64.StdEncoding.DecodeString(text)
	if name == "crc32c" && header == "Digest" && len(text) == 8 && !strings.HasSuffix(text, "=") {
		want, err = hex.DecodeString(text)
	}
	if err != nil || len(want) != h.Size() {
		return nil, malformed(header, item)
	}
	return &digest{header: header, name: name, want: want, Hash: h}, nil
}

func malformed(header, item string) error {
	return granary.Errorf(granary.KindInvalid, "upload", "", "%s: %q is no digest", header, item)
}

package s3

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/s3/md5lanes"
)

// body is a request's payload, decoded. Its Read says io.EOF only after everything that the request
// claims about the payload has been verified: its length, the signed hash or chunk signatures, its
// Content-MD5 and its checksums, in headers or trailers (invariant 1 of the package). A reader that
// stops before io.EOF has verified nothing.
type body struct {
	in       io.Reader
	size     int64 // bytes announced; -1 if not known
	read     int64
	sha256   hash.Hash       // nil: not signed as a whole
	wantSHA  string          // hexadecimal
	md5      hash.Hash       // nil: nobody wants it
	lanes    *md5lanes.Lanes // computes it with those of others; nil: alone
	tag      string          // the ETag, if it is not the MD5
	wantMD5  []byte          // nil: not announced
	digests  []*digest
	trailers func() map[string]string // nil: there are none
	err      error
}

// newBody decodes and verifies what the identity's signature says about the payload. With ofObject,
// checksums in the headers are not the payload's.
func newBody(r *http.Request, id identity, ofObject bool, lanes *md5lanes.Lanes) (*body, error) {
	b := &body{in: r.Body, size: r.ContentLength, lanes: lanes}
	var trailers []string
	switch id.payload {
	case payloadUnsigned:
	case payloadChunked, payloadTrailer, payloadUnsignedT:
		var err error
		if trailers, err = b.decodeChunks(r, id); err != nil {
			return nil, err
		}
	default:
		if err := checkPayloadHash(id.payload); err != nil {
			return nil, err
		}
		b.sha256, b.wantSHA = sha256.New(), strings.ToLower(id.payload)
	}
	if values := r.Header.Values("Content-Md5"); len(values) > 0 {
		text := values[0]
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(raw) != md5.Size {
			return nil, refuse(codeInvalidDigest, "The Content-Md5 you specified is not valid.").with("Content-MD5", text)
		}
		b.wantMD5 = raw
		b.computeMD5()
	}
	if ofObject {
		return b, nil
	}
	var err error
	b.digests, err = declaredDigests(r.Header, trailers)
	return b, err
}

// checkPayloadHash refuses a value of x-amz-content-sha256 that is none.
func checkPayloadHash(payload string) error {
	switch payload {
	case payloadUnsigned, payloadChunked, payloadTrailer, payloadUnsignedT:
		return nil
	}
	if raw, err := hex.DecodeString(payload); err == nil && len(raw) == sha256.Size {
		return nil
	}
	if strings.HasPrefix(payload, "STREAMING-") {
		return refuse(codeNotImplemented, "The payload signature %s is not supported.", payload)
	}
	return refuseArgument("x-amz-content-sha256", payload, "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
}

// decodeChunks puts the decoder of aws-chunked before the body, and returns the announced trailers.
func (b *body) decodeChunks(r *http.Request, id identity) ([]string, error) {
	size, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
	if err != nil || size < 0 {
		return nil, refuse(codeMissingLength, "You must provide the Content-Length HTTP header.")
	}
	var signer *chunkSigner
	if id.payload != payloadUnsignedT {
		signer = &chunkSigner{mac: hmac.New(sha256.New, id.key), dateTime: id.dateTime, scope: id.scope.String(), previous: id.seed}
	}
	var trailers []string
	if id.payload != payloadChunked {
		for _, value := range r.Header.Values("X-Amz-Trailer") {
			for name := range strings.SplitSeq(value, ",") {
				trailers = append(trailers, strings.ToLower(strings.TrimSpace(name)))
			}
		}
		slices.Sort(trailers)
		trailers = slices.Compact(trailers)
	}
	b.size = size
	if size == 0 && r.ContentLength == 0 && len(trailers) == 0 {
		return nil, nil // nothing at all, not even the last chunk: some clients send empty objects so
	}
	chunks := newChunkReader(r.Body, signer, trailers, size)
	if id.payload == payloadTrailer && trailers == nil {
		chunks.trailers = []string{} // none announced, but their signature is there
	}
	b.in, b.trailers = chunks, func() map[string]string { return chunks.values }
	return trailers, nil
}

// computeMD5 has the MD5 computed, which must be asked for before the first Read.
func (b *body) computeMD5() {
	switch {
	case b.md5 != nil || b.tag != "" && b.wantMD5 == nil:
	case b.lanes == nil || b.size >= 0 && b.size < togetherMin:
		b.md5 = md5.New()
	default:
		b.md5 = b.lanes.New()
	}
}

// togetherMin is from where on the MD5 of a payload is computed with those of others.
const togetherMin = 128 << 10

// addDigest has a checksum computed that the request does not announce.
func (b *body) addDigest(a algorithm) {
	if !slices.ContainsFunc(b.digests, func(d *digest) bool { return d.algorithm == a }) {
		b.digests = append(b.digests, &digest{algorithm: a, hash: a.new()})
	}
}

// addDefault has a checksum computed if none is announced.
func (b *body) addDefault() {
	if len(b.digests) == 0 {
		b.addDigest(algorithmDefault)
	}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.in.Read(p)
	b.read += int64(n)
	if b.sha256 != nil {
		b.sha256.Write(p[:n])
	}
	if b.md5 != nil {
		b.md5.Write(p[:n])
	}
	for _, d := range b.digests {
		d.hash.Write(p[:n])
	}
	switch {
	case err == io.EOF:
		if b.err = b.verify(); b.err == nil {
			b.err = io.EOF
		}
	case err != nil:
		b.err = incomplete(err)
	}
	return n, b.err
}

// verify compares everything that was announced with what came.
func (b *body) verify() error {
	if b.size >= 0 && b.read != b.size {
		return refuse(codeIncompleteBody, incompleteMessage)
	}
	if b.sha256 != nil && !sameSignature(hex.EncodeToString(b.sha256.Sum(nil)), b.wantSHA) {
		return refuse(codeContentSHA256, "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	if b.wantMD5 != nil && !sameSignature(string(b.md5.Sum(nil)), string(b.wantMD5)) {
		return refuse(codeBadDigest, "The Content-MD5 you specified did not match what we received.")
	}
	for _, d := range b.digests {
		want := d.want
		if d.trailer {
			want = b.trailers()[d.algorithm.header()]
			if !d.algorithm.valid(want) {
				return refuse(codeInvalidRequest, "Value for %s trailing header is invalid.", d.algorithm.header())
			}
		}
		if want != "" && want != d.sum() {
			return refuse(codeBadDigest, "The %s you specified did not match the calculated checksum.", d.algorithm)
		}
	}
	return nil
}

// hideMD5 has the ETag be one that tells nothing of the payload.
func (b *body) hideMD5() { b.tag = randomID() }

// etag returns the MD5 in hexadecimal, or what stands for it, after io.EOF.
func (b *body) etag() string {
	if b.tag == "" {
		b.tag = hex.EncodeToString(b.md5.Sum(nil))
	}
	return b.tag
}

// sums returns the checksums computed, after io.EOF.
func (b *body) sums() map[algorithm]string {
	sums := map[algorithm]string{}
	for _, d := range b.digests {
		sums[d.algorithm] = d.sum()
	}
	return sums
}

// xattrs returns the ETag and checksums as attributes, after io.EOF.
func (b *body) xattrs() []granary.Xattr {
	return contentXattrs(b.etag(), b.sums())
}

// contentXattrs returns the attributes that describe a content.
func contentXattrs(etag string, sums map[algorithm]string) []granary.Xattr {
	xattrs := []granary.Xattr{{Name: granary.XattrETag, Value: []byte(etag)}}
	for _, a := range algorithms() {
		if sum := sums[a]; sum != "" {
			xattrs = append(xattrs, granary.Xattr{Name: a.xattr(), Value: []byte(sum)})
		}
	}
	return xattrs
}

// drain reads the rest of a payload that an operation has no use for, so that it is verified too.
func (b *body) drain(sizeMax int64) error {
	n, err := io.Copy(io.Discard, io.LimitReader(b, sizeMax+1))
	if err == nil && n > sizeMax {
		return refuse(codeEntityTooLarge, "The request body is longer than %d bytes.", sizeMax)
	}
	return err
}

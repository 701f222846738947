package s3

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary/filer/s3/sha256pair"
)

// chunkLineMax bounds a chunk's header and each trailer; trailersMax bounds all trailers.
const (
	chunkLineMax = 4 << 10
	trailersMax  = 16 << 10
)

// chunkSigner verifies the signatures of chunks; each covers the one before it.
type chunkSigner struct {
	mac      hash.Hash // with the signing key
	dateTime string
	scope    string
	previous string
}

// next returns the signature that a chunk with the given hash must have.
func (s *chunkSigner) next(hash []byte) string {
	s.previous = s.sign("-PAYLOAD", emptySHA256+"\n"+hex.EncodeToString(hash))
	return s.previous
}

// trailer returns the signature that trailers with the given hash must have.
func (s *chunkSigner) trailer(hash string) string { return s.sign("-TRAILER", hash) }

// sign returns the signature of what comes after the signature before.
func (s *chunkSigner) sign(kind, text string) string {
	s.mac.Reset()
	_, _ = io.WriteString(s.mac, algorithmV4+kind+"\n"+s.dateTime+"\n"+s.scope+"\n"+s.previous+"\n"+text) // never fails
	return hex.EncodeToString(s.mac.Sum(nil))
}

// chunkReader decodes the content coding aws-chunked:
//
//	hex-size [";chunk-signature=" signature] CRLF data CRLF …
//	"0" [";chunk-signature=" signature] CRLF
//	{name ":" value CRLF} ["x-amz-trailer-signature:" signature CRLF] CRLF
//
// It hands data out before it has seen a chunk's end, and verifies the chunk there: so nothing it gave
// may be believed until it has said io.EOF. No chunk is held in memory, however long. Signed chunks that the reader has room for
// are read as a whole, as many as there is room for, and hashed two at a time.
type chunkReader struct {
	in       *bufio.Reader
	signer   *chunkSigner // nil: chunks are not signed
	trailers []string     // names announced, lower-case; nil: none allowed
	size     int64        // decoded bytes announced

	values map[string]string // the trailers' values, once io.EOF was returned
	total  int64             // bytes of the chunks begun
	length int64             // of the chunk begun
	left   int64             // bytes of it to come
	claim  string            // its signature
	hash   hash.Hash         // of its data, if it is not read as a whole; nil: none was needed yet
	first  []byte            // a whole chunk that is to be hashed with the next, …
	firsts string            // … and its signature
	err    error
}

func newChunkReader(in io.Reader, signer *chunkSigner, trailers []string, size int64) *chunkReader {
	return &chunkReader{
		in: bufio.NewReaderSize(in, chunkLineMax), signer: signer, trailers: trailers, size: size,
	}
}

// Read implements io.Reader. Any error but io.EOF means that the whole body is to be refused.
func (c *chunkReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if c.err == nil && c.left == 0 {
		c.err = c.beginChunk()
	}
	if c.err != nil {
		return 0, c.err
	}
	if c.signer != nil && c.left == c.length && c.left <= int64(len(p)) {
		return c.readWhole(p), nil
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if c.signer != nil {
		c.addToHash(p[:n])
	}
	switch {
	case err != nil:
		c.err = incomplete(err)
	case c.left == 0:
		if c.err = c.endChunk(); c.err == nil && c.signer != nil {
			c.err = c.verify(c.hash.Sum(nil), c.claim)
			c.hash.Reset()
		}
	}
	return n, nil
}

// addToHash hashes a part of a chunk.
func (c *chunkReader) addToHash(p []byte) {
	if c.hash == nil {
		c.hash = sha256.New()
	}
	c.hash.Write(p)
}

// readWhole reads the chunk begun, and more of them while there is room, and says how much it has read.
func (c *chunkReader) readWhole(p []byte) (read int) {
	for c.err == nil && c.left <= int64(len(p)-read) {
		chunk := p[read : read+int(c.left)]
		n, err := io.ReadFull(c.in, chunk)
		read += n
		c.left -= int64(n)
		if err != nil {
			c.err = incomplete(err)
		} else if c.err = c.endChunk(); c.err == nil {
			c.err = c.take(chunk)
		}
		if read == len(p) {
			break
		}
		if c.err == nil {
			c.err = c.beginChunk()
		}
	}
	if err := c.verifyFirst(); err != nil {
		c.err = err // what is wrong with the first chunk is said before what may be wrong behind it
	}
	return read
}

// take has a whole chunk verified, with the next one if there is none before it to do it with.
func (c *chunkReader) take(chunk []byte) error {
	if c.first == nil {
		c.first, c.firsts = chunk, c.claim
		return nil
	}
	sum, next := sha256pair.Sum(c.first, chunk)
	c.first = nil
	if err := c.verify(sum[:], c.firsts); err != nil {
		return err
	}
	return c.verify(next[:], c.claim)
}

// verifyFirst verifies the chunk that waits for another one, if there is one.
func (c *chunkReader) verifyFirst() error {
	if c.first == nil {
		return nil
	}
	sum := sha256.Sum256(c.first)
	c.first = nil
	return c.verify(sum[:], c.firsts)
}

// verify compares the signature of the next chunk with what it must be.
func (c *chunkReader) verify(sum []byte, claim string) error {
	if !sameSignature(c.signer.next(sum), claim) {
		return refuse(codeSignature, "The signature of a chunk does not match.")
	}
	return nil
}

// beginChunk reads a chunk's header; after the last chunk's, it reads all the rest and returns io.EOF.
func (c *chunkReader) beginChunk() error {
	line, err := c.line()
	if err != nil {
		return incomplete(err)
	}
	digits, extension, _ := strings.Cut(line, ";")
	size, err := strconv.ParseUint(digits, 16, 63)
	if err != nil {
		return refuse(codeInvalidRequest, "Malformed chunk: its size is %q.", digits)
	}
	if c.signer != nil {
		var ok bool
		if c.claim, ok = strings.CutPrefix(extension, "chunk-signature="); !ok {
			return refuse(codeSignature, "A chunk has no signature.")
		}
	}
	if int64(size) > c.size-c.total {
		return refuse(codeIncompleteBody, incompleteMessage)
	}
	c.total += int64(size)
	c.length, c.left = int64(size), int64(size)
	if size > 0 {
		return nil
	}
	if err := c.verifyFirst(); err != nil {
		return err
	}
	if c.signer != nil {
		empty := sha256.Sum256(nil)
		if err := c.verify(empty[:], c.claim); err != nil {
			return err
		}
	}
	if c.total != c.size {
		return refuse(codeIncompleteBody, incompleteMessage)
	}
	return c.readTrailers()
}

// endChunk reads the line end behind a chunk's data.
func (c *chunkReader) endChunk() error {
	line, err := c.line()
	if err != nil {
		return incomplete(err)
	}
	if line != "" {
		return refuse(codeInvalidRequest, "Malformed chunk: it is longer than its size says.")
	}
	return nil
}

// readTrailers reads to the end of the body, verifies what it finds and returns io.EOF. Empty lines
// are passed over: clients differ in where they put them.
func (c *chunkReader) readTrailers() error {
	c.values = map[string]string{}
	var signed strings.Builder
	claim := ""
	for size := 0; ; {
		line, err := c.line()
		if err == io.EOF {
			break
		}
		if err != nil {
			return incomplete(err)
		}
		if line == "" {
			if size++; size > trailersMax {
				return refuse(codeMalformedTrailer, malformedTrailerMessage)
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if size += len(line); size > trailersMax || !ok {
			return refuse(codeMalformedTrailer, malformedTrailerMessage)
		}
		if name == "x-amz-trailer-signature" && c.signer != nil && claim == "" {
			claim = value
			continue
		}
		if _, twice := c.values[name]; twice || !slices.Contains(c.trailers, name) {
			return refuse(codeMalformedTrailer, malformedTrailerMessage)
		}
		c.values[name] = value
		signed.WriteString(name + ":" + value + "\n")
	}
	if len(c.values) != len(c.trailers) {
		return refuse(codeMalformedTrailer, malformedTrailerMessage)
	}
	if c.signer != nil && c.trailers != nil && !sameSignature(c.signer.trailer(hexSHA256(signed.String())), claim) {
		return refuse(codeSignature, "The signature of the trailers does not match.")
	}
	return io.EOF
}

// line reads a line without its end. io.EOF means that nothing was left.
func (c *chunkReader) line() (string, error) {
	b, err := c.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", refuse(codeInvalidRequest, "Malformed chunk: a line is longer than %d bytes.", chunkLineMax)
	case err == io.EOF && len(b) > 0: // the last line of all may lack its end: the length of the body is known
	case err != nil:
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), nil
}

// Messages of AWS.
const (
	incompleteMessage       = "You did not provide the number of bytes specified by the Content-Length HTTP header"
	malformedTrailerMessage = "The request contained trailing data that was not well-formed or did not conform to our published schema."
)

// incomplete names what a body that ended too early is refused with.
func incomplete(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(codeIncompleteBody, incompleteMessage)
	}
	return err
}

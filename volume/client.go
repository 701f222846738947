package volume

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// Limits of a Client's connections.
const (
	idleConnsPerServer = 64
	idleConnTimeout    = 90 * time.Second
	dialWithin         = 2 * time.Second
	transportBuffer    = 128 << 10
	buildRefusedWithin = 5 * time.Second
)

// ClientOption changes how a Client connects.
type ClientOption func(*Client, *http.Transport)

// WithTLS makes a Client speak https.
func WithTLS(config *tls.Config) ClientOption {
	return func(c *Client, t *http.Transport) {
		c.scheme = "https"
		t.TLSClientConfig = config
	}
}

// Client reaches volume servers by the address of their block service. Its methods may be called concurrently. Their
// errors are the server's; a server that cannot be reached, and a deadline that passes, are KindUnavailable: then an append or a
// seal may have happened, and its repeat is acknowledged if it has.
type Client struct {
	http   *http.Client
	scheme string

	mu       sync.RWMutex
	attached map[string]*Store

	loans loans
	peeks peeks
}

// NewClient returns a client. It connects when it is first asked something.
func NewClient(options ...ClientOption) *Client {
	transport := &http.Transport{
		TLSHandshakeTimeout: dialWithin,
		MaxIdleConnsPerHost: idleConnsPerServer,
		IdleConnTimeout:     idleConnTimeout,
		WriteBufferSize:     transportBuffer, // the read buffer is small: what goes through it is copied twice
		DisableCompression:  true,
		// A build that the server refuses at once is not sent.
		ExpectContinueTimeout: buildRefusedWithin,
	}
	c := &Client{http: &http.Client{Transport: transport}, scheme: "http", attached: make(map[string]*Store), loans: newLoans()}
	c.peeks.files = make(map[peekKey]*peek)
	transport.DialContext = c.dial
	for _, option := range options {
		option(c, transport)
	}
	return c
}

// dial connects to a server.
func (c *Client) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: dialWithin}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.dialed(addr, conn)
	return bodyConn{conn}, nil
}

// appendBody is the body of an append. net/http hands it down as it is, unlike a *bytes.Reader, which it wraps.
type appendBody struct{ bytes.Reader }

// Close implements io.Closer.
func (*appendBody) Close() error { return nil }

func newAppendBody(p []byte) io.ReadCloser {
	b := new(appendBody)
	b.Reset(p)
	return b
}

// bodyConn sends the body of an append from where it lies. net/http and a net.TCPConn would copy it through a buffer of 32 KiB.
type bodyConn struct{ net.Conn }

// ReadFrom implements io.ReaderFrom, which net/http calls for bodies: with a limit, because it knows how long they are.
func (c bodyConn) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if body, ok := limited.R.(*appendBody); ok && int64(body.Len()) <= limited.N {
			n, err := body.WriteTo(c.Conn)
			limited.N -= n
			return n, err
		}
	}
	return io.Copy(c.Conn, r)
}

// Attach makes calls to addr plain function calls of s.
func (c *Client) Attach(addr string, s *Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attached[addr] = s
}

// Close closes the idle connections, and frees what Lend has returned.
func (c *Client) Close() error {
	c.peeks.close()
	c.freeLoans()
	c.http.CloseIdleConnections()
	return nil
}

// local returns the store behind addr, if it is in this process.
func (c *Client) local(addr string) *Store {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.attached[addr]
}

// Append is Store.Append at addr. To a server on this machine the data are lent, if they lie in memory that can be: see loan.
func (c *Client) Append(ctx context.Context, addr string, a *granary.Append) error {
	if s := c.local(addr); s != nil {
		return s.Append(ctx, a)
	}
	if l, ok := c.loanOf(addr, a.Data); ok {
		err := c.put(ctx, addr, a, http.NoBody, l.String())
		if !errors.Is(err, errNoLoan) {
			return err
		}
		c.refusesLoans(addr)
	}
	return c.put(ctx, addr, a, newAppendBody(a.Data), "")
}

// put sends an append with its data in the body, or in what is lent.
func (c *Client) put(ctx context.Context, addr string, a *granary.Append, body io.ReadCloser, lent string) error {
	subject := a.Ref.String()
	req, err := c.request(ctx, opAppend, http.MethodPut, addr, shardPath(a.Ref), subject, body)
	if err != nil {
		return err
	}
	set := func(name string, v uint64) { req.Header.Set(name, strconv.FormatUint(v, 10)) }
	set(headerEpoch, uint64(a.Epoch))
	set(headerDataShards, uint64(a.DataShards))
	set(headerParityShards, uint64(a.ParityShards))
	set(headerPrev, a.Prev)
	set(headerOffset, a.Offset)
	req.Header.Set(headerCRC32C, fmt.Sprintf("%08x", a.CRC32C))
	if lent != "" {
		req.Header.Set(headerLoan, lent)
		req.Header.Set(headerPieces, formatPieces(a.Pieces))
	} else {
		req.ContentLength = int64(len(a.Data))
		req.GetBody = func() (io.ReadCloser, error) { return newAppendBody(a.Data), nil } // for a connection that turns out to be dead
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unreachable(ctx, opAppend, subject, err)
	}
	defer finish(resp)
	switch {
	case resp.StatusCode == statusNoLoan && lent != "":
		return errNoLoan
	case resp.StatusCode != http.StatusNoContent:
		return readError(opAppend, subject, resp)
	}
	if lent == "" && resp.Header.Get(headerLoan) != "" {
		c.takesLoans(addr)
	}
	return nil
}

// ReadAt is Store.ReadAt at addr. When it fails, a server on this machine may write later into p if that is memory of Lend: then it must be
// given to Release, and be used for nothing else.
func (c *Client) ReadAt(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error) {
	if s := c.local(addr); s != nil {
		return s.ReadAt(ctx, ref, p, off)
	}
	if off >= 0 {
		if length, ok := c.peek(addr, ref, p, off); ok {
			return len(p), length, nil
		}
	}
	return c.read(ctx, addr, ref, p, off, "")
}

// read reads over the network; query is added to the address.
func (c *Client) read(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64, query string) (n int, length uint64, err error) {
	if off < 0 {
		return 0, 0, granary.Errorf(granary.KindInvalid, opRead, ref.String(), "negative offset %d", off)
	}
	// One request carries at most appendSizeMax bytes.
	for {
		part := p[n:min(len(p), n+appendSizeMax)]
		got, end, err := c.readPart(ctx, addr, ref, part, off+int64(n), query)
		if err != nil {
			return 0, 0, err
		}
		n += got
		if got < len(part) || n == len(p) {
			return n, end, nil
		}
	}
}

func (c *Client) readPart(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64, query string) (int, uint64, error) {
	subject := ref.String()
	if l, ok := c.readLoanOf(addr, p); ok && query == "" {
		n, length, err := c.readLent(ctx, addr, ref, p, off, l)
		if !errors.Is(err, errNoLoan) {
			return n, length, err
		}
		c.fillsLoans(addr, false)
	}
	path := fmt.Sprintf("%s?off=%d&len=%d%s", shardPath(ref), off, len(p), query)
	req, err := c.request(ctx, opRead, http.MethodGet, addr, path, subject, nil)
	if err != nil {
		return 0, 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, 0, unreachable(ctx, opRead, subject, err)
	}
	defer finish(resp)
	if resp.StatusCode != http.StatusOK {
		return 0, 0, readError(opRead, subject, resp)
	}
	if resp.Header.Get(headerLoan) != "" {
		c.fillsLoans(addr, true)
	}
	size := resp.ContentLength
	length, err := readLength(resp, addr, subject, len(p), off, size)
	if err != nil {
		return 0, 0, err
	}
	n, err := io.ReadFull(resp.Body, p[:size])
	if err != nil {
		return 0, 0, unreachable(ctx, opRead, subject, err)
	}
	c.learnPeek(addr, ref, resp, length)
	return n, length, nil
}

// Seal is Store.Seal at addr.
func (c *Client) Seal(ctx context.Context, addr string, seal *granary.Seal) error {
	if s := c.local(addr); s != nil {
		return s.Seal(ctx, seal)
	}
	path := fmt.Sprintf("%s/seal?epoch=%d&k=%d&m=%d&length=%d&end=%d",
		shardPath(seal.Ref), seal.Epoch, seal.DataShards, seal.ParityShards, seal.Length, seal.End)
	req, err := c.request(ctx, opSeal, http.MethodPost, addr, path, seal.Ref.String(), nil)
	if err != nil {
		return err
	}
	return c.call(req, opSeal, seal.Ref.String())
}

// Sums is Store.Sums at addr.
func (c *Client) Sums(ctx context.Context, addr string, q *granary.SumShard) (*granary.ShardSums, error) {
	if s := c.local(addr); s != nil {
		return s.Sums(ctx, q)
	}
	path := fmt.Sprintf("%s/sums?length=%d&blocks=%t", shardPath(q.Ref), q.Length, q.Blocks)
	sums := &granary.ShardSums{}
	return sums, c.get(ctx, opSums, addr, path, q.Ref.String(), sums)
}

// Drop is Store.Drop at addr.
func (c *Client) Drop(ctx context.Context, addr string, ref granary.ShardRef, epoch granary.Epoch, created granary.Time) error {
	if s := c.local(addr); s != nil {
		return s.Drop(ctx, ref, epoch, created)
	}
	path := fmt.Sprintf("%s?epoch=%d&created=%d", shardPath(ref), epoch, created)
	req, err := c.request(ctx, opDrop, http.MethodDelete, addr, path, ref.String(), nil)
	if err != nil {
		return err
	}
	return c.call(req, opDrop, ref.String())
}

// Verify is Store.Verify at addr.
func (c *Client) Verify(ctx context.Context, addr string, ref granary.ShardRef) error {
	if s := c.local(addr); s != nil {
		return s.Verify(ctx, ref)
	}
	req, err := c.request(ctx, opVerify, http.MethodPost, addr, shardPath(ref)+"/verify", ref.String(), nil)
	if err != nil {
		return err
	}
	return c.call(req, opVerify, ref.String())
}

// List is Store.List at addr.
func (c *Client) List(ctx context.Context, addr string, disk granary.DiskID) ([]granary.ShardInfo, error) {
	if s := c.local(addr); s != nil {
		return s.List(disk)
	}
	var infos []granary.ShardInfo
	err := c.get(ctx, opList, addr, fmt.Sprintf("/v1/disks/%s/shards", disk), string(disk), &infos)
	return infos, err
}

// Usage is Store.Usage at addr.
func (c *Client) Usage(ctx context.Context, addr string) ([]granary.DiskUsage, error) {
	if s := c.local(addr); s != nil {
		return s.Usage(), nil
	}
	var usages []granary.DiskUsage
	err := c.get(ctx, opUsage, addr, "/v1/disks", addr, &usages)
	return usages, err
}

func shardPath(ref granary.ShardRef) string {
	return fmt.Sprintf("/v1/disks/%s/shards/%d/%d", ref.Disk, ref.Volume, ref.Shard)
}

// request makes a request. All of them may be sent again by the transport if an idle connection turns
// out to be dead: each is harmless to repeat.
func (c *Client) request(ctx context.Context, op, method, addr, path, subject string, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.scheme+"://"+addr+path, body)
	if err != nil {
		return nil, granary.Errorf(granary.KindInvalid, op, subject, "%w", err)
	}
	req.Header["X-Idempotency-Key"] = nil // says so to net/http, and is not sent
	return req, nil
}

// call sends a request whose answer is empty.
func (c *Client) call(req *http.Request, op, subject string) error {
	resp, err := c.http.Do(req)
	if err != nil {
		return unreachable(req.Context(), op, subject, err)
	}
	defer finish(resp)
	if resp.StatusCode != http.StatusNoContent {
		return readError(op, subject, resp)
	}
	return nil
}

// get sends a request whose answer is JSON.
func (c *Client) get(ctx context.Context, op, addr, path, subject string, v any) error {
	req, err := c.request(ctx, op, http.MethodGet, addr, path, subject, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unreachable(ctx, op, subject, err)
	}
	defer finish(resp)
	if resp.StatusCode != http.StatusOK {
		return readError(op, subject, resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, listSizeMax)).Decode(v); err != nil {
		return granary.Errorf(granary.KindUnavailable, op, subject, "the answer of %s: %w", addr, err)
	}
	return nil
}

// finish leaves the connection fit for the next request.
func finish(resp *http.Response) {
	io.Copy(io.Discard, io.LimitReader(resp.Body, errorSizeMax)) // an error only costs the connection
	resp.Body.Close()
}

// unreachable makes the error of a request that got no whole answer.
func unreachable(ctx context.Context, op, subject string, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return interrupted(op, subject, err)
	}
	return granary.Errorf(granary.KindUnavailable, op, subject, "%w", err)
}

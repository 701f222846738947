package volume

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"unsafe"

	"github.com/dsorchard/granary"
)

// A read into lent memory has a loan where the bytes shall go. The server preads there, and answers 204 with their number: no socket
// copies them. Servers say that they can in their answers to reads with a body; a server that cannot map the memory says so by statusNoLoan, has
// not touched it, and is asked for bodies from then on.
//
// The client verifies what has come after the answer, in place, and goes on reading it there. So nobody may write there any more:
//
//   - The server writes before it answers, never after. Its pread is done when its handler goes on.
//   - A read without an answer (given up, hedged away, timed out, its connection lost) may write at any time until it ends, which
//     the client cannot know. So its memory is good for nothing else: whoever gets an error of ReadAt calls Release, which
//     unmaps it and closes its descriptor. A late pread goes into pages that only the server has, and are free when it lets go of them; new memory
//     has a new name, which no old request knows.
//   - A request is sent once. net/http repeats one that an idle connection has lost if its method is GET, or it has an idempotency key; the first
//     might still be served when the second has been answered. This one is a POST without.
//
// A server that is not what it claims to be could write later. It can open the client's memory by /proc, so that the system has it trusted with the
// client already.

// readLoanMin is the least size of a read into lent memory: a request costs more than the copies of a smaller body.
const readLoanMin = 64 << 10

// LendsReads reports whether a server reads into memory of Lend, as far as is known.
func (c *Client) LendsReads(addr string) bool {
	if c.local(addr) != nil {
		return false
	}
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	return c.loans.readers[addr] == loansTaken
}

// Release takes back what Lend has returned and reads went into, even if one of them may still be under way at its server. It must not be
// touched any more.
func (c *Client) Release(memory []byte) {
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	if r := c.loans.regions[unsafe.SliceData(memory)]; r != nil {
		r.unmap()
		delete(c.loans.regions, unsafe.SliceData(memory))
	}
}

// readLoanOf returns the loan of p to a server, if it takes loans and p begins in the first page of what was lent. What was lent counts as read into, by
// whatever way that will be.
func (c *Client) readLoanOf(addr string, p []byte) (l loan, ok bool) {
	if len(p) < readLoanMin {
		return loan{}, false
	}
	first := unsafe.SliceData(p)
	skipped := uintptr(unsafe.Pointer(first)) % pageSize
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	r := c.loans.regions[(*byte)(unsafe.Add(unsafe.Pointer(first), -int(skipped)))]
	if r == nil || int(skipped)+len(p) > len(r.memory) {
		return loan{}, false
	}
	r.filled = true
	if c.loans.readers[addr] != loansTaken {
		return loan{}, false
	}
	return loan{pid: ownPID(), fd: r.fd, name: r.name, offset: int64(skipped), size: int64(len(p))}, true
}

// fillsLoans notes whether a server has said that it reads into lent memory, or could not.
func (c *Client) fillsLoans(addr string, yes bool) {
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	switch at := c.loans.readers[addr]; {
	case !yes:
		c.loans.readers[addr] = loansRefused
	case at == loansPossible:
		c.loans.readers[addr] = loansTaken
	}
}

// readLent reads into what is lent. errNoLoan says that the server has not touched it.
func (c *Client) readLent(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64, l loan) (int, uint64, error) {
	subject := ref.String()
	url := fmt.Sprintf("%s://%s%s/read?off=%d&len=%d", c.scheme, addr, shardPath(ref), off, len(p))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return 0, 0, granary.Errorf(granary.KindInvalid, opRead, subject, "%w", err)
	}
	req.Header.Set(headerLoan, l.String())
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, 0, unreachable(ctx, opRead, subject, err)
	}
	defer finish(resp)
	switch {
	case resp.StatusCode == statusNoLoan:
		return 0, 0, errNoLoan
	case resp.StatusCode != http.StatusNoContent:
		return 0, 0, readError(opRead, subject, resp)
	}
	size, err := strconv.ParseInt(resp.Header.Get(headerBytes), 10, 64)
	if err != nil {
		return 0, 0, granary.Errorf(granary.KindInternal, opRead, subject, "%s does not say how much it has read: %w", addr, err)
	}
	length, err := readLength(resp, addr, subject, len(p), off, size)
	if err == nil {
		c.learnPeek(addr, ref, resp, length)
	}
	return int(size), length, err
}

// readLength returns the shard's length as an answer to a read of most bytes has it, of which size have come.
func readLength(resp *http.Response, addr, subject string, most int, off, size int64) (uint64, error) {
	length, err := strconv.ParseUint(resp.Header.Get(headerShardLength), 10, 64)
	if err != nil || size < 0 || size > int64(most) || size < int64(most) && uint64(off)+uint64(size) < length {
		return 0, granary.Errorf(granary.KindInternal, opRead, subject, "%s gave an answer that makes no sense: %d bytes of a shard of %d", addr, size, length)
	}
	return length, nil
}

// readLent serves a read into memory of the client.
func (h *handler) readLent(w http.ResponseWriter, r *http.Request) {
	p := &params{op: opRead, subject: r.URL.Path}
	ref, query := p.ref(r), r.URL.Query()
	off := p.number("off", query.Get("off"), 10, 63)
	size := p.number("len", query.Get("len"), 10, 63)
	l, err := parseLoan(r.Header.Get(headerLoan))
	switch {
	case p.err != nil:
	case err != nil:
		p.err = granary.Errorf(granary.KindInvalid, opRead, p.subject, "what is lent is %q: %w", r.Header.Get(headerLoan), err)
	case uint64(l.size) != size:
		p.err = granary.Errorf(granary.KindInvalid, opRead, p.subject, "%d bytes into %d", size, l.size)
	}
	if p.err != nil {
		writeError(w, p.err)
		return
	}
	memory, give, err := h.mapped.borrow(l, true)
	if err != nil {
		http.Error(w, err.Error(), statusNoLoan)
		return
	}
	defer give()
	n, length, err := h.store.ReadAt(r.Context(), ref, memory, int64(off))
	if err != nil {
		writeError(w, err)
		return
	}
	h.sayWhere(w, r, ref)
	w.Header().Set(headerBytes, strconv.Itoa(n))
	w.Header().Set(headerShardLength, strconv.FormatUint(length, 10))
	w.WriteHeader(http.StatusNoContent)
}

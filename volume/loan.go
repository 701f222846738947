package volume

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"unsafe"
)

// A loan is a part of a client's memory that a volume server on the same machine reads an append from, instead of a body: neither
// end copies it through a socket. The client makes memory that can be shared (memfd_create), under a name of 128 random bits, and
// names it in the header headerLoan of a request without body. The server opens it by the client's process, and knows by the name that it is
// the one that was meant: in another process, or on another machine, none has it. If it cannot, it says so by statusNoLoan, and the client
// sends a body from then on. The first append has a body in any case: the answer says whether the server knows of loans.
//
// Such memory cannot shrink, which the server checks, so that reading it never fails. It could change while the server reads it: then
// the bytes are not those of the checksum, which harms nobody but the client, who does not do so before it has the answer. When it has given the volume up
// it closes the descriptor, and only then lets the memory go: a server that still finds the descriptor after it has read, has read what was meant.
//
// Reads go the other way: see loan_read.go.
type loan struct {
	pid, fd      int
	name         string
	offset, size int64
}

const (
	loanPrefix = "granary-"
	loanFormat = "%d %d %d %d %s"
	// regionSizeMax bounds the memory that is mapped at once.
	regionSizeMax = 2 * appendSizeMax
)

// String returns the loan as the header has it.
func (l loan) String() string {
	return fmt.Sprintf(loanFormat, l.pid, l.fd, l.offset, l.size, l.name)
}

// parseLoan is the reverse of String.
func parseLoan(text string) (l loan, err error) {
	if _, err := fmt.Sscanf(text, loanFormat, &l.pid, &l.fd, &l.offset, &l.size, &l.name); err != nil {
		return loan{}, err
	}
	token, ok := strings.CutPrefix(l.name, loanPrefix)
	if !ok || !validID(token) || l.pid <= 0 || l.fd < 0 || l.offset < 0 || l.size <= 0 || l.size > appendSizeMax {
		return loan{}, errors.New("it makes no sense")
	}
	return l, nil
}

// stands reports whether the client has not taken the memory back: up to now it was what the client had put there.
func (l loan) stands() bool { return l.named(l.path()) == nil }

// formatPieces returns the checksums of pieces as the header has them.
func formatPieces(sums []uint32) string {
	p := make([]byte, 0, 4*len(sums))
	for _, sum := range sums {
		p = binary.LittleEndian.AppendUint32(p, sum)
	}
	return base64.StdEncoding.EncodeToString(p)
}

// parsePieces is the reverse of formatPieces.
func parsePieces(text string) ([]uint32, error) {
	p, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	if len(p)%4 != 0 {
		return nil, fmt.Errorf("%d bytes are not whole checksums", len(p))
	}
	var sums []uint32
	for ; len(p) > 0; p = p[4:] {
		sums = append(sums, binary.LittleEndian.Uint32(p))
	}
	return sums, nil
}

// region is memory that can be lent.
type region struct {
	memory []byte
	fd     int
	name   string
	filled bool // reads went into it
}

// loans is what a client has to lend, and to whom.
type loans struct {
	mu      sync.Mutex
	regions map[*byte]*region   // by their first byte
	near    map[string]nearness // servers on this machine, by address: for appends
	readers map[string]nearness // … and for reads
}

func newLoans() loans {
	return loans{regions: make(map[*byte]*region), near: make(map[string]nearness), readers: make(map[string]nearness)}
}

// nearness is what is known of a server on this machine.
type nearness uint8

const (
	loansPossible nearness = iota + 1 // it has not said that it takes any
	loansTaken
	loansRefused
)

// Lend returns memory from which appends to servers on the same machine cost less than from other, or nil where there is none. It is
// not collected: Forget frees it.
func (c *Client) Lend(size int) []byte {
	if size > regionSizeMax {
		return nil
	}
	r, err := newRegion(size)
	if err != nil {
		return nil
	}
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	c.loans.regions[unsafe.SliceData(r.memory)] = r
	return r.memory
}

// Forget takes back what Lend has returned. An append that was given up may still read it, and gets zeros.
func (c *Client) Forget(memory []byte) {
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	if r := c.loans.regions[unsafe.SliceData(memory)]; r != nil {
		r.free()
		delete(c.loans.regions, unsafe.SliceData(memory))
	}
}

// freeLoans frees all that was not forgotten. What reads went into stays, since somebody may still look at it: who lent it has Release.
func (c *Client) freeLoans() {
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	for at, r := range c.loans.regions {
		if !r.filled {
			r.free()
			delete(c.loans.regions, at)
		}
	}
}

// loanOf returns the loan of data to a server, if it takes loans and data lie at the beginning of what was lent.
func (c *Client) loanOf(addr string, data []byte) (l loan, ok bool) {
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	r := c.loans.regions[unsafe.SliceData(data)]
	if r == nil || c.loans.near[addr] != loansTaken {
		return loan{}, false
	}
	return loan{pid: ownPID(), fd: r.fd, name: r.name, size: int64(len(data))}, true
}

// dialed notes whether the server that a connection goes to is on this machine: its address is ours, then.
func (c *Client) dialed(addr string, conn net.Conn) {
	us, ok := conn.LocalAddr().(*net.TCPAddr)
	them, also := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !also || !us.IP.Equal(them.IP) {
		return
	}
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	if _, known := c.loans.near[addr]; !known {
		c.loans.near[addr], c.loans.readers[addr] = loansPossible, loansPossible
	}
}

// takesLoans notes that a server has said that it takes loans.
func (c *Client) takesLoans(addr string) {
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	if c.loans.near[addr] == loansPossible {
		c.loans.near[addr] = loansTaken
	}
}

// refusesLoans notes that a server could not take a loan: it is asked no more.
func (c *Client) refusesLoans(addr string) {
	c.loans.mu.Lock()
	defer c.loans.mu.Unlock()
	c.loans.near[addr] = loansRefused
}

// errShortLoan says that memory is not as long as a loan says, or need not stay so.
var errShortLoan = errors.New("it is too short, or may become so")

// errNoLoan says that the server could not take a loan.
var errNoLoan = errors.New("the server does not see the client's memory")

//go:build linux

package volume

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
)

// lendingServer is a server and a client that knows that it reads into lent memory. around calls what serves such a read.
func lendingServer(t *testing.T, data []byte, around func(serve func())) (c *Client, addr string, ref granary.ShardRef, lent *atomic.Int64) {
	store := openTemp(t)
	lent = new(atomic.Int64)
	handler := NewHandler(store)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/read") {
			lent.Add(1)
			r = r.WithContext(context.WithoutCancel(r.Context())) // as if it had been at the disk when it was given up
			around(func() { handler.ServeHTTP(w, r) })
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	addr, ref = strings.TrimPrefix(server.URL, "http://"), firstRef(store, 1)
	c = NewClient()
	c.peeks.closed = true // or it would read the file
	t.Cleanup(func() { c.Close() })
	if err := c.Append(t.Context(), addr, appendOf(ref, 0, 0, data)); err != nil {
		t.Fatal(err)
	}
	if c.LendsReads(addr) {
		t.Fatal("an append says that reads take loans")
	}
	if _, _, err := c.ReadAt(t.Context(), addr, ref, make([]byte, 100), 0); err != nil {
		t.Fatal(err)
	}
	if !c.LendsReads(addr) {
		t.Skip("no memory can be shared here")
	}
	return c, addr, ref, lent
}

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i>>8) ^ byte(i*7) | 1
	}
	return p
}

// A read into lent memory gives what one with a body does, and is as short at the end; what cannot be lent comes as a body.
func TestReadLent(t *testing.T) {
	data := pattern(1 << 20)
	c, addr, ref, lent := lendingServer(t, data, func(serve func()) { serve() })
	memory := c.Lend(2 << 20)
	defer c.Release(memory)
	step := func(p []byte, off int64, want []byte, wantLent int64) {
		t.Helper()
		clear(p)
		n, length, err := c.ReadAt(t.Context(), addr, ref, p, off)
		if err != nil || length != uint64(len(data)) || !bytes.Equal(p[:n], want) {
			t.Fatal("other bytes", n, length, err)
		}
		if lent.Swap(0) != wantLent {
			t.Error("it came in the wrong way")
		}
	}
	step(memory[:1<<20], 0, data, 1)
	step(memory[:100_000], 12345, data[12345:112345], 1)
	step(memory[:1<<20], 1<<19, data[1<<19:], 1)
	step(memory[:1<<20], 1<<20, nil, 1)
	step(memory[57:57+1<<20], 0, data, 1) // not quite the beginning
	step(memory[4095:][:100_000], 1<<20-99_999, data[1<<20-99_999:], 1)
	if !bytes.Equal(memory[:57], make([]byte, 57)) || memory[57+1<<20] != 0 {
		t.Error("it went elsewhere, too")
	}
	step(memory[:4096], 4096, data[4096:8192], 0) // a small one
	step(memory[1<<20:], 0, data, 0)              // not in the first page
	step(make([]byte, 1<<20), 0, data, 0)         // other memory
	if _, _, err := c.ReadAt(t.Context(), addr, granary.ShardRef{Disk: ref.Disk, Volume: 99}, memory[:1<<20], 0); !granary.IsKind(err, granary.KindNotFound) {
		t.Error("a shard that is not there:", err)
	}
	lent.Store(0)
	c.loans.regions[&memory[0]].name = loanPrefix + strings.Repeat("0", idSize) // as if the server were elsewhere
	step(memory[:1<<20], 0, data, 1)
	step(memory[:1<<20], 0, data, 0) // it is not asked again
	if c.LendsReads(addr) {
		t.Error("a server that refused is said to take loans")
	}
}

// What a server reads after the client has given the read up goes into memory that is used for nothing else.
func TestGivenUpReadDirtiesNothing(t *testing.T) {
	began, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var hold atomic.Bool
	data := pattern(1 << 20)
	c, addr, ref, _ := lendingServer(t, data, func(serve func()) {
		if hold.Load() {
			began <- struct{}{}
			<-goOn
			defer close(done)
		}
		serve()
	})
	memory := c.Lend(1 << 20)
	if _, _, err := c.ReadAt(t.Context(), addr, ref, memory, 0); err != nil { // the server has it mapped from now on
		t.Fatal(err)
	}
	clear(memory)
	late, err := unix.Dup(c.loans.regions[&memory[0]].fd)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(late)
	hold.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, _, err := c.ReadAt(ctx, addr, ref, memory, 0)
		failed <- err
	}()
	<-began
	cancel()
	if err := <-failed; err == nil {
		t.Fatal("a read without an answer is said to be good")
	}
	c.Release(memory)
	fresh := c.Lend(1 << 20) // most likely with the same descriptor and addresses
	defer c.Release(fresh)
	for i := range fresh {
		fresh[i] = 0xAA
	}
	close(goOn)
	<-done
	for i, b := range fresh {
		if b != 0xAA {
			t.Fatalf("byte %d was written by a read that was given up", i)
		}
	}
	got := make([]byte, len(data))
	if _, err := unix.Pread(late, got, 0); err != nil || !bytes.Equal(got, data) {
		t.Error("the server has not written late, so that nothing was shown", err)
	}
}

// A request for a read into lent memory that makes no sense is refused, and touches nothing.
func TestReadLentIsChecked(t *testing.T) {
	c, addr, ref, _ := lendingServer(t, pattern(1<<20), func(serve func()) { serve() })
	memory := c.Lend(1 << 20)
	defer c.Release(memory)
	r := c.loans.regions[&memory[0]]
	for what, at := range map[string]struct {
		l    loan
		size int
		want int
	}{
		"another size":     {loan{ownPID(), r.fd, r.name, 0, 8192}, 4096, http.StatusBadRequest},
		"another name":     {loan{ownPID(), r.fd, loanPrefix + strings.Repeat("0", idSize), 0, 4096}, 4096, statusNoLoan},
		"beyond its end":   {loan{ownPID(), r.fd, r.name, 1 << 20, 4096}, 4096, statusNoLoan},
		"across its end":   {loan{ownPID(), r.fd, r.name, 1<<20 - 4096, 8192}, 8192, statusNoLoan},
		"far beyond":       {loan{ownPID(), r.fd, r.name, 1<<63 - 4096, 8192}, 8192, statusNoLoan},
		"a negative place": {loan{ownPID(), r.fd, r.name, -4096, 4096}, 4096, http.StatusBadRequest},
	} {
		url := "http://" + addr + shardPath(ref) + "/read?off=0&len=" + strconv.Itoa(at.size)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(headerLoan, at.l.String())
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != at.want {
			t.Errorf("%s: %s", what, resp.Status)
		}
	}
	for _, b := range memory {
		if b != 0 {
			t.Fatal("memory was written to")
		}
	}
}

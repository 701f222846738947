//go:build linux

package volume

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/crc32c"
)

// Appends from lent memory come without a body once the server has said that it takes loans, and store the same; what cannot be lent is sent.
func TestLoan(t *testing.T) {
	store := openTemp(t)
	var bodies, lent atomic.Int64
	handler := NewHandler(store)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			bodies.Add(r.ContentLength)
			if r.Header.Get(headerLoan) != "" {
				lent.Add(1)
			}
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	c := NewClient()
	defer c.Close()
	memory := c.Lend(1 << 20)
	if memory == nil {
		t.Skip("no memory can be shared here")
	}
	ref := firstRef(store, 1)
	var want []byte
	put := func(p []byte) error {
		return c.Append(t.Context(), addr, appendOf(ref, uint64(len(want)), uint64(len(want)), p))
	}
	step := func(p []byte, wantBodies, wantLent int64) {
		t.Helper()
		if err := put(p); err != nil {
			t.Fatal(err)
		}
		want = append(want, p...)
		if bodies.Swap(0) != wantBodies || lent.Swap(0) != wantLent {
			t.Error("it was sent in the wrong way")
		}
		got := make([]byte, len(want)+1)
		if n, _, err := store.ReadAt(t.Context(), ref, got, 0); err != nil || !bytes.Equal(got[:n], want) {
			t.Fatal("other bytes", n, err)
		}
	}
	set := func(b byte, n int) []byte {
		for i := range memory[:n] {
			memory[i] = b + byte(i>>8)
		}
		return memory[:n]
	}
	step(set(1, 8192), 8192, 0) // nothing is known of the server
	step(set(2, 1<<20), 0, 1)
	step(set(3, 4096), 0, 1)
	step(make([]byte, 4096), 4096, 0) // other memory
	step(memory[4096:8192], 4096, 0)  // not its beginning

	c.loans.regions[&memory[0]].name = loanPrefix + strings.Repeat("0", idSize) // as if the server were elsewhere
	step(set(4, 4096), 4096, 1)
	step(set(5, 4096), 4096, 0) // it is not asked again
}

// What a request says of memory is believed only if it is true.
func TestLoanIsChecked(t *testing.T) {
	r, err := newRegion(1 << 20)
	if err != nil {
		t.Skip("no memory can be shared here:", err)
	}
	defer r.free()
	good := loan{pid: ownPID(), fd: r.fd, name: r.name, size: 4096}
	if l, err := parseLoan(good.String()); l != good || err != nil {
		t.Error(l, err)
	}
	m := newMappings()
	if _, give, err := m.borrow(good, false); err != nil {
		t.Error(err)
	} else {
		give()
	}
	other, long := good, good
	other.name = loanPrefix + strings.Repeat("0", idSize)
	long.offset = 1<<20 - 4096 + pageSize
	for what, l := range map[string]loan{"another name": other, "beyond its end": long} {
		if _, _, err := m.borrow(l, true); err == nil {
			t.Error(what, "is believed")
		}
	}
	key := mappingKey{good.name, false}
	m.expire(key, m.all[key])
	for key, at := range m.all {
		m.expire(key, at)
	}
	if len(m.all) != 0 {
		t.Error("what is not used stays mapped")
	}
	for _, text := range []string{"", "1 2 0 4096 etc", "0 1 0 4096 " + r.name, "1 1 0 0 " + r.name, "1 1 0 99999999999 " + r.name} {
		if _, err := parseLoan(text); err == nil {
			t.Errorf("%q is believed", text)
		}
	}
	fd, err := unix.MemfdCreate(r.name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Ftruncate(fd, 1<<20); err != nil {
		t.Fatal(err)
	}
	shrinks := good
	shrinks.fd = fd
	if _, _, err := newMappings().borrow(shrinks, false); err == nil {
		t.Error("memory is read that could shrink")
	}
}

// What a client has taken back while the server was about to read it is not stored as what it was, whatever checksums came with it.
func TestLoanTakenBack(t *testing.T) {
	store := openTemp(t)
	ref := firstRef(store, 1)
	data := fill(sumPiece+4096, 1)
	sums := crc32c.NewPieces(0, len(data))
	sums.Add(data)
	for taken, want := range map[bool]granary.Kind{true: granary.KindCorrupt, false: granary.KindNone} {
		r, err := newRegion(1 << 20)
		if err != nil {
			t.Skip("no memory can be shared here:", err)
		}
		copy(r.memory, data)
		l := loan{pid: ownPID(), fd: r.fd, name: r.name, size: int64(len(data))}
		m := newMappings()
		memory, give, err := m.borrow(l, false)
		if err != nil {
			t.Fatal(err)
		}
		if taken {
			r.free()
		} else {
			defer r.free()
		}
		a := appendOf(ref, 0, 0, memory)
		a.CRC32C, a.Pieces = sums.Whole(), sums.Sums()
		if err := store.append(t.Context(), a, origin{lent: l.stands}); granary.KindOf(err) != want {
			t.Errorf("taken back %t: %v", taken, err)
		}
		give()
		for key, at := range m.all {
			m.expire(key, at)
		}
	}
	wantStream(t, store, ref, data)
}

// The checksums of pieces are those that were sent.
func TestPiecesHeader(t *testing.T) {
	for _, sums := range [][]uint32{nil, {1}, {0, 1 << 31, 77}} {
		if got, err := parsePieces(formatPieces(sums)); err != nil || !slices.Equal(got, sums) {
			t.Errorf("%x are %x: %v", sums, got, err)
		}
	}
	for _, text := range []string{"AAAA", "?"} {
		if _, err := parsePieces(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

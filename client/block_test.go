package client

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/dsorchard/granary"
)

// newCluster is a cluster of disks under a policy, and a client of it with small rows.
func newCluster(t *testing.T, seed uint64, disks int, p granary.Policy, edit func(*Options)) (*fakeCluster, *Client) {
	t.Helper()
	f := newFakeCluster(seed, 3)
	f.shards, f.policy = newFakeShards(disks), p
	c := openClient(t, f, edit)
	t.Cleanup(func() { closeClient(t, c) })
	return f, c
}

func policy(k, m int) granary.Policy {
	p := granary.DefaultPolicy()
	p.DataShards, p.ParityShards = k, m
	return p
}

// upload makes a file of data, written in uneven pieces.
func upload(c *Client, name string, data []byte) (granary.Result, error) {
	u, err := c.NewUpload(context.Background(), UploadOptions{Create: granary.Create{Parent: granary.RootInode, Name: name, Replace: true}})
	if err != nil {
		return granary.Result{}, err
	}
	defer u.Abort()
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 700_001)
		if _, err := u.Write(rest[:n]); err != nil {
			return granary.Result{}, err
		}
		rest = rest[n:]
	}
	return u.Finish(func() ([]granary.Xattr, error) {
		return []granary.Xattr{{Name: "granary.content.etag", Value: []byte("e")}}, nil
	})
}

func layoutOf(t testing.TB, c *Client, name string) *granary.Layout {
	t.Helper()
	found, err := Ask[*granary.Found](context.Background(), c, &granary.Lookup{Base: granary.RootInode, Path: name})
	if err != nil {
		t.Fatal(err)
	}
	return found.Layout
}

// mustRead checks a file's content, as a whole and in ranges.
func mustRead(t testing.TB, c *Client, name string, want []byte) {
	t.Helper()
	l := layoutOf(t, c, name)
	if l.Size != uint64(len(want)) {
		t.Fatalf("%s has %d bytes, want %d", name, l.Size, len(want))
	}
	got := bytes.Repeat([]byte{0xee}, len(want))
	if err := c.ReadLayout(context.Background(), l, got, 0); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s reads back wrong", name)
	}
	for range 4 {
		if len(want) == 0 {
			return
		}
		off := rand.IntN(len(want))
		n := min(len(want)-off, rand.IntN(100_000))
		if err := c.ReadLayout(context.Background(), l, got[:n], uint64(off)); err != nil || !bytes.Equal(got[:n], want[off:off+n]) {
			t.Fatalf("%s: %d bytes at %d: %v", name, n, off, err)
		}
	}
}

func TestUploadSizes(t *testing.T) {
	f, c := newCluster(t, 1, 8, policy(4, 2), nil)
	for _, size := range []int{0, 1, 4096, 4097, 200_000, 3 << 20, 15 << 20, 17 << 20, 42 << 20} {
		name, data := fmt.Sprint(size), noise(uint64(size), size)
		r, err := upload(c, name, data)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if r.Attr.Size != uint64(size) {
			t.Errorf("%d bytes became %d", size, r.Attr.Size)
		}
		if n := f.inodes[f.names[name]]; len(n.xattrs) != 1 || size <= 4096 && len(n.extents) > 0 {
			t.Errorf("%d bytes: xattrs %v, extents %v", size, n.xattrs, n.extents)
		}
		mustRead(t, c, name, data)
	}
	if n := f.effects["link/"+fmt.Sprint(42<<20)]; n != 1 {
		t.Errorf("linked %d times", n)
	}
}

// A single copy of a large file under 4+2 costs at most 1.66 times its size: 1.53 when rows are full, more when the machine
// is so slow that the cutter falls behind the flushes.
func TestOverhead(t *testing.T) {
	f, c := newCluster(t, 2, 6, policy(4, 2), nil)
	const size = 60 << 20
	u, err := c.NewUpload(t.Context(), UploadOptions{Create: granary.Create{Parent: granary.RootInode, Name: "tar"}})
	if err != nil {
		t.Fatal(err)
	}
	held, lent := 0, 0
	for i := range uint64(25) {
		if _, err := u.Write(noise(1000+i, size/25)); err != nil {
			t.Fatal(err)
		}
		u.mu.Lock()
		held, lent = max(held, u.held), max(lent, u.lent)
		u.mu.Unlock()
	}
	if _, err := u.Finish(nil); err != nil {
		t.Fatal(err)
	}
	if ratio := float64(f.shards.stored) / size; ratio > 1.66 {
		t.Errorf("stored %.3f times the size", ratio)
	} else {
		t.Logf("stored %.3f times the size, held at most %d MiB", ratio, held>>20)
	}
	if held > uploadMax || lent > uploadMax+2*segmentMost {
		t.Errorf("held %d bytes in arenas of %d", held, lent)
	}
	if u.lent != u.loan.size {
		t.Errorf("%d bytes of arenas are needed after the end, the cutter's has %d", u.lent, u.loan.size)
	}
}

// However uploads end, the memory of their chunks is given back.
func TestArenasComeBack(t *testing.T) {
	f, c := newCluster(t, 9, 8, policy(4, 2), nil)
	data := noise(9, 30<<20)
	if _, err := upload(c, "whole", data); err != nil {
		t.Fatal(err)
	}
	if _, err := upload(c, "again", data); err != nil { // of chunks that are there
		t.Fatal(err)
	}
	for _, size := range []int{5 << 20, 29 << 20} {
		u, err := c.NewUpload(t.Context(), UploadOptions{Create: granary.Create{Parent: granary.RootInode, Name: "aborted"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Write(noise(uint64(size), size)); err != nil {
			t.Fatal(err)
		}
		u.Abort()
	}
	closeClient(t, c)
	if c.arenas.taken != 0 || c.arenas.unused != 0 || c.budget.held != 0 || c.lending.held != 0 {
		t.Errorf("%d bytes of arenas are in use, %d idle, %d held, %d lent", c.arenas.taken, c.arenas.unused, c.budget.held, c.lending.held)
	}
	if len(f.names) != 2 {
		t.Error(f.names)
	}
}

// A long upload onto rows of no more than a segment gives memory up after a while, to the system; one onto wider rows does not.
func TestLongUploadsShedMemory(t *testing.T) {
	for _, at := range []struct {
		policy       granary.Policy
		short, later int
	}{{policy(1, 0), 26 << 20, 16 << 20}, {policy(4, 2), 58 << 20, 58 << 20}} {
		_, c := newCluster(t, 11, 8, at.policy, nil)
		u, err := c.NewUpload(t.Context(), UploadOptions{Create: granary.Create{Parent: granary.RootInode, Name: "long"}})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Abort()
		var most [2]int // bytes that were mapped up to sprintMax, and some MiB later
		data := noise(12, 1<<20)
		for i := range 80 {
			data[0], data[len(data)/2] = byte(i), byte(i)
			if _, err := u.Write(data); err != nil {
				t.Fatal(err)
			}
			c.arenas.mu.Lock()
			mapped := c.arenas.taken + c.arenas.unused
			c.arenas.mu.Unlock()
			switch {
			case u.offset < sprintMax:
				most[0] = max(most[0], mapped)
			case u.offset >= sprintMax+16<<20:
				most[1] = max(most[1], mapped)
			}
		}
		if most[0] > at.short || most[1] > at.later || most[1] == 0 {
			t.Errorf("%d+%d: %d MiB are mapped, and %d later, want at most %d and %d", at.policy.DataShards, at.policy.ParityShards,
				most[0]>>20, most[1]>>20, at.short>>20, at.later>>20)
		}
		if _, err := u.Finish(nil); err != nil {
			t.Fatal(err)
		}
	}
}

// Many uploads at once share the memory that there is, and all of them end.
func TestUploadsShareMemory(t *testing.T) {
	const uploads, size, shared = 12, 18 << 20, 8 << 20
	_, c := newCluster(t, 10, 8, policy(4, 2), func(o *Options) { o.UploadBytes = shared })
	var wg sync.WaitGroup
	var mu sync.Mutex
	most, lent := 0, 0
	for i := range uploads {
		wg.Go(func() {
			data := noise(uint64(100+i), size)
			u, err := c.NewUpload(t.Context(), UploadOptions{Create: granary.Create{Parent: granary.RootInode, Name: fmt.Sprint(i)}})
			if err != nil {
				t.Error(err)
				return
			}
			defer u.Abort()
			for p := data; len(p) > 0; p = p[min(len(p), 300_000):] {
				if _, err := u.Write(p[:min(len(p), 300_000)]); err != nil {
					t.Error(err)
					return
				}
				c.budget.mu.Lock()
				held := c.budget.held
				c.budget.mu.Unlock()
				c.lending.mu.Lock()
				now := c.lending.held
				c.lending.mu.Unlock()
				mu.Lock()
				most, lent = max(most, held), max(lent, now)
				mu.Unlock()
			}
			if _, err := u.Finish(nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range uploads {
		mustRead(t, c, fmt.Sprint(i), noise(uint64(100+i), size))
	}
	if bound := shared + uploads*granary.ChunkSizeMax; most > bound {
		t.Errorf("held %d bytes, want at most %d", most, bound)
	}
	if bound := uploads * arenaMax; lent > bound {
		t.Errorf("lent %d bytes, want at most %d", lent, bound)
	}
	if c.budget.held != 0 || c.lending.held != 0 {
		t.Errorf("%d bytes are still held, %d lent", c.budget.held, c.lending.held)
	}
}

// What is uploaded twice is stored once, across uploads, within one, and while both are under way.
func TestDeduplication(t *testing.T) {
	f, c := newCluster(t, 3, 6, policy(4, 2), nil)
	data := noise(3, 20<<20)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			if _, err := upload(c, fmt.Sprint("copy", i), data); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	stored := f.shards.stored
	if stored > 55<<20 { // one copy in hurried rows; two would take 60 at least
		t.Errorf("three copies at once stored %d bytes", stored)
	}
	if _, err := upload(c, "again", slices.Concat(data, data)); err != nil {
		t.Fatal(err)
	}
	if more := f.shards.stored - stored; more > 12<<20 {
		t.Errorf("a further copy stored %d bytes", more)
	}
	zeros := make([]byte, 64<<20)
	stored = f.shards.stored
	if _, err := upload(c, "zeros", zeros); err != nil {
		t.Fatal(err)
	}
	if more := f.shards.stored - stored; more > 1<<20 {
		t.Errorf("zeros stored %d bytes", more)
	}
	mustRead(t, c, "again", slices.Concat(data, data))
	mustRead(t, c, "copy1", data)
	mustRead(t, c, "zeros", zeros)
}

// Chunks that vanish between question and commit, and volumes sealed under the writer, are written again.
func TestCommitRefusals(t *testing.T) {
	f, c := newCluster(t, 4, 8, policy(2, 1), nil)
	data := noise(4, 3<<20)
	if _, err := upload(c, "a", data); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	clear(f.chunks) // the client remembers them
	f.mu.Unlock()
	if _, err := upload(c, "b", data); err != nil {
		t.Fatal(err)
	}
	mustRead(t, c, "b", data)

	sealed := false
	f.mu.Lock()
	f.fault = func(op string) fakeFate {
		if op == "mutate" && !sealed { // before the commit is looked at
			for _, v := range f.volumes {
				if v.State == granary.VolumeOpen {
					f.seal(v)
					sealed = true
				}
			}
		}
		return fateServed
	}
	f.mu.Unlock()
	other := noise(5, 2<<20)
	if _, err := upload(c, "c", other); err != nil {
		t.Fatal(err)
	}
	if !sealed {
		t.Error("no volume was sealed")
	}
	mustRead(t, c, "c", other)
}

// Writes of ranges: inline while small, packed, cut, appended.
func TestWriteRanges(t *testing.T) {
	f, c := newCluster(t, 5, 6, policy(4, 2), nil)
	r, err := upload(c, "f", nil)
	if err != nil {
		t.Fatal(err)
	}
	attr, want := r.Attr, []byte{}
	write := func(ranges []Range, atEnd bool) {
		t.Helper()
		r, err := c.WriteRanges(t.Context(), granary.Cred{}, attr, ranges, atEnd, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range ranges {
			if atEnd {
				x.Offset = uint64(len(want))
				if r.Offset != x.Offset {
					t.Errorf("appended at %d, not %d", r.Offset, x.Offset)
				}
			}
			if short := int(x.Offset) + len(x.Data) - len(want); short > 0 {
				want = append(want, make([]byte, short)...)
			}
			copy(want[x.Offset:], x.Data)
		}
		attr = r.Attr
		mustRead(t, c, "f", want)
	}
	write([]Range{{100, noise(1, 500)}}, false)
	write([]Range{{0, noise(2, 300)}}, true)
	if n := f.inodes[attr.Inode]; len(n.inline) != 900 || len(n.extents) != 0 {
		t.Errorf("%d bytes inline, extents %v", len(n.inline), n.extents)
	}
	var many []Range
	for i := range uint64(300) {
		many = append(many, Range{50 + i*9000, noise(i, 4096)})
	}
	write(many, false)
	if n := f.effects["commit"]; n != 3 {
		t.Errorf("%d commits", n)
	}
	write([]Range{{10 << 20, noise(7, 9<<20)}, {5, noise(8, 5)}, {600_000, noise(9, 600_000)}}, false)
	for i := range uint64(8) {
		write([]Range{{rand.Uint64N(uint64(len(want))), noise(100+i, rand.IntN(200_000)+1)}}, false)
	}
	write([]Range{{0, noise(10, commitBytesMax+1<<20)}}, true)
	if _, err := c.WriteRanges(t.Context(), granary.Cred{}, attr, []Range{{0, want[:9]}, {8, want[:9]}}, false, nil); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("overlapping ranges: %v", err)
	}
}

// Small writers share rows: a hundred at once need few appends.
func TestGroupCommit(t *testing.T) {
	f, c := newCluster(t, 6, 6, policy(4, 2), nil)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, err := upload(c, fmt.Sprint(i), noise(uint64(i), 20_000)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 100 {
		mustRead(t, c, fmt.Sprint(i), noise(uint64(i), 20_000))
	}
	t.Logf("%d appends", f.shards.appends)
}

// An aborted upload leaves nothing, nor does one whose context ends.
func TestAbort(t *testing.T) {
	f, c := newCluster(t, 7, 6, policy(4, 2), nil)
	u, err := c.NewUpload(t.Context(), UploadOptions{Create: granary.Create{Parent: granary.RootInode, Name: "x"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(noise(1, 50<<20)); err != nil {
		t.Fatal(err)
	}
	u.Abort()
	u.Abort()
	if _, err := u.Finish(nil); err == nil {
		t.Error("finished after its end")
	}
	ctx, cancel := context.WithCancel(t.Context())
	if u, err = c.NewUpload(ctx, UploadOptions{Create: granary.Create{Parent: granary.RootInode, Name: "y"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(noise(2, 30<<20)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := u.Finish(nil); granary.KindOf(err) != granary.KindCanceled && granary.KindOf(err) != granary.KindIndeterminate {
		t.Errorf("finished with %v", err)
	}
	closeClient(t, c)
	if len(f.names) != 0 {
		t.Errorf("names %v", f.names)
	}
	for _, n := range f.inodes {
		if n.orphan != 0 {
			t.Error("an inode was left to the session")
		}
	}
}

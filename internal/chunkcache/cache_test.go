package chunkcache

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

func open(t *testing.T, dir string, sizeMax int64) *Cache {
	t.Helper()
	c, err := Open(Options{Dir: dir, SizeMax: sizeMax, ReservePercent: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func content(n int) (granary.Hash, []byte) {
	dice := rand.New(rand.NewPCG(uint64(n), 1))
	p := make([]byte, 100_000+n)
	for i := range p {
		p[i] = byte(dice.Uint32())
	}
	return granary.Hash{byte(n), byte(n >> 8), 7}, p
}

// add adds something and waits until it is written.
func add(t *testing.T, c *Cache, hash granary.Hash, size, off int, p []byte) {
	t.Helper()
	released := make(chan struct{})
	c.Add(hash, size, off, p, func() { close(released) })
	if err := c.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-released
}

// has reports whether a chunk is there, and whole.
func has(t *testing.T, c *Cache, n int) bool {
	t.Helper()
	hash, want := content(n)
	got := make([]byte, len(want))
	if !c.Read(hash, len(want), 0, got) {
		return false
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("chunk %d reads back wrong", n)
	}
	return true
}

// bytesIn adds up what the files below a directory take.
func bytesIn(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Sys().(*syscall.Stat_t).Blocks * blockBytes
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// What one has added another one, and a later one, reads.
func TestSharedAndKept(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, 1<<30), open(t, dir, 1<<30)
	hash, p := content(1)
	if has(t, b, 1) {
		t.Error("found in an empty cache")
	}
	add(t, a, hash, len(p), 0, p)
	if !has(t, a, 1) || !has(t, b, 1) {
		t.Error("not found")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if later := open(t, dir, 1<<30); !has(t, later, 1) {
		t.Error("not found later")
	}
	a.Add(hash, len(p), 0, p, func() { hash[31]++ }) // after Close
	if hash[31] != 1 {
		t.Error("not released")
	}
}

// Parts of a chunk lie where they belong; what was not added is zeros, and the whole replaces parts.
func TestParts(t *testing.T) {
	c := open(t, t.TempDir(), 1<<30)
	hash, p := content(2)
	add(t, c, hash, len(p), 70_000, p[70_000:80_000])
	add(t, c, hash, len(p), 30_000, p[30_000:40_000])
	got := make([]byte, len(p))
	if !c.Read(hash, len(p), 0, got) || !bytes.Equal(got[30_000:40_000], p[30_000:40_000]) || !bytes.Equal(got[70_000:80_000], p[70_000:80_000]) {
		t.Error("parts are not there")
	}
	if !bytes.Equal(got[:30_000], make([]byte, 30_000)) {
		t.Error("what was not added is not zeros")
	}
	if c.Read(hash, len(p)+16, 0, got) {
		t.Error("found with another size")
	}
	add(t, c, hash, len(p)+16, 0, p[:16]) // of frames of another size
	add(t, c, hash, len(p), 0, p)
	if !has(t, c, 2) {
		t.Error("the whole is not there")
	}
}

// The files never take more than they may, whoever adds them, and those that were used last stay.
func TestEviction(t *testing.T) {
	dir, room := t.TempDir(), int64(granary.ChunkSizeMax)
	a, b := open(t, dir, room), open(t, dir, room)
	old := time.Now().Add(-time.Hour)
	for n := range 200 {
		c := []*Cache{a, b}[n%2]
		hash, p := content(n)
		add(t, c, hash, len(p), 0, p)
		if n == 0 {
			continue
		}
		if err := os.Chtimes(c.path(hash), old, old.Add(time.Duration(n)*time.Second)); err != nil {
			t.Fatal(err)
		}
		if n%5 == 0 && !has(t, a, 0) {
			t.Fatal("what is used all the time is gone")
		}
		if used := bytesIn(t, dir); used > room+room/4 { // each may add a sixteenth before it looks
			t.Fatalf("%d bytes after %d chunks", used, n)
		}
	}
	if a.Stats().Evicted+b.Stats().Evicted == 0 || has(t, a, 1) || !has(t, a, 199) {
		t.Errorf("%+v, %+v", a.Stats(), b.Stats())
	}
}

// What is older than the cache, left over or not its own is removed, or left alone.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, bytes int, age time.Duration) string {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, make([]byte, bytes), 0o600); err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(name, then, then); err != nil {
			t.Fatal(err)
		}
		return name
	}
	exists := func(name string) bool { _, err := os.Stat(name); return err == nil }
	mine := write("precious/file", 20<<20, time.Hour*1000)
	left := write(version+"/tmp/1-1", 1000, 2*tmpOld)
	now := write(version+"/tmp/1-2", 1000, 0)
	old := write(version+"/00/old", 20<<20, 3*time.Hour)
	c := open(t, dir, granary.ChunkSizeMax)
	hash, p := content(1)
	add(t, c, hash, len(p), 0, p) // the look at the start is over
	if !exists(mine) || exists(left) || !exists(now) || exists(old) {
		t.Error(exists(mine), exists(left), exists(now), exists(old))
	}
	if !has(t, c, 1) {
		t.Error("the newest is gone")
	}
}

// A disk that fails or is full costs hits and nothing else, and is left alone for a while.
func TestBrokenDisk(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, 1<<30)
	hash, p := content(1)
	add(t, c, hash, len(p), 0, p)
	if err := os.RemoveAll(filepath.Join(dir, version)); err != nil {
		t.Fatal(err)
	}
	if has(t, c, 1) {
		t.Error("found what is gone")
	}
	if err := os.WriteFile(filepath.Join(dir, version), nil, 0o600); err != nil { // no directory any more
		t.Fatal(err)
	}
	for n := range errorsMax + 2 {
		hash, p := content(n)
		add(t, c, hash, len(p), 0, p)
		if has(t, c, n) {
			t.Error("found")
		}
	}
	if s := c.Stats(); s.Failures == 0 || s.Passed == 0 || c.Room(1) {
		t.Errorf("%+v", s)
	}
}

// A directory in which others could put something is refused.
func TestPrivate(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"writable by others": func(dir string) error { return os.Chmod(dir, 0o777) },
		"a file":             func(dir string) error { return os.WriteFile(filepath.Join(dir, version), nil, 0o600) },
		"a link":             func(dir string) error { return os.Symlink("/", filepath.Join(dir, version)) },
		"inner by others": func(dir string) error {
			inner := filepath.Join(dir, version)
			return os.Mkdir(inner, 0o700|0o077) // less the umask
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			if name == "inner by others" {
				if err := os.Chmod(filepath.Join(dir, version), 0o770); err != nil {
					t.Fatal(err)
				}
			}
			if c, err := Open(Options{Dir: dir, SizeMax: 1 << 30}); err == nil {
				t.Error("opened", c.Close())
			}
		})
	}
	if _, err := Open(Options{Dir: t.TempDir(), SizeMax: 1 << 20}); !granary.IsKind(err, granary.KindInvalid) {
		t.Error(err)
	}
}

// Readers, writers and removers of several caches at once find what is right, or nothing.
func TestMany(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	var all []*Cache
	for i := range 3 {
		c := open(t, dir, granary.ChunkSizeMax)
		all = append(all, c)
		for worker := range 3 {
			wg.Go(func() {
				dice := rand.New(rand.NewPCG(uint64(i), uint64(worker)))
				for range 150 {
					hash, p := content(dice.IntN(60))
					got := make([]byte, len(p))
					if !c.Read(hash, len(p), 0, got) {
						c.Add(hash, len(p), 0, p, func() {})
					} else if !bytes.Equal(got, p) {
						t.Error("wrong bytes")
					}
					if dice.IntN(20) == 0 {
						c.Reject(hash)
					}
				}
			})
		}
	}
	wg.Wait()
	for _, c := range all {
		if err := c.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := bytesIn(t, dir); n > granary.ChunkSizeMax*3/2 {
		t.Error(fmt.Sprint(n, " bytes"))
	}
}

// Caches that share a directory do not write into each other's files, whatever their processes' numbers are: in containers all are 1.
func TestWritersApart(t *testing.T) {
	dir := t.TempDir()
	const caches, each = 4, 500
	hash := func(i, n int) granary.Hash { return granary.Hash{byte(n), byte(n >> 8), byte(i)} }
	bytesOf := func(i, n int) []byte { return bytes.Repeat([]byte{byte(i), byte(n), byte(n >> 8)}, 1000) }
	var all []*Cache
	for range caches {
		all = append(all, open(t, dir, granary.ChunkSizeMax*4))
	}
	for n := range each {
		for i, c := range all {
			p := bytesOf(i, n)
			c.Add(hash(i, n), len(p), 0, p, func() {})
		}
	}
	for _, c := range all {
		if err := c.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for n := range each {
		for i, c := range all {
			want := bytesOf(i, n)
			got := make([]byte, len(want))
			if !c.Read(hash(i, n), len(want), 0, got) {
				t.Fatalf("chunk %d of cache %d is gone: %+v", n, i, c.Stats())
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("chunk %d of cache %d reads back wrong", n, i)
			}
		}
	}
}

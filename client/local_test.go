package client

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/chunkcache"
)

// withChunks opens a local cache and another client that uses it.
func withChunks(t *testing.T, f *fakeCluster, dir string) (*chunkcache.Cache, *Client) {
	t.Helper()
	chunks, err := chunkcache.Open(chunkcache.Options{Dir: dir, SizeMax: 1 << 30, ReservePercent: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chunks.Close(); err != nil {
			t.Error(err)
		}
	})
	c := openClient(t, f, func(o *Options) { o.Chunks = chunks })
	t.Cleanup(func() { closeClient(t, c) })
	return chunks, c
}

// refuseReads makes every read of a shard fail.
func refuseReads(f *fakeCluster, refuse bool) {
	f.shards.mu.Lock()
	defer f.shards.mu.Unlock()
	f.shards.onRead = nil
	if refuse {
		f.shards.onRead = func(context.Context, granary.ShardRef) error { return errDead }
	}
}

func eachFile(t *testing.T, dir string, fn func(name string) error) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || len(d.Name()) != 62 {
			return err
		}
		return fn(name)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What was read once is read without volume servers, also by another client; compressed or not, chunks or parts of them.
func TestLocalChunks(t *testing.T) {
	for _, compression := range []granary.Compression{granary.CompressionNone, granary.CompressionZstd} {
		t.Run(fmt.Sprint(compression), func(t *testing.T) {
			p := policy(2, 1)
			p.Compression = compression
			f, writer := newCluster(t, 21, 3, p, nil)
			data := bytes.Repeat(noise(21, 3<<20)[:1_500_000], 2)
			for i := range data {
				data[i] &= 0x3f // zstd makes it shorter
			}
			if _, err := upload(writer, "a", data); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			chunks, c := withChunks(t, f, dir)
			l := layoutOf(t, c, "a")
			part := make([]byte, 5000)
			for _, off := range []uint64{0, 700_000, 2_999_000 - 5000} {
				if err := c.ReadLayout(t.Context(), l, part, off); err != nil {
					t.Fatal(err)
				}
			}
			if err := chunks.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			refuseReads(f, true)
			_, other := withChunks(t, f, dir)
			for _, off := range []uint64{0, 700_000, 2_999_000 - 5000} {
				if err := other.ReadLayout(t.Context(), l, part, off); err != nil || !bytes.Equal(part, data[off:off+5000]) {
					t.Fatalf("at %d: %v", off, err)
				}
			}
			refuseReads(f, false)
			mustRead(t, c, "a", data)
			if err := chunks.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			refuseReads(f, true)
			_, other = withChunks(t, f, dir)
			mustRead(t, other, "a", data)
		})
	}
}

// Files that are torn, rotten, cut off or gone are read from the volume servers, and are right again afterwards.
func TestLocalDamage(t *testing.T) {
	for name, spoil := range map[string]func(name string) error{
		"a bit": func(name string) error {
			b, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 4
			return os.WriteFile(name, b, 0o600)
		},
		"another chunk's frames": func(name string) error {
			b, err := os.ReadFile(name)
			if err != nil || len(b) < 100_000 {
				return err
			}
			copy(b, b[32<<10+16:64<<10+32])
			return os.WriteFile(name, b, 0o600)
		},
		"cut off": func(name string) error { return os.Truncate(name, 4096) },
		"zeros": func(name string) error {
			st, err := os.Stat(name)
			if err != nil {
				return err
			}
			return os.WriteFile(name, make([]byte, st.Size()), 0o600)
		},
		"gone":        os.Remove,
		"no file":     func(name string) error { os.Remove(name); return os.Mkdir(name, 0o700) },
		"not allowed": func(name string) error { return os.Chmod(name, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			f, writer := newCluster(t, 22, 3, policy(2, 1), nil)
			data := noise(22, 3_000_000)
			if _, err := upload(writer, "a", data); err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			for range 2 {
				chunks, c := withChunks(t, f, dir)
				mustRead(t, c, "a", data)
				if err := chunks.Settle(t.Context()); err != nil {
					t.Fatal(err)
				}
				eachFile(t, dir, spoil)
			}
			chunks, c := withChunks(t, f, dir)
			mustRead(t, c, "a", data)
			if err := chunks.Settle(t.Context()); err != nil {
				t.Fatal(err)
			}
			if name == "no file" {
				return // what is in the way stays there
			}
			refuseReads(f, true)
			_, other := withChunks(t, f, dir)
			mustRead(t, other, "a", data)
		})
	}
}

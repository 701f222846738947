package volume

import (
	"bytes"
	"context"
	"hash/crc32"
	"log/slog"
	"testing"

	"github.com/dsorchard/granary"
)

const testCluster = granary.ClusterID("0123456789abcdef0123456789abcdef")

// testOptions lets a store live on file systems of a few KiB.
func testOptions(t *testing.T, dirs ...string) Options {
	return Options{Dirs: dirs, Cluster: testCluster, ReserveBytes: 1, ScrubEvery: -1, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// open opens a store that the test closes.
func open(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// openTemp opens a store of one disk in a directory of the test.
func openTemp(t *testing.T) *Store { return open(t, testOptions(t, t.TempDir())) }

// firstRef names shard 0 of a volume on the first disk.
func firstRef(s *Store, volume granary.VolumeID) granary.ShardRef {
	return granary.ShardRef{Disk: s.Usage()[0].Disk, Volume: volume}
}

// appendOf makes an append of a 2+1 volume at epoch 1.
func appendOf(ref granary.ShardRef, prev, offset uint64, data []byte) *granary.Append {
	return &granary.Append{
		Ref: ref, Epoch: 1, DataShards: 2, ParityShards: 1,
		Prev: prev, Offset: offset, Data: data, CRC32C: crc32.Checksum(data, castagnoli),
	}
}

// buildOf announces a shard of a 2+1 volume.
func buildOf(ref granary.ShardRef, epoch granary.Epoch, length uint64) *granary.Build {
	return &granary.Build{Ref: ref, Epoch: epoch, DataShards: 2, ParityShards: 1, Length: length}
}

// sparse returns a stream with pages of zeros, and an end inside a page.
func sparse(pages int, seed byte) []byte {
	p := fill(pages*pageSize+100, seed)
	for i := 0; i < pages; i++ {
		if (i/3+int(seed))%2 == 0 {
			clear(p[i*pageSize : (i+1)*pageSize])
		}
	}
	return p
}

// fill returns size bytes that depend on seed.
func fill(size int, seed byte) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i)*31 + byte(i>>8) + seed
	}
	return p
}

func mustAppend(t *testing.T, s *Store, a *granary.Append) {
	t.Helper()
	if err := s.Append(context.Background(), a); err != nil {
		t.Fatal(err)
	}
}

// wantKind fails the test unless err has that kind.
func wantKind(t *testing.T, err error, kind granary.Kind) {
	t.Helper()
	if granary.KindOf(err) != kind {
		t.Fatalf("got error %v, want kind %v", err, kind)
	}
}

// wantStream fails the test unless the shard's stream is want.
func wantStream(t *testing.T, s *Store, ref granary.ShardRef, want []byte) {
	t.Helper()
	p := make([]byte, len(want)+100)
	n, length, err := s.ReadAt(context.Background(), ref, p, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n != len(want) || length != uint64(len(want)) || !bytes.Equal(p[:n], want) {
		t.Fatalf("stream of %v has %d bytes (length %d), want %d; equal: %v", ref, n, length, len(want), bytes.Equal(p[:n], want))
	}
}

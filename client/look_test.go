package client

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
)

// lookedAt wraps the shards of a cluster and notes which ones their servers are asked to look at.
type lookedAt struct {
	*fakeShards
	mu     sync.Mutex
	shards map[granary.ShardRef][]error
}

func (s *lookedAt) ReadSealed(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (int, uint64, error) {
	n, length, err := s.fakeShards.ReadSealed(ctx, addr, ref, p, off)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shards[ref] = append(s.shards[ref], err)
	return n, length, err
}

// A shard that does not verify is looked at by its server, once, and the bytes are read all the same; also if it lied to a
// reconstruction. Of a volume that is still open the server is not asked.
func TestReaderHasDamageLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, w := newCluster(t, 31, 6, policy(4, 2), nil)
		data := noise(31, 12<<20)
		if _, err := upload(w, "a", data); err != nil {
			t.Fatal(err)
		}
		looked := &lookedAt{fakeShards: f.shards, shards: map[granary.ShardRef][]error{}}
		reader := openClient(t, f, func(o *Options) { o.CacheBytes, o.Shards = 1, looked })
		defer closeClient(t, reader)
		volume := f.volumes[1]
		ref := func(i int) granary.ShardRef {
			return granary.ShardRef{Disk: volume.Shards[i].Disk, Volume: 1, Shard: uint8(i)}
		}
		spoil := func(i int) (mend func()) {
			f.shards.mu.Lock()
			defer f.shards.mu.Unlock()
			sh := f.shards.shards[ref(i)]
			good := sh.data
			sh.data = bytes.Clone(good)
			for at := 7; at < len(sh.data); at += 10_000 {
				sh.data[at] ^= 1
			}
			return func() {
				f.shards.mu.Lock()
				defer f.shards.mu.Unlock()
				sh.data = good
			}
		}
		seen := func() map[granary.ShardRef][]error {
			synctest.Wait()
			time.Sleep(time.Second)
			looked.mu.Lock()
			defer looked.mu.Unlock()
			all := looked.shards
			looked.shards = map[granary.ShardRef][]error{}
			return all
		}
		mend := spoil(1)
		mustRead(t, reader, "a", data)
		if n := len(seen()); n != 0 {
			t.Errorf("%d shards of an open volume were looked at", n)
		}
		mend()
		f.sealAll()
		mend = spoil(1)
		mustRead(t, reader, "a", data)
		mustRead(t, reader, "a", data)
		all := seen()
		if len(all) != 1 || len(all[ref(1)]) != 1 || !granary.IsKind(all[ref(1)][0], granary.KindCorrupt) {
			t.Errorf("looked at %v", all)
		}
		mend()
		// Shard 0 does not answer, and shard 2 lies to those who do without it.
		f.shards.mu.Lock()
		f.shards.onRead = func(_ context.Context, r granary.ShardRef) error {
			if r == ref(0) {
				return errDead
			}
			return nil
		}
		f.shards.mu.Unlock()
		time.Sleep(lookAgain)
		spoil(2)
		l := layoutOf(t, reader, "a")
		for i := range l.Blocks {
			if l.Blocks[i].Location.Shard == 0 {
				readBlock(t, reader, l, l.Blocks[i].ID, data)
			}
		}
		if all := seen(); len(all[ref(2)]) == 0 || !granary.IsKind(all[ref(2)][0], granary.KindCorrupt) {
			t.Errorf("the one that lied was not looked at: %v", all)
		}
	})
}

// readBlock reads one block's extents, and compares.
func readBlock(t *testing.T, c *Client, l *granary.Layout, id granary.BlockID, data []byte) {
	t.Helper()
	for _, e := range l.Extents {
		if e.Block != id {
			continue
		}
		p := make([]byte, e.Length)
		if err := c.ReadLayout(t.Context(), l, p, e.Offset); err != nil || !bytes.Equal(p, data[e.Offset:e.Offset+e.Length]) {
			t.Error("wrong", err)
		}
	}
}

// Looks are few at a time, and not of the same shard again and again.
func TestLooksAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLooks()
		ref := func(i int) granary.ShardRef { return granary.ShardRef{Disk: "d", Volume: granary.VolumeID(i)} }
		for i := range looksMax {
			if !l.begin(ref(i)) {
				t.Fatal("refused", i)
			}
		}
		if l.begin(ref(looksMax)) {
			t.Error("more at once than looksMax")
		}
		l.end()
		if l.begin(ref(0)) {
			t.Error("the same again at once")
		}
		time.Sleep(lookAgain)
		if !l.begin(ref(0)) {
			t.Error("refused after a while")
		}
		l.end()
		for i := range 3 * looksKept {
			if l.begin(ref(i + 100)) {
				l.end()
			}
		}
		if len(l.at) > looksKept {
			t.Errorf("%d shards are kept in mind", len(l.at))
		}
	})
}

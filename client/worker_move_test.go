package client

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

// moveCluster is a cluster with small files that were written one by one, in thin rows of sealed volumes.
func moveCluster(t *testing.T, seed uint64, k, m, files, size int) (*fakeCluster, *Client, [][]byte) {
	t.Helper()
	f := newFakeCluster(seed, 3)
	f.shards, f.policy = newFakeShards(k+m+2), policy(k, m)
	c := openClient(t, f, func(o *Options) { o.RowSize, o.CacheBytes = 1<<18, 1 })
	var datas [][]byte
	for i := range files {
		data := noise(seed*1000+uint64(i), size+i)
		if i%2 == 0 {
			data = bytes.Repeat(data[:16], len(data)/16) // shrinks
		}
		if _, err := upload(c, fmt.Sprint(i), data); err != nil {
			t.Fatal(err)
		}
		datas = append(datas, data)
	}
	synctest.Wait()
	f.sealAll()
	return f, c, datas
}

// live returns how many blocks lie in a volume.
func (f *fakeCluster) live(id granary.VolumeID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, b := range f.blocks {
		if b.Location.Volume == id {
			n++
		}
	}
	return n
}

func mustReadAll(t *testing.T, c *Client, datas [][]byte) {
	t.Helper()
	for i, data := range datas {
		mustRead(t, c, fmt.Sprint(i), data)
	}
}

// TestMove: all blocks of a volume are stored anew in full rows, under the policy of the task; what is read stays what it was,
// although replies are lost and leaders change. When there is nothing more to move the new volumes are sealed.
func TestMove(t *testing.T) {
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			f, c, datas := moveCluster(t, seed, 4, 2, 60, 20_000)
			defer closeClient(t, c)
			stored := f.shards.stored
			f.mu.Lock()
			f.policy.Compression = []granary.Compression{granary.CompressionLZ4, granary.CompressionZstd, granary.CompressionNone}[seed%3]
			r := rand.New(rand.NewPCG(seed, 3))
			if seed > 0 {
				f.fault = func(op string) fakeFate {
					if op != "mutate" && op != "work" || r.IntN(4) > 0 {
						return fateServed
					}
					return fakeFate(1 + r.IntN(4))
				}
			}
			f.mu.Unlock()
			w := openClient(t, f, func(o *Options) { o.RowSize, o.CacheBytes = 1<<18, 1 })
			defer closeClient(t, w)
			stop := runWorker(t, f, w, WorkerOptions{})
			f.want(granary.Task{Kind: granary.TaskMove, Volume: 1, Epoch: f.volumes[1].Epoch, Policy: 1})
			if e := <-f.work.ended; e.Error != "" {
				t.Errorf("%+v", e)
			}
			f.mu.Lock()
			f.fault = nil
			f.mu.Unlock()
			if n := f.live(1); n != 0 {
				t.Errorf("%d blocks are left", n)
			}
			mustReadAll(t, c, datas)
			if seed == 0 {
				if again := f.shards.stored - stored; again > stored*6/10 {
					t.Errorf("what took %d bytes in thin rows takes %d", stored, again)
				}
			}
			for _, b := range f.blocks {
				got := make([]byte, block.HeaderSize)
				v := f.volumes[b.Location.Volume]
				ref := f.ref(v.ID, int(b.Location.Shard))
				copy(got, f.shards.shards[ref].data[b.Location.Offset:])
				if h, err := block.ParseHeader(got); err != nil || h.Codec != f.policy.Compression && h.Codec != granary.CompressionNone {
					t.Errorf("stored as %v: %v", h.Codec, err)
				}
			}
			time.Sleep(restAfter + 2*workEvery)
			synctest.Wait()
			f.mu.Lock()
			for _, v := range f.volumes {
				if v.State == granary.VolumeOpen {
					t.Errorf("volume %d is still open", v.ID)
				}
			}
			f.mu.Unlock()
			stop()
		})
	}
}

// TestMoveOfDamaged: blocks of lost and rotten shards are reconstructed; one that is lost for good stays where it is, and is
// named, and all others are moved.
func TestMoveOfDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c, datas := moveCluster(t, 20, 2, 1, 20, 50_000)
		defer closeClient(t, c)
		delete(f.shards.shards, f.ref(1, 0))
		lost := f.blocks[3]
		for i := range 3 {
			if sh := f.shards.shards[f.ref(1, i)]; sh != nil {
				sh.data[lost.Location.Offset+100] ^= 1
			}
		}
		defer runWorker(t, f, c, WorkerOptions{})()
		f.want(granary.Task{Kind: granary.TaskMove, Volume: 1, Epoch: f.volumes[1].Epoch, Policy: 1})
		if e := <-f.work.ended; !strings.Contains(e.Error, "block ") || !strings.Contains(e.Error, "corrupt") {
			t.Errorf("%+v", e)
		}
		if n := f.live(1); n == 0 || n > 4 {
			t.Errorf("%d blocks are left", n)
		}
		bad := 0
		for i, data := range datas {
			got := make([]byte, len(data))
			if err := c.ReadLayout(t.Context(), layoutOf(t, c, fmt.Sprint(i)), got, 0); err != nil {
				bad++
			} else if !bytes.Equal(got, data) {
				t.Errorf("file %d reads wrong", i)
			}
		}
		if bad == 0 || bad > 4 {
			t.Errorf("%d files cannot be read", bad)
		}
	})
}

// TestMoveIsVerified: what a disk does not give back as it took it does not count: it is stored once more, elsewhere.
func TestMoveIsVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c, datas := moveCluster(t, 21, 2, 1, 20, 50_000)
		defer closeClient(t, c)
		var bad granary.DiskID
		f.shards.onAppend = func(a *granary.Append) fakeFate {
			if bad == "" && a.Ref.Shard < 2 {
				bad = a.Ref.Disk
			}
			if a.Ref.Disk == bad {
				f.shards.spoil = a.Ref
			}
			return fateServed
		}
		w := openClient(t, f, func(o *Options) { o.RowSize, o.CacheBytes = 1<<18, 1 })
		defer closeClient(t, w)
		defer runWorker(t, f, w, WorkerOptions{})()
		f.want(granary.Task{Kind: granary.TaskMove, Volume: 1, Epoch: f.volumes[1].Epoch, Policy: 1})
		if e := <-f.work.ended; e.Error != "" {
			t.Errorf("%+v", e)
		}
		if n := f.live(1); n != 0 {
			t.Errorf("%d blocks are left", n)
		}
		if bad == "" {
			t.Error("nothing was appended")
		}
		for i := range datas { // no use is made of parity: all copies are right
			l := layoutOf(t, c, fmt.Sprint(i))
			for _, b := range l.Blocks {
				v := f.volumes[b.Location.Volume]
				if o := c.readOwn(t.Context(), v, &b, asStored(c, &b)); o.err != nil {
					t.Error(o.err)
				}
			}
		}
		mustReadAll(t, c, datas)
	})
}

// TestMoveStops: a move that is dropped or interrupted at any moment, whose session ends, or whose volumes are sealed under it,
// loses nothing, and the next one ends it.
func TestMoveStops(t *testing.T) {
	for at := range 12 {
		synctest.Test(t, func(t *testing.T) {
			f, c, datas := moveCluster(t, 22, 2, 1, 30, 50_000)
			defer closeClient(t, c)
			w := openClient(t, f, func(o *Options) { o.RowSize, o.CacheBytes = 1<<17, 1 })
			defer closeClient(t, w)
			stop := runWorker(t, f, w, WorkerOptions{})
			reached := make(chan struct{}, 1)
			appends := 0
			f.shards.mu.Lock()
			f.shards.onAppend = func(*granary.Append) fakeFate {
				if appends++; appends == 1+2*at {
					reached <- struct{}{}
				}
				return fateServed
			}
			f.shards.mu.Unlock()
			id := f.want(granary.Task{Kind: granary.TaskMove, Volume: 1, Epoch: f.volumes[1].Epoch, Policy: 1})
			select {
			case <-reached:
			case <-f.work.ended:
			}
			switch at % 3 {
			case 0:
				stop()
				stop = runWorker(t, f, w, WorkerOptions{})
			case 1:
				f.mu.Lock()
				f.work.drop = append(f.work.drop, id)
				delete(f.work.wanted, id)
				f.mu.Unlock()
				time.Sleep(workEvery)
			case 2:
				f.expire(w.Session())
			}
			for tries := 0; f.live(1) > 0; tries++ {
				if tries == 4 {
					t.Fatalf("%d blocks are left", f.live(1))
				}
				f.want(granary.Task{Kind: granary.TaskMove, Volume: 1, Epoch: f.volumes[1].Epoch, Policy: 1})
				<-f.work.ended
				synctest.Wait()
			}
			stop()
			mustReadAll(t, c, datas)
		})
	}
}

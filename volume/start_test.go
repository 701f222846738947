package volume

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// A server of 1,000 shards of 1 GiB, sparse, starts at once, and needs memory for none of their content.
func TestStartWithManyShards(t *testing.T) {
	const shards, length = 1000, 1 << 30
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	id := s.disks[0].id()
	closeStore(t, s)
	for v := granary.VolumeID(1); v <= shards; v++ {
		if err := sparseShard(dir, id, v, length, v%2 == 0); err != nil {
			t.Fatal(err)
		}
	}
	before := heap()
	began := time.Now()
	s = open(t, testOptions(t, dir))
	opened := time.Since(began)
	<-s.disks[0].walked
	infos, err := s.List(id)
	listed := time.Since(began)
	if err != nil || len(infos) != shards || infos[7].Length != length || infos[7].Damaged != "" {
		t.Fatalf("%d shards, the eighth %+v, %v", len(infos), infos[7], err)
	}
	infos = nil
	grown := max(heap(), before) - before
	t.Logf("opened after %s, listed after %s, %d KiB of memory", opened, listed, grown>>10)
	if opened > 2*time.Second || grown > 8<<20 {
		t.Fatalf("opened after %s, with %d KiB of memory", opened, grown>>10)
	}
	if u := s.Usage()[0]; u.Shards != shards || u.Used > shards*(1<<20) {
		t.Fatalf("usage %+v", u)
	}
}

// sparseShard writes the file of a shard that is a hole. If it is sealed its page table is one, too, and wrong.
func sparseShard(dir string, id granary.DiskID, v granary.VolumeID, length uint64, sealed bool) error {
	size := streamOffset + length
	slot := stateSlot{Sequence: 1, Epoch: 1}
	if sealed {
		slot.Sealed, slot.Length, slot.TableOffset, slot.TableLength = true, length, tableOffset(length), tableLength(length)
		size = slot.TableOffset + slot.TableLength
	}
	head := make([]byte, streamOffset)
	copy(head, encodeHeader(shardHeader{Volume: v, DataShards: 4, ParityShards: 2, Cluster: testCluster, Disk: id, Created: 7}))
	copy(head[slotPosition(1):], encodeSlot(slot))
	name := filepath.Join(dir, shardsName, fmt.Sprintf("%d.0", v))
	if err := os.WriteFile(name, head, 0o600); err != nil {
		return err
	}
	return os.Truncate(name, int64(size))
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

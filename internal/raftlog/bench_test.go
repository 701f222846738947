package raftlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/dsorchard/granary/internal/disk"
)

// storer is what is measured of a log store.
type storer interface {
	StoreLogs(logs []*raft.Log) error
	Close() error
}

// pebbleLog keeps entries in Pebble, synced once a batch.
type pebbleLog struct {
	db  *pebble.DB
	buf []byte
}

// StoreLogs stores entries under their indices.
func (p *pebbleLog) StoreLogs(logs []*raft.Log) error {
	b := p.db.NewBatch()
	for _, l := range logs {
		p.buf, _ = appendEntry(p.buf[:0], place{}, l)
		if err := b.Set(binary.BigEndian.AppendUint64(nil, l.Index), p.buf, nil); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	return b.Commit(pebble.Sync)
}

// Close closes the store.
func (p *pebbleLog) Close() error { return p.db.Close() }

func openSegments(dir string) (storer, error) {
	d, err := disk.OS(dir)
	if err != nil {
		return nil, err
	}
	return Open(d, Options{})
}

func openBolt(dir string) (storer, error) {
	return raftboltdb.New(raftboltdb.Options{
		Path:        filepath.Join(dir, "raft.db"),
		BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	})
}

func openPebble(dir string) (storer, error) {
	db, err := pebble.Open(dir, &pebble.Options{MemTableSize: 64 << 20, FormatMajorVersion: pebble.FormatNewest})
	return &pebbleLog{db: db}, err
}

// BenchmarkStoreLogs measures batches of entries of 300 bytes, on the disk of the temporary directory.
func BenchmarkStoreLogs(b *testing.B) {
	for _, store := range []struct {
		name string
		open func(dir string) (storer, error)
	}{{"segments", openSegments}, {"boltdb", openBolt}, {"pebble", openPebble}} {
		for _, count := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("%s/%d", store.name, count), func(b *testing.B) {
				s, err := store.open(b.TempDir())
				must(b, err)
				data := make([]byte, 300)
				index := uint64(0)
				for b.Loop() {
					logs := make([]*raft.Log, count)
					for i := range logs {
						index++
						logs[i] = &raft.Log{Index: index, Term: 1, Data: data, AppendedAt: time.Now()}
					}
					must(b, s.StoreLogs(logs))
				}
				b.ReportMetric(float64(index)/b.Elapsed().Seconds(), "entries/s")
				must(b, s.Close())
			})
		}
	}
}

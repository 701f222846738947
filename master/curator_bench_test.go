package master

import (
	"fmt"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// BenchmarkPlan decides about 100,000 volumes on 60 disks of 20 servers, of which one disk is gone.
func BenchmarkPlan(b *testing.B) {
	var lines []string
	for i := range 20 {
		lines = append(lines, fmt.Sprintf("/r%d/s%02d 3", i%5, i))
	}
	s := sceneOf(lines...)
	for i := range 100_000 {
		at := make([]int32, 6)
		for j := range at {
			at[j] = int32((i*7 + j*9) % 60)
		}
		s.volume(4, 2, at...)
	}
	s.lose(7)
	needs := 0
	for b.Loop() {
		s.maps, s.shapes, s.mends = nil, nil, 0
		needs = len(planWork(s).needs)
	}
	b.ReportMetric(float64(needs), "needs")
}

// BenchmarkCatalog reads 100,000 volumes, as a new leader does once.
func BenchmarkCatalog(b *testing.B) {
	st, err := openState(b.TempDir(), stateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { must(st.close()) }()
	batch := st.db.NewBatch()
	for i := range 100_000 {
		r := &volumeRecord{Epoch: 2, State: granary.VolumeSealed, DataShards: 4, ParityShards: 2, Watermark: 1 << 30, LiveBytes: 1 << 31, Sealed: 63,
			Ends: []uint64{1 << 30, 1 << 30, 1 << 30, 1 << 30}, Policy: 1, Auto: true, OpenedAt: testNow, SealedAt: testNow}
		for j := range 6 {
			r.Disks = append(r.Disks, granary.DiskID(fmt.Sprintf("%032d", (i*7+j*9)%60)))
		}
		must(batch.Set(keyVolume(granary.VolumeID(i+1)), marshal(r, 1), nil))
	}
	must(batch.Commit(nil))
	for b.Loop() {
		c := newCatalog(st)
		c.refresh(st, time.Now())
		if len(c.all()) != 100_000 {
			b.Fatal(len(c.all()))
		}
	}
}

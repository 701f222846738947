package main

import (
	"runtime"
	"testing"
)

// TestLimitGivesWay: a limit stands as long as what is in use leaves room for garbage, and is told by the heap itself.
func TestLimitGivesWay(t *testing.T) {
	const limit = 300 << 20
	for live, want := range map[int64]int64{0: limit, 200 << 20: limit, 300 << 20: 450 << 20, 2 << 30: 3 << 30} {
		if got := limitFor(limit, live); got != want {
			t.Errorf("limit %d of %d in use, want %d", got, live, want)
		}
	}
	runtime.GC()
	before := liveHeap()
	held := make([]byte, 64<<20)
	runtime.GC()
	if grown := liveHeap() - before; grown < 60<<20 || grown > 80<<20 {
		t.Errorf("64 MiB were taken, the heap has %d more in use", grown)
	}
	runtime.KeepAlive(held)
}

// TestServeMemory: the shares are of the memory that is given, and too little is refused.
func TestServeMemory(t *testing.T) {
	var m serveMemory
	m.bytes = serveMemoryDefault
	heap, chunks, metadata, err := m.share()
	if err != nil || heap > serveMemoryDefault || chunks+metadata > heap/2 || chunks <= 0 || metadata <= 0 {
		t.Error(heap, chunks, metadata, err)
	}
	m.bytes = serveMemoryLeast - 1
	if _, _, _, err := m.share(); err == nil {
		t.Error("too little memory is not refused")
	}
}

// TestCollectEarly: a small heap is collected sooner unless that costs much, and goes to and fro with neither at once.
func TestCollectEarly(t *testing.T) {
	for _, at := range []struct {
		now  int
		live int64
		took cpuTime
		want int
	}{
		{collectUsual, 3 << 20, cpuTime{1, 0.005}, collectSmall},
		{collectUsual, 3 << 20, cpuTime{1, 0.03}, collectUsual},
		{collectSmall, 3 << 20, cpuTime{1, 0.03}, collectSmall},
		{collectSmall, 3 << 20, cpuTime{1, 0.06}, collectUsual},
		{collectSmall, 3 << 20, cpuTime{0.001, 0.0009}, collectSmall},
		{collectSmall, 3 << 20, cpuTime{}, collectSmall},
		{collectSmall, 17 << 20, cpuTime{1, 0}, collectUsual},
	} {
		if got := collectPercent(at.now, at.live, at.took); got != at.want {
			t.Errorf("from %d with %d in use and %v: %d, want %d", at.now, at.live, at.took, got, at.want)
		}
	}
	before := readCPU()
	runtime.GC()
	if took := readCPU().since(before); took.used <= 0 || took.collecting <= 0 || took.collecting > took.used {
		t.Errorf("a collection took %v", took)
	}
}

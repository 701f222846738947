package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/crc32c"
)

// fakeShards holds shards in memory, as strict about appends as a volume server, and fails as told.
type fakeShards struct {
	disks []granary.DiskID

	mu       sync.Mutex
	shards   map[granary.ShardRef]*fakeShard
	onAppend func(a *granary.Append) fakeFate                      // nil: served
	onRead   func(ctx context.Context, ref granary.ShardRef) error // nil: served; called without the lock
	onBuild  func(b *granary.Build, got int) error                 // nil: served; called without the lock, as a stream arrives
	spoil    granary.ShardRef                                      // what is appended to it becomes something else
	reads    int
	appends  int
	stored   int64 // bytes appended
}

type fakeShard struct {
	data    []byte
	last    int      // where the last append begins
	lastGap int      // where the append before it ended
	sums    []uint32 // of its pages, once it is sealed
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDead = errors.New("connection refused")

func newFakeShards(disks int) *fakeShards {
	s := &fakeShards{shards: map[granary.ShardRef]*fakeShard{}}
	for i := range disks {
		s.disks = append(s.disks, granary.DiskID(fmt.Sprintf("disk%02d", i)))
	}
	return s
}

func (s *fakeShards) Append(ctx context.Context, addr string, a *granary.Append) error {
	s.mu.Lock()
	fate := fateServed
	if s.onAppend != nil {
		fate = s.onAppend(a)
	}
	var err error
	switch fate {
	case fateRefused:
		err = errDead
	case fateReplyLost:
		if err = s.append(addr, a); err == nil {
			err = errDead
		}
	case fateHangs:
		s.mu.Unlock()
		<-ctx.Done()
		return ctx.Err()
	default:
		err = s.append(addr, a)
	}
	s.mu.Unlock()
	return err
}

func (s *fakeShards) append(addr string, a *granary.Append) error {
	invalid := func(why string) error {
		return granary.Errorf(granary.KindInvalid, "append", a.Ref.String(), "%s: prev %d offset %d", why, a.Prev, a.Offset)
	}
	if addr != string(a.Ref.Disk) {
		return invalid("wrong server " + addr)
	}
	if a.CRC32C != crc32.Checksum(a.Data, castagnoli) {
		return invalid("crc")
	}
	if sums := crc32c.NewPieces(a.Offset, len(a.Data)); a.Pieces != nil {
		if sums.Add(a.Data); !slices.Equal(a.Pieces, sums.Sums()) {
			return invalid("checksums of pieces")
		}
	}
	sh := s.shards[a.Ref]
	if sh == nil {
		sh = &fakeShard{}
		s.shards[a.Ref] = sh
	}
	if a.Offset < a.Prev || len(a.Data) == 0 || a.Offset%granary.RowAlignment != 0 {
		return invalid("offset")
	}
	if int(a.Prev) != len(sh.data) {
		if int(a.Prev) == sh.lastGap && int(a.Offset) == sh.last && bytes.Equal(sh.data[sh.last:], a.Data) {
			return nil // a repeat
		}
		return invalid(fmt.Sprintf("length is %d", len(sh.data)))
	}
	s.appends++
	s.stored += int64(len(a.Data))
	sh.lastGap, sh.last = len(sh.data), int(a.Offset)
	sh.data = append(sh.data, make([]byte, int(a.Offset)-len(sh.data))...)
	sh.data = append(sh.data, a.Data...)
	if s.spoil == a.Ref {
		sh.data[sh.last+80] ^= 1
	}
	return nil
}

func (s *fakeShards) ReadAt(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (int, uint64, error) {
	s.mu.Lock()
	s.reads++
	onRead := s.onRead
	s.mu.Unlock()
	if onRead != nil {
		if err := onRead(ctx, ref); err != nil {
			return 0, 0, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if addr != string(ref.Disk) {
		return 0, 0, fmt.Errorf("%s asked for %v", addr, ref)
	}
	sh := s.shards[ref]
	if sh == nil {
		return 0, 0, granary.Errorf(granary.KindNotFound, "read", ref.String(), "")
	}
	n := 0
	if off < int64(len(sh.data)) {
		n = copy(p, sh.data[off:])
	}
	return n, uint64(len(sh.data)), nil
}

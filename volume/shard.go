package volume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/dsorchard/granary"
)

// shardState is what is known of a shard. It is replaced whole, by the holder of the shard's turn, so
// readers need no lock.
type shardState struct {
	header shardHeader
	slot   stateSlot
	length uint64 // of the stream
}

// shard is one shard of this server, or the place of one about to be made.
type shard struct {
	disk *dataDisk
	key  shardKey

	turn        chan struct{} // holds one token while somebody changes the shard
	gone        bool          // dropped; guarded by turn
	tailWritten bool          // this process wrote the end of the stream; guarded by turn

	exists     atomic.Bool
	state      atomic.Pointer[shardState] // nil until the head has been read
	poisonedBy atomic.Pointer[string]
	damagedBy  atomic.Pointer[string]
	sums       atomic.Pointer[sealSums] // until they have been asked for
	syncs      syncGroup
	appended   appendSums // of what was appended, until it is sealed

	loadMu sync.Mutex
	openMu sync.Mutex
	open   *openFile // guarded by fileCache.mu

	spaceMu   sync.Mutex
	allocated uint64
	counted   bool // false again once dropped
	removed   bool
}

func newShard(d *dataDisk, key shardKey) *shard {
	sh := &shard{disk: d, key: key, turn: make(chan struct{}, 1)}
	sh.syncs.cond.L = &sh.syncs.mu
	sh.appended.used = &d.sumBytes
	return sh
}

// load returns the shard's state, reading its head from f the first time.
func (sh *shard) load(op string, f *openFile) (*shardState, error) {
	if st := sh.state.Load(); st != nil {
		return st, nil
	}
	sh.loadMu.Lock()
	defer sh.loadMu.Unlock()
	if st := sh.state.Load(); st != nil {
		return st, nil
	}
	st, err := readState(sh, f)
	if err != nil {
		var e *granary.Error
		if errors.As(err, &e) { // the head does not hold: the error says what, not of which shard
			if e.Kind == granary.KindCorrupt {
				sh.damage("its head: " + e.Err.Error())
			}
			return nil, granary.Errorf(e.Kind, op, sh.disk.ref(sh.key).String(), "disk %s: %w", sh.disk.dir, e.Err)
		}
		sh.noteRead(err)
		return nil, sh.disk.failure(op, sh.key, err)
	}
	if !st.slot.Sealed {
		sh.appended.begin(st.length)
	}
	sh.state.Store(st)
	return st, nil
}

// readState reads a shard's head and checks that it is the head of this shard.
func readState(sh *shard, f *openFile) (*shardState, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	head := make([]byte, min(size, streamOffset))
	if n, err := f.ReadAt(head, 0); n < len(head) {
		return nil, err
	}
	h, slot, err := decodeHead(head)
	if err != nil {
		return nil, err
	}
	id := sh.disk.ident.Load()
	switch {
	case h.Volume != sh.key.volume || h.Shard != sh.key.index:
		return nil, granary.Errorf(granary.KindCorrupt, "", "", "the file holds shard %d.%d", h.Volume, h.Shard)
	case h.Disk != id.Disk:
		return nil, granary.Errorf(granary.KindCorrupt, "", "", "the file belongs to disk %s", h.Disk)
	case h.Cluster != "" && id.Cluster != "" && h.Cluster != id.Cluster:
		return nil, granary.Errorf(granary.KindCorrupt, "", "", "the file belongs to cluster %s", h.Cluster)
	}
	if h.Disk = id.Disk; h.Cluster == id.Cluster {
		h.Cluster = id.Cluster // one string for all shards
	}
	st := &shardState{header: h, slot: slot, length: uint64(size) - streamOffset}
	if slot.Sealed {
		st.length = slot.Length
		if whole := slot.TableOffset + slot.TableLength; uint64(size) < whole {
			sh.damage(fmt.Sprintf("the file has %d bytes, and was sealed with %d", size, whole))
		}
	}
	return st, nil
}

// readAt reads the stream: fewer bytes than len(p) only at its end.
func (sh *shard) readAt(f *openFile, p []byte, off int64) (n int, length uint64, err error) {
	const op = opRead
	st, err := sh.load(op, f)
	if err != nil {
		return 0, 0, err
	}
	for {
		n = clip(len(p), off, st.length)
		if n == 0 {
			return 0, st.length, nil
		}
		got, err := f.ReadAt(p[:n], streamOffset+off)
		if got == n {
			return n, st.length, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			sh.noteRead(err)
			return 0, 0, sh.disk.failure(op, sh.key, err)
		}
		// The file is shorter than the stream: a seal has just cut it, or the disk has lost its end.
		now := sh.state.Load()
		if now.length >= st.length {
			sh.damage(fmt.Sprintf("the file ends before its stream of %d bytes", st.length))
			return 0, 0, granary.Errorf(granary.KindCorrupt, op, sh.disk.ref(sh.key).String(),
				"disk %s: the file ends before its stream of %d bytes", sh.disk.dir, st.length)
		}
		st = now
	}
}

// clip returns how many of size bytes at off lie below length.
func clip(size int, off int64, length uint64) int {
	if uint64(off) >= length {
		return 0
	}
	return int(min(uint64(size), length-uint64(off)))
}

// writeSlot makes a new state durable: the slot not in use is written and synced, then the state
// changes in memory. The caller has the turn.
func (sh *shard) writeSlot(op string, f *openFile, slot stateSlot) error {
	old := sh.state.Load()
	slot.Sequence = old.slot.Sequence + 1
	if _, err := f.WriteAt(encodeSlot(slot), slotPosition(slot.Sequence)); err != nil {
		return sh.poison(op, "writing its state", err)
	}
	if err := sh.flush(op, f); err != nil {
		return err
	}
	next := *old
	next.slot = slot
	if slot.Sealed {
		next.length = slot.Length
	}
	sh.state.Store(&next)
	return nil
}

// raiseEpoch makes a higher epoch durable (invariant 3). The caller has the turn.
func (sh *shard) raiseEpoch(op string, f *openFile, epoch granary.Epoch) error {
	slot := sh.state.Load().slot
	if epoch <= slot.Epoch {
		return nil
	}
	slot.Epoch = epoch
	return sh.writeSlot(op, f, slot)
}

// flush makes everything written before it durable.
func (sh *shard) flush(op string, f *openFile) error {
	return sh.wait(op, f, sh.syncs.wrote())
}

// wait returns when the write with that ticket is durable.
func (sh *shard) wait(op string, f *openFile, ticket uint64) error {
	if err := sh.syncs.wait(f.Sync, ticket); err != nil {
		return sh.poison(op, "syncing it", err)
	}
	return nil
}

// poison bars appends to the shard for as long as the server runs (invariant 4), and returns the error for the caller.
func (sh *shard) poison(op, doing string, err error) error {
	reason := doing + ": " + err.Error()
	if sh.poisonedBy.CompareAndSwap(nil, &reason) {
		sh.disk.log.Error("shard takes no more appends", "shard", sh.disk.ref(sh.key).String(), "reason", reason)
		sh.disk.noteFailure(err)
		sh.disk.alarm.ring()
	}
	return granary.Errorf(granary.KindUnavailable, op, sh.disk.ref(sh.key).String(), "disk %s: %s: %w", sh.disk.dir, doing, err)
}

// damage takes note that bytes of the shard are lost: it is to be built anew. Nothing else is done about it here.
func (sh *shard) damage(reason string) {
	if !sh.exists.Load() || !sh.damagedBy.CompareAndSwap(nil, &reason) {
		return
	}
	sh.disk.log.Error("shard is damaged", "shard", sh.disk.ref(sh.key).String(), "reason", reason)
	sh.disk.scrub.found()
	sh.disk.alarm.ring()
}

// noteRead takes note of a failed read of the shard's file.
func (sh *shard) noteRead(err error) {
	switch {
	case errors.Is(err, syscall.EFAULT):
		return // it is not the disk that failed, but the memory of a client that was read into
	case errors.Is(err, fs.ErrNotExist):
		sh.damage("its file is gone")
	case errors.Is(err, syscall.EIO):
		sh.damage("it cannot be read: " + err.Error())
	}
	sh.disk.noteFailure(err)
}

// refusePoisoned returns an error if the shard is poisoned.
func (sh *shard) refusePoisoned(op string) error {
	if reason := sh.poisonedBy.Load(); reason != nil {
		return granary.Errorf(granary.KindUnavailable, op, sh.disk.ref(sh.key).String(), "disk %s: the shard is poisoned since %s", sh.disk.dir, *reason)
	}
	return nil
}

// closed takes note of how closing its file went: an error there says that something synced was not.
func (sh *shard) closed(err error) {
	if err != nil {
		sh.disk.log.Error("closing a shard's file", "shard", sh.disk.ref(sh.key).String(), "error", err)
		sh.disk.noteFailure(err)
	}
}

// account brings the disk's count of used bytes up to date.
func (sh *shard) account(f *openFile) {
	n, err := f.Allocated()
	if err != nil {
		sh.disk.log.Warn("space of a shard is not known", "shard", sh.disk.ref(sh.key).String(), "error", err)
		return
	}
	sh.spaceMu.Lock()
	defer sh.spaceMu.Unlock()
	if sh.removed {
		return
	}
	sh.disk.used.Add(n - int64(sh.allocated))
	sh.allocated, sh.counted = uint64(n), true
}

// unaccount takes a dropped shard out of the count.
func (sh *shard) unaccount() {
	sh.spaceMu.Lock()
	defer sh.spaceMu.Unlock()
	sh.disk.used.Add(-int64(sh.allocated))
	sh.allocated, sh.counted, sh.removed = 0, false, true
}

// space returns the bytes that the file takes, if they have been counted.
func (sh *shard) space() (size uint64, counted bool) {
	sh.spaceMu.Lock()
	defer sh.spaceMu.Unlock()
	return sh.allocated, sh.counted
}

// info describes the shard as far as it is known without reading.
func (sh *shard) info() granary.ShardInfo {
	info := granary.ShardInfo{Ref: sh.disk.ref(sh.key)}
	info.Allocated, _ = sh.space()
	if reason := sh.poisonedBy.Load(); reason != nil {
		info.Poisoned = *reason
	}
	if reason := sh.damagedBy.Load(); reason != nil {
		info.Damaged, info.Created = *reason, createdUnknown
	}
	if st := sh.state.Load(); st != nil {
		info.Epoch, info.Length, info.Sealed = st.slot.Epoch, st.length, st.slot.Sealed
		info.DataShards, info.ParityShards, info.Created = st.header.DataShards, st.header.ParityShards, st.header.Created
	}
	return info
}

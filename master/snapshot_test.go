package master

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// bench is the part of a node that holds state: the state machine and the snapshots, without Raft.
type bench struct {
	fsm  *fsm
	logs *raft.InmemStore // outlives a crash, as the real one
	dir  string
	next uint64
}

func openBench(t *testing.T, dir string, logs *raft.InmemStore, hook func(string) error) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	snaps, err := openSnapshots(filepath.Join(dir, "snapshots"), hook, log)
	if err != nil {
		t.Fatal(err)
	}
	st, err := openStates(dir, stateOptions{CacheBytes: 1 << 20}, hook)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{fsm: &fsm{states: st, snaps: snaps, metrics: m, budget: newLogBudget(1), applied: func() {}}, logs: logs, dir: dir}
	if err := b.fsm.recover(logs); err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	b.next, _ = st.cur.applied()
	return b
}

func (b *bench) close(t *testing.T) {
	t.Helper()
	if err := b.fsm.states.close(); err != nil {
		t.Error(err)
	}
}

// apply applies n entries, each of which opens a session.
func (b *bench) apply(t *testing.T, n int) {
	t.Helper()
	for range n {
		b.next++
		var it item = &openSession{Client: fmt.Sprintf("client %d", b.next), Nonce: b.next}
		if b.next == 1 {
			it = &initCluster{Cluster: "c"}
		}
		data, err := (&command{Items: []item{it}}).marshal()
		if err != nil {
			t.Fatal(err)
		}
		l := &raft.Log{Index: b.next, Term: 1, Type: raft.LogCommand, Data: data}
		if err := b.logs.StoreLog(l); err != nil {
			t.Fatal(err)
		}
		b.fsm.ApplyBatch([]*raft.Log{l})
	}
}

// take makes a snapshot as Raft does.
func (b *bench) take() (id string, err error) {
	snap, err := b.fsm.Snapshot()
	if err != nil {
		return "", err
	}
	defer snap.Release()
	sink, err := b.fsm.snaps.Create(1, b.next, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		return "", err
	}
	if err := snap.Persist(sink); err != nil {
		return "", errors.Join(err, sink.Cancel())
	}
	return sink.ID(), sink.Close()
}

// install receives a snapshot of another bench as Raft does.
func (b *bench) install(from *bench, id string) error {
	meta, r, err := from.fsm.snaps.Open(id)
	if err != nil {
		return err
	}
	defer r.Close()
	sink, err := b.fsm.snaps.Create(1, meta.Index, meta.Term, meta.Configuration, meta.ConfigurationIndex, nil)
	if err != nil {
		return err
	}
	n, err := io.Copy(sink, r)
	if err != nil || n != meta.Size {
		return errors.Join(fmt.Errorf("%d of %d bytes: %w", n, meta.Size, err), sink.Cancel())
	}
	if err := sink.Close(); err != nil {
		return err
	}
	_, own, err := b.fsm.snaps.Open(sink.ID())
	if err != nil {
		return err
	}
	defer own.Close()
	return b.fsm.Restore(own)
}

// content is everything that the state tells of itself.
func (b *bench) content() string {
	st := b.fsm.states.acquire()
	defer st.release()
	index, term := st.applied()
	return fmt.Sprint(index, term, st.sessions())
}

var errCrash = errors.New("crash")

// crashAt returns a hook that stops at the n-th step, and counts the steps.
func crashAt(n int, steps *[]string) func(string) error {
	return func(step string) error {
		*steps = append(*steps, step)
		if len(*steps) == n {
			return errCrash
		}
		return nil
	}
}

// TestInstallSurvivesCrash stops a node between any two steps of receiving and restoring a snapshot.
// When it starts again, its state is the old or the new, whole, it is the new if the snapshot is
// there, and a second attempt succeeds.
func TestInstallSurvivesCrash(t *testing.T) {
	t.Parallel()
	leader := openBench(t, t.TempDir(), raft.NewInmemStore(), func(string) error { return nil })
	defer leader.close(t)
	leader.apply(t, 50)
	id, err := leader.take()
	if err != nil {
		t.Fatal(err)
	}
	want := leader.content()
	for n := 1; ; n++ {
		logs := raft.NewInmemStore()
		dir := t.TempDir()
		b := openBench(t, dir, logs, func(string) error { return nil })
		b.apply(t, 10)
		old := b.content()
		b.close(t)
		var steps []string
		b = openBench(t, dir, logs, crashAt(n, &steps))
		err := b.install(leader, id)
		b.close(t)
		if err == nil && len(steps) < n {
			if n < 10 {
				t.Errorf("only %d steps: %v", len(steps), steps)
			}
			return
		}
		if !errors.Is(err, errCrash) {
			t.Fatalf("step %d: %v", n, err)
		}
		step := steps[n-1]
		b = openBench(t, dir, logs, func(string) error { return nil })
		metas, err := b.fsm.snaps.List()
		if err != nil {
			t.Fatal(err)
		}
		switch got := b.content(); {
		case len(metas) > 0 && got != want:
			t.Errorf("%s: the snapshot is there, but not in the state", step)
		case len(metas) == 0 && got != old:
			t.Errorf("%s: the state is neither the old nor the new: %s", step, got)
		}
		checkTidy(t, dir, step)
		if err := b.install(leader, id); err != nil {
			t.Errorf("%s: the second attempt: %v", step, err)
		}
		if b.content() != want {
			t.Errorf("%s: the second attempt gave another state", step)
		}
		b.close(t)
	}
}

// checkTidy looks for what a crash left behind.
func checkTidy(t *testing.T, dir, step string) {
	t.Helper()
	left, _ := filepath.Glob(filepath.Join(dir, "snapshots", "*"+tmpSuffix))
	states, _ := filepath.Glob(filepath.Join(dir, statePrefix+"*"))
	if len(left) != 0 || len(states) != 1 {
		t.Errorf("%s: left behind are %v, states are %v", step, left, states)
	}
}

// TestTakeSurvivesCrash stops a node between any two steps of making a snapshot.
func TestTakeSurvivesCrash(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		dir, logs := t.TempDir(), raft.NewInmemStore()
		var steps []string
		b := openBench(t, dir, logs, crashAt(n, &steps))
		b.apply(t, 10)
		want := b.content()
		_, err := b.take()
		b.close(t)
		if err == nil && len(steps) < n {
			if n < 6 {
				t.Errorf("only %d steps: %v", len(steps), steps)
			}
			return
		}
		b = openBench(t, dir, logs, func(string) error { return nil })
		if got := b.content(); got != want {
			t.Errorf("%s: the state is %s, want %s", steps[n-1], got, want)
		}
		checkTidy(t, dir, steps[n-1])
		if _, err := b.take(); err != nil {
			t.Errorf("%s: the second attempt: %v", steps[n-1], err)
		}
		b.close(t)
	}
}

// TestStateBehindSnapshot: a state that lost what was not synced is restored from this node's own
// snapshot, and goes on from there; one that cannot be completed is refused.
func TestStateBehindSnapshot(t *testing.T) {
	t.Parallel()
	dir, logs := t.TempDir(), raft.NewInmemStore()
	b := openBench(t, dir, logs, func(string) error { return nil })
	b.apply(t, 10)
	kept := filepath.Join(t.TempDir(), "kept")
	if err := b.fsm.states.cur.checkpoint(kept); err != nil {
		t.Fatal(err)
	}
	b.apply(t, 10)
	if _, err := b.take(); err != nil {
		t.Fatal(err)
	}
	want := b.content()
	current := b.fsm.states.cur.dir
	b.close(t)
	if err := errors.Join(os.RemoveAll(current), os.Rename(kept, current)); err != nil {
		t.Fatal(err)
	}
	b = openBench(t, dir, logs, func(string) error { return nil })
	if got := b.content(); got != want {
		t.Errorf("the state is %s, want %s", got, want)
	}
	b.close(t)

	if err := errors.Join(logs.DeleteRange(1, 15), os.RemoveAll(filepath.Join(dir, "snapshots"))); err != nil {
		t.Fatal(err)
	}
	snaps, err := openSnapshots(filepath.Join(dir, "snapshots"), func(string) error { return nil }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	st, err := openStates(dir, stateOptions{CacheBytes: 1 << 20}, func(string) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	f := &fsm{states: st, snaps: snaps, budget: newLogBudget(1), applied: func() {}}
	if err := f.recover(logs); err == nil {
		t.Error("a log that begins after a snapshot that is lost was accepted")
	}
	if err := st.close(); err != nil {
		t.Error(err)
	}
}

// TestLogConflictsWithSnapshot: a log that has another entry where a snapshot ends, as is left when the leader sent the snapshot
// to a node with entries of a deposed one, is emptied. Else Raft would refuse all that follows.
func TestLogConflictsWithSnapshot(t *testing.T) {
	dir, logs := t.TempDir(), raft.NewInmemStore()
	b := openBench(t, dir, logs, func(string) error { return nil })
	b.apply(t, 10)
	if _, err := b.take(); err != nil { // of index 10, term 1
		t.Fatal(err)
	}
	b.close(t)
	ended := func() uint64 {
		b := openBench(t, dir, logs, func(string) error { return nil })
		b.close(t)
		last, err := logs.LastIndex()
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	if err := logs.StoreLog(&raft.Log{Index: 11, Term: 1}); err != nil {
		t.Fatal(err)
	}
	if last := ended(); last != 11 {
		t.Errorf("a log that fits ends at %d", last)
	}
	if err := logs.StoreLogs([]*raft.Log{{Index: 10, Term: 3}, {Index: 11, Term: 3}}); err != nil {
		t.Fatal(err)
	}
	if last := ended(); last != 0 {
		t.Errorf("a log that conflicts ends at %d", last)
	}
}

// TestApplyIsInParts: however much Raft hands over at once, a batch of the store takes a bounded part of it, and
// every entry gets its answer.
func TestApplyIsInParts(t *testing.T) {
	t.Parallel()
	b := openBench(t, t.TempDir(), raft.NewInmemStore(), func(string) error { return nil })
	defer b.close(t)
	b.apply(t, 1)
	batches := 0
	b.fsm.applied = func() { batches++ }
	var logs []*raft.Log
	for i := range 40 {
		name := strings.Repeat("x", 100<<10) // a tenth of an entry's most
		data, err := (&command{Items: []item{&openSession{Client: name, Nonce: uint64(i)}}}).marshal()
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, &raft.Log{Index: b.next + 1 + uint64(i), Term: 1, Type: raft.LogCommand, Data: data})
	}
	answers := b.fsm.ApplyBatch(logs)
	if want := 40 / (applyBytesMax / (100 << 10)); batches != want {
		t.Errorf("4 MB were applied in %d batches, want %d", batches, want)
	}
	if len(answers) != len(logs) {
		t.Fatalf("%d answers to %d entries", len(answers), len(logs))
	}
	for i, a := range answers {
		if r := a.([]granary.Result); len(r) != 1 || r[0].Index != granary.Index(logs[i].Index) {
			t.Errorf("entry %d is answered by %v", logs[i].Index, r)
		}
	}
}

// TestReadersSurviveRestore: who reads the old state may go on until done.
func TestReadersSurviveRestore(t *testing.T) {
	t.Parallel()
	b := openBench(t, t.TempDir(), raft.NewInmemStore(), func(string) error { return nil })
	b.apply(t, 5)
	id, err := b.take()
	if err != nil {
		t.Fatal(err)
	}
	old := b.fsm.states.acquire()
	before := len(old.sessions())
	if err := b.install(b, id); err != nil {
		t.Fatal(err)
	}
	if got := len(old.sessions()); got != before {
		t.Errorf("the reader of the old state sees %d sessions, not %d", got, before)
	}
	old.release()
	if _, err := os.Stat(old.dir); !os.IsNotExist(err) {
		t.Errorf("the old state stays: %v", err)
	}
	b.close(t)
}

func TestStreamIsDeterministic(t *testing.T) {
	t.Parallel()
	b := openBench(t, t.TempDir(), raft.NewInmemStore(), func(string) error { return nil })
	defer b.close(t)
	b.apply(t, 20)
	id, err := b.take()
	if err != nil {
		t.Fatal(err)
	}
	var streams [2][]byte
	for i := range streams {
		meta, r, err := b.fsm.snaps.Open(id)
		if err != nil {
			t.Fatal(err)
		}
		streams[i], err = io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		if int64(len(streams[i])) != meta.Size {
			t.Errorf("a stream of %d bytes was announced with %d", len(streams[i]), meta.Size)
		}
	}
	if !bytes.Equal(streams[0], streams[1]) {
		t.Error("two streams of one snapshot differ")
	}
	sink, err := b.fsm.snaps.Create(1, 99, 1, raft.Configuration{}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Write(streams[0][:len(streams[0])/2]); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(); err == nil {
		t.Error("half a stream was accepted")
	}
	if metas, err := b.fsm.snaps.List(); err != nil || len(metas) != 1 {
		t.Errorf("%d snapshots, %v", len(metas), err)
	}
}

func TestSnapshotsAreReaped(t *testing.T) {
	t.Parallel()
	b := openBench(t, t.TempDir(), raft.NewInmemStore(), func(string) error { return nil })
	defer b.close(t)
	var first io.ReadCloser
	for i := range 4 {
		b.apply(t, 1)
		id, err := b.take()
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, first, err = b.fsm.snaps.Open(id); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func() int {
		metas, err := b.fsm.snaps.List()
		if err != nil {
			t.Fatal(err)
		}
		return len(metas)
	}
	if n := count(); n != snapshotsKept+1 {
		t.Errorf("%d snapshots, one of them being read", n)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	b.fsm.snaps.reap()
	if n := count(); n != snapshotsKept {
		t.Errorf("%d snapshots stay", n)
	}
}

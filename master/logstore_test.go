package master

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

func noHook(string) error { return nil }

// openTestStores opens the stores of a directory, with or without its snapshots.
func openTestStores(t *testing.T, dir string, hook func(string) error) (raftStores, error) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	snaps, err := openSnapshots(filepath.Join(dir, "snapshots"), noHook, log)
	if err != nil {
		t.Fatal(err)
	}
	return openStores(&Options{Dir: dir, hook: hook, Log: log}, snaps.covered)
}

// makeFormat1 fills a directory as format 1 had it: the entries in raft.db.
func makeFormat1(t *testing.T, dir string, logs []*raft.Log) {
	t.Helper()
	old, err := openStable(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(old.StoreLogs(logs), old.SetUint64([]byte("CurrentTerm"), 7), old.Set([]byte("LastVoteCand"), []byte("somebody")), old.Close())
	if err != nil {
		t.Fatal(err)
	}
}

func someLogs(from, to uint64) (logs []*raft.Log) {
	for i := from; i <= to; i++ {
		logs = append(logs, &raft.Log{
			Index: i, Term: 3, Type: raft.LogCommand, Data: fmt.Appendf(nil, "entry %d", i), AppendedAt: time.Unix(int64(i), 5),
		})
	}
	return logs
}

// checkStores checks that the log holds exactly these entries, and raft.db none.
func checkStores(t *testing.T, what string, s raftStores, want []*raft.Log) {
	t.Helper()
	first, err1 := s.logs.FirstIndex()
	last, err2 := s.logs.LastIndex()
	left, err3 := s.stable.LastIndex()
	term, err4 := s.stable.GetUint64([]byte("CurrentTerm"))
	vote, err5 := s.stable.Get([]byte("LastVoteCand"))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if first != want[0].Index || last != want[len(want)-1].Index || left != 0 || term != 7 || string(vote) != "somebody" {
		t.Fatalf("%s: entries %d to %d, in raft.db up to %d, term %d, vote for %q", what, first, last, left, term, vote)
	}
	for _, w := range want {
		var l raft.Log
		if err := s.logs.GetLog(w.Index, &l); err != nil || l.Term != w.Term || string(l.Data) != string(w.Data) || !l.AppendedAt.Equal(w.AppendedAt) {
			t.Fatalf("%s: entry %d: %+v, %v", what, w.Index, l, err)
		}
	}
}

// TestMigrationSurvivesCrash stops a node between any two steps of giving an old directory a log of its own.
func TestMigrationSurvivesCrash(t *testing.T) {
	t.Parallel()
	want := someLogs(5, 300)
	for n := 1; ; n++ {
		dir := t.TempDir()
		makeFormat1(t, dir, want)
		var steps []string
		s, err := openTestStores(t, dir, crashAt(n, &steps))
		done := err == nil && len(steps) < n
		if !done {
			if !errors.Is(err, errCrash) {
				t.Fatalf("step %d: %v", n, err)
			}
			if s, err = openTestStores(t, dir, noHook); err != nil {
				t.Fatalf("after %s: %v", steps[n-1], err)
			}
		}
		what := fmt.Sprint("after ", steps[min(n, len(steps))-1])
		checkStores(t, what, s, want)
		if left, _ := filepath.Glob(filepath.Join(dir, "*"+tmpSuffix)); len(left) > 0 {
			t.Errorf("%s: left behind are %v", what, left)
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if s, err = openTestStores(t, dir, func(step string) error { return errors.New("a second migration") }); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		checkStores(t, what, s, want)
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if done {
			if n < 5 {
				t.Errorf("only %d steps: %v", len(steps), steps)
			}
			return
		}
	}
}

// TestMigrationAtAGap: what lies before a gap is dropped if a snapshot holds it, else nothing is changed.
func TestMigrationAtAGap(t *testing.T) {
	dir := t.TempDir()
	b := openBench(t, dir, raft.NewInmemStore(), noHook)
	b.apply(t, 20)
	makeFormat1(t, dir, append(someLogs(1, 10), someLogs(21, 30)...))
	for range 2 {
		if _, err := openTestStores(t, dir, noHook); !granary.IsKind(err, granary.KindCorrupt) {
			t.Fatalf("a hole: %v", err)
		}
	}
	if _, err := b.take(); err != nil {
		t.Fatal(err)
	}
	b.close(t)
	s, err := openTestStores(t, dir, noHook)
	if err != nil {
		t.Fatal(err)
	}
	checkStores(t, "behind a snapshot", s, someLogs(21, 30))
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// TestStoresBelongTogether: a directory that lacks the log, or raft.db, or has that of an earlier time, is refused.
func TestStoresBelongTogether(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir string) error{
		"no log":            func(dir string) error { return os.RemoveAll(filepath.Join(dir, logName)) },
		"an empty log":      func(dir string) error { return emptyDir(filepath.Join(dir, logName)) },
		"no raft.db":        func(dir string) error { return os.Remove(filepath.Join(dir, stableName)) },
		"an older raft.db":  func(dir string) error { return os.Rename(filepath.Join(dir, "kept"), filepath.Join(dir, stableName)) },
		"a format to come ": func(dir string) error { return setLogFormat(dir, logFormat+1) },
	} {
		dir := t.TempDir()
		makeFormat1(t, dir, someLogs(1, 10))
		old, err := os.ReadFile(filepath.Join(dir, stableName))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "kept"), old, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openTestStores(t, dir, noHook)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.logs.StoreLogs(someLogs(11, 12)), s.close()); err != nil {
			t.Fatal(err)
		}
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		_, err = openTestStores(t, dir, noHook)
		if !granary.IsKind(err, granary.KindCorrupt) && !granary.IsKind(err, granary.KindNotSupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func emptyDir(dir string) error {
	return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700))
}

func setLogFormat(dir string, format uint64) error {
	stable, err := openStable(dir)
	if err != nil {
		return err
	}
	return errors.Join(stable.SetUint64([]byte(logFormatKey), format), stable.Close())
}

// TestFailedLogDisk: a leader whose log cannot be synced any more leaves the cluster to the others, and comes back with
// all that was acknowledged when it is started again.
func TestFailedLogDisk(t *testing.T) {
	var mu sync.Mutex
	disks := make(map[string]*disk.Faulty)
	g := newGroup(t, 3, true, func(o *Options) {
		electing(o)
		dir := o.Dir
		o.logDisk = func(d disk.FS) disk.FS {
			mu.Lock()
			defer mu.Unlock()
			disks[dir] = disk.NewFaulty(d, nil)
			return disks[dir]
		}
	})
	c := g.client()
	g.do(c, createOp("before"))
	leader := g.leader()
	failed := g.nodes[leader]
	disks[failed.opts.Dir].SetHook(func(c disk.Call) disk.Fault {
		if c.Op == disk.OpSync {
			return disk.Fault{Err: syscall.EIO}
		}
		return disk.Fault{}
	})
	g.do(c, createOp("during"))
	more := 0
	eventually(t, "the end of the node", func() error {
		if st := failed.raft.State(); st != raft.Shutdown {
			more++
			g.do(c, createOp(fmt.Sprintf("more%d", more))) // if another was elected meanwhile, it has to be told something
			return fmt.Errorf("it is a %s", st)
		}
		return nil
	})
	g.startAt(leader, g.stop(leader), nil)
	g.do(c, createOp("after"))
	for _, name := range []string{"before", "during", "after"} {
		g.find(name)
	}
	want := appliedBy(g.nodes[g.leader()])
	eventually(t, "the node that failed", func() error {
		if at := appliedBy(g.nodes[leader]); at < want {
			return fmt.Errorf("it has applied %d of %d", at, want)
		}
		return nil
	})
}

// forgetLogFormat takes the mark of the log out of raft.db.
func forgetLogFormat(dir string) error {
	db, err := bbolt.Open(filepath.Join(dir, stableName), 0o600, boltOptions())
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("conf")).Delete([]byte(logFormatKey)) })
	return errors.Join(err, db.Close())
}

// TestOldDirectory opens a node's directory of format 1, with all that was acknowledged in raft.db.
func TestOldDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAlone(t, dir, nil)
	newClient(t, s).do(s, createOp("kept"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	stores, err := openTestStores(t, dir, noHook)
	if err != nil {
		t.Fatal(err)
	}
	last, err := stores.logs.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := errors.Join(stores.logs.GetLog(i, &l), stores.stable.StoreLog(&l)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(stores.close(), os.RemoveAll(filepath.Join(dir, logName)), forgetLogFormat(dir)); err != nil {
		t.Fatal(err)
	}
	node := filepath.Join(dir, "node.json")
	id, err := loadIdentity(dir, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	id.Format = 1
	if err := saveIdentity(dir, id); err != nil {
		t.Fatal(err)
	}
	s = openAlone(t, dir, nil)
	if _, err := lookup(t, s, "kept"); err != nil {
		t.Error(err)
	}
	newClient(t, s).do(s, createOp("added"))
	if b, err := os.ReadFile(node); err != nil || !strings.Contains(string(b), `"format":2`) {
		t.Errorf("the node file says %s, %v", b, err)
	}
	if left, err := s.raft.stable.LastIndex(); err != nil || left != 0 {
		t.Errorf("raft.db holds entries up to %d, %v", left, err)
	}
}

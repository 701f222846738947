package master

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// onDisk applies a machine's log to a state on a disk.
func (m *machine) onDisk() *state {
	m.t.Helper()
	st, err := openState(filepath.Join(m.t.TempDir(), "state"), stateOptions{CacheBytes: 1 << 20})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if err := st.close(); err != nil {
			m.t.Error(err)
		}
	})
	for _, e := range m.log {
		st.apply([]entry{e})
	}
	return st
}

// backupOf makes a backup of a state, and options that restore it. The stream is to be read once.
func backupOf(t testing.TB, st *state) func(dir string) RestoreOptions {
	t.Helper()
	held, err := newBackup(st, filepath.Join(t.TempDir(), "backup"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return func(dir string) RestoreOptions {
		return RestoreOptions{
			Dir: dir, ID: "r1", GRPCAddr: "grpc-r1", RaftAddr: "127.0.0.1:1",
			Stream: io.NewSectionReader(held.layout, 0, held.layout.size), Cluster: held.info.Cluster, Index: granary.Index(held.info.Index),
		}
	}
}

// lived is a machine with all kinds of things going on: files with blocks, a volume that is open and one that is sealing,
// an open file without a name, a dataset, and a tree on its way out.
func lived(t testing.TB) *machine {
	m := newMachine(t)
	dir := m.ok(&granary.Create{Parent: granary.RootInode, Name: "dir", Type: granary.TypeDirectory, Mode: 0o755}).Attr.Inode
	for i := range 5 {
		f := m.ok(&granary.Create{Parent: dir, Name: fmt.Sprint(i), Type: granary.TypeRegular, Mode: 0o644}).Attr.Inode
		m.ok(&granary.Commit{Inode: f, Content: m.content(0, bytes.Repeat([]byte{byte(i)}, 9000))})
	}
	m.ok(&granary.SealVolume{Volume: m.volume, Epoch: 1})
	m.volume = 0
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "open", Type: granary.TypeRegular, Mode: 0o644}).Attr.Inode
	m.ok(&granary.Commit{Inode: f, Content: m.content(0, []byte("kept by the session"))})
	m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "open"})
	m.ok(&granary.Create{Parent: granary.BucketsInode, Name: "bucket", Type: granary.TypeDirectory, Mode: 0o755})
	for i := range 3 {
		m.item(&openSession{Client: fmt.Sprint("another ", i)})
	}
	gone := m.ok(&granary.Create{Parent: granary.RootInode, Name: "gone", Type: granary.TypeDirectory, Mode: 0o755}).Attr.Inode
	m.ok(&granary.Create{Parent: gone, Name: "f", Type: granary.TypeRegular, Mode: 0o644})
	m.ok(&granary.RemoveTree{Parent: granary.RootInode, Name: "gone"})
	m.ok(&granary.PutIdentity{Identity: granary.Identity{Kind: granary.IdentityUser, Name: "ann"}})
	m.ok(&granary.PutIdentity{Identity: granary.Identity{Kind: granary.IdentityKey, Name: "K1", User: "ann"}})
	m.item(&setMember{ID: "n1", GRPCAddr: "a1"})
	m.item(&memberJoined{ID: "n1"})
	return m
}

// given is the newest of everything that a state has given out.
type given struct {
	Index, Session, Block, Volume, Dataset, Policy uint64
	Inode                                          map[granary.DatasetID]uint64
	Epoch                                          map[granary.VolumeID]granary.Epoch
}

func givenOut(s *state) given {
	h := s.current()
	g := given{h.Applied, uint64(h.LastSession), uint64(h.LastBlock), uint64(h.LastVolume), uint64(h.LastDataset), uint64(h.LastPolicy),
		map[granary.DatasetID]uint64{}, map[granary.VolumeID]granary.Epoch{}}
	s.each([]byte{tableDataset}, func(k, b []byte) {
		r, err := unmarshal[datasetRecord](b)
		must(err)
		g.Inode[granary.DatasetID(keyID(k, 0))] = r.NextInode
	})
	s.each([]byte{tableVolume}, func(k, b []byte) {
		r, err := unmarshal[volumeRecord](b)
		must(err)
		g.Epoch[granary.VolumeID(keyID(k, 0))] = r.Epoch
	})
	return g
}

// above fails unless everything that the state will give out is above all that was given out.
func (g given) above(t *testing.T, old given) {
	t.Helper()
	for name, pair := range map[string][2]uint64{
		"index": {g.Index, old.Index}, "session": {g.Session, old.Session}, "block": {g.Block, old.Block},
		"volume": {g.Volume, old.Volume}, "dataset": {g.Dataset, old.Dataset}, "policy": {g.Policy, old.Policy},
	} {
		if pair[0] < pair[1]+1<<16 {
			t.Errorf("%s: %d after the restore, %d before", name, pair[0], pair[1])
		}
	}
	for id, n := range g.Inode {
		if n < old.Inode[id]+1<<31 {
			t.Errorf("inodes of dataset %d: %d after the restore, %d before", id, n, old.Inode[id])
		}
	}
	for id, e := range g.Epoch {
		if e < old.Epoch[id]+1<<31 {
			t.Errorf("epoch of volume %d: %d after the restore, %d before", id, e, old.Epoch[id])
		}
	}
}

// usersSee is what users see of a state: names, attributes without their versions, what is in the files.
func usersSee(s *state) map[string]string {
	seen := map[string]string{}
	for _, table := range []byte{tableDentry, tableExtent, tableInline, tableXattr, tableBlock, tableHash, tableUser, tablePolicy, tableIdentity, tableIdentityUse} {
		s.each([]byte{table}, func(k, b []byte) { seen[string(k)] = string(b) })
	}
	return seen
}

// openRestored starts the node of a restored directory.
func openRestored(t *testing.T, dir string) *Server {
	t.Helper()
	return openAlone(t, dir, func(o *Options) { o.ID, o.GRPCAddr = "r1", "grpc-r1" })
}

func TestRestore(t *testing.T) {
	t.Parallel()
	m := lived(t)
	st := m.onDisk()
	options := backupOf(t, st)
	before := usersSee(st)
	// The future that will be lost.
	for i := range 50 {
		f := m.ok(&granary.Create{Parent: granary.RootInode, Name: fmt.Sprint("later", i), Type: granary.TypeRegular, Mode: 0o644}).Attr.Inode
		m.ok(&granary.Commit{Inode: f, Content: m.content(0, fmt.Append(nil, "later", i))})
		m.item(&openSession{Client: "later"})
	}
	m.ok(&granary.SealVolume{Volume: m.volume, Epoch: 1})
	lost := givenOut(m.s)

	dir := filepath.Join(t.TempDir(), "new")
	r, err := Restore(t.Context(), options(dir))
	if err != nil || r.Incarnation != 1 || r.State.Violated != 0 || uint64(r.Index) < lost.Index {
		t.Fatalf("%+v, %v", r, err)
	}
	s := openRestored(t, dir)
	now := s.states.acquire()
	givenOut(now.state).above(t, lost)
	if err := now.check(); err != nil {
		t.Error(err)
	}
	if after := usersSee(now.state); !maps.Equal(after, before) {
		t.Errorf("%d records became %d others", len(before), len(after))
	}
	now.release()

	// Who watched the future that was lost is told so.
	lostPlace := granary.Position{Index: granary.Index(m.s.head.Applied) + 1}
	if a, err := watchAt(t.Context(), s, granary.Watch{From: lostPlace}); err != nil || !a.Behind || a.Oldest.Index <= granary.Index(m.s.head.Applied)+1<<39 {
		t.Errorf("a watch from %s: %+v, %v", lostPlace, a, err)
	}

	// The sessions have ended, and what they kept goes.
	if _, err := (&testClient{t: t, session: m.session}).send(s, m.seq+1, createOp("x")); !granary.IsKind(err, granary.KindExpired) {
		t.Errorf("a session of before: %v", err)
	}
	c := newClient(t, s)
	if uint64(c.session) < lost.Session+1<<39 {
		t.Errorf("a new session is %d", c.session)
	}
	attr := c.do(s, createOp("new")).Attr
	if uint64(attr.Version) < lost.Index+1<<39 || uint64(attr.Inode) < lost.Inode[1]+1<<31 {
		t.Errorf("a new file: %+v", attr)
	}
	eventually(t, "the end of what sessions kept", func() error {
		now := s.states.acquire()
		defer now.release()
		if n := now.current().Queue; n > 0 {
			return fmt.Errorf("%d removals", n)
		}
		return nil
	})
	a, _, err := s.Query(t.Context(), &granary.QueryRequest{Query: &granary.GetStatus{}})
	status, ok := a.(*granary.Status)
	if err != nil || !ok || status.Incarnation != 1 || status.Cluster != "c1" || len(status.Masters) != 1 || status.Masters[0].ID != "r1" {
		t.Fatalf("status %+v, %v", a, err)
	}
	vols, _, err := s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListVolumes{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vols.(*granary.Volumes).Volumes {
		if v.State != granary.VolumeSealing || v.Owner != 0 {
			t.Errorf("volume %d is %s of %d", v.ID, v.State, v.Owner)
		}
	}
	checkRestarts(t, s, dir, c)
}

// checkRestarts: a restored node keeps what it does over a restart, gives snapshots, and can be backed up and restored
// again.
func checkRestarts(t *testing.T, s *Server, dir string, c *testClient) {
	t.Helper()
	if err := s.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	c.do(s, createOp("newer"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openRestored(t, dir)
	for _, name := range []string{"new", "newer", "dir"} {
		if _, err := lookup(t, s, name); err != nil {
			t.Errorf("%s after a restart: %v", name, err)
		}
	}
	p, stream := readBackup(t, s, "")
	old := s.states.acquire()
	was := givenOut(old.state)
	old.release()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dir += "2"
	r, err := Restore(t.Context(), RestoreOptions{Dir: dir, ID: "r1", GRPCAddr: "grpc-r1", RaftAddr: "a", Stream: bytes.NewReader(stream), Cluster: p.Cluster, Index: p.Index})
	if err != nil || r.Incarnation != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	s = openRestored(t, dir)
	now := s.states.acquire()
	defer now.release()
	givenOut(now.state).above(t, was)
	if err := now.check(); err != nil {
		t.Error(err)
	}
}

// TestRestoreGrows: a node that is added to a restored one gets the state, and can lead.
func TestRestoreGrows(t *testing.T) {
	t.Parallel()
	options := backupOf(t, lived(t).onDisk())
	m := newMembers(t, 2, 1, nil)
	m.leader()
	dir := m.stop(0)
	m.wipe(0)
	o := options(dir)
	o.ID, o.GRPCAddr, o.RaftAddr = m.peers[0].ID, m.peers[0].GRPCAddr, m.peers[0].RaftAddr
	if _, err := Restore(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	m.startAt(0, dir, nil)
	m.connect(func(_, _ int) bool { return true }) // a node that stops has cut its connections
	c := m.client()
	m.do(c, createOp("f0"))
	m.mustJoin(1)
	m.add(1)
	m.voters(0, 1)
	if err := m.change(&granary.MemberChange{Action: granary.MemberLead, ID: m.peers[1].ID}); err != nil {
		t.Fatal(err)
	}
	m.do(c, createOp("f1"))
	for _, name := range []string{"dir", "f0", "f1"} {
		m.find(name)
	}
	m.same(0, 1)
	st := m.node(1).states.acquire()
	defer st.release()
	if err := st.check(); err != nil || st.current().Incarnation != 1 {
		t.Errorf("incarnation %d: %v", st.current().Incarnation, err)
	}
}

// TestRestoreSurvivesCrash stops a restore after each of its steps: there is a whole directory or none, and the next one
// succeeds.
func TestRestoreSurvivesCrash(t *testing.T) {
	t.Parallel()
	options := backupOf(t, lived(t).onDisk())
	stopped := errors.New("stopped")
	for step := 0; ; step++ {
		dir := filepath.Join(t.TempDir(), "new")
		o := options(dir)
		n, at := 0, ""
		o.hook = func(name string) error {
			if n++; n > step {
				at = name
				return stopped
			}
			return nil
		}
		_, err := Restore(t.Context(), o)
		if err == nil {
			if step < 8 {
				t.Errorf("there are only %d steps", step)
			}
			return
		}
		if !errors.Is(err, stopped) {
			t.Fatalf("step %d: %v", step, err)
		}
		_, err = os.Stat(dir)
		if named := at == "restore: named"; named != (err == nil) {
			t.Fatalf("stopped at %q: %v", at, err)
		} else if !named {
			if _, err := Restore(t.Context(), options(dir)); err != nil {
				t.Fatalf("again after %q: %v", at, err)
			}
		}
		if _, err := os.Stat(dir + tmpSuffix); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("after %q something is left: %v", at, err)
		}
		if at != "restore: unpacked" && at != "restore: named" {
			continue // the rest is alike
		}
		s := openRestored(t, dir)
		if _, err := lookup(t, s, "dir"); err != nil {
			t.Errorf("after %q: %v", at, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRestoreRefuses(t *testing.T) {
	m := lived(t)
	st := m.onDisk()
	options := backupOf(t, st)
	for name, tt := range map[string]struct {
		kind granary.Kind
		with func(t *testing.T, o *RestoreOptions)
	}{
		"a directory that is not empty": {granary.KindNotEmpty, func(t *testing.T, o *RestoreOptions) {
			if err := os.MkdirAll(filepath.Join(o.Dir, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		"somebody's directory of the temporary name": {granary.KindExists, func(t *testing.T, o *RestoreOptions) {
			if err := os.MkdirAll(filepath.Join(o.Dir+tmpSuffix, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		"another restore under way": {granary.KindBusy, func(t *testing.T, o *RestoreOptions) {
			if err := os.MkdirAll(o.Dir+tmpSuffix, 0o700); err != nil {
				t.Fatal(err)
			}
			lock, err := lockDir(o.Dir + tmpSuffix)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { lock.Close() })
		}},
		"another index":   {granary.KindCorrupt, func(_ *testing.T, o *RestoreOptions) { o.Index++ }},
		"another cluster": {granary.KindCorrupt, func(_ *testing.T, o *RestoreOptions) { o.Cluster = "x" }},
		"no address":      {granary.KindInvalid, func(_ *testing.T, o *RestoreOptions) { o.RaftAddr = "" }},
		"half a stream": {granary.KindInternal, func(_ *testing.T, o *RestoreOptions) {
			o.Stream = io.LimitReader(o.Stream, 3000)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(filepath.Join(t.TempDir(), "new"))
			tt.with(t, &o)
			if _, err := Restore(t.Context(), o); !granary.IsKind(err, tt.kind) {
				t.Errorf("%v, want %v", err, tt.kind)
			}
		})
	}
}

// TestRestoreRefusesDisorder: a state that breaks rules is restored only when that is asked for.
func TestRestoreRefusesDisorder(t *testing.T) {
	m := lived(t)
	st := m.onDisk()
	must(st.db.Delete(keyDentry(granary.RootInode, "dir", true), nil))
	options := backupOf(t, st)
	o := options(filepath.Join(t.TempDir(), "new"))
	if _, err := Restore(t.Context(), o); !granary.IsKind(err, granary.KindCorrupt) {
		t.Errorf("a state in disorder: %v", err)
	}
	o = options(o.Dir)
	o.NoCheck = true
	if r, err := Restore(t.Context(), o); err != nil || r.State.Index != o.Index || r.State.LogicalBytes == 0 {
		t.Errorf("unchecked: %+v, %v", r, err)
	}
}

// TestSkipAhead: no counter wraps around; a restore is refused first.
func TestSkipAhead(t *testing.T) {
	h := headRecord{Cluster: "c", Applied: 5, LastDataset: 1, LastPolicy: 1}
	restores := 0
	for ; ; restores++ {
		next, err := skipAhead(h)
		if err != nil {
			if !granary.IsKind(err, granary.KindTooLarge) {
				t.Fatal(err)
			}
			break
		}
		if next.LastDataset <= h.LastDataset || next.LastDataset > datasetMax || next.LastPolicy <= h.LastPolicy || next.Applied <= h.Applied {
			t.Fatalf("%+v after %+v", next, h)
		}
		h = next
	}
	if restores < 200 {
		t.Errorf("only %d restores are possible", restores)
	}
	for _, full := range []headRecord{{Applied: 1<<64 - 1<<40}, {LastBlock: 1<<64 - 2}, {LastVolume: 1<<64 - 2}, {LastSession: 1<<64 - 2}, {LastPolicy: 1<<32 - 2}} {
		full.Cluster = "c"
		if _, err := skipAhead(full); !granary.IsKind(err, granary.KindTooLarge) {
			t.Errorf("%+v: %v", full, err)
		}
	}
}

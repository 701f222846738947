package master

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dsorchard/granary"
)

// machine is a state under test, with the log that led to it.
type machine struct {
	t       testing.TB
	fs      vfs.FS
	s       *state
	log     []entry
	session granary.SessionID
	seq     uint64
	time    granary.Time
	rowEnd  uint64
	volume  granary.VolumeID
	version uint8 // of the commands; 0 for today's
}

// newMachine returns an initialised state with a session, in memory.
func newMachine(t testing.TB) *machine {
	t.Helper()
	m := &machine{t: t, fs: vfs.NewMem()}
	m.open()
	m.items(&initCluster{Cluster: "c1", RootUser: granary.User{AccessKey: "root", SecretKey: "secret", Root: true}},
		&beginChangeLog{granary.DefaultChangeLog()})
	m.session = granary.SessionID(m.item(&openSession{Client: "test"}).Offset)
	return m
}

func (m *machine) open() {
	m.t.Helper()
	s, err := openState("meta", stateOptions{FS: m.fs, CacheBytes: 1 << 20, DigestEvery: 16})
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
}

func (m *machine) close() {
	if err := m.s.close(); err != nil {
		m.t.Fatal(err)
	}
}

// item logs and applies one item.
func (m *machine) item(it item) granary.Result {
	m.t.Helper()
	return m.items(it)[0]
}

// items logs and applies an entry.
func (m *machine) items(items ...item) []granary.Result {
	m.t.Helper()
	m.time += 1000
	data, err := (&command{Time: m.time, Items: items}).marshal()
	if err != nil {
		m.t.Fatal(err)
	}
	if m.version != 0 {
		data[0] = m.version
	}
	e := entry{Index: uint64(len(m.log) + 1), Term: 1, Data: data}
	m.log = append(m.log, e)
	return m.s.apply([]entry{e})[0]
}

// do logs and applies one request of the session.
func (m *machine) do(op granary.Op) granary.Result {
	m.t.Helper()
	m.seq++
	return m.item(&mutation{Session: m.session, LowestUnacked: m.seq, Request: granary.Request{Seq: m.seq, Op: op}})
}

// ok is do that must succeed.
func (m *machine) ok(op granary.Op) granary.Result {
	m.t.Helper()
	r := m.do(op)
	if r.Err != nil {
		m.t.Fatalf("%T: %v", op, r.Err)
	}
	return r
}

// fails is do that must fail with a kind.
func (m *machine) fails(kind granary.Kind, op granary.Op) granary.Result {
	m.t.Helper()
	r := m.do(op)
	if kindOf(r) != kind {
		m.t.Fatalf("%T: %v, want %v", op, r.Err, kind)
	}
	return r
}

func kindOf(r granary.Result) granary.Kind {
	if r.Err == nil {
		return granary.KindNone
	}
	return r.Err.Kind
}

// check verifies the invariants, and what is recalled.
func (m *machine) check() {
	m.t.Helper()
	m.agree()
	if err := m.s.check(); err != nil {
		m.t.Fatal(err)
	}
}

// drain reclaims until the queue is empty.
func (m *machine) drain(limit int) (steps int) {
	m.t.Helper()
	for m.dropAll(); m.s.pendingReclaim(); m.dropAll() {
		if r := m.item(&reclaim{Limit: limit}); r.Err != nil || r.Offset == 0 {
			m.t.Fatalf("reclaim: %+v", r)
		}
		if steps++; steps > 10000 {
			m.t.Fatal("the queue does not end")
		}
	}
	return steps
}

// nameless returns the first inodes that are listed as being without a name.
func (m *machine) nameless(limit int) []granary.InodeID {
	var all []granary.InodeID
	for _, n := range m.s.nameless(nameless{}, limit) {
		all = append(all, n.Inode)
	}
	return all
}

// dropAll drops all inodes without a name, as if none was open.
func (m *machine) dropAll() {
	m.t.Helper()
	for {
		all := m.nameless(dropMax)
		if len(all) == 0 {
			return
		}
		if r := m.item(&drop{Inodes: all}); r.Err != nil || r.Offset != uint64(len(all)) {
			m.t.Fatalf("drop: %+v", r)
		}
	}
}

func (m *machine) query(q granary.Query) (granary.Answer, error) {
	a, _, err := m.s.queryFor(context.Background(), m.session, nil, q, allUp{})
	return a, err
}

func ask[A granary.Answer](m *machine, q granary.Query) A {
	m.t.Helper()
	a, err := m.query(q)
	if err != nil {
		m.t.Fatalf("%+v: %v", q, err)
	}
	return a.(A)
}

// allUp is a liveness that knows no trouble.
type allUp struct{}

func (allUp) serverUp(granary.ServerID) bool { return true }
func (allUp) usage(d granary.DiskID) (granary.DiskUsage, bool) {
	return granary.DiskUsage{Disk: d, Total: 1000, Free: 600, Used: 400}, true
}

// openVolume opens a 1+1 volume for the session.
func (m *machine) openVolume() granary.VolumeID {
	m.t.Helper()
	r := m.ok(&granary.OpenVolume{Policy: 1, Placement: &granary.Placement{DataShards: 1, ParityShards: 1, Disks: []granary.DiskID{"d1", "d2"}}})
	m.volume, m.rowEnd = r.Volume.ID, 0
	return m.volume
}

// chunk makes a new chunk of some bytes, in the session's volume.
func (m *machine) chunk(b []byte) granary.Chunk {
	if m.volume == 0 {
		m.openVolume()
	}
	c := granary.Chunk{Hash: sha256.Sum256(b), RawLength: uint32(len(b)), New: true,
		Location: granary.Location{Volume: m.volume, Epoch: 1, Offset: m.rowEnd, Length: uint32(len(b)) + 80}}
	m.rowEnd += (uint64(len(b)) + 80 + granary.RowAlignment - 1) / granary.RowAlignment * granary.RowAlignment
	c.Watermark = m.rowEnd
	return c
}

// content is one new chunk at an offset.
func (m *machine) content(offset uint64, b []byte) granary.Content {
	return granary.Content{Chunks: []granary.Chunk{m.chunk(b)}, Extents: []granary.ExtentWrite{{Offset: offset, Length: uint64(len(b))}}}
}

// dump returns every key and value of a store.
func dump(s *state) string {
	var b bytes.Buffer
	for c := 0; c < 255; c++ {
		s.each([]byte{byte(c)}, func(k, v []byte) { fmt.Fprintf(&b, "%q %x\n", k, v) })
	}
	return b.String()
}

func ptr[T any](v T) *T { return &v }

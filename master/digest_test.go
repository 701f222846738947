package master

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// follow applies a log to another state, which is returned.
func follow(m *machine, log []entry) *machine {
	m.t.Helper()
	f := &machine{t: m.t, fs: vfs.NewMem()}
	f.open()
	for _, e := range log {
		f.s.apply([]entry{e})
	}
	f.log, f.session, f.seq, f.time = log, m.session, m.seq, m.time
	return f
}

// both applies the same op to both.
func both(a, b *machine, op granary.Op) {
	a.ok(op)
	b.s.apply(a.log[len(a.log)-1:])
}

// compare has b compare a's last window; what it panics with is returned.
func compare(a, b *machine) (stopped string) {
	defer func() {
		if p := recover(); p != nil {
			stopped = fmt.Sprint(p)
		}
	}()
	h := a.s.current()
	if h.CheckIndex == 0 || h.CheckIndex != b.s.current().CheckIndex {
		a.t.Fatalf("windows up to %d and %d", h.CheckIndex, b.s.current().CheckIndex)
	}
	a.item(&verifyDigest{Format: formatVersion, Index: h.CheckIndex, Digest: h.CheckDigest})
	b.s.apply(a.log[len(a.log)-1:])
	return ""
}

// TestDigestCatches: a node whose store was changed behind its back, or that applied anything else than the leader,
// stops at the next comparison, and a sound one does not.
func TestDigestCatches(t *testing.T) {
	name := func(i int) string { return fmt.Sprintf("f%02d", i) }
	for what, harm := range map[string]func(f *machine, log []entry){
		"": func(*machine, []entry) {},
		"a value on disk": func(f *machine, _ []entry) {
			k := keyInode(granary.RootInode)
			r := one[inodeRecord](f.s, k)
			r.Entries++
			must(f.s.db.Set(k, marshal(r, 1), pebble.NoSync))
			f.close()
			f.open()
		},
		"a key on disk": func(f *machine, _ []entry) {
			must(f.s.db.Delete(keyDentry(granary.RootInode, name(0), false), pebble.NoSync))
			f.close() // what was written just before is recalled, not read
			f.open()
		},
		"a counter": func(f *machine, _ []entry) { f.s.head.LogicalBytes++ },
	} {
		a := newMachine(t)
		for i := range 20 {
			a.ok(&granary.Create{Parent: granary.RootInode, Name: name(i), Type: granary.TypeRegular})
		}
		b := follow(a, a.log)
		if stopped := compare(a, b); stopped != "" {
			t.Fatalf("before: %s", stopped)
		}
		harm(b, a.log)
		both(a, b, &granary.Unlink{Parent: granary.RootInode, Name: name(0)})
		for i := range 40 {
			both(a, b, &granary.Create{Parent: granary.RootInode, Name: name(100 + i), Type: granary.TypeRegular})
			if i == 15 { // within a window of the harm
				if stopped := compare(a, b); (stopped != "") != (what != "") || what != "" && !strings.Contains(stopped, "add it anew") {
					t.Errorf("%q: %q", what, stopped)
				}
				break
			}
		}
		a.close()
		b.close()
	}
}

// TestDigestOfAnotherApply: state machines that answer one entry differently do not go on together.
func TestDigestOfAnotherApply(t *testing.T) {
	a := newMachine(t)
	defer a.close()
	log := someLog(a, rand.New(rand.NewPCG(7, 1)), 60)
	h := a.s.current()
	for _, at := range []uint64{h.CheckIndex - 10, h.CheckIndex} {
		other := append([]entry(nil), log...)
		c := command{Time: 1, Items: []item{&setMember{"n9", fmt.Sprint(at)}}}
		data, err := c.marshal()
		if err != nil {
			t.Fatal(err)
		}
		other[at-1].Data = data
		b := follow(a, other)
		if got := b.s.current(); got.CheckIndex != h.CheckIndex || got.CheckDigest == h.CheckDigest {
			t.Errorf("with another entry %d, window up to %d: digest %x and %x", at, got.CheckIndex, got.CheckDigest, h.CheckDigest)
		}
		b.close()
	}
}

// TestDigestOfEntriesTogether: what an entry writes does not depend on those before it in the batch.
func TestDigestOfEntriesTogether(t *testing.T) {
	a := newMachine(t)
	defer a.close()
	root := a.ok(&granary.Create{Parent: granary.BucketsInode, Name: "b", Type: granary.TypeDirectory}).Attr.Inode
	a.ok(&granary.SetQuota{Dataset: root.Dataset(), Scope: granary.QuotaUser, ID: 2, Limit: granary.Quota{Bytes: 1}})
	f := a.ok(&granary.Create{Parent: root, Name: "f", Type: granary.TypeRegular, UID: 2}).Attr.Inode
	a.ok(&granary.SetAttr{Inode: f, UID: ptr(uint32(3))})
	a.ok(&granary.Unlink{Parent: root, Name: "f"})
	a.drain(100)
	a.ok(&granary.Rmdir{Parent: granary.BucketsInode, Name: "b"})
	b := &machine{t: t, fs: vfs.NewMem()}
	b.open()
	defer b.close()
	b.s.apply(a.log)
	if x, y := a.s.current(), b.s.current(); !reflect.DeepEqual(x, y) {
		t.Errorf("one by one %+v, together %+v", x, y)
	}
}

// TestDigestSum: the order of changes within an entry does not count, and which value has which key does.
func TestDigestSum(t *testing.T) {
	v, w := []byte("v"), []byte("w")
	a, b := xxhash.Sum64String("a"), xxhash.Sum64String("b")
	if digestOf(a, v)+digestOf(b, w) == digestOf(a, w)+digestOf(b, v) || digestOf(a, nil) == digestOf(a, v) {
		t.Error("different changes have the same sum")
	}
}

// TestDigestAfterUpgrade: the window in which a node began to write another format is not compared; the next is.
func TestDigestAfterUpgrade(t *testing.T) {
	m := newMachine(t)
	defer func() { m.close() }()
	b := readKey(m.s.db, keyHead())
	b[0] = 1
	for n := 1; ; n++ { // the fields of later formats are numbers, and short
		if _, err := unmarshal[headRecord](b[:len(b)-n]); err == nil {
			b = b[:len(b)-n]
			break
		}
	}
	must(m.s.db.Set(keyHead(), b, pebble.NoSync))
	m.close()
	m.open()
	for i := range 40 {
		m.ok(&granary.Create{Parent: granary.RootInode, Name: fmt.Sprint(i), Type: granary.TypeRegular})
		switch h := m.s.current(); {
		case h.Applied <= 32 && h.CheckIndex != 0:
			t.Fatalf("at entry %d, entries up to %d are compared", h.Applied, h.CheckIndex)
		case h.Applied > 32 && h.CheckIndex != 32:
			t.Fatalf("at entry %d, the window ends at %d", h.Applied, h.CheckIndex)
		}
		if i == 15 { // a restart changes nothing
			m.close()
			m.open()
		}
	}
}

// TestDigestsAreCompared: leaders have their windows compared, and nodes that got there by replay or by a snapshot
// agree.
func TestDigestsAreCompared(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, false, func(o *Options) {
		o.digestEvery, o.SnapshotThreshold, o.TrailingLogs, o.SnapshotInterval = 10, 20, 5, 50*time.Millisecond
	})
	leader := g.leader()
	c := g.client()
	away := (leader + 1) % 3
	dir := g.stop(away)
	for i := range 60 {
		g.do(c, createOp(fmt.Sprintf("f%d", i)))
	}
	g.startAt(away, dir, nil)
	for i := range 30 {
		g.do(c, createOp(fmt.Sprintf("g%d", i)))
	}
	eventually(t, "a comparison", func() error {
		g.do(c, &granary.SetAttr{Inode: granary.RootInode, MtimeNow: true})
		for i, s := range g.nodes {
			applied := appliedBy(s)
			last, compared := s.raft.LastIndex(), false
			for at := last; at > 0 && at+20 > last && !compared; at-- {
				var l raft.Log
				if err := s.raft.logs.GetLog(at, &l); err != nil || l.Type != raft.LogCommand || at > applied {
					continue
				}
				cmd, err := unmarshalCommand(l.Data)
				if err != nil {
					t.Fatal(err)
				}
				for _, it := range cmd.Items {
					v, ok := it.(*verifyDigest)
					compared = compared || ok && v.Index > 70
				}
			}
			if !compared {
				return fmt.Errorf("node %d has made none up to entry %d", i, applied)
			}
		}
		return nil
	})
}

package master

import (
	"testing"

	"github.com/dsorchard/granary"
)

// doAs logs and applies one request on behalf of a caller.
func (m *machine) doAs(cred granary.Cred, op granary.Op) granary.Result {
	m.t.Helper()
	return m.doFenced(cred, op, nil)
}

// doFenced is doAs with fencing tokens.
func (m *machine) doFenced(cred granary.Cred, op granary.Op, fences []granary.FencingToken) granary.Result {
	m.t.Helper()
	m.seq++
	return m.item(&mutation{Session: m.session, LowestUnacked: m.seq, Request: granary.Request{Seq: m.seq, Cred: cred, Op: op, Fences: fences}})
}

// failsAs is doAs that must fail with a kind.
func (m *machine) failsAs(kind granary.Kind, cred granary.Cred, op granary.Op) {
	m.t.Helper()
	if r := m.doAs(cred, op); kindOf(r) != kind {
		m.t.Fatalf("as %+v: %T: %v, want %v", cred, op, r.Err, kind)
	}
}

// TestOldCommandsAreNotChecked replays a command of the version that knew no permissions: it takes effect now as it
// did then.
func TestOldCommandsAreNotChecked(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	op := &granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, UID: 7, Xattrs: []granary.Xattr{{Name: "any", Value: []byte("v")}}}
	m.failsAs(granary.KindPermission, granary.Cred{UID: 1000}, op)
	m.seq++
	data, err := (&command{Time: m.time + 1, Items: []item{&mutation{Session: m.session, LowestUnacked: m.seq,
		Request: granary.Request{Seq: m.seq, Cred: granary.Cred{UID: 1000}, Op: op}}}}).marshal()
	if err != nil {
		t.Fatal(err)
	}
	data[0] = commandVersionNoPermissions
	e := entry{Index: uint64(len(m.log) + 1), Term: 1, Data: data}
	m.log = append(m.log, e)
	if r := m.s.apply([]entry{e})[0][0]; r.Err != nil || r.Attr.UID != 7 {
		t.Fatalf("%+v", r)
	}
	m.failsAs(granary.KindPermission, granary.Cred{UID: 1000}, &granary.Unlink{Parent: granary.RootInode, Name: "f"})
}

// TestConditions checks the preconditions of changes to an inode.
func TestConditions(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Mode: 0o644, Content: &granary.Content{Inline: []byte("one")}}).Attr
	two := granary.Content{Inline: []byte("two")}
	stale := &granary.Precondition{Version: f.Version}
	etag := &granary.Precondition{ETag: granary.ETagOf(&f, "")}
	a := m.ok(&granary.Commit{Inode: f.Inode, Content: two, Match: stale}).Attr
	if a.ContentVersion == f.ContentVersion {
		t.Fatalf("%+v", a)
	}
	m.fails(granary.KindPrecondition, &granary.Commit{Inode: f.Inode, Content: two, Match: stale})
	m.fails(granary.KindPrecondition, &granary.Commit{Inode: f.Inode, Content: two, Match: etag})
	m.fails(granary.KindPrecondition, &granary.Commit{Inode: f.Inode, Content: two, Match: &granary.Precondition{Absent: true}})
	m.fails(granary.KindPrecondition, &granary.SetAttr{Inode: f.Inode, Size: ptr(uint64(1)), Match: stale})
	a = m.ok(&granary.SetAttr{Inode: f.Inode, Size: ptr(uint64(1)), Match: &granary.Precondition{Present: true, Version: a.Version}}).Attr
	if a.Size != 1 {
		t.Fatalf("%+v", a)
	}
	m.fails(granary.KindNotFound, &granary.SetAttr{Inode: 77, Match: &granary.Precondition{Absent: true}})
	m.check()
}

// TestQueriesAsCaller checks what queries show to whom.
func TestQueriesAsCaller(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	owner := granary.Cred{UID: 1000, GID: 1000}
	friend := granary.Cred{UID: 1001, GID: 1001, Groups: []uint32{5, 1000}}
	stranger := granary.Cred{UID: 1002, GID: 1002}
	d := m.ok(&granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory, Mode: 0o710, UID: 1000, GID: 1000}).Attr.Inode
	f := m.ok(&granary.Create{Parent: d, Name: "f", Type: granary.TypeRegular, Mode: 0o640, UID: 1000, GID: 1000, Xattrs: []granary.Xattr{
		{Name: "user.a", Value: []byte("v")}, {Name: "trusted.b", Value: []byte("v")}}}).Attr.Inode
	path := func(access granary.Access) granary.Query {
		return &granary.Lookup{Base: granary.RootInode, Path: "d/f", Access: access}
	}
	for _, c := range []struct {
		cred granary.Cred
		q    granary.Query
		want granary.Kind
	}{
		{owner, path(granary.AccessRead | granary.AccessWrite), granary.KindNone},
		{owner, path(granary.AccessExecute), granary.KindPermission},
		{granary.Cred{}, path(granary.AccessExecute), granary.KindPermission}, // nobody may
		{granary.Cred{}, path(granary.AccessRead | granary.AccessWrite), granary.KindNone},
		{friend, path(granary.AccessRead), granary.KindNone},
		{friend, path(granary.AccessWrite), granary.KindPermission},
		{stranger, path(0), granary.KindPermission},
		{stranger, &granary.Lookup{Base: d}, granary.KindNone},
		{stranger, &granary.Lookup{Base: f, Access: granary.AccessRead}, granary.KindPermission},
		{stranger, &granary.Lookup{Base: granary.RootInode, Path: "d/none"}, granary.KindPermission},
		{friend, &granary.Lookup{Base: granary.RootInode, Path: "d/none"}, granary.KindNotFound},
		{owner, &granary.ReadDir{Inode: d}, granary.KindNone},
		{friend, &granary.ReadDir{Inode: d}, granary.KindPermission},
	} {
		if _, _, err := m.s.queryFor(t.Context(), 0, &c.cred, c.q, allUp{}); granary.KindOf(err) != c.want {
			t.Errorf("as %+v: %+v: %v, want %v", c.cred, c.q, err, c.want)
		}
	}
	for _, c := range []struct {
		cred *granary.Cred
		want string
	}{{nil, "trusted.b=v user.a=v "}, {&granary.Cred{}, "trusted.b=v user.a=v "}, {&friend, "user.a=v "}, {&stranger, "user.a= "}} {
		a, _, err := m.s.queryFor(t.Context(), 0, c.cred, &granary.Lookup{Base: f, Xattrs: true}, allUp{})
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for _, x := range a.(*granary.Found).Xattrs {
			got += x.Name + "=" + string(x.Value) + " "
		}
		if got != c.want {
			t.Errorf("as %+v: %q, want %q", c.cred, got, c.want)
		}
	}
}

package master

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dsorchard/granary"
	"pgregory.net/rapid"
)

// aclOf makes a list of words such as "u:1000:6", "g::5", "m:7", "o:0".
func aclOf(words ...string) acl {
	var l acl
	for _, word := range words {
		var kind byte
		var id uint32
		var perm granary.Access
		e := aclEntry{id: aclNobody}
		if n, _ := fmt.Sscanf(word, "%c:%d:%d", &kind, &id, &perm); n == 3 {
			e.id = id
			e.tag = map[byte]uint16{'u': aclUser, 'g': aclGroups}[kind]
		} else {
			fmt.Sscanf(word[2:], "%d", &perm)
			e.tag = map[byte]uint16{'u': aclOwner, 'g': aclGroup, 'm': aclMask, 'o': aclOthers}[word[0]]
		}
		e.perm = perm
		l = append(l, e)
	}
	return l
}

func setACL(inode granary.InodeID, name string, words ...string) *granary.SetXattr {
	return &granary.SetXattr{Inode: inode, Xattr: granary.Xattr{Name: name, Value: aclOf(words...).marshal()}}
}

// TestACLDecides has users, groups and the mask of a list decide what a caller may do, in mutations and in queries.
func TestACLDecides(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	owner := granary.Cred{UID: 1000, GID: 1000}
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Mode: 0o640, UID: 1000, GID: 1000}).Attr.Inode
	a := m.doAs(owner, setACL(f, granary.XattrACL, "u:7", "u:1001:6", "u:1002:7", "g:4", "g:50:6", "g:60:1", "m:6", "o:1")).Attr
	if a.Mode != 0o761 || a.Flags&granary.FlagACL == 0 {
		t.Fatalf("mode %o, flags %x", a.Mode, a.Flags)
	}
	for _, c := range []struct {
		cred granary.Cred
		want granary.Access // that it has
	}{
		{owner, 7},
		{granary.Cred{UID: 1001, GID: 9}, 6},
		{granary.Cred{UID: 1002, GID: 1000}, 6}, // masked, and its entry counts before its group
		{granary.Cred{UID: 9, GID: 1000}, 4},
		{granary.Cred{UID: 9, GID: 9, Groups: []uint32{1000, 50}}, 6}, // any of its groups
		{granary.Cred{UID: 9, GID: 60}, 0},                            // in a group: others do not count
		{granary.Cred{UID: 9, GID: 9}, 1},
		{granary.Cred{UID: 0, GID: 9}, 7},
	} {
		for _, access := range []granary.Access{1, 2, 4} {
			m.s.queryAs(t, &c.cred, &granary.Lookup{Base: f, Access: access}, c.want&access != 0)
		}
		r := m.doAs(c.cred, &granary.SetAttr{Inode: f, Size: ptr(uint64(0))})
		if allowed := r.Err == nil; allowed != (c.want&2 != 0) {
			t.Errorf("truncate as %+v: %v", c.cred, r.Err)
		}
	}
	a = m.ok(&granary.SetAttr{Inode: f, Mode: ptr(uint32(0o705))}).Attr // the mask takes all, and then Linux asks the mode
	if a.Mode != 0o705 {
		t.Fatalf("mode %o", a.Mode)
	}
	m.s.queryAs(t, &granary.Cred{UID: 1001, GID: 9}, &granary.Lookup{Base: f, Access: 5}, true)
	m.check()
	a = m.doAs(owner, setACL(f, granary.XattrACL, "u:6", "g:4", "o:4")).Attr // no more than a mode
	if a.Mode != 0o644 || a.Flags&granary.FlagACL != 0 {
		t.Fatalf("mode %o, flags %x", a.Mode, a.Flags)
	}
	m.check()
}

// queryAs asks on behalf of a caller, and expects an answer or to be refused.
func (s *state) queryAs(t *testing.T, cred *granary.Cred, q granary.Query, want bool) {
	t.Helper()
	_, _, err := s.queryFor(t.Context(), 0, cred, q, allUp{})
	if (err == nil) != want || err != nil && !granary.IsKind(err, granary.KindPermission) {
		t.Errorf("%+v as %+v: %v, want success: %t", q, cred, err, want)
	}
}

// TestACLRefused sees who may set which list where.
func TestACLRefused(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	owner := granary.Cred{UID: 1000, GID: 1000}
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Mode: 0o2777, UID: 1000, GID: 5}).Attr.Inode
	l := m.ok(&granary.Create{Parent: granary.RootInode, Name: "l", Type: granary.TypeSymlink, Target: "x", UID: 1000, GID: 5}).Attr.Inode
	full := []string{"u:7", "u:1001:6", "g:4", "m:7", "o:1"}
	m.failsAs(granary.KindNotOwner, granary.Cred{UID: 1001}, setACL(f, granary.XattrACL, full...))
	m.failsAs(granary.KindPermission, owner, setACL(f, granary.XattrDefaultACL, full...))
	m.failsAs(granary.KindNotSupported, owner, setACL(l, granary.XattrACL, full...))
	m.failsAs(granary.KindNotOwner, granary.Cred{UID: 1001}, &granary.RemoveXattr{Inode: f, Name: granary.XattrACL})
	for _, bad := range [][]string{
		{"u:7", "u:1001:6", "g:4", "o:1"}, // no mask
		{"u:7", "g:4"}, {"g:4", "o:1"}, {"u:7", "o:1"}, {"u:7", "g:4", "o:1", "o:1"}, {"u:7", "u:7", "g:4", "o:1"},
		{"u:7", "g:4", "u:1001:6", "m:7", "o:1"}, {"u:7", "g:4", "m:7", "m:7", "o:1"},
	} {
		m.failsAs(granary.KindInvalid, owner, setACL(f, granary.XattrACL, bad...))
	}
	for _, bad := range []string{"", "\x01\x00\x00\x00", "\x02\x00\x00\x00\x01"} {
		m.failsAs(granary.KindInvalid, owner, &granary.SetXattr{Inode: f, Xattr: granary.Xattr{Name: granary.XattrACL, Value: []byte(bad)}})
	}
	m.failsAs(granary.KindTooLarge, owner, &granary.SetXattr{Inode: f, Xattr: granary.Xattr{Name: granary.XattrACL, Value: make([]byte, 5000)}})
	if a := m.doAs(owner, setACL(f, granary.XattrACL, full...)).Attr; a.Mode != 0o771 { // its group is not the owner's
		t.Fatalf("mode %o", a.Mode)
	}
	if r := m.doAs(owner, &granary.RemoveXattr{Inode: f, Name: granary.XattrACL}); r.Err != nil || r.Attr.Flags&granary.FlagACL != 0 {
		t.Fatalf("%+v", r)
	}
	if r := m.doAs(owner, &granary.RemoveXattr{Inode: f, Name: granary.XattrACL}); r.Err != nil {
		t.Fatalf("removed twice: %v", r.Err)
	}
	m.check()
}

// TestACLInherited makes things in a directory with a default list, where no umask counts, and in one without.
func TestACLInherited(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	d := m.ok(&granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory, Mode: 0o777, Umask: 0o022}).Attr
	if d.Mode != 0o755 {
		t.Fatalf("mode %o", d.Mode)
	}
	m.ok(setACL(d.Inode, granary.XattrDefaultACL, "u:7", "u:1001:7", "g:5", "m:7", "o:0"))
	for _, c := range []struct {
		op    granary.Create
		mode  uint32
		flags granary.Flags
	}{
		{granary.Create{Name: "f", Type: granary.TypeRegular, Mode: 0o666}, 0o660, granary.FlagACL},
		{granary.Create{Name: "sub", Type: granary.TypeDirectory, Mode: 0o1777}, 0o1770, granary.FlagACL | granary.FlagDefaultACL},
		{granary.Create{Name: "sub/deep/f", Type: granary.TypeRegular, Mode: 0o640, MakeParents: true}, 0o640, granary.FlagACL},
		{granary.Create{Name: "l", Type: granary.TypeSymlink, Target: "x", Mode: 0o777}, 0o777, 0},
		{granary.Create{Type: granary.TypeRegular, Mode: 0o600, Anonymous: true}, 0o600, granary.FlagACL},
	} {
		op := c.op
		op.Parent, op.Umask = d.Inode, 0o077
		if a := m.ok(&op).Attr; a.Mode != c.mode && op.Type != granary.TypeSymlink || a.Flags != c.flags {
			t.Errorf("%s: mode %o, flags %x, want %o, %x", op.Name, a.Mode, a.Flags, c.mode, c.flags)
		}
	}
	m.check()
	// A list that a mode stands for leaves no list.
	m.ok(setACL(d.Inode, granary.XattrDefaultACL, "u:7", "g:7", "o:0"))
	if a := m.ok(&granary.Create{Parent: d.Inode, Name: "g", Type: granary.TypeRegular, Mode: 0o666, Umask: 0o077}).Attr; a.Mode != 0o660 || a.Flags != 0 {
		t.Errorf("mode %o, flags %x", a.Mode, a.Flags)
	}
	m.check()
}

// TestCapabilityGoes sees that a change of content or owner takes a file's capability, whoever makes it.
func TestCapabilityGoes(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Mode: 0o755}).Attr.Inode
	for _, op := range []granary.Op{
		&granary.Commit{Inode: f, Content: granary.Content{Inline: []byte("new")}},
		&granary.SetAttr{Inode: f, Size: ptr(uint64(1))},
		&granary.SetAttr{Inode: f, UID: ptr(uint32(7))},
		&granary.RemoveXattr{Inode: f, Name: granary.XattrCapability},
	} {
		m.ok(&granary.SetAttr{Inode: f, Mode: ptr(uint32(0o755))})
		a := m.ok(&granary.SetXattr{Inode: f, Xattr: granary.Xattr{Name: granary.XattrCapability, Value: []byte("cap")}}).Attr
		if a.Flags&granary.FlagCapability == 0 {
			t.Fatal("no flag")
		}
		if a := m.ok(op).Attr; a.Flags&granary.FlagCapability != 0 {
			t.Errorf("%T left it", op)
		}
		m.check()
	}
}

// TestACLForm has lists survive being stored, and what a mode says of them come back from it.
func TestACLForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perm := func() granary.Access { return granary.Access(rapid.IntRange(0, 7).Draw(t, "perm")) }
		l := acl{{aclOwner, perm(), aclNobody}}
		named := rapid.SliceOfN(rapid.Uint32(), 0, 4)
		for _, id := range named.Draw(t, "users") {
			l = append(l, aclEntry{aclUser, perm(), id})
		}
		l = append(l, aclEntry{aclGroup, perm(), aclNobody})
		for _, id := range named.Draw(t, "groups") {
			l = append(l, aclEntry{aclGroups, perm(), id})
		}
		if len(l) > 2 || rapid.Bool().Draw(t, "mask") {
			l = append(l, aclEntry{aclMask, perm(), aclNobody})
		}
		l = append(l, aclEntry{aclOthers, perm(), aclNobody})
		again, err := parseACL("test", "", l.marshal())
		if err != nil || !slices.Equal(again, l) {
			t.Fatalf("%v, %v, want %v", again, err, l)
		}
		mode := uint32(rapid.IntRange(0, 0o777).Draw(t, "mode"))
		if l.chmod(mode); l.mode() != mode {
			t.Fatalf("mode %o, want %o", l.mode(), mode)
		}
	})
}

// TestOldCommandsKnowNoACLs replays a command of the version before access control lists: it is refused as it was.
func TestOldCommandsKnowNoACLs(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.seq++
	data, err := (&command{Time: m.time + 1, Items: []item{&mutation{Session: m.session, LowestUnacked: m.seq,
		Request: granary.Request{Seq: m.seq, Op: setACL(granary.RootInode, granary.XattrACL, "u:7", "g:5", "m:5", "o:5")}}}}).marshal()
	if err != nil {
		t.Fatal(err)
	}
	data[0] = commandVersionNoACLs
	e := entry{Index: uint64(len(m.log) + 1), Term: 1, Data: data}
	m.log = append(m.log, e)
	if r := m.s.apply([]entry{e})[0][0]; kindOf(r) != granary.KindNotSupported {
		t.Fatalf("%+v", r)
	}
}

package master

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
)

// usageText shows what is kept of usage in a dataset, one line for each scope and owner.
func usageText(m *machine, id granary.DatasetID) string {
	m.t.Helper()
	var b strings.Builder
	line := func(what string, u granary.Usage) {
		fmt.Fprintf(&b, "%s %d: %d bytes %d inodes\n", what, u.ID, u.Bytes, u.Inodes)
	}
	for _, d := range ask[*granary.Datasets](m, &granary.ListDatasets{After: id - 1, Limit: 1}).Datasets {
		line(d.Name, d.Usage)
	}
	for _, scope := range []granary.QuotaScope{granary.QuotaUser, granary.QuotaGroup} {
		for _, u := range ask[*granary.Usages](m, &granary.ListUsage{Dataset: id, Scope: scope}).Usages {
			line(scope.String(), u)
		}
	}
	return b.String()
}

// dataset makes a dataset in "/", of root.
func (m *machine) dataset(name string) granary.InodeID {
	m.t.Helper()
	return m.ok(&granary.CreateDataset{Parent: granary.RootInode, Name: name, Mode: 0o755}).Attr.Inode
}

// file makes a file of some bytes for an owner.
func (m *machine) file(dir granary.InodeID, name string, owner uint32, size int) granary.InodeID {
	m.t.Helper()
	return m.ok(fileOf(dir, name, owner, size)).Attr.Inode
}

func fileOf(dir granary.InodeID, name string, owner uint32, size int) *granary.Create {
	return &granary.Create{Parent: dir, Name: name, Type: granary.TypeRegular, UID: owner, GID: owner + 100,
		Content: &granary.Content{Size: uint64(size)}}
}

// TestUsage does each operation that changes a usage, and shows all scopes after it.
func TestUsage(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	ds := m.dataset("ds")
	var a, b, held granary.InodeID
	steps := []struct {
		what string
		do   func()
		want string // users 0, 1, 2 …; all of a group has the number of the user and 100
	}{
		{"an empty dataset", func() {}, "2/0 | 0: 2/0"},
		{"a directory", func() {
			m.ok(&granary.Create{Parent: ds, Name: "d", Type: granary.TypeDirectory, UID: 1, GID: 101})
		}, "3/0 | 0: 2/0 1: 1/0"},
		{"a file", func() { a = m.file(ds, "a", 1, 10) }, "4/10 | 0: 2/0 1: 2/10"},
		{"a symlink", func() {
			m.ok(&granary.Create{Parent: ds, Name: "l", Type: granary.TypeSymlink, Target: "a", UID: 2, GID: 102})
		}, "5/10 | 0: 2/0 1: 2/10 2: 1/0"},
		{"a second name", func() { m.ok(&granary.Link{Inode: a, Parent: ds, Name: "a2"}) }, "5/10 | 0: 2/0 1: 2/10 2: 1/0"},
		{"its end", func() { m.ok(&granary.Unlink{Parent: ds, Name: "a2"}) }, "5/10 | 0: 2/0 1: 2/10 2: 1/0"},
		{"growth", func() { m.ok(&granary.SetAttr{Inode: a, Size: ptr(uint64(25))}) }, "5/25 | 0: 2/0 1: 2/25 2: 1/0"},
		{"a commit", func() { m.ok(&granary.Commit{Inode: a, Content: m.content(20, []byte("0123456789"))}) }, "5/30 | 0: 2/0 1: 2/30 2: 1/0"},
		{"a truncation", func() { m.ok(&granary.SetAttr{Inode: a, Size: ptr(uint64(5))}) }, "5/5 | 0: 2/0 1: 2/5 2: 1/0"},
		{"a chown", func() { m.ok(&granary.SetAttr{Inode: a, UID: ptr(uint32(2)), GID: ptr(uint32(102))}) }, "5/5 | 0: 2/0 1: 1/0 2: 2/5"},
		{"a chown and growth", func() {
			m.ok(&granary.SetAttr{Inode: a, UID: ptr(uint32(1)), GID: ptr(uint32(101)), Size: ptr(uint64(7))})
		}, "5/7 | 0: 2/0 1: 2/7 2: 1/0"},
		{"a replacement", func() {
			b = m.ok(&granary.Create{Parent: ds, Name: "a", Type: granary.TypeRegular, UID: 2, GID: 102, Replace: true, Content: &granary.Content{Size: 4}}).Attr.Inode
		}, "5/4 | 0: 2/0 1: 1/0 2: 2/4"},
		{"a copy by reference", func() {
			c := m.file(ds, "c", 1, 0)
			m.ok(&granary.CopyRange{Src: b, Dst: c, DstOffset: 3, Length: 4})
		}, "6/11 | 0: 2/0 1: 2/7 2: 2/4"},
		{"a rename over a file", func() {
			m.ok(&granary.Rename{SrcParent: ds, SrcName: "c", DstParent: ds, DstName: "a"})
		}, "5/7 | 0: 2/0 1: 2/7 2: 1/0"},
		{"an unlink, whatever stays open", func() {
			held = ask[*granary.Found](m, &granary.Lookup{Base: ds, Path: "a"}).Entry.Attr.Inode
			m.ok(&granary.Unlink{Parent: ds, Name: "a"})
		}, "4/0 | 0: 2/0 1: 1/0 2: 1/0"},
		{"growth and a chown of that", func() {
			m.ok(&granary.SetAttr{Inode: held, Size: ptr(uint64(100)), UID: ptr(uint32(2))})
		}, "4/0 | 0: 2/0 1: 1/0 2: 1/0"},
		{"the end of a session with an anonymous file", func() {
			op := fileOf(ds, "", 1, 6)
			op.Anonymous = true
			m.ok(op)
			m.item(&expireSession{m.session})
			m.session, m.seq, m.volume = granary.SessionID(m.item(&openSession{Client: "next"}).Offset), 0, 0
			m.drain(100)
		}, "4/0 | 0: 2/0 1: 1/0 2: 1/0"},
		{"an anonymous file", func() {
			op := fileOf(ds, "", 1, 6)
			op.Anonymous = true
			held = m.ok(op).Attr.Inode
		}, "5/6 | 0: 2/0 1: 2/6 2: 1/0"},
		{"its name", func() { m.ok(&granary.Link{Inode: held, Parent: ds, Name: "d/p", MakeParents: true}) }, "5/6 | 0: 2/0 1: 2/6 2: 1/0"},
		{"an implicit directory", func() {
			op := fileOf(ds, "i/j/f", 2, 3)
			op.MakeParents = true
			m.ok(op)
		}, "8/9 | 0: 2/0 1: 2/6 2: 4/3"},
		{"its end", func() { m.ok(&granary.Unlink{Parent: ds, Name: "i/j/f", Path: true, Prune: true}) }, "5/6 | 0: 2/0 1: 2/6 2: 1/0"},
		{"a removed tree, whose content is still there", func() { m.ok(&granary.RemoveTree{Parent: ds, Name: "d"}) }, "4/6 | 0: 2/0 1: 1/6 2: 1/0"},
		{"its reclamation", func() { m.drain(1) }, "3/0 | 0: 2/0 2: 1/0"},
		{"a limit of who has nothing", func() {
			m.ok(&granary.SetQuota{Dataset: ds.Dataset(), Scope: granary.QuotaUser, ID: 7, Limit: granary.Quota{Bytes: 1}})
			m.ok(&granary.SetQuota{Dataset: ds.Dataset(), Scope: granary.QuotaGroup, ID: 107, Limit: granary.Quota{Inodes: 1}})
		}, "3/0 | 0: 2/0 2: 1/0 7: 0/0"},
		{"its end", func() {
			m.ok(&granary.SetQuota{Dataset: ds.Dataset(), Scope: granary.QuotaUser, ID: 7})
			m.ok(&granary.SetQuota{Dataset: ds.Dataset(), Scope: granary.QuotaGroup, ID: 107})
		}, "3/0 | 0: 2/0 2: 1/0"},
	}
	for _, s := range steps {
		s.do()
		if got, want := usageText(m, ds.Dataset()), expandUsage("ds", s.want); got != want {
			t.Fatalf("after %s:\n%swant\n%s", s.what, got, want)
		}
		m.check()
	}
}

// expandUsage writes "inodes/bytes | user: inodes/bytes …" as usageText does.
func expandUsage(name, short string) string {
	total, owners, _ := strings.Cut(short, " | ")
	var b strings.Builder
	line := func(what string, id int, usage string) {
		inodes, bytes, _ := strings.Cut(usage, "/")
		fmt.Fprintf(&b, "%s %d: %s bytes %s inodes\n", what, id, bytes, inodes)
	}
	line(name, 0, total)
	fields := strings.Fields(owners)
	for _, scope := range []granary.QuotaScope{granary.QuotaUser, granary.QuotaGroup} {
		for i := 0; i < len(fields); i += 2 {
			var id int
			fmt.Sscanf(fields[i], "%d:", &id)
			if scope == granary.QuotaGroup && id != 0 {
				id += 100
			}
			line(scope.String(), id, fields[i+1])
		}
	}
	return b.String()
}

// TestQuotaStrict goes to the limit of each scope and of each kind exactly, and not beyond.
func TestQuotaStrict(t *testing.T) {
	for _, scope := range []granary.QuotaScope{granary.QuotaDataset, granary.QuotaUser, granary.QuotaGroup} {
		t.Run(scope.String(), func(t *testing.T) {
			m := newMachine(t)
			defer m.close()
			ds := m.dataset("ds")
			limit := func(bytes, inodes uint64) {
				op := &granary.SetQuota{Dataset: ds.Dataset(), Scope: scope, Limit: granary.Quota{Bytes: bytes, Inodes: inodes}}
				switch scope {
				case granary.QuotaUser:
					op.ID = 1
				case granary.QuotaGroup:
					op.ID = 101
				}
				if op.Scope == granary.QuotaDataset && inodes > 0 {
					op.Limit.Inodes += 2 // its two directories
				}
				m.ok(op)
			}
			limit(100, 2)
			a := m.file(ds, "a", 1, 60)
			m.fails(granary.KindQuota, fileOf(ds, "b", 1, 41))
			m.file(ds, "b", 1, 40)
			m.fails(granary.KindQuota, fileOf(ds, "c", 1, 0))
			m.fails(granary.KindQuota, &granary.SetAttr{Inode: a, Size: ptr(uint64(61))})
			m.fails(granary.KindQuota, &granary.Commit{Inode: a, Content: m.content(60, []byte("x"))})
			m.ok(&granary.Commit{Inode: a, Content: m.content(59, []byte("x"))})
			m.ok(&granary.Create{Parent: ds, Name: "a", Type: granary.TypeRegular, UID: 1, GID: 101, Replace: true, Content: &granary.Content{Size: 60}})
			m.fails(granary.KindQuota, &granary.Create{Parent: ds, Name: "a", Type: granary.TypeRegular, UID: 1, GID: 101, Replace: true, Content: &granary.Content{Size: 61}})
			m.ok(&granary.Rename{SrcParent: ds, SrcName: "a", DstParent: ds, DstName: "z"})
			m.ok(&granary.Unlink{Parent: ds, Name: "b"})
			if scope != granary.QuotaDataset {
				other := m.file(ds, "of another", 2, 41)
				m.fails(granary.KindQuota, &granary.SetAttr{Inode: other, UID: ptr(uint32(1)), GID: ptr(uint32(101))})
				m.ok(&granary.SetAttr{Inode: other, UID: ptr(uint32(1)), GID: ptr(uint32(101)), Size: ptr(uint64(40))})
				m.ok(&granary.SetAttr{Inode: other, UID: ptr(uint32(2)), GID: ptr(uint32(102))})
			}
			limit(10, 1)
			z := ask[*granary.Found](m, &granary.Lookup{Base: ds, Path: "z"}).Entry.Attr.Inode
			m.fails(granary.KindQuota, &granary.SetAttr{Inode: z, Size: ptr(uint64(61))})
			m.ok(&granary.SetAttr{Inode: z, Size: ptr(uint64(59))}) // less, though still too much
			m.ok(&granary.SetAttr{Inode: z, Mode: ptr(uint32(0o600))})
			limit(0, 0)
			m.file(ds, "c", 1, 1000)
			m.check()
		})
	}
}

// TestQuotaLeavesNoTrace refuses an operation that has done all of its work, and expects the state of before, but for
// the result, which a retry gets even when there is room by then.
func TestQuotaLeavesNoTrace(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	ds := m.dataset("ds")
	m.ok(&granary.SetQuota{Dataset: ds.Dataset(), Scope: granary.QuotaUser, ID: 1, Limit: granary.Quota{Bytes: 5}})
	m.openVolume()
	c := m.content(0, []byte("123456"))
	op := &granary.Create{Parent: ds, Name: "x/y/z", MakeParents: true, Type: granary.TypeRegular, UID: 1, GID: 101, Content: &c,
		Xattrs: []granary.Xattr{{Name: "user.a", Value: []byte("v")}}}
	without := func() string {
		var lines []string
		for _, l := range strings.Split(dump(m.s), "\n") {
			if l != "" && l[1] != tableHead && l[1] != tableSession && l[1] != tableResult {
				lines = append(lines, l)
			}
		}
		return strings.Join(lines, "\n")
	}
	before := without()
	r := m.fails(granary.KindQuota, op)
	if want := `create: quota exceeded: user 1 in dataset ds would have 6 bytes, of 5 at most`; !strings.Contains(r.Err.Error(), want) {
		t.Fatalf("%v, want %q in it", r.Err, want)
	}
	if after := without(); after != before {
		t.Fatalf("the state is\n%s\nwas\n%s", after, before)
	}
	seq := m.seq
	m.ok(&granary.SetQuota{Dataset: ds.Dataset(), Scope: granary.QuotaUser, ID: 1, Limit: granary.Quota{Bytes: 6}})
	again := m.item(&mutation{Session: m.session, LowestUnacked: seq, Request: granary.Request{Seq: seq, Op: op}})
	if kindOf(again) != granary.KindStale && kindOf(again) != granary.KindQuota {
		t.Fatalf("the retry: %v", again.Err)
	}
	m.ok(op)
	m.check()
}

// TestQuotaOfNameless lets a file whose last name went while it was open somewhere grow as far as there is room.
func TestQuotaOfNameless(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	ds := m.dataset("ds")
	m.ok(&granary.SetQuota{Dataset: ds.Dataset(), Limit: granary.Quota{Bytes: 100}})
	m.ok(&granary.SetQuota{Dataset: ds.Dataset(), Scope: granary.QuotaGroup, ID: 101, Limit: granary.Quota{Bytes: 50}})
	f := m.file(ds, "f", 1, 40)
	m.ok(&granary.Unlink{Parent: ds, Name: "f"})
	m.file(ds, "g", 1, 30) // there is room at once
	m.fails(granary.KindQuota, &granary.SetAttr{Inode: f, Size: ptr(uint64(41))})
	m.ok(&granary.SetAttr{Inode: f, Size: ptr(uint64(10))})
	m.ok(&granary.Commit{Inode: f, Content: m.content(19, []byte("x"))})
	m.fails(granary.KindQuota, &granary.Commit{Inode: f, Content: m.content(20, []byte("x"))})
	m.ok(&granary.SetAttr{Inode: f, UID: ptr(uint32(2)), GID: ptr(uint32(102))})
	m.fails(granary.KindQuota, &granary.SetAttr{Inode: f, Size: ptr(uint64(71))})
	m.ok(&granary.SetAttr{Inode: f, Size: ptr(uint64(70))})
	m.check()
	m.dropAll()
	m.check()
}

// TestQuotaPrivilege refuses those who may not, and what makes no sense.
func TestQuotaPrivilege(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	ds := m.dataset("ds").Dataset()
	m.seq++
	r := m.item(&mutation{Session: m.session, LowestUnacked: m.seq, Request: granary.Request{Seq: m.seq, Cred: granary.Cred{UID: 1},
		Op: &granary.SetQuota{Dataset: ds, Limit: granary.Quota{Bytes: 1}}}})
	if kindOf(r) != granary.KindPermission {
		t.Fatalf("by user 1: %v", r.Err)
	}
	m.fails(granary.KindNotFound, &granary.SetQuota{Dataset: 99})
	m.fails(granary.KindInvalid, &granary.SetQuota{Dataset: ds, ID: 1})
	m.fails(granary.KindInvalid, &granary.SetQuota{Dataset: ds, Scope: 9})
	if _, err := m.query(&granary.ListUsage{Dataset: 99, Scope: granary.QuotaUser}); !granary.IsKind(err, granary.KindNotFound) {
		t.Fatal(err)
	}
	if _, err := m.query(&granary.ListUsage{Dataset: ds}); !granary.IsKind(err, granary.KindInvalid) {
		t.Fatal(err)
	}
}

// usages returns all that is kept of usage, by what it is of.
func usages(s *state) map[ownerKey]granary.Usage {
	all := map[ownerKey]granary.Usage{}
	s.each(key(tableDataset), func(k, b []byte) {
		r, err := unmarshal[datasetRecord](b)
		must(err)
		all[ownerKey{dataset: granary.DatasetID(keyID(k, 0))}] = r.usage()
	})
	s.each(key(tableOwner), func(k, b []byte) {
		r, err := unmarshal[ownerRecord](b)
		must(err)
		at := ownerKey{granary.DatasetID(keyID(k, 0)), granary.QuotaScope(keyID(k, 1)), uint32(keyID(k, 2))}
		all[at] = r.usage(at.id)
	})
	return all
}

// TestCheckCountsUsage spoils a record behind the state's back.
func TestCheckCountsUsage(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	ds := m.dataset("ds")
	m.file(ds, "f", 1, 9)
	m.check()
	k := keyOwner(ownerKey{ds.Dataset(), granary.QuotaUser, 1})
	right := readKey(m.s.db, k)
	for _, wrong := range []*ownerRecord{{Bytes: 8, Inodes: 1}, {Bytes: 9, Inodes: 2}, {}} {
		must(m.s.db.Set(k, marshal(wrong, 1), nil))
		if err := m.s.check(); !granary.IsKind(err, granary.KindCorrupt) {
			t.Errorf("with %+v: %v", *wrong, err)
		}
	}
	must(m.s.db.Delete(k, nil))
	if err := m.s.check(); !granary.IsKind(err, granary.KindCorrupt) {
		t.Errorf("without: %v", err)
	}
	must(m.s.db.Set(k, right, nil))
	m.check()
}

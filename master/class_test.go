package master

import (
	"slices"
	"testing"

	"github.com/dsorchard/granary"
)

// TestStorageClassPolicies: a policy of a class has an id without an inode, anybody may choose it for a file that he makes, and the file follows
// nothing but the class.
func TestStorageClassPolicies(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	p := granary.DefaultPolicy()
	p.StorageClass, p.Compression = "STANDARD_IA", granary.CompressionZstd
	id := m.ok(&granary.SetPolicy{Policy: p}).Attr.Policy
	if again := m.ok(&granary.SetPolicy{Policy: p}).Attr.Policy; again != id || id < 2 {
		t.Errorf("policies %d and %d", id, again)
	}
	bare := m.ok(&granary.SetPolicy{Inode: granary.RootInode, Policy: granary.Policy{DataShards: 2}}).Attr.Policy
	m.fails(granary.KindNotFound, &granary.SetPolicy{Policy: granary.DefaultPolicy()})
	m.fails(granary.KindInvalid, &granary.SetPolicy{Policy: granary.Policy{StorageClass: "COLD"}})
	m.fails(granary.KindInvalid, &granary.SetPolicy{Inode: granary.RootInode, Policy: p})
	m.fails(granary.KindInvalid, &granary.Create{Parent: granary.RootInode, Name: "d", Type: granary.TypeDirectory, Policy: id})
	m.fails(granary.KindInvalid, &granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Policy: 99})
	f := m.ok(&granary.Create{Parent: granary.RootInode, Name: "f", Type: granary.TypeRegular, Policy: id}).Attr
	if f.Policy != id || f.Flags&granary.FlagPolicy == 0 {
		t.Errorf("policy %d, flags %b", f.Policy, f.Flags)
	}
	m.fails(granary.KindStale, &granary.SetPolicy{Inode: f.Inode, Policy: granary.DefaultPolicy(), Inherited: true})
	q := p
	q.DataShards, q.ParityShards = 4, 2
	if r := m.ok(&granary.SetPolicy{Inode: f.Inode, Policy: q, Inherited: true}); r.Attr.Policy == id || r.Attr.Flags&granary.FlagPolicy == 0 {
		t.Errorf("%+v", r.Attr)
	}
	m.ok(&granary.SetAttr{Inode: granary.RootInode, Mode: new(uint32(0o777))})
	user := granary.Cred{UID: 7, GID: 7}
	m.failsAs(granary.KindNotOwner, user, &granary.SetPolicy{Policy: p})
	m.failsAs(granary.KindNotOwner, user, &granary.Create{Parent: granary.RootInode, Name: "g", Type: granary.TypeRegular, UID: 7, GID: 7, Policy: bare})
	if r := m.doAs(user, &granary.Create{Parent: granary.RootInode, Name: "g", Type: granary.TypeRegular, UID: 7, GID: 7, Policy: id}); r.Err != nil {
		t.Error(r.Err)
	}
}

// TestClassRules: a rule is checked, and every change of one has the buckets looked at.
func TestClassRules(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	set := func(class, rule string) *granary.SetXattr {
		return &granary.SetXattr{Inode: granary.BucketsInode, Xattr: granary.Xattr{Name: granary.XattrStorageClass + class, Value: []byte(rule)}}
	}
	swept := func() bool {
		marks := m.s.sweeps(10)
		at := slices.IndexFunc(marks, func(s sweepMark) bool { return s.Inode == granary.BucketsInode })
		if at < 0 {
			return false
		}
		m.itemOK(&sweepDone{Inode: granary.BucketsInode, Marked: marks[at].Marked})
		return true
	}
	m.fails(granary.KindInvalid, set("COLD", "{}"))
	m.fails(granary.KindInvalid, set("STANDARD", "{}"))
	for _, rule := range []string{"", "{", `{"code":"0+1"}`, `{"compression":"best"}`, `{"colour":"blue"}`} {
		m.fails(granary.KindInvalid, set("STANDARD_IA", rule))
	}
	if swept() {
		t.Error("refused rules have the buckets looked at")
	}
	m.ok(set("STANDARD_IA", `{"code":"4+2","media":"hdd"}`))
	if !swept() {
		t.Error("nobody looks at the buckets")
	}
	m.ok(&granary.RemoveXattr{Inode: granary.BucketsInode, Name: granary.XattrStorageClass + "STANDARD_IA"})
	if !swept() {
		t.Error("nobody looks at the buckets after the removal")
	}
	m.ok(&granary.SetXattr{Inode: granary.BucketsInode, Xattr: granary.Xattr{Name: "user.x", Value: []byte("y")}})
	if swept() {
		t.Error("other attributes have the buckets looked at")
	}
}

// TestClassesOfSharedBlocks: what refers to blocks of a file of another class is looked at; what nothing is wrong with is not.
func TestClassesOfSharedBlocks(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	p := granary.DefaultPolicy()
	p.StorageClass, p.DataShards, p.ParityShards = "STANDARD_IA", 2, 1
	id := m.ok(&granary.SetPolicy{Policy: p}).Attr.Policy
	create := func(name string, policy granary.PolicyID, content *granary.Content) granary.InodeID {
		return m.ok(&granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeRegular, Policy: policy, Content: content}).Attr.Inode
	}
	marked := func(want ...granary.InodeID) {
		t.Helper()
		var got []granary.InodeID
		for _, s := range m.s.sweeps(10) {
			got = append(got, s.Inode)
			m.itemOK(&sweepDone{Inode: s.Inode, Marked: s.Marked})
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%d are to be looked at, want %d", got, want)
		}
	}
	shared := m.content(0, []byte("what several files have"))
	first := create("first", 0, &shared)
	marked()
	again := shared
	again.Chunks = slices.Clone(shared.Chunks)
	again.Chunks[0].New, again.Chunks[0].Location, again.Chunks[0].Watermark = false, granary.Location{}, 0
	marked(create("cold", id, &again))
	create("warm", 0, &again)
	marked()
	for _, to := range []granary.PolicyID{0, id} {
		dst := create("copy", to, nil)
		m.ok(&granary.CopyRange{Src: first, Dst: dst, Length: 8})
		if to == id {
			marked(dst)
		} else {
			marked()
		}
		m.ok(&granary.Unlink{Parent: granary.RootInode, Name: "copy"})
	}
}

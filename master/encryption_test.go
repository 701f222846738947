package master

import (
	"context"
	"testing"

	"github.com/dsorchard/granary"
)

// sealedBy are attributes of an encrypted file.
func sealedBy(how string) []granary.Xattr {
	return []granary.Xattr{
		{Name: granary.XattrETag, Value: []byte("e")},
		{Name: granary.XattrEncryption, Value: []byte(how)}, {Name: granary.XattrEncryption + ".01", Value: []byte("more")},
	}
}

// TestEncrypted: what is stored of a file is all ciphertext or all plaintext, and the attribute says which, whatever is tried.
func TestEncrypted(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	b := m.ok(&granary.Create{Parent: granary.BucketsInode, Name: "b", Type: granary.TypeDirectory}).Attr.Inode
	content := m.content(0, []byte("ciphertext"))
	file := m.ok(&granary.Create{Parent: b, Name: "f", Type: granary.TypeRegular, Content: &content, Xattrs: sealedBy("k")}).Attr
	plain := m.ok(&granary.Create{Parent: b, Name: "p", Type: granary.TypeRegular, Content: &content}).Attr.Inode
	if file.Flags&granary.FlagEncrypted == 0 {
		t.Fatalf("flags %x", file.Flags)
	}
	id := file.Inode
	layout := func(id granary.InodeID, stored bool) (*granary.Found, error) {
		a, _, err := m.s.query(context.Background(), &granary.Lookup{Base: id, Layout: &granary.Range{Length: 100}, Stored: stored}, allUp{})
		if err != nil {
			return nil, err
		}
		return a.(*granary.Found), nil
	}

	t.Run("its content does not change", func(t *testing.T) {
		m.fails(granary.KindNotOwner, &granary.Commit{Inode: id, Content: m.content(0, []byte("x"))})
		m.fails(granary.KindNotOwner, &granary.Commit{Inode: id, AtEnd: true, Content: m.content(0, []byte("x"))})
		m.fails(granary.KindNotOwner, &granary.Allocate{Inode: id, Length: 3, Mode: granary.AllocatePunch, KeepSize: true})
		m.fails(granary.KindNotOwner, &granary.SetAttr{Inode: id, Size: ptr(uint64(3))})
		m.fails(granary.KindNotOwner, &granary.SetAttr{Inode: id, Size: ptr(uint64(30))})
		m.fails(granary.KindNotSupported, &granary.CopyRange{Src: id, Dst: plain, Length: 10})
		m.fails(granary.KindNotOwner, &granary.CopyRange{Src: plain, Dst: id, Length: 10})
		m.fails(granary.KindNotOwner, &granary.CopyRange{Src: id, Dst: id, DstOffset: 100, Length: 10})
		m.ok(&granary.SetAttr{Inode: id, Size: ptr(uint64(10)), Mode: ptr(uint32(0o600))})
	})
	t.Run("what says how does not change", func(t *testing.T) {
		for _, name := range []string{granary.XattrEncryption, granary.XattrEncryption + ".01", granary.XattrEncryption + ".02"} {
			m.fails(granary.KindNotOwner, &granary.SetXattr{Inode: id, Xattr: granary.Xattr{Name: name, Value: []byte("y")}})
			m.fails(granary.KindNotOwner, &granary.RemoveXattr{Inode: id, Name: name})
			m.fails(granary.KindNotOwner, &granary.SetXattr{Inode: plain, Xattr: granary.Xattr{Name: name, Value: []byte("y")}})
		}
		m.fails(granary.KindNotOwner, &granary.Link{Inode: id, Parent: b, Name: "l", Xattrs: sealedBy("other")})
		m.fails(granary.KindNotOwner, &granary.Link{Inode: plain, Parent: b, Name: "l", Xattrs: sealedBy("k")})
		m.ok(&granary.Link{Inode: id, Parent: b, Name: "l", Xattrs: sealedBy("k")})
		m.ok(&granary.Rename{SrcParent: b, SrcName: "f", DstParent: b, DstName: "g"})
	})
	t.Run("who does not know gets no layout", func(t *testing.T) {
		if _, err := layout(id, false); !granary.IsKind(err, granary.KindPermission) {
			t.Errorf("%v", err)
		}
		found, err := layout(id, true)
		if err != nil || len(found.Layout.Extents) != 1 || len(found.Xattrs) != 2 || string(found.Xattrs[0].Value) != "k" || string(found.Xattrs[1].Value) != "more" {
			t.Errorf("%+v, %v", found, err)
		}
		if found, err := layout(plain, false); err != nil || len(found.Xattrs) != 0 {
			t.Errorf("of a plain file: %+v, %v", found, err)
		}
	})
	t.Run("it is made without a name", func(t *testing.T) {
		made := m.ok(&granary.Create{Parent: b, Type: granary.TypeRegular, Anonymous: true, Xattrs: sealedBy("k2")}).Attr.Inode
		m.ok(&granary.Commit{Inode: made, Content: m.content(0, []byte("more ciphertext"))})
		m.ok(&granary.CopyRange{Src: id, Dst: made, DstOffset: 15, Length: 10})
		m.fails(granary.KindNotSupported, &granary.CopyRange{Src: plain, Dst: made, DstOffset: 25, Length: 10})
		m.check()
		a := m.ok(&granary.Link{Inode: made, Parent: b, Name: "made", Xattrs: sealedBy("k2")}).Attr
		if a.Flags&granary.FlagEncrypted == 0 || a.Size != 25 {
			t.Errorf("%+v", a)
		}
		m.fails(granary.KindNotOwner, &granary.Commit{Inode: made, Content: m.content(0, []byte("x"))})
		m.ok(&granary.Unlink{Parent: b, Name: "made"})
		m.fails(granary.KindNotOwner, &granary.Commit{Inode: made, Content: m.content(0, []byte("x"))})
	})
	t.Run("emptied it is plain", func(t *testing.T) {
		a := m.ok(&granary.SetAttr{Inode: id, Size: ptr(uint64(0))}).Attr
		if a.Flags&granary.FlagEncrypted != 0 || a.Size != 0 {
			t.Errorf("%+v", a)
		}
		m.check()
		m.ok(&granary.Commit{Inode: id, Content: m.content(0, []byte("plain"))})
		if found, err := layout(id, false); err != nil || len(found.Xattrs) != 0 {
			t.Errorf("%+v, %v", found, err)
		}
		empty := m.ok(&granary.Create{Parent: b, Name: "empty", Type: granary.TypeRegular, Xattrs: sealedBy("k")}).Attr.Inode
		m.fails(granary.KindNotOwner, &granary.Commit{Inode: empty, Content: m.content(0, []byte("plain"))})
		m.ok(&granary.SetAttr{Inode: empty, Size: ptr(uint64(0))})
		m.ok(&granary.Commit{Inode: empty, Content: m.content(0, []byte("plain"))})
	})
	t.Run("the mark of an object is not encrypted", func(t *testing.T) {
		a := m.ok(&granary.Create{Parent: b, Name: "dir/", Key: true, Type: granary.TypeRegular, Xattrs: sealedBy("k")}).Attr
		if !a.IsDir() || a.Flags&granary.FlagEncrypted != 0 {
			t.Errorf("%+v", a)
		}
	})
	m.check()
}

// TestEncryptedParts: an object is put together of encrypted parts or of plain ones.
func TestEncryptedParts(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	b := m.ok(&granary.Create{Parent: granary.BucketsInode, Name: "b", Type: granary.TypeDirectory}).Attr.Inode
	u := newUpload(m, b.Dataset(), "u1")
	content := m.content(0, []byte("ciphertext"))
	m.ok(&granary.Create{Parent: u.dir, Name: "1", Type: granary.TypeRegular, Content: &content, Xattrs: sealedBy("k")})
	u.parts = []string{"1"}
	assemble := func(xattrs []granary.Xattr) (granary.Attr, error) {
		op := &granary.Assemble{Upload: u.dir, UploadName: u.name, Parts: u.parts,
			Create: granary.Create{Parent: b, Name: "o", Type: granary.TypeRegular, Xattrs: xattrs}}
		var err error
		if op.Sources, err = m.s.resolve(context.Background(), op); err != nil {
			return granary.Attr{}, err
		}
		return m.ok(op).Attr, nil
	}
	if _, err := assemble(nil); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("a plain object of an encrypted part: %v", err)
	}
	u.put("2", m.content(0, []byte("plaintext")))
	if _, err := assemble(sealedBy("k")); !granary.IsKind(err, granary.KindInvalid) {
		t.Errorf("an encrypted object with a plain part: %v", err)
	}
	u.parts = u.parts[:1]
	a, err := assemble(sealedBy("k"))
	if err != nil || a.Flags&granary.FlagEncrypted == 0 {
		t.Errorf("%+v, %v", a, err)
	}
	m.check()
	m.drain(100)
	m.check()
}

// TestKeysAreKept: keys of the cluster are added, and neither changed nor removed.
func TestKeysAreKept(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	secret := granary.Identity{Kind: granary.IdentitySecret, Name: granary.EncryptionKeys, Secret: "one\n"}
	secret.Version = m.ok(&granary.PutIdentity{Identity: secret}).Index
	for _, other := range []string{"", "two\n", "two\none\n", "on"} {
		changed := secret
		changed.Secret = other
		if r := m.do(&granary.PutIdentity{Identity: changed}); r.Err == nil {
			t.Errorf("%q took the place of the keys", other)
		}
	}
	m.fails(granary.KindInvalid, &granary.DeleteIdentity{Kind: granary.IdentitySecret, Name: granary.EncryptionKeys})
	secret.Secret += "two\n"
	m.ok(&granary.PutIdentity{Identity: secret})
	other := granary.Identity{Kind: granary.IdentitySecret, Name: "other", Secret: "x"}
	other.Version = m.ok(&granary.PutIdentity{Identity: other}).Index
	other.Secret = "y"
	m.ok(&granary.PutIdentity{Identity: other})
	m.ok(&granary.DeleteIdentity{Kind: granary.IdentitySecret, Name: "other"})
	m.check()
}

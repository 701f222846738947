package master

import (
	"bytes"
	"slices"
	"strings"

	"github.com/dsorchard/granary"
)

// What is stored of a file's content is ciphertext if the file has FlagEncrypted, and plaintext if not, at every entry (invariant 43). This file
// has what sees to that. A file gets the flag, with the attribute that it tells of, as it is made and before any content but what comes
// in the same op; it loses both when it is emptied. While it has no name, its maker adds ciphertext; from then on its content stays.

// checkPlain refuses to change the content of a file that is encrypted, once it has a name: whoever writes does not know how, and
// a place that is written twice under one key would give both contents away.
func checkPlain(op string, r *inodeRecord) *granary.Error {
	if r.Flags&granary.FlagEncrypted == 0 || r.beingMade() {
		return nil
	}
	return errEncrypted(op, r)
}

func errEncrypted(op string, r *inodeRecord) *granary.Error {
	return granary.Errorf(granary.KindNotOwner, op, r.Inode.String(), "its content is encrypted: it can be replaced or emptied, but not changed")
}

// keepsKeys refuses a change of the secret with the keys of the cluster that would lose one of them. New ones are added behind the others.
func keepsKeys(op string, old *identityRecord, secret string) *granary.Error {
	if old == nil || old.Kind != granary.IdentitySecret || old.Name != granary.EncryptionKeys || strings.HasPrefix(secret, old.Secret) {
		return nil
	}
	return granary.Errorf(granary.KindInvalid, op, old.Name, "keys of the cluster are added and never removed: what they encrypt could not be read any more")
}

// beingMade reports whether a file has never had a name, and belongs to the session that makes it.
func (r *inodeRecord) beingMade() bool { return r.Nlink == 0 && r.Lost == 0 }

// keepsEncryption refuses to set or remove what says how the content that is there is encrypted.
func keepsEncryption(op, name string) *granary.Error {
	if !granary.IsEncryption(name) {
		return nil
	}
	return granary.Errorf(granary.KindNotOwner, op, name, "it comes and goes with the content")
}

// sameEncryption refuses such an attribute for a file that is there already, unless it has it.
func (t *txn) sameEncryption(op string, x *granary.Xattr, r *inodeRecord) *granary.Error {
	if !granary.IsEncryption(x.Name) {
		return nil
	}
	if is := fetch[bytesRecord](t, keyXattr(r.Inode, x.Name)); is != nil && bytes.Equal(is.Bytes, x.Value) {
		return nil
	}
	return keepsEncryption(op, x.Name)
}

// dropEncryption makes a plain file of an encrypted one, which is about to be emptied.
func (t *txn) dropEncryption(r *inodeRecord) {
	if r.Flags&granary.FlagEncrypted == 0 {
		return
	}
	prefix := keyXattr(r.Inode, granary.XattrEncryption)
	t.scan(prefix, keyEnd(prefix), func(k, _ []byte) bool {
		t.dropXattr(r, string(k[9:]))
		return true
	})
}

// alike refuses a part whose content is stored otherwise than the file that is to have it says.
func alike(create *granary.Create, name string, part *inodeRecord) error {
	encrypted := slices.ContainsFunc(create.Xattrs, func(x granary.Xattr) bool { return x.Name == granary.XattrEncryption })
	if encrypted == (part.Flags&granary.FlagEncrypted != 0) {
		return nil
	}
	return granary.Errorf(granary.KindInvalid, "assemble", name, "of the part and the whole, one is encrypted")
}

// unlock refuses the layout of an encrypted file to who would take it for that of its content, and tells others how it is encrypted: they
// need that whether or not they may know of the attributes.
func (v *view) unlock(q *granary.Lookup, found *granary.Found, r *inodeRecord) error {
	if r.Flags&granary.FlagEncrypted == 0 {
		return nil
	}
	if !q.Stored {
		return granary.Errorf(granary.KindPermission, "lookup", r.Inode.String(), "its content is encrypted, which this client does not know of")
	}
	found.Xattrs = slices.DeleteFunc(found.Xattrs, func(x granary.Xattr) bool { return granary.IsEncryption(x.Name) })
	prefix := keyXattr(r.Inode, granary.XattrEncryption)
	return v.scan(prefix, keyEnd(prefix), func(k, b []byte) (bool, error) {
		x, err := unmarshal[bytesRecord](b)
		if err != nil {
			return false, errStore(k, err)
		}
		found.Xattrs = append(found.Xattrs, granary.Xattr{Name: string(k[9:]), Value: x.Bytes})
		return true, nil
	})
}

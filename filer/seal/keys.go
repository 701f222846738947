package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/dsorchard/granary"
)

// KeySize is the length of all keys, in bytes.
const KeySize = 32

// Key is a key of AES-256.
type Key [KeySize]byte

// NewKey makes up a key.
func NewKey() Key {
	var k Key
	_, _ = rand.Read(k[:]) // never fails: crypto/rand
	return k
}

// KeyID identifies a key of the cluster.
type KeyID [8]byte

// String returns the id in hexadecimal.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Ring is the keys of a cluster. Its zero value has none. It does not change.
type Ring struct{ keys []ringKey }

type ringKey struct {
	id  KeyID
	key Key
}

// ParseRing reads the secret that keeps the keys.
func ParseRing(secret string) (*Ring, error) {
	r := &Ring{}
	for line := range strings.Lines(secret) {
		id, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		k := ringKey{}
		n, ierr := hex.Decode(k.id[:], []byte(id[:min(len(id), 2*len(k.id))]))
		key, kerr := base64.StdEncoding.DecodeString(text)
		if ierr != nil || kerr != nil || n != len(k.id) || len(id) != 2*n || len(key) != KeySize || r.find(k.id) != nil {
			return nil, granary.Errorf(granary.KindCorrupt, "seal.keys", granary.EncryptionKeys, "line %d is no key of its own", len(r.keys)+1)
		}
		copy(k.key[:], key)
		r.keys = append(r.keys, k)
	}
	return r, nil
}

// NewLine makes up a key of a cluster, as the line that is added to the secret.
func NewLine() string {
	var id KeyID
	_, _ = rand.Read(id[:]) // never fails: crypto/rand
	key := NewKey()
	return id.String() + " " + base64.StdEncoding.EncodeToString(key[:]) + "\n"
}

// IDs returns the ids of the keys, the oldest first: the last one encrypts.
func (r *Ring) IDs() []KeyID {
	ids := make([]KeyID, len(r.keys))
	for i := range r.keys {
		ids[i] = r.keys[i].id
	}
	return ids
}

// Has reports whether there is a key of that id.
func (r *Ring) Has(id KeyID) bool { return r.find(id) != nil }

func (r *Ring) find(id KeyID) *ringKey {
	for i := range r.keys {
		if r.keys[i].id == id {
			return &r.keys[i]
		}
	}
	return nil
}

// Wrapper wraps data keys: with the newest key of a cluster, or with a customer's.
type Wrapper struct {
	mode Mode
	id   KeyID
	key  Key
}

// Wrapper returns what wraps with the newest key.
func (r *Ring) Wrapper() (*Wrapper, error) {
	if len(r.keys) == 0 {
		return nil, granary.Errorf(granary.KindNotFound, "seal.keys", granary.EncryptionKeys, "the cluster has no keys")
	}
	k := r.keys[len(r.keys)-1]
	return &Wrapper{ByCluster, k.id, k.key}, nil
}

// Customer returns what wraps with a customer's key.
func Customer(key Key) *Wrapper { return &Wrapper{mode: ByCustomer, key: key} }

// head is the part of a record that is authenticated with the data key.
func (w *Wrapper) head() []byte { return append([]byte{formatVersion, byte(w.mode)}, w.id[:]...) }

// aead returns the cipher of one wrap (invariant 2).
func (w *Wrapper) aead(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, w.key[:], salt, "granary data key", KeySize)
	if err != nil {
		return nil, granary.Errorf(granary.KindInternal, "seal.wrap", "", "%w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, granary.Errorf(granary.KindInternal, "seal.wrap", "", "%w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, granary.Errorf(granary.KindInternal, "seal.wrap", "", "%w", err)
	}
	return aead, nil
}

// wrap encrypts a data key: salt, nonce, and what AES-GCM makes of it.
func (w *Wrapper) wrap(data *Key) ([]byte, error) {
	b := make([]byte, saltSize+nonceSize, wrapSize)
	_, _ = rand.Read(b) // never fails: crypto/rand
	aead, err := w.aead(b[:saltSize])
	if err != nil {
		return nil, err
	}
	return aead.Seal(b, b[saltSize:], data[:], w.head()), nil
}

// unwrap is the inverse of wrap; KindPermission if the key is another.
func (w *Wrapper) unwrap(b []byte) (Key, error) {
	var data Key
	aead, err := w.aead(b[:saltSize])
	if err != nil {
		return data, err
	}
	plain, err := aead.Open(nil, b[saltSize:saltSize+nonceSize], b[saltSize+nonceSize:], w.head())
	if err != nil || len(plain) != KeySize {
		return data, granary.Errorf(granary.KindPermission, "decrypt", "", "the content is encrypted with another key")
	}
	copy(data[:], plain)
	return data, nil
}

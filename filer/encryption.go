package filer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer/seal"
)

// Files that are encrypted (package filer/seal) are decrypted here, where windows of layouts are read: so all doors have it. Whoever reads through a
// window gets plaintext or an error (invariant 9). Nothing here encrypts but Upload, which makes the whole of a file.

// ringTTL is how old what is known of the cluster's keys may be for what is written with them.
const ringTTL = time.Second

// keyring remembers the keys of the cluster.
type keyring struct {
	mu    sync.Mutex
	ring  *seal.Ring
	asked time.Time
}

// ring returns the keys of the cluster, which satisfy: those that are remembered, if they do, else as they are now.
func (fs *FS) ring(ctx context.Context, satisfy func(r *seal.Ring, age time.Duration) bool) (*seal.Ring, error) {
	k := &fs.keyring
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ring != nil && satisfy(k.ring, time.Since(k.asked)) {
		return k.ring, nil
	}
	asked := time.Now()
	secret, err := fs.Identity(ctx, granary.IdentitySecret, granary.EncryptionKeys)
	if err != nil && !granary.IsKind(err, granary.KindNotFound) {
		return nil, err
	}
	ring, err := seal.ParseRing(secret.Secret)
	if err != nil {
		return nil, err
	}
	k.ring, k.asked = ring, asked
	return ring, nil
}

// writingRing returns the keys of the cluster, of which there is one.
//
// They are asked for again when they are a second old, so that a key that was added is used. That also shows if the cluster was restored from a
// backup that does not have the key: what was encrypted with it could be read until this process ends, and never again (Upload.Commit).
func (fs *FS) writingRing(ctx context.Context) (*seal.Ring, error) {
	fresh := func(r *seal.Ring, age time.Duration) bool { return age < ringTTL && len(r.IDs()) > 0 }
	ring, err := fs.ring(ctx, fresh)
	if err != nil || len(ring.IDs()) > 0 {
		return ring, err
	}
	err = fs.PutIdentity(ctx, granary.Identity{Kind: granary.IdentitySecret, Name: granary.EncryptionKeys, Secret: seal.NewLine()})
	if err != nil && !granary.IsKind(err, granary.KindExists) { // another filer was quicker
		return nil, err
	}
	return fs.ring(ctx, fresh)
}

// RotateKeys adds a key to those of the cluster: what is written from a second later on is encrypted with it. It returns the ids of all, in the
// order in which they were made.
func (fs *FS) RotateKeys(ctx context.Context) ([]seal.KeyID, error) {
	secret, err := fs.Identity(ctx, granary.IdentitySecret, granary.EncryptionKeys)
	if granary.IsKind(err, granary.KindNotFound) {
		secret, err = granary.Identity{Kind: granary.IdentitySecret, Name: granary.EncryptionKeys}, nil
	}
	if err != nil {
		return nil, err
	}
	secret.Secret += seal.NewLine()
	if err := fs.PutIdentity(ctx, secret); err != nil {
		return nil, err
	}
	return fs.Keys(ctx)
}

// Keys returns the ids of the keys of the cluster, in the order in which they were made: the last one encrypts.
func (fs *FS) Keys(ctx context.Context) ([]seal.KeyID, error) {
	ring, err := fs.ring(ctx, func(*seal.Ring, time.Duration) bool { return false })
	if err != nil {
		return nil, err
	}
	return ring.IDs(), nil
}

// dataKey unwraps the data key of a record, with the customer's key or one of the cluster.
func (fs *FS) dataKey(ctx context.Context, r *seal.Record, customer *seal.Key) (seal.Key, error) {
	switch {
	case r.Mode == seal.ByCluster && customer != nil:
		return seal.Key{}, granary.Errorf(granary.KindInvalid, "decrypt", "", "the content is not encrypted with a key of the customer")
	case customer != nil:
		return r.CustomerKey(*customer)
	}
	if err := r.Check(); err != nil {
		return seal.Key{}, err
	}
	ring, err := fs.ring(ctx, func(known *seal.Ring, _ time.Duration) bool { return known.Has(r.KeyID) })
	if err != nil {
		return seal.Key{}, err
	}
	return r.DataKey(ring)
}

// contentOf returns what decrypts the file that was found; nil if it is plain. The answer has its layout. KindPermission if only a customer has the
// key.
func (fs *FS) contentOf(ctx context.Context, found *granary.Found) (*seal.Content, error) {
	r, err := recordOf(found)
	if r == nil || err != nil {
		return nil, err
	}
	data, err := fs.dataKey(ctx, r, nil)
	if err != nil {
		return nil, undecryptable(found.Entry.Attr.Inode.String(), err)
	}
	return r.Content(data)
}

// recordOf returns how the file that was found is encrypted; nil if it is plain.
func recordOf(found *granary.Found) (*seal.Record, error) {
	if found.Entry.Attr.Flags&granary.FlagEncrypted == 0 {
		return nil, nil
	}
	r, err := seal.RecordOf(found.Xattrs)
	if err == nil && r == nil {
		err = granary.Errorf(granary.KindInternal, "open", found.Entry.Attr.Inode.String(), "the answer does not say how it is encrypted")
	}
	return r, err
}

// undecryptable names the file that cannot be decrypted.
func undecryptable(name string, err error) error {
	return granary.Errorf(granary.KindOf(err), "read", name, "%w", err)
}

// unchangeable refuses to open a file for changing it whose content is encrypted.
func unchangeable(op, name string) error {
	return granary.Errorf(granary.KindNotOwner, op, name, "its content is encrypted: it can be replaced or emptied, but not changed")
}

// encryptionOf returns those attributes that say how a content is encrypted.
func encryptionOf(xattrs []granary.Xattr) []granary.Xattr {
	var kept []granary.Xattr
	for _, x := range xattrs {
		if granary.IsEncryption(x.Name) {
			kept = append(kept, x)
		}
	}
	return kept
}

// Seal is how a new content is to be encrypted: its data key, and the record of it.
type Seal struct {
	Record *seal.Record
	data   seal.Key
	part   uint16
}

// NewSeal makes up a data key, and wraps it with the customer's key, or if that is nil, with the cluster's.
func (fs *FS) NewSeal(ctx context.Context, customer *seal.Key) (*Seal, error) {
	w, err := fs.wrapper(ctx, customer)
	if err != nil {
		return nil, err
	}
	data := seal.NewKey()
	r, err := seal.NewRecord(w, data)
	if err != nil {
		return nil, err
	}
	return &Seal{Record: r, data: data}, nil
}

func (fs *FS) wrapper(ctx context.Context, customer *seal.Key) (*seal.Wrapper, error) {
	if customer != nil {
		return seal.Customer(*customer), nil
	}
	ring, err := fs.writingRing(ctx)
	if err != nil {
		return nil, err
	}
	return ring.Wrapper()
}

// PartSeal is how a part of an object is encrypted, whose record is that of the whole; customer is the key that it was wrapped with, nil for the
// cluster's.
func (fs *FS) PartSeal(ctx context.Context, r *seal.Record, customer *seal.Key, number uint16) (*Seal, error) {
	data, err := fs.dataKey(ctx, r, customer)
	if err != nil {
		return nil, err
	}
	return &Seal{Record: r.With(), data: data, part: number}, nil
}

// Rewrap returns the record of the same content for another key: from and to are customers' keys, nil for the cluster's.
func (fs *FS) Rewrap(ctx context.Context, r *seal.Record, from, to *seal.Key) (*seal.Record, error) {
	data, err := fs.dataKey(ctx, r, from)
	if err != nil {
		return nil, err
	}
	w, err := fs.wrapper(ctx, to)
	if err != nil {
		return nil, err
	}
	return r.Rewrap(w, data)
}

// sealBuffer is how much of an upload is encrypted at once: what fits into a core's cache.
const sealBuffer = 64 << 10

// sealing encrypts what an upload stores: one stream, from its begin.
type sealing struct {
	record *seal.Record
	w      *seal.Writer
	buffer []byte
}

// begin starts the stream of an upload.
func (s *Seal) begin() (*sealing, error) {
	w, err := seal.NewWriter(s.data, s.part)
	if err != nil {
		return nil, err
	}
	return &sealing{record: s.Record.With(w.Stream), w: w, buffer: make([]byte, sealBuffer)}, nil
}

// write hands on p encrypted.
func (s *sealing) write(up uploader, p []byte) (int, error) {
	done := 0
	for piece := range slices.Chunk(p, len(s.buffer)) {
		b := s.buffer[:len(piece)]
		if err := s.w.Encrypt(b, piece); err != nil {
			return done, err
		}
		if _, err := up.Write(b); err != nil {
			return done, err
		}
		done += len(piece)
	}
	return done, nil
}

// lasting refuses to publish what is encrypted with a key that the cluster does not have any more.
func (s *sealing) lasting(ctx context.Context, fs *FS) error {
	if s.record.Mode != seal.ByCluster {
		return nil
	}
	ring, err := fs.writingRing(ctx)
	if err != nil || ring.Has(s.record.KeyID) {
		return err
	}
	return granary.Errorf(granary.KindUnavailable, "upload", s.record.KeyID.String(), "the cluster was restored, and does not have this key any more")
}

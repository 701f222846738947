package filer

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

const (
	// holderTTL is how long what is known of a caller is taken to be so still: that long a key that was disabled, or a policy
	// that was taken away through another gateway, may still count here.
	holderTTL = time.Second
	// holderKept is how long it is kept after that: it is asked for again with its version, and mostly unchanged.
	holderKept = time.Minute
	holdersMax = 4096
)

// holders remembers for a while what callers may do.
type holders struct {
	mu    sync.Mutex
	known map[holderKey]knownHolder
}

type holderKey struct{ accessKey, role, session string }

type knownHolder struct {
	holder *granary.Holder
	asked  time.Time
}

// Holder returns what decides about the holder of an access key, or, if that is "", of a role; KindNotFound if there is none. It is at most a second
// old. Nobody may change it. With it come the managed policies that session names.
func (fs *FS) Holder(ctx context.Context, accessKey, role string, session ...string) (*granary.Holder, error) {
	key, now := holderKey{accessKey, role, strings.Join(session, "/")}, time.Now() // no name has a "/"
	old := fs.holders.get(key)
	if old.holder != nil && now.Sub(old.asked) < holderTTL {
		return old.holder, nil
	}
	q := &granary.ResolveIdentity{AccessKey: accessKey, Role: role, Session: session}
	if old.holder != nil {
		q.Known = old.holder.Version
	}
	answer, err := ask[*granary.Holder](ctx, fs.store, q)
	if err != nil {
		fs.holders.forget(key)
		return nil, err
	}
	if answer.Unchanged {
		answer = old.holder
	}
	fs.holders.put(key, knownHolder{answer, now})
	return answer, nil
}

func (h *holders) get(key holderKey) knownHolder {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known[key]
}

func (h *holders) put(key holderKey, k knownHolder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.known) >= holdersMax {
		for other, of := range h.known {
			if k.asked.Sub(of.asked) > holderKept {
				delete(h.known, other)
			}
		}
		if len(h.known) >= holdersMax {
			clear(h.known)
		}
	}
	h.known[key] = k
}

func (h *holders) forget(key holderKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.known, key)
}

func (h *holders) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.known)
}

// Identity returns an identity by name.
func (fs *FS) Identity(ctx context.Context, kind granary.IdentityKind, name string) (granary.Identity, error) {
	answer, err := ask[*granary.IdentityIs](ctx, fs.store, &granary.GetIdentity{Kind: kind, Name: name})
	if err != nil {
		return granary.Identity{}, err
	}
	return answer.Identity, nil
}

// Identities returns a page of identities.
func (fs *FS) Identities(ctx context.Context, q *granary.ListIdentities) (*granary.Identities, error) {
	return ask[*granary.Identities](ctx, fs.store, q)
}

// IdentityUses returns a page of what refers to an identity.
func (fs *FS) IdentityUses(ctx context.Context, q *granary.ListIdentityUses) (*granary.IdentityUses, error) {
	return ask[*granary.IdentityUses](ctx, fs.store, q)
}

// PutIdentity makes or replaces an identity, and DeleteIdentity removes one, with the authority of the gateway. This gateway knows at once.
func (fs *FS) PutIdentity(ctx context.Context, i granary.Identity) error {
	defer fs.holders.clear()
	_, err := fs.store.Do(ctx, granary.Cred{}, &granary.PutIdentity{Identity: i})
	return err
}

// DeleteIdentity removes an identity.
func (fs *FS) DeleteIdentity(ctx context.Context, op *granary.DeleteIdentity) error {
	defer fs.holders.clear()
	_, err := fs.store.Do(ctx, granary.Cred{}, op)
	return err
}

// PermitKey refuses what the permissions of the file system do not give a caller, for gateways that act with their own authority: to read the
// object of a key (AccessRead), or to make, replace or remove it (AccessWrite). What is not there is refused to nobody.
func (fs *FS) PermitKey(ctx context.Context, cred granary.Cred, root granary.InodeID, key string, version granary.ObjectVersion, access granary.Access) error {
	ctx = WithCred(ctx, cred)
	object := &granary.Lookup{Base: root, Path: key, Key: true, Object: version, Access: granary.AccessRead}
	if access != granary.AccessWrite {
		_, err := ask[*granary.Found](ctx, fs.store, object)
		if granary.IsKind(err, granary.KindPermission) {
			return err
		}
		return nil // what else is wrong is found by whoever reads
	}
	dir, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: root, Path: key, Key: true, Nearest: true})
	if err != nil {
		return err
	}
	write := &granary.Lookup{Base: dir.Entry.Attr.Inode, Access: granary.AccessWrite | granary.AccessExecute}
	if _, err := ask[*granary.Found](ctx, fs.store, write); err != nil {
		return err
	}
	if a := &dir.Entry.Attr; a.Mode&modeSticky == 0 || a.UID == cred.UID || cred.UID == 0 {
		return nil
	}
	object.Object, object.Access = 0, 0
	found, err := ask[*granary.Found](ctx, fs.store, object)
	switch {
	case granary.IsKind(err, granary.KindNotFound):
		return nil
	case err != nil:
		return err
	case found.Entry.Attr.UID != cred.UID:
		return granary.Errorf(granary.KindNotOwner, "permit", key, "it is another's, and the directory is sticky")
	}
	return nil
}

package filer

import (
	"context"
	"encoding/json"

	"github.com/dsorchard/granary"
)

// classPolicy returns the policy of what is stored in a class in a directory that has the policy dir; 0 for no class.
func (fs *FS) classPolicy(ctx context.Context, dir granary.PolicyID, class string) (granary.PolicyID, error) {
	if class == "" {
		return 0, nil
	}
	return fs.store.ClassPolicy(ctx, dir, class)
}

// StorageClass returns the class that a file is stored in; "" if in none.
func (fs *FS) StorageClass(ctx context.Context, a *granary.Attr) (string, error) {
	if a.Flags&granary.FlagPolicy == 0 || a.IsDir() {
		return "", nil
	}
	p, err := fs.store.Policy(ctx, a.Policy)
	return p.StorageClass, err
}

// SetStorageClass puts a file into a class. What is stored of its content follows in the background.
func (fs *FS) SetStorageClass(ctx context.Context, a *granary.Attr, class string) error {
	home := a.Parent
	if home == 0 {
		home = a.Inode.Dataset().Root()
	}
	found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: home})
	if err != nil {
		return err
	}
	id, err := fs.store.ClassPolicy(ctx, found.Entry.Attr.Policy, class)
	if err != nil {
		return err
	}
	p, err := fs.store.Policy(ctx, id)
	if err != nil {
		return err
	}
	_, err = fs.store.Do(ctx, granary.Cred{}, &granary.SetPolicy{Inode: a.Inode, Policy: p})
	return err
}

// SetClassRule says how what is stored in a class is stored, from now on, and in the background what is stored there already; nil: as if
// nobody had said.
func (fs *FS) SetClassRule(ctx context.Context, class string, rule *granary.ClassRule) error {
	name := granary.XattrStorageClass + class
	if rule == nil {
		_, err := fs.store.Do(ctx, granary.Cred{}, &granary.RemoveXattr{Inode: granary.BucketsInode, Name: name})
		return err
	}
	value, err := json.Marshal(rule)
	if err != nil {
		return granary.Errorf(granary.KindInternal, "storage class", class, "%w", err)
	}
	_, err = fs.store.Do(ctx, granary.Cred{}, &granary.SetXattr{Inode: granary.BucketsInode, Xattr: granary.Xattr{Name: name, Value: value}})
	return err
}

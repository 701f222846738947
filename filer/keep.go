package filer

import (
	"context"
	"time"

	"github.com/dsorchard/granary"
)

// keptFor is how long a file stays that was looked up to be opened.
const keptFor = time.Second

// LookupKept is Lookup for who is about to open what he finds: a regular file counts as open here for a moment, so that it can be
// opened even if it loses its name meanwhile.
func (fs *FS) LookupKept(ctx context.Context, parent granary.InodeID, name string) (granary.Entry, error) {
	if err := checkName("lookup", name); err != nil {
		return granary.Entry{}, err
	}
	if e, ok, err := fs.lookupHeld(ctx, parent, name); ok || err != nil {
		return e, err
	}
	found, err := ask[*granary.Found](ctx, fs.store, &granary.Lookup{Base: parent, Path: name, Open: true})
	if err != nil {
		return granary.Entry{}, err
	}
	if found.Entry.Attr.Type == granary.TypeRegular {
		in := fs.get(found.Entry.Attr.Inode)
		fs.opens(in)
		fs.wg.Go(func() { fs.putLater(in) })
	}
	found.Entry.Attr = fs.merge(found.Entry.Attr)
	return found.Entry, nil
}

// putLater gives the state of an inode back after a while, or when the FS is closed.
func (fs *FS) putLater(in *inode) {
	timer := time.NewTimer(keptFor)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-fs.ctx.Done():
	}
	fs.put(in)
}

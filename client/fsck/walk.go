package fsck

import (
	"context"
	"math"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
)

const lookupsAtOnce = 16

// walk visits every file once, whatever the number of its names.
type walk struct {
	c    *Check
	fn   func(path string, l *granary.Layout, attr *granary.Attr) error // called by several goroutines at a time
	fail func(path string, attr *granary.Attr, err error)               // a file whose layout cannot be had

	mu   sync.Mutex
	seen map[granary.InodeID]bool // files of several names
}

// walkFiles walks all directories, from the root and from the hidden ones of uploads in progress.
func (c *Check) walkFiles(ctx context.Context, w *walk) error {
	w.c, w.seen = c, map[granary.InodeID]bool{}
	if err := w.directory(ctx, granary.RootInode, ""); err != nil {
		return err
	}
	for q := (&granary.ListDatasets{}); ; {
		page, err := ask[*granary.Datasets](ctx, c, q)
		if err != nil {
			return err
		}
		for _, d := range page.Datasets {
			name := "/" + d.Name
			if d.Parent == granary.BucketsInode {
				name = "/" + granary.BucketsName + name
			}
			if err := w.directory(ctx, d.ID.System(), "(uploads in progress in "+name+")"); err != nil {
				return err
			}
			q.After = d.ID
		}
		if !page.More || len(page.Datasets) == 0 {
			return nil
		}
	}
}

// directory walks what is below a directory, page by page. One that is gone meanwhile has nothing below it.
func (w *walk) directory(ctx context.Context, dir granary.InodeID, path string) error {
	for q := (&granary.ReadDir{Inode: dir}); ; {
		page, err := ask[*granary.Directory](ctx, w.c, q)
		switch {
		case granary.IsKind(err, granary.KindNotFound), granary.IsKind(err, granary.KindStale):
			return nil
		case err != nil:
			return err
		}
		group, inner := errgroup.WithContext(ctx)
		group.SetLimit(lookupsAtOnce)
		for i := range page.Entries {
			e := &page.Entries[i]
			if e.Attr.Type == granary.TypeRegular && w.first(&e.Attr) {
				group.Go(func() error { return w.file(inner, path+"/"+e.Name, e.Attr) })
			}
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for i := range page.Entries {
			if e := &page.Entries[i]; e.Attr.IsDir() {
				if err := w.directory(ctx, e.Attr.Inode, path+"/"+e.Name); err != nil {
					return err
				}
			}
		}
		if !page.More || len(page.Entries) == 0 {
			return nil
		}
		last := &page.Entries[len(page.Entries)-1]
		q.After, q.AfterDir = last.Name, last.Attr.IsDir()
	}
}

// first reports whether a file was not visited by another name.
func (w *walk) first(a *granary.Attr) bool {
	if a.Nlink < 2 {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[a.Inode] {
		return false
	}
	w.seen[a.Inode] = true
	return true
}

// file visits a file, in as many layouts as it takes.
func (w *walk) file(ctx context.Context, path string, attr granary.Attr) error {
	if attr.Size > 0 && attr.Allocated > 0 {
		if err := w.layouts(ctx, path, attr); err != nil {
			return err
		}
	}
	w.c.step(1)
	return nil
}

func (w *walk) layouts(ctx context.Context, path string, attr granary.Attr) error {
	for from := uint64(0); ; {
		found, err := ask[*granary.Found](ctx, w.c, &granary.Lookup{Base: attr.Inode, Stored: true, Layout: &granary.Range{Offset: from, Length: math.MaxInt64}})
		switch {
		case granary.IsKind(err, granary.KindNotFound), granary.IsKind(err, granary.KindStale):
			return nil
		case granary.IsKind(err, granary.KindCorrupt):
			w.fail(path, &attr, err)
			return nil
		case err != nil:
			return err
		}
		l := found.Layout
		if l == nil {
			return nil
		}
		if err := w.fn(path, l, &found.Entry.Attr); err != nil {
			return err
		}
		if !l.Truncated || len(l.Extents) == 0 {
			return nil
		}
		last := &l.Extents[len(l.Extents)-1]
		from = last.Offset + last.Length
	}
}

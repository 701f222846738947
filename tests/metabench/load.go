package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

const (
	loadBatch   = 256 // creates in one call
	loadCallers = 8
	million     = 1_000_000
)

// load makes inodes, so many to a directory.
func load(ctx context.Context, s settings, c *client.Client) error {
	root, err := mkdir(ctx, c, granary.RootInode, unique("load"))
	if err != nil {
		return err
	}
	start := time.Now()
	for from := 0; from < s.inodes; from += million {
		n := min(million, s.inodes-from)
		if err := loadSome(ctx, c, root, s.dirSize, from/s.dirSize, n); err != nil {
			return err
		}
		took := time.Since(start)
		fmt.Printf("load: %d inodes in %v, %.0f/s\n", from+n, took.Round(time.Second), float64(from+n)/took.Seconds())
	}
	return nil
}

// loadSome fills directories from number first on with n files in all, size in each.
func loadSome(ctx context.Context, c *client.Client, root granary.InodeID, size, first, n int) error {
	var next atomic.Int64
	errs := make([]error, loadCallers)
	var callers sync.WaitGroup
	for w := range loadCallers {
		callers.Go(func() {
			for {
				k := int(next.Add(1)) - 1
				left := n - k*size
				if left <= 0 || ctx.Err() != nil {
					return
				}
				dir, err := mkdir(ctx, c, root, fmt.Sprintf("dir-%06d", first+k))
				if err == nil {
					err = fill(ctx, c, dir, 0, min(left, size))
				}
				if errs[w] = err; err != nil {
					return
				}
			}
		})
	}
	callers.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// fill makes n files in a directory.
func fill(ctx context.Context, c *client.Client, dir granary.InodeID, from, n int) error {
	for at := 0; at < n; at += loadBatch {
		ops := make([]granary.Op, 0, loadBatch)
		for i := at; i < min(at+loadBatch, n); i++ {
			ops = append(ops, &granary.Create{Parent: dir, Name: fmt.Sprintf("file-%08d", from+i), Type: granary.TypeRegular, Mode: 0o644})
		}
		if err := all(c.DoAll(ctx, granary.Cred{}, ops)); err != nil {
			return err
		}
	}
	return nil
}

// big measures one directory of a million entries, and one tree of 100,000 files.
func big(ctx context.Context, s settings, c *client.Client) error {
	top := unique("big")
	root, err := mkdir(ctx, c, granary.RootInode, top)
	if err != nil {
		return err
	}
	if err := wide(ctx, s, c); err != nil {
		return err
	}
	tree, err := mkdir(ctx, c, root, "tree")
	if err != nil {
		return err
	}
	if err := loadSome(ctx, c, tree, s.dirSize, 0, 100_000); err != nil {
		return err
	}
	return renameTree(ctx, c, root)
}

// wide measures the listing of one directory of a million entries.
func wide(ctx context.Context, _ settings, c *client.Client) error {
	dir, err := mkdir(ctx, c, granary.RootInode, unique("wide"))
	if err != nil {
		return err
	}
	if err := fillWide(ctx, c, dir, million); err != nil {
		return err
	}
	return listWide(ctx, c, dir)
}

// fillWide makes n files in one directory, from several callers.
func fillWide(ctx context.Context, c *client.Client, dir granary.InodeID, n int) error {
	errs := make([]error, loadCallers)
	var callers sync.WaitGroup
	start := time.Now()
	for w := range loadCallers {
		callers.Go(func() {
			share := n / loadCallers
			errs[w] = fill(ctx, c, dir, w*share, share)
		})
	}
	callers.Wait()
	fmt.Printf("big: %d files in one directory in %v\n", n, time.Since(start).Round(time.Second))
	return errors.Join(errs...)
}

// listWide lists a directory as S3 and as readdir do.
func listWide(ctx context.Context, c *client.Client, dir granary.InodeID) error {
	for range 3 {
		start, n, after := time.Now(), 0, ""
		for more := true; more; {
			l, err := client.Ask[*granary.Listing](ctx, c, &granary.List{Root: dir, StartAfter: after})
			if err != nil {
				return err
			}
			n += len(l.Items)
			more, after = l.Truncated, l.Next
		}
		fmt.Printf("big: %d keys listed, %.0f/s\n", n, float64(n)/time.Since(start).Seconds())
		start, n, after = time.Now(), 0, ""
		for more := true; more; {
			d, err := client.Ask[*granary.Directory](ctx, c, &granary.ReadDir{Inode: dir, After: after})
			if err != nil {
				return err
			}
			n += len(d.Entries)
			more = d.More
			if more {
				after = d.Entries[len(d.Entries)-1].Name
			}
		}
		fmt.Printf("big: %d entries read, %.0f/s\n", n, float64(n)/time.Since(start).Seconds())
	}
	return nil
}

// renameTree renames a directory with 100,000 files below it, there and back.
func renameTree(ctx context.Context, c *client.Client, root granary.InodeID) error {
	names := [2]string{"tree", "forest"}
	for i := range 5 {
		start := time.Now()
		_, err := c.Do(ctx, granary.Cred{}, &granary.Rename{SrcParent: root, SrcName: names[i%2], DstParent: root, DstName: names[(i+1)%2]})
		if err != nil {
			return err
		}
		fmt.Printf("big: a tree of 100,000 files renamed in %.2f ms\n", float64(time.Since(start).Microseconds())/1000)
	}
	return nil
}

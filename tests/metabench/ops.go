package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

const (
	opsMax = 1 << 30 // no bound but the time
	spread = 64      // directories that operations are spread over
)

// benchOps measures mutations and queries.
func benchOps(ctx context.Context, s settings, c *client.Client) error {
	heading()
	for _, callers := range s.callers {
		if err := mutations(ctx, s, c, callers); err != nil {
			return err
		}
		if err := locks(ctx, s, c, callers); err != nil {
			return err
		}
	}
	if err := idle(ctx, c); err != nil {
		return err
	}
	return queries(ctx, s, c)
}

const (
	idleFor = 500 * time.Millisecond
	idleMax = time.Minute
)

// idle waits until the log stands still: what was removed is worked off, and takes no more of the time that is measured next.
func idle(ctx context.Context, c *client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, idleMax)
	defer cancel()
	for last := granary.Index(0); ; {
		a, err := c.Query(ctx, &granary.GetStatus{})
		if err != nil {
			return fmt.Errorf("waiting for removals to be worked off: %w", err)
		}
		now := a.(*granary.Status).AppliedIndex
		if now == last {
			return nil
		}
		last = now
		select {
		case <-time.After(idleFor):
		case <-ctx.Done():
			return fmt.Errorf("removals are not worked off after %v: %w", idleMax, ctx.Err())
		}
	}
}

// mkdir makes a directory with a name of its own.
func mkdir(ctx context.Context, c *client.Client, parent granary.InodeID, name string) (granary.InodeID, error) {
	r, err := c.Do(ctx, granary.Cred{}, &granary.Create{Parent: parent, Name: name, Type: granary.TypeDirectory, Mode: 0o755})
	return r.Attr.Inode, err
}

func unique(what string) string { return fmt.Sprintf("%s-%d", what, time.Now().UnixNano()) }

// mutations measures creates, changes of mode, renames and unlinks, in the order in which bare Raft writes their keys, so that both
// compact the same before them; then creates in one directory, and such with content.
func mutations(ctx context.Context, s settings, c *client.Client, callers int) error {
	top := unique("ops")
	root, err := mkdir(ctx, c, granary.RootInode, top)
	if err != nil {
		return err
	}
	dirs := make([]granary.InodeID, spread)
	for i := range dirs {
		if dirs[i], err = mkdir(ctx, c, root, fmt.Sprint(i)); err != nil {
			return err
		}
	}
	name := func(i int) string { return fmt.Sprintf("file-%08d", i) }
	do := func(ctx context.Context, op granary.Op) error { _, err := c.Do(ctx, granary.Cred{}, op); return err }
	create := func(dir granary.InodeID, i int) *granary.Create {
		return &granary.Create{Parent: dir, Name: name(i), Type: granary.TypeRegular, Mode: 0o644, Exclusive: true}
	}
	n, err := bench(ctx, s, "granary", "create", callers, opsMax, func(ctx context.Context, i int) error {
		return do(ctx, create(dirs[i%spread], i))
	})
	if err != nil {
		return err
	}
	one := func(op func(i int) granary.Op) func(context.Context, int) error {
		return func(ctx context.Context, i int) error { return do(ctx, op(i)) }
	}
	_, err = bench(ctx, s, "granary", "chmod", callers, opsMax, one(func(i int) granary.Op {
		mode := uint32(0o600 + i%8)
		return &granary.SetAttr{Inode: dirs[i%spread], Mode: &mode}
	}))
	if err != nil {
		return err
	}
	renamed, err := bench(ctx, s, "granary", "rename", callers, n, one(func(i int) granary.Op {
		return &granary.Rename{SrcParent: dirs[i%spread], SrcName: name(i), DstParent: dirs[(i+1)%spread], DstName: name(i) + ".r"}
	}))
	if err != nil {
		return err
	}
	_, err = bench(ctx, s, "granary", "unlink", callers, renamed, func(ctx context.Context, i int) error {
		err := do(ctx, &granary.Unlink{Parent: dirs[(i+1)%spread], Name: name(i) + ".r"})
		if granary.IsKind(err, granary.KindNotFound) { // renames are numbered with gaps at their end
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	_, err = bench(ctx, s, "granary", "create in one dir", callers, opsMax, one(func(i int) granary.Op { return create(root, i) }))
	if err != nil {
		return err
	}
	_, err = bench(ctx, s, "granary", "create with content", callers, opsMax, one(func(i int) granary.Op {
		op := create(dirs[i%spread], opsMax+i)
		op.Content = &granary.Content{Inline: make([]byte, 1000)}
		return op
	}))
	return errors.Join(err, do(ctx, &granary.RemoveTree{Parent: granary.RootInode, Name: top}))
}

// queries measures the resolution of a path of five components, with attributes.
func queries(ctx context.Context, s settings, c *client.Client) error {
	const files = 1000
	parent, base := granary.RootInode, unique("deep")
	path := base
	for depth := range 4 {
		name := fmt.Sprint("level", depth)
		if depth == 0 {
			name = base
		} else {
			path += "/" + name
		}
		var err error
		if parent, err = mkdir(ctx, c, parent, name); err != nil {
			return err
		}
	}
	ops := make([]granary.Op, 0, files)
	for i := range files {
		ops = append(ops, &granary.Create{Parent: parent, Name: fmt.Sprint(i), Type: granary.TypeRegular, Mode: 0o644})
	}
	if err := all(c.DoAll(ctx, granary.Cred{}, ops)); err != nil {
		return err
	}
	for _, callers := range []int{1, 16, 64, 256} {
		_, err := bench(ctx, s, "granary", "resolve depth 5", callers, opsMax, func(ctx context.Context, i int) error {
			_, err := c.Query(ctx, &granary.Lookup{Base: granary.RootInode, Path: fmt.Sprintf("%s/%d", path, i%files)})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// all returns the first error of several results.
func all(results []granary.Result, err error) error {
	if err != nil {
		return err
	}
	for i := range results {
		if results[i].Err != nil {
			return results[i].Err
		}
	}
	return nil
}

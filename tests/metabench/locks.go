package main

import (
	"context"
	"fmt"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// locks measures locks on paths: each caller's own, taken and given up; and one that all hand on to each other.
func locks(ctx context.Context, s settings, c *client.Client, callers int) error {
	root, err := mkdir(ctx, c, granary.RootInode, unique("locks"))
	if err != nil {
		return err
	}
	take := func(ctx context.Context, name string, wait bool) error {
		g, err := c.AcquirePaths(ctx, granary.Cred{}, granary.AcquirePaths{
			Paths: []granary.LockPath{{Base: root, Path: name}}, Exclusive: true, Wait: wait})
		if err != nil {
			return err
		}
		return c.ReleasePaths(ctx, granary.Cred{}, granary.ReleasePaths{Token: g.Token})
	}
	_, err = bench(ctx, s, "granary", "lock and release", callers, opsMax, func(ctx context.Context, i int) error {
		return take(ctx, fmt.Sprint(i), false)
	})
	if err != nil {
		return err
	}
	_, err = bench(ctx, s, "granary", "lock handed on", callers, opsMax, func(ctx context.Context, _ int) error {
		return take(ctx, "one", true)
	})
	return err
}

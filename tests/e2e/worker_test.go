//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// worker performs random operations until ctx ends.
type worker struct {
	h      *history
	c      *client.Client
	id     int
	rand   *rand.Rand
	inodes map[string]named // of the objects in use that are files, by kind
	held   tokens
}

// tokens are those that a worker has had of a lock.
type tokens struct {
	object   string
	now, old int // the last one that was granted, unless it was given up, and one before
}

type named struct {
	name  string
	inode granary.InodeID
}

func (w *worker) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := w.one(ctx); err != nil {
			return err
		}
	}
	return nil
}

// one performs an operation and records it. The context is not the operation's: one that is cut off by the end of
// the test would tell nothing.
func (w *worker) one(ctx context.Context) error {
	s := w.choose()
	o := w.h.begin(&s, false)
	if s.Kind == "lock" {
		w.chooseLock(&s, o.name)
	}
	inode, err := w.prepare(ctx, s.Kind, o.name)
	if err != nil || ctx.Err() != nil {
		w.h.end(o)
		return err
	}
	call := time.Since(w.h.began)
	out, st, err := w.perform(s, o.name, inode)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", s.Do, o.name, err)
	}
	if s.Kind == "lock" {
		w.noteLock(s, out)
	}
	w.h.record(w.id, o, s, out, st, call)
	return nil
}

// chooseLock chooses what to do with a lock: to write under its token, or under one that it had before; to give it up; or not, so that
// the lease runs out.
func (w *worker) chooseLock(s *step, object string) {
	if w.held.object != object {
		w.held = tokens{object: object}
	}
	switch dice := w.rand.IntN(8); {
	case dice == 0 && w.held.old != 0:
		s.Do, s.Value = "write", w.held.old
	case w.held.now == 0 || dice == 1:
		s.Do = "take"
	case dice < 6:
		s.Do, s.Value = "write", w.held.now
	default:
		s.Do, s.Value = "release", w.held.now
	}
}

// noteLock takes in what came of it.
func (w *worker) noteLock(s step, out outcome) {
	gained := s.Do == "take" && out.Known && out.Kind == granary.KindNone
	lost := s.Do == "release" || s.Do == "write" && s.Value == w.held.now && out.Kind == granary.KindFenced
	switch {
	case gained:
		w.held.now, w.held.old = out.Value, max(w.held.now, w.held.old)
	case lost:
		w.held.now, w.held.old = 0, w.held.now
	}
}

// observe reads a register now and then until ctx ends. It learns of a new leader only when it asks, so it is the one
// that a deposed leader could tell what is no longer so.
func (w *worker) observe(ctx context.Context) error {
	for ctx.Err() == nil {
		rest := time.NewTimer(time.Duration(w.rand.IntN(8000)) * time.Millisecond)
		select {
		case <-rest.C:
		case <-ctx.Done():
		}
		s := step{Kind: "register", Do: "read"}
		o := w.h.begin(&s, true)
		call := time.Since(w.h.began)
		out, err := w.read(context.Background(), s, o.name, 0)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", s.Do, o.name, err)
		}
		if out.Kind != granary.KindNone { // nobody has made it yet
			w.h.end(o)
			continue
		}
		w.h.record(w.id, o, s, out, stamp{}, call)
	}
	return nil
}

func (w *worker) choose() step {
	switch w.rand.IntN(8) {
	case 6, 7:
		return step{Kind: "lock"}
	case 0:
		return step{Kind: "register", Do: []string{"write", "read"}[w.rand.IntN(2)], Value: w.rand.IntN(1 << 30)}
	case 1, 2, 3:
		return step{Kind: "counter", Do: []string{"append", "append", "read"}[w.rand.IntN(3)]}
	default:
		return step{Kind: "names", Do: []string{"create", "create", "unlink", "rename", "read"}[w.rand.IntN(5)], Value: w.rand.IntN(2)}
	}
}

// prepare makes the file of a register or counter, unless it is there.
func (w *worker) prepare(ctx context.Context, kind, object string) (granary.InodeID, error) {
	if kind == "names" || kind == "lock" {
		return 0, nil
	}
	if n := w.inodes[kind]; n.name == object {
		return n.inode, nil
	}
	for ctx.Err() == nil {
		r, err := w.c.Do(ctx, granary.Cred{}, &granary.Create{Parent: w.h.dir, Name: object, Type: granary.TypeRegular, Mode: 0o644})
		if err == nil {
			w.inodes[kind] = named{object, r.Attr.Inode}
			return r.Attr.Inode, nil
		}
		if !unclear(err) {
			return 0, err
		}
	}
	return 0, nil
}

// unclear reports whether an error leaves open what happened, or says that nothing could be done.
func unclear(err error) bool {
	switch granary.KindOf(err) {
	case granary.KindIndeterminate, granary.KindUnavailable, granary.KindExpired, granary.KindCanceled:
		return true
	}
	return false
}

// perform does an operation to its end. Errors that are an answer are part of the outcome.
func (w *worker) perform(s step, object string, inode granary.InodeID) (outcome, stamp, error) {
	ctx := context.Background()
	var (
		r   granary.Result
		err error
		out outcome
	)
	switch s.Kind + " " + s.Do {
	case "register write":
		x := granary.Xattr{Name: "user.value", Value: fmt.Append(nil, s.Value)}
		r, err = w.c.Do(ctx, granary.Cred{}, &granary.SetXattr{Inode: inode, Xattr: x})
	case "counter append":
		r, err = w.c.Do(ctx, granary.Cred{}, &granary.Commit{Inode: inode, AtEnd: true, Content: granary.Content{Inline: []byte{'x'}}})
		out.Value = int(r.Offset)
	case "lock take":
		var grant client.Grant
		grant, err = w.c.AcquirePaths(ctx, granary.Cred{}, granary.AcquirePaths{
			Paths: []granary.LockPath{{Base: w.h.dir, Path: object}}, Exclusive: true, TTL: granary.LockTTLMin})
		out.Value = int(grant.Token)
	case "lock release":
		err = w.c.ReleasePaths(ctx, granary.Cred{}, granary.ReleasePaths{Token: granary.FencingToken(s.Value)})
	case "lock write":
		under := client.WithFences(ctx, granary.FencingToken(s.Value))
		_, err = w.c.Do(under, granary.Cred{}, &granary.SetXattr{Inode: w.h.dir, Xattr: granary.Xattr{Name: "user.lock", Value: fmt.Append(nil, s.Value)}})
	case "names create":
		_, err = w.c.Do(ctx, granary.Cred{}, &granary.Create{
			Parent: w.h.dir, Name: nameOf(object, s.Value), Type: granary.TypeRegular, Mode: 0o644, Exclusive: true})
	case "names unlink":
		_, err = w.c.Do(ctx, granary.Cred{}, &granary.Unlink{Parent: w.h.dir, Name: nameOf(object, s.Value)})
	case "names rename":
		_, err = w.c.Do(ctx, granary.Cred{}, &granary.Rename{
			SrcParent: w.h.dir, SrcName: nameOf(object, s.Value), DstParent: w.h.dir, DstName: nameOf(object, 1-s.Value), NoReplace: true})
	default:
		out, err = w.read(ctx, s, object, inode)
		return out, stamp{}, err
	}
	st := stamp{}
	if s.Kind == "register" && err == nil {
		st = stamp{r.Index, r.Attr.Ctime}
	}
	out, err = w.outcome(out, err)
	return out, st, err
}

func nameOf(object string, which int) string { return fmt.Sprintf("%s.%d", object, which) }

func (w *worker) outcome(out outcome, err error) (outcome, error) {
	if err != nil && unclear(err) {
		return outcome{}, nil
	}
	out.Known, out.Kind = true, granary.KindOf(err)
	switch out.Kind {
	case granary.KindNone, granary.KindExists, granary.KindNotFound, granary.KindWouldBlock, granary.KindFenced:
		return out, nil
	}
	return out, err
}

// read asks for an object's state.
func (w *worker) read(ctx context.Context, s step, object string, inode granary.InodeID) (outcome, error) {
	q := &granary.Lookup{Base: inode, Xattrs: true}
	switch {
	case s.Kind == "names":
		q = &granary.Lookup{Base: w.h.dir, Path: nameOf(object, s.Value)}
	case inode == 0:
		q = &granary.Lookup{Base: w.h.dir, Path: object, Xattrs: true}
	}
	found, err := client.Ask[*granary.Found](ctx, w.c, q)
	out, err := w.outcome(outcome{}, err)
	if err != nil || !out.Known || out.Kind != granary.KindNone {
		return out, err
	}
	switch s.Kind {
	case "counter":
		out.Value = int(found.Entry.Attr.Size)
	case "register":
		for _, x := range found.Xattrs {
			if x.Name == "user.value" {
				if _, err := fmt.Sscan(string(x.Value), &out.Value); err != nil {
					return out, err
				}
			}
		}
	}
	return out, nil
}

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// history is what clients saw of a few objects that they all worked on: for each object a list of operations with
// the times of call and return. Objects are left for new ones after some hundred operations, registers after some
// seconds, so that each history stays short enough to be checked.
type history struct {
	began time.Time
	dir   granary.InodeID

	mu      sync.Mutex
	ops     map[string][]porcupine.Operation // by object
	done    int                              // operations whose outcome is known …
	unknown int                              // … and those whose outcome is not
	slowest time.Duration                    // since it was last asked for
}

// objectOps is how many operations an object gets.
const objectOps = 150

// registerFor is how long a register is used: longer than most troubles, so that who slept through one finds it as
// it was, or not.
const registerFor = 10 * time.Second

// step is one operation on an object. Out is what came back; Known is false if nobody can say whether it happened.
type step struct {
	Kind  string // of the object: "register", "counter" or "names"
	Do    string
	Value int
}

type outcome struct {
	Known bool
	Kind  granary.Kind
	Value int
}

// begin makes the directory that all objects are in.
func newHistory(t *testing.T, c *client.Client) *history {
	t.Helper()
	r, err := c.Do(t.Context(), granary.Cred{}, &granary.Create{
		Parent: granary.RootInode, Name: "history", Type: granary.TypeDirectory, Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	return &history{began: time.Now(), dir: r.Attr.Inode, ops: map[string][]porcupine.Operation{}}
}

// worker performs random operations until ctx ends.
type worker struct {
	h      *history
	c      *client.Client
	id     int
	rand   *rand.Rand
	inodes map[string]named // of the objects in use that are files, by kind
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
	object := fmt.Sprintf("%s-%d", s.Kind, w.h.epoch(s.Kind))
	inode, err := w.prepare(ctx, s.Kind, object)
	if err != nil || ctx.Err() != nil {
		return err
	}
	call := time.Since(w.h.began)
	out, err := w.perform(s, object, inode)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", s.Do, object, err)
	}
	w.h.record(w.id, object, s, out, call)
	return nil
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
		object := fmt.Sprintf("%s-%d", s.Kind, w.h.epoch(s.Kind))
		call := time.Since(w.h.began)
		out, err := w.read(context.Background(), s, object, 0)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", s.Do, object, err)
		}
		if out.Kind == granary.KindNone { // else nobody has made it yet
			w.h.record(w.id, object, s, out, call)
		}
	}
	return nil
}

func (w *worker) choose() step {
	switch w.rand.IntN(6) {
	case 0:
		return step{Kind: "register", Do: []string{"write", "read"}[w.rand.IntN(2)], Value: w.rand.IntN(1 << 30)}
	case 1, 2, 3:
		return step{Kind: "counter", Do: []string{"append", "append", "read"}[w.rand.IntN(3)]}
	default:
		return step{Kind: "names", Do: []string{"create", "create", "unlink", "rename", "read"}[w.rand.IntN(5)], Value: w.rand.IntN(2)}
	}
}

func (h *history) epoch(kind string) int {
	if kind == "register" {
		return int(time.Since(h.began) / registerFor)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return (h.done + h.unknown) / (2 * objectOps)
}

func (h *history) record(worker int, object string, s step, out outcome, call time.Duration) {
	end := time.Since(h.began)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slowest = max(h.slowest, end-call)
	op := porcupine.Operation{ClientId: worker, Input: s, Output: out, Call: int64(call), Return: int64(end)}
	if out.Known {
		h.done++
	} else {
		h.unknown++
		op.Return = math.MaxInt64
	}
	h.ops[object] = append(h.ops[object], op)
}

// count returns how many outcomes are known.
func (h *history) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.done
}

// takeSlowest returns the longest time that an operation took since the last call.
func (h *history) takeSlowest() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.slowest
	h.slowest = 0
	return s
}

// prepare makes the file of a register or counter, unless it is there.
func (w *worker) prepare(ctx context.Context, kind, object string) (granary.InodeID, error) {
	if kind == "names" {
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
func (w *worker) perform(s step, object string, inode granary.InodeID) (outcome, error) {
	ctx := context.Background()
	var (
		r   granary.Result
		err error
		out outcome
	)
	switch s.Kind + " " + s.Do {
	case "register write":
		x := granary.Xattr{Name: "user.value", Value: fmt.Append(nil, s.Value)}
		_, err = w.c.Do(ctx, granary.Cred{}, &granary.SetXattr{Inode: inode, Xattr: x})
	case "counter append":
		r, err = w.c.Do(ctx, granary.Cred{}, &granary.Commit{Inode: inode, AtEnd: true, Content: granary.Content{Inline: []byte{'x'}}})
		out.Value = int(r.Offset)
	case "names create":
		_, err = w.c.Do(ctx, granary.Cred{}, &granary.Create{
			Parent: w.h.dir, Name: nameOf(object, s.Value), Type: granary.TypeRegular, Mode: 0o644, Exclusive: true})
	case "names unlink":
		_, err = w.c.Do(ctx, granary.Cred{}, &granary.Unlink{Parent: w.h.dir, Name: nameOf(object, s.Value)})
	case "names rename":
		_, err = w.c.Do(ctx, granary.Cred{}, &granary.Rename{
			SrcParent: w.h.dir, SrcName: nameOf(object, s.Value), DstParent: w.h.dir, DstName: nameOf(object, 1-s.Value), NoReplace: true})
	default:
		return w.read(ctx, s, object, inode)
	}
	return w.outcome(out, err)
}

func nameOf(object string, which int) string { return fmt.Sprintf("%s.%d", object, which) }

func (w *worker) outcome(out outcome, err error) (outcome, error) {
	if err != nil && unclear(err) {
		return outcome{}, nil
	}
	out.Known, out.Kind = true, granary.KindOf(err)
	switch out.Kind {
	case granary.KindNone, granary.KindExists, granary.KindNotFound:
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

// check holds the history of each object against what a single copy of it would have answered.
func (h *history) check(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	undecided := 0
	for object, ops := range h.ops {
		switch porcupine.CheckOperationsTimeout(objectModel(), ops, time.Minute) {
		case porcupine.Illegal:
			t.Errorf("%s: its %d operations are not linearizable:\n%s", object, len(ops), describe(ops))
		case porcupine.Unknown:
			undecided++
		}
	}
	t.Logf("%d operations on %d objects, %d more of unknown outcome; %d histories could not be decided", h.done, len(h.ops), h.unknown, undecided)
	if undecided > len(h.ops)/20 {
		t.Errorf("%d of %d histories took too long to be checked", undecided, len(h.ops))
	}
}

func describe(ops []porcupine.Operation) string {
	text := ""
	for _, op := range ops {
		text += fmt.Sprintf("%2d %12d %20d %+v -> %+v\n", op.ClientId, op.Call, op.Return, op.Input, op.Output)
	}
	return text
}

// objectModel is one copy of an object: a register's value, a counter's length, or which of two names exist (bits).
func objectModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, input, output any) (bool, any) {
			at, s, out := state.(int), input.(step), output.(outcome)
			want, next := modelStep(at, s)
			return !out.Known || out == want, next
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

func modelStep(at int, s step) (want outcome, next int) {
	ok := outcome{Known: true}
	failed := func(k granary.Kind) (outcome, int) { return outcome{Known: true, Kind: k}, at }
	switch s.Kind + " " + s.Do {
	case "register write":
		return ok, s.Value
	case "counter append":
		return outcome{Known: true, Value: at}, at + 1
	case "register read", "counter read":
		return outcome{Known: true, Value: at}, at
	}
	bit, other := 1<<s.Value, 1<<(1-s.Value)
	there := at&bit != 0
	switch {
	case s.Do == "create" && there:
		return failed(granary.KindExists)
	case s.Do == "create":
		return ok, at | bit
	case !there:
		return failed(granary.KindNotFound)
	case s.Do == "read":
		return ok, at
	case s.Do == "unlink":
		return ok, at &^ bit
	case at&other != 0: // rename onto a name that is taken
		return failed(granary.KindExists)
	}
	return ok, at&^bit | other // it moved
}

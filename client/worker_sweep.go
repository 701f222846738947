package client

import (
	"context"
	"strings"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

const (
	sweepPage    = 256                          // entries of a directory looked at at a time
	sweepWindows = 16                           // windows of a file looked at at a time
	sweepSeen    = 100_000                      // blocks remembered as looked at
	settleFiles  = 1000                         // files between two looks at how far a sweep is, at most …
	settleEvery  = 15 * time.Second             // … and time
	rewriteHolds = 2 * granary.ExtentWindowSize // bytes of memory that it takes to write a window anew
)

// sweeper does a TaskSweep: it walks the files below an inode, in the order of their directories, and brings each to its
// policy: that of its own, or that of the nearest directory above that has one. What has none of its own is given that policy on the
// way, a directory before what is in it is listed: so what is created in it meanwhile has the right one too. Only the stack of
// directories that lead to where it is is remembered, and of the blocks those looked at last. The order is that of full paths, so a
// path says how far it is: now and then the sweeper waits until all that it has begun is committed, and its job tells the leader. A
// sweep that is interrupted goes on from there. What is moved to where it has been before has the policy of that place by then.
//
// A file of a storage class has a policy of its own, but one that follows the rule of the class and the policy of the directory.
//
// A chunk that files of several policies share is stored as the last sweep found it should be.
type sweeper struct {
	w    *Worker
	j    *job
	m    *mover
	seen map[granary.BlockID]struct{}
	// rules are those of storage classes when the sweep began: of classes whose rules are changed later there is another sweep.
	rules map[string]granary.ClassRule

	path    []string  // of the directory that it is in, from the root of the sweep
	files   int       // looked at since …
	settled time.Time // … it was last seen how far it is
}

// sweep does a TaskSweep. Blocks that cannot be read any more are left; that is no reason to look at everything again.
func (w *Worker) sweep(ctx context.Context, j *job) error {
	s := &sweeper{w: w, j: j, m: w.newMover(j), seen: map[granary.BlockID]struct{}{}, settled: time.Now()}
	err := s.m.run(ctx, func(ctx context.Context) error {
		var err error
		if s.rules, err = w.c.ClassRules(ctx); err != nil {
			return err
		}
		found, err := Ask[*granary.Found](ctx, w.c, &granary.Lookup{Base: j.task.Root})
		if granary.IsKind(err, granary.KindNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		var rest []string
		if j.task.After != "" {
			rest = strings.Split(j.task.After, "/")
		}
		return s.visit(ctx, &found.Entry.Attr, found.Entry.Attr.Policy, rest)
	})
	switch {
	case err != nil:
		return err
	case s.m.fault != nil:
		return s.m.fault
	case s.m.err != nil:
		w.log.Warn("a sweep left blocks where they are", "root", j.task.Root, "err", s.m.err)
	}
	return nil
}

// visit brings an inode, and what is below it, to a policy. Of a directory, rest is the path up to which that has been done.
func (s *sweeper) visit(ctx context.Context, a *granary.Attr, id granary.PolicyID, rest []string) error {
	p, err := s.w.c.Policy(ctx, id)
	if err != nil {
		return err
	}
	if a.Policy != id {
		_, err := s.w.c.Do(ctx, granary.Cred{}, &granary.SetPolicy{Inode: a.Inode, Policy: p, Inherited: true})
		switch granary.KindOf(err) {
		case granary.KindNone:
		case granary.KindNotFound, granary.KindStale:
			return nil // it is gone, or somebody gave it a policy, which is another sweep
		default:
			return err
		}
	}
	switch a.Type {
	case granary.TypeDirectory:
		if err := s.directory(ctx, a.Inode, id, rest); err != nil || a.Flags&granary.FlagVersions == 0 {
			return err
		}
		return s.versions(ctx, a.Inode, id)
	case granary.TypeRegular:
		return s.file(ctx, a, target{dataset: a.Inode.Dataset(), policyID: id, policy: p})
	}
	return nil
}

// directory visits what is in a directory, in the order of its keys: there the name of a directory ends in "/". The first name
// of rest is that of a directory, unless it is the only one.
func (s *sweeper) directory(ctx context.Context, dir granary.InodeID, id granary.PolicyID, rest []string) error {
	q := granary.ReadDir{Inode: dir, Limit: sweepPage}
	within := ""
	if len(rest) > 0 {
		q.After = rest[0]
	}
	if len(rest) > 1 {
		within = rest[0]
	}
	for {
		page, err := Ask[*granary.Directory](ctx, s.w.c, &q)
		if granary.IsKind(err, granary.KindNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range page.Entries {
			e := &page.Entries[i]
			q.After, q.AfterDir = e.Name, e.Attr.IsDir()
			if within != "" && sortKey(e.Name, e.Attr.IsDir()) < within+"/" {
				continue
			}
			policy, err := s.policyOf(ctx, &e.Attr, id)
			if err != nil {
				return err
			}
			var below []string
			if e.Name == within && e.Attr.IsDir() {
				below = rest[1:]
			}
			if err := s.entry(ctx, e, policy, below); err != nil {
				return err
			}
		}
		if !page.More || len(page.Entries) == 0 {
			return nil
		}
	}
}

// versions visits the earlier versions of the objects in a directory. They come last, whatever was looked at before.
func (s *sweeper) versions(ctx context.Context, dir granary.InodeID, id granary.PolicyID) error {
	q := granary.List{Root: dir, Delimiter: "/", Versions: true, Limit: sweepPage}
	for {
		page, err := Ask[*granary.Listing](ctx, s.w.c, &q)
		if granary.IsKind(err, granary.KindNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range page.Items {
			item := &page.Items[i]
			if item.IsPrefix || item.Marker || item.Latest {
				continue
			}
			policy, err := s.policyOf(ctx, &item.Attr, id)
			if err != nil {
				return err
			}
			if err := s.visit(ctx, &item.Attr, policy, nil); err != nil {
				return err
			}
		}
		if !page.Truncated {
			return nil
		}
		q.StartAfter, q.StartAt = page.Next, page.NextAt
	}
}

// policyOf returns the policy that an entry is to have in a directory of policy dir: that, or its own.
func (s *sweeper) policyOf(ctx context.Context, a *granary.Attr, dir granary.PolicyID) (granary.PolicyID, error) {
	if a.Flags&granary.FlagPolicy == 0 {
		return dir, nil
	}
	own, err := s.w.c.Policy(ctx, a.Policy)
	if err != nil || own.StorageClass == "" {
		return a.Policy, err
	}
	return s.w.c.classPolicy(ctx, dir, own.StorageClass, s.rules)
}

// sortKey is what entries of a directory are in the order of.
func sortKey(name string, dir bool) string {
	if dir {
		name += "/"
	}
	return name
}

// entry visits an entry of the directory that the sweeper is in.
func (s *sweeper) entry(ctx context.Context, e *granary.Entry, id granary.PolicyID, rest []string) error {
	s.path = append(s.path, e.Name)
	err := s.visit(ctx, &e.Attr, id, rest)
	if err == nil && !e.Attr.IsDir() {
		s.settle()
	}
	s.path = s.path[:len(s.path)-1]
	return err
}

// settle notes, now and then, that all up to where the sweeper is has been looked at, and what was to be done about it is
// committed. Once something has failed that another try may do it stays where it is.
func (s *sweeper) settle() {
	s.files++
	if s.files < settleFiles && time.Since(s.settled) < settleEvery {
		return
	}
	s.m.finish()
	s.files, s.settled = 0, time.Now()
	s.m.mu.Lock()
	fault := s.m.fault
	s.m.mu.Unlock()
	if fault != nil {
		return
	}
	path := s.path
	after := strings.Join(path, "/")
	for len(after) > granary.PathLengthMax { // a directory's name at the end says that nothing in it has been looked at
		path = path[:len(path)-1]
		after = strings.Join(path, "/")
	}
	s.j.after.Store(&after)
}

// file brings a file to its policy, some windows at a time.
func (s *sweeper) file(ctx context.Context, a *granary.Attr, t target) error {
	const step = sweepWindows * granary.ExtentWindowSize
	for off := uint64(0); off < a.Size; {
		found, err := Ask[*granary.Found](ctx, s.w.c, &granary.Lookup{Base: a.Inode, Stored: true, Layout: &granary.Range{Offset: off, Length: step}})
		if granary.IsKind(err, granary.KindNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		l := found.Layout
		if l == nil || len(l.Extents) == 0 && !l.Truncated {
			off += step
			continue
		}
		end := off + step
		if l.Truncated && len(l.Extents) > 0 { // the last window may not be whole: it is looked at next, unless it is all there is
			last := l.Extents[len(l.Extents)-1]
			end = last.Offset / granary.ExtentWindowSize * granary.ExtentWindowSize
			if end <= off {
				end = last.Offset + last.Length
			}
		}
		if err := s.layout(ctx, a.Inode, l, t, off, end); err != nil {
			return err
		}
		off = end
	}
	return nil
}

// layout brings a range of a file to its policy.
func (s *sweeper) layout(ctx context.Context, inode granary.InodeID, l *granary.Layout, t target, off, end uint64) error {
	blocks := finder(l)
	for rest := extentsIn(l.Extents, off, end); len(rest) > 0; {
		n, bound := 0, (rest[0].Offset/granary.ExtentWindowSize+1)*granary.ExtentWindowSize
		for n < len(rest) && rest[n].Offset < bound {
			n++
		}
		window := rest[:n]
		rest = rest[n:]
		if runs := runsOf(window); granary.CutFinely(len(window), len(runs)) {
			done, err := s.rewrite(ctx, inode, l, t, runs, len(window))
			if err != nil {
				return err
			}
			if done {
				continue
			}
		}
		for i := range window {
			b, v, err := blocks(&window[i])
			if err != nil {
				return err
			}
			if err := s.block(ctx, v, b, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// extentsIn returns the extents that begin in a range.
func extentsIn(all []granary.Extent, off, end uint64) []granary.Extent {
	from, to := 0, len(all)
	for from < to && all[from].Offset < off {
		from++
	}
	for to > from && all[to-1].Offset >= end {
		to--
	}
	return all[from:to]
}

// block has a block stored anew if it is not as the policy wants it.
func (s *sweeper) block(ctx context.Context, v *granary.Volume, b *granary.BlockInfo, t target) error {
	if _, ok := s.seen[b.ID]; ok {
		return nil
	}
	if len(s.seen) >= sweepSeen {
		clear(s.seen)
	}
	s.seen[b.ID] = struct{}{}
	t.anew = true
	misplaced, err := s.misplaced(ctx, v, t.policy)
	if err != nil {
		return err
	}
	codec, known := granary.CompressionNone, true
	if !block.IsUncompressed(b.RawLength, b.Location.Length) {
		codec, known = s.codec(ctx, v, b)
	}
	switch {
	case misplaced, !known, codec != t.policy.Compression && codec != granary.CompressionNone:
		return s.m.add(ctx, order{v: v, b: *b, t: t})
	case codec != t.policy.Compression:
		return s.m.add(ctx, order{v: v, b: *b, t: t, trial: true}) // it may be one that does not shrink
	}
	return nil
}

// misplaced reports whether a volume is not one that a policy gives.
func (s *sweeper) misplaced(ctx context.Context, v *granary.Volume, p granary.Policy) (bool, error) {
	if p.Auto() && !v.Auto || !p.Auto() && (v.DataShards != p.DataShards || v.ParityShards != p.ParityShards) {
		return true, nil
	}
	if v.Policy == 0 { // of an earlier format
		return p.Class != "", nil
	}
	under, err := s.w.c.Policy(ctx, v.Policy)
	return under.Class != p.Class, err
}

// codec returns how a block is compressed, as its header says; known is false if that cannot be read from its own shard.
func (s *sweeper) codec(ctx context.Context, v *granary.Volume, b *granary.BlockInfo) (codec granary.Compression, known bool) {
	head := make([]byte, block.HeaderSize)
	n, _, err := s.w.c.readShard(ctx, v, int(b.Location.Shard), head, b.Location.Offset)
	if err != nil || n < len(head) {
		return 0, false
	}
	h, err := block.ParseHeader(head)
	return h.Codec, err == nil && h.Hash == b.Hash
}

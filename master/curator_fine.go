package master

import (
	"slices"
	"time"

	"github.com/dsorchard/granary"
)

const (
	fineMax   = 100              // files to be rewritten that are kept in mind
	fineLooks = 1000             // files with marks that are looked at, at a time, for which to rewrite
	fineAgain = 6 * time.Hour    // after which windows that a rewrite has left as they are get another
	fineRetry = 10 * time.Minute // … and after which those of a task that failed do
	passedMax = 10_000           // files remembered of which windows were left

	sweptEvery = 5 * time.Second // between two entries that say how far a sweep is
)

// pass is what a rewrite of a file came to that has windows left. It is forgotten when the file is changed.
type pass struct {
	changed granary.Time
	from    uint64    // windows before this one stay as they are
	until   time.Time // until then
	failed  time.Time // … and until then all of them
}

// surveyFine returns the files with windows that are cut too finely, and that nobody has changed for a while: what is written to all
// the time would be cut up again. Of more than are kept in mind, it looks at some after the others.
func (c *curator) surveyFine(st *state, upkeep granary.Upkeep, now time.Time) []fineFile {
	young := granary.TimeOf(now) - upkeep.YoungAge
	want := func(id granary.InodeID, r *inodeRecord) (uint64, bool) {
		if r.Ctime > young || r.Nlink == 0 || r.Trim != 0 || checkWritable("rewrite", r) != nil {
			return 0, false
		}
		p, ok := c.passed[id]
		if !ok {
			return 0, true
		}
		if p.changed != r.Ctime || !now.Before(p.until) {
			delete(c.passed, id)
			return 0, true
		}
		return p.from, !now.Before(p.failed)
	}
	kept := make([]fineFile, 0, fineMax)
	for _, f := range c.fine {
		again, _ := st.fineFiles(f.Inode, 1, 1, want)
		switch {
		case len(again) == 1 && again[0].Inode == f.Inode:
			kept = append(kept, again[0])
		case c.byRoot[taskKey{kind: granary.TaskRewrite, root: f.Inode}] != nil && st.unchanged(f.Inode, f.Changed):
			kept = append(kept, fineFile{Inode: f.Inode, Changed: f.Changed}) // its worker is about to say that it is done
		}
	}
	more, next := st.fineFiles(c.fineFrom, fineLooks, fineMax-len(kept), want)
	c.fineFrom = next
	for _, f := range more {
		if !slices.ContainsFunc(kept, func(k fineFile) bool { return k.Inode == f.Inode }) {
			kept = append(kept, f)
		}
	}
	c.fine = kept
	return slices.Clone(kept)
}

// unchanged reports whether a file is there, and as it was at a time.
func (s *state) unchanged(id granary.InodeID, at granary.Time) bool {
	r := one[inodeRecord](s, keyInode(id))
	return r != nil && r.Ctime == at
}

// rewrites returns how many rewrites are under way.
func (c *curator) rewrites() (n int) {
	for k := range c.byRoot {
		if k.kind == granary.TaskRewrite {
			n++
		}
	}
	return n
}

// pass takes note of a rewrite that is over: those of its windows that are still marked are such as do not get better, or
// cannot be read, and are left alone for a long time.
func (c *curator) pass(l *lease, err string, now time.Time) {
	if len(l.task.Windows) == 0 || l.changed == 0 {
		return
	}
	if len(c.passed) >= passedMax {
		clear(c.passed)
	}
	p := c.passed[l.key.root]
	if p.changed != l.changed {
		p = pass{changed: l.changed}
	}
	p.until = now.Add(fineAgain)
	if err != "" {
		p.failed = now.Add(fineRetry)
	} else {
		p.from = slices.Max(l.task.Windows) + 1
	}
	c.passed[l.key.root] = p
}

// sweptTo returns what to propose for another worker to go on where this one is, and nil if that need not be yet.
func (c *curator) sweptTo(l *lease, r *granary.TaskReport, now time.Time) item {
	if l.key.kind != granary.TaskSweep || r.After == "" || r.After == l.after || len(r.After) > granary.PathLengthMax ||
		now.Sub(l.told) < sweptEvery && !r.Ended || r.Ended && r.Error == "" {
		return nil
	}
	l.after, l.told = r.After, now
	return &sweepAt{Inode: l.key.root, Marked: l.marked, After: r.After}
}

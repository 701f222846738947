package client

import (
	"context"
	"slices"
	"sync"

	"github.com/dsorchard/granary"
)

const (
	// segmentMost is how much of an upload is hashed, asked about and committed at once, or a row if that is less (but not less than a
	// chunk): an upload onto narrow rows has as many of them on their way, and less memory in each.
	segmentMost = 8 << 20
	// wholeMax is up to where an upload becomes a file by one Create with all of its content, or two rows if that is less.
	wholeMax = 16 << 20
	// uploadMax bounds what an upload holds in memory, beside the arena that its cutter fills: two rows of 4+2, one flushed and one
	// gathering, and a segment to go on with. With smaller rows it is less: two of them and two segments.
	uploadMax = 40 << 20
	// sprintMax is up to where an upload onto rows of no more than a segment has that. Then it gives up a segment for good: it is hardly
	// slower without, and what else a long one needs, such as the collector's garbage, has room in it.
	sprintMax = 16 << 20
)

// UploadOptions says what an upload is to become.
type UploadOptions struct {
	Cred granary.Cred
	// Create gives Parent, Name, Mode, Xattrs, Replace, MakeParents, Match …; its Content is the
	// upload's business. With Anonymous the file has no name in the end either.
	Create granary.Create
	// Size is how many bytes will come, as far as is known; at most 0 if it is not. It is only to have memory of the right size.
	Size int64
	// NoInline makes even the smallest content a block: for parts of a whole that will be put together by reference.
	NoInline bool
	// Home is the directory that dataset and policy come from, if Create.Name is a path that leads
	// out of those of Create.Parent; 0 for Create.Parent.
	Home granary.InodeID
	// Policy is that of Home, if the caller knows it; if 0, the master is asked.
	Policy granary.PolicyID
}

// Upload is a stream on its way to become a file: cut into chunks, deduplicated, written, and
// published by Finish in one step. Up to the inline limit it becomes inline content; up to wholeMax
// one Create with content; beyond that an anonymous inode that gathers Commits and is then Linked.
// Its memory is bounded: Write waits for the disks. An Upload is used by one goroutine.
type Upload struct {
	c      *Client
	o      UploadOptions
	ctx    context.Context
	cancel context.CancelFunc
	t      target
	rows   int // bytes that two rows take: what the disks are kept busy with
	most   int // bytes of a segment
	cut    *cutter
	over   bool // Finish or Abort was called

	offset   uint64     // of the next chunk
	segment  *segment   // gathers …
	arena    *arena     // … what lies here
	loan     *loan      // of the cutter's arena
	segments []*segment // sent, and held back until it is known whether one Create will do
	inode    granary.InodeID
	wg       sync.WaitGroup

	mu       sync.Mutex
	held     int        // bytes of pieces that are not settled
	lent     int        // bytes of arenas that they are in, and the cutter's
	sent     []*segment // on their way, oldest first
	err      error      // the first
	finished bool       // no more segments come: nothing is gained by waiting for a full row
	wake     chan struct{}
}

// NewUpload begins an upload. ctx governs all of it: when it ends, so does the upload.
func (c *Client) NewUpload(ctx context.Context, o UploadOptions) (*Upload, error) {
	if o.Home == 0 {
		o.Home = o.Create.Parent
	}
	home := granary.Attr{Inode: o.Home, Policy: o.Policy}
	if o.Policy == 0 {
		found, err := Ask[*granary.Found](ctx, c, &granary.Lookup{Base: o.Home})
		if err != nil {
			return nil, err
		}
		home = found.Entry.Attr
	}
	t, err := c.targetOf(ctx, &home)
	if err != nil {
		return nil, err
	}
	row := c.writer(t.policyID, t.policy).fullRow()
	u := &Upload{c: c, o: o, t: t, rows: 2 * row, most: min(max(row, granary.ChunkSizeMax), segmentMost), segment: newSegment(0), wake: make(chan struct{}, 1)}
	u.cut = newCutter(&c.arenas, t.policy.Chunking, o.NoInline, u.most)
	u.cut.expect = int(min(max(o.Size, 0), int64(u.most)))
	u.cut.get = u.borrow
	u.ctx, u.cancel = context.WithCancel(ctx)
	return u, nil
}

// targetOf says where content of an inode, or of what is created in it, goes.
func (c *Client) targetOf(ctx context.Context, a *granary.Attr) (target, error) {
	p, err := c.Policy(ctx, a.Policy)
	if err != nil {
		return target{}, err
	}
	return target{dataset: a.Inode.Dataset(), policyID: a.Policy, policy: p}, nil
}

// Write adds to the stream. It keeps nothing of p.
func (u *Upload) Write(p []byte) (int, error) {
	if u.over {
		return 0, granary.Errorf(granary.KindInvalid, "upload", u.o.Create.Name, "written to after its end")
	}
	if err := u.failure(); err != nil {
		return 0, err
	}
	if err := u.cut.write(p, u.chunk); err != nil {
		return 0, err
	}
	return len(p), nil
}

// chunk takes a chunk from the cutter. What is sent together lies in one arena, so that its memory is free again when that is settled.
func (u *Upload) chunk(chunk []byte, in *arena) error {
	if u.offset+uint64(len(chunk)) > granary.FileSizeMax {
		return granary.Errorf(granary.KindFileTooLarge, "upload", u.o.Create.Name, "beyond %d bytes", uint64(granary.FileSizeMax))
	}
	if u.segment.size > 0 && (u.arena != in || u.segment.size+len(chunk) > u.most) {
		if err := u.send(); err != nil {
			return err
		}
	}
	if err := u.reserve(len(chunk)); err != nil {
		return err
	}
	p := &piece{plain: chunk, arena: in.hold(), raw: uint32(len(chunk))}
	u.arena = in
	if u.segment.loan == nil {
		u.segment.loan = u.loan
		u.mu.Lock()
		u.loan.users++
		u.mu.Unlock()
	}
	u.segment.pieces = append(u.segment.pieces, p)
	u.segment.size += len(chunk)
	before := u.lentMax()
	u.offset += uint64(len(chunk))
	u.c.arenas.shed(before - u.lentMax())
	return nil
}

// Finish publishes the file in one step and returns what Create or Link did. The xattrs, such as an
// ETag known only now, are added to those of Create: they are asked for when all that was written is durable, perhaps more than once. nil: none are.
func (u *Upload) Finish(xattrs func() ([]granary.Xattr, error)) (granary.Result, error) {
	if u.over {
		return granary.Result{}, granary.Errorf(granary.KindInvalid, "upload", u.o.Create.Name, "ended before")
	}
	r, err := u.finish(func() ([]granary.Xattr, error) {
		if xattrs == nil {
			return u.o.Create.Xattrs, nil
		}
		last, err := xattrs()
		return slices.Concat(u.o.Create.Xattrs, last), err
	})
	u.end(err == nil)
	return r, err
}

func (u *Upload) finish(xattrs func() ([]granary.Xattr, error)) (granary.Result, error) {
	if err := u.failure(); err != nil {
		return granary.Result{}, err
	}
	if n := len(u.cut.coming()); u.offset == 0 && (n == 0 || !u.o.NoInline && n <= u.t.policy.InlineMax) {
		var content *granary.Content
		if n > 0 {
			content = &granary.Content{Inline: slices.Clone(u.cut.coming())}
		}
		return u.create(content, xattrs)
	}
	if err := u.cut.finish(u.chunk); err != nil {
		return granary.Result{}, err
	}
	if err := u.send(); err != nil {
		return granary.Result{}, err
	}
	if u.inode == 0 {
		return u.whole(xattrs)
	}
	return u.link(xattrs)
}

// create makes the file with all of its content.
func (u *Upload) create(content *granary.Content, xattrs func() ([]granary.Xattr, error)) (granary.Result, error) {
	op := u.o.Create
	op.Type, op.Content = granary.TypeRegular, content
	var err error
	if op.Xattrs, err = xattrs(); err != nil {
		return granary.Result{}, err
	}
	return u.c.Do(u.ctx, u.o.Cred, &op)
}

// whole creates the file when its content is durable.
func (u *Upload) whole(xattrs func() ([]granary.Xattr, error)) (granary.Result, error) {
	u.wg.Wait()
	if err := u.failure(); err != nil {
		return granary.Result{}, err
	}
	var pieces []*piece
	for _, s := range u.segments {
		pieces = append(pieces, s.pieces...)
	}
	unique(pieces)
	return u.c.settle(u.ctx, &u.t, pieces, func(chunks []granary.Chunk) (granary.Result, error) {
		content := contentOf(0, pieces, chunks, u.c.parity(&u.t))
		return u.create(&content, xattrs)
	})
}

// link waits for the commits and gives the inode its name.
func (u *Upload) link(last func() ([]granary.Xattr, error)) (granary.Result, error) {
	u.mu.Lock()
	u.finished = true
	sent := slices.Clone(u.sent)
	u.mu.Unlock()
	for _, s := range sent { // whoever waits with patience is woken by the rows' end
		<-s.stored
		for _, b := range s.blocks {
			b.w.hurry(b)
		}
	}
	u.wg.Wait()
	if err := u.failure(); err != nil {
		return granary.Result{}, err
	}
	xattrs, err := last()
	if err != nil {
		return granary.Result{}, err
	}
	c := &u.o.Create
	if c.Anonymous {
		return u.dress(xattrs)
	}
	return u.c.Do(u.ctx, u.o.Cred, &granary.Link{
		Inode: u.inode, Parent: c.Parent, Name: c.Name, Replace: c.Replace && !c.Exclusive, MakeParents: c.MakeParents,
		Xattrs: xattrs, Match: c.Match, Key: c.Key,
	})
}

// dress sets attributes on a file that stays nameless, and returns what it has become.
func (u *Upload) dress(xattrs []granary.Xattr) (granary.Result, error) {
	for _, x := range xattrs {
		if _, err := u.c.Do(u.ctx, u.o.Cred, &granary.SetXattr{Inode: u.inode, Xattr: x}); err != nil {
			return granary.Result{}, err
		}
	}
	found, err := Ask[*granary.Found](u.ctx, u.c, &granary.Lookup{Base: u.inode})
	if err != nil {
		return granary.Result{}, err
	}
	return granary.Result{Attr: found.Entry.Attr, Created: true}, nil
}

// Abort gives the upload up. Nothing of it remains visible. After Finish it does nothing.
func (u *Upload) Abort() {
	if u.over {
		return
	}
	u.fail(granary.Errorf(granary.KindCanceled, "upload", u.o.Create.Name, "aborted"))
	u.end(false)
}

// end gives back all that the upload holds, and the anonymous inode if it was not published.
func (u *Upload) end(published bool) {
	u.over = true
	u.cancel()
	u.wg.Wait()
	u.cut.release()
	u.c.drop(u.segment.pieces)
	for _, s := range u.segments {
		u.c.drop(s.pieces)
	}
	u.c.budget.give(u.held)
	u.c.lending.give(u.lent)
	for _, s := range u.sent {
		u.c.drop(s.pieces) // a second time for those in segments: drop is idempotent
	}
	if u.inode == 0 || published {
		return
	}
	inode := u.inode
	u.c.spawn(func() {
		_, err := u.c.Do(u.c.ctx, u.o.Cred, &granary.Release{Inode: inode})
		if err != nil && u.c.ctx.Err() == nil {
			u.c.log.Info("the remains of an upload go with the session", "inode", inode, "err", err)
		}
	})
}

// fail records the first error and stops the rest.
func (u *Upload) fail(err error) {
	u.mu.Lock()
	if u.err == nil {
		u.err = err
	}
	u.mu.Unlock()
	u.cancel()
	u.signal()
}

// failure returns why the upload cannot go on, if so.
func (u *Upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil && u.ctx.Err() != nil {
		u.err = granary.Errorf(granary.KindCanceled, "upload", u.o.Create.Name, "%w", u.ctx.Err())
	}
	return u.err
}

// signal wakes a Write that waits for memory.
func (u *Upload) signal() {
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

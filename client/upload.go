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

// segment is a run of an upload's pieces that is committed at once.
type segment struct {
	offset uint64
	size   int
	loan   *loan // of the arena that all of it lies in
	pieces []*piece
	stored chan struct{} // closed when all pieces are in rows …
	blocks []*placed     // … and these are the blocks that they had then
}

// loan is an arena that an upload needs for its segments, or for its cutter: others that have the same chunks on their way may need it for longer.
type loan struct{ size, users int }

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

func newSegment(offset uint64) *segment {
	return &segment{offset: offset, stored: make(chan struct{})}
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
	u.offset += uint64(len(chunk))
	return nil
}

// heldMax returns how many bytes an upload may hold: what is held back, and what is not sent, has room in it.
func (u *Upload) heldMax() int { return min(u.rows+2*u.most, uploadMax) }

// reserve waits until the upload may hold n bytes more. One that holds nothing may always hold a chunk, so that each of them goes on.
func (u *Upload) reserve(n int) error {
	return u.await(func() (fits bool, freed <-chan struct{}) {
		if u.held > 0 && u.held+n > u.heldMax() {
			return false, nil
		}
		if fits, freed = u.c.budget.take(n, u.held == 0); fits {
			u.held += n
		}
		return fits, freed
	})
}

// borrow returns an arena as soon as the upload may have one more: what its chunks do not fill of arenas, and the one that its cutter fills, may be
// two segments more than they. When all chunks are settled it has but the cutter's last arena, and may always have another.
func (u *Upload) borrow(size int) (*arena, error) {
	err := u.await(func() (fits bool, freed <-chan struct{}) {
		return u.lent+size <= max(u.heldMax()+2*u.most, 2*arenaMax), nil
	})
	if err != nil {
		return nil, err
	}
	a := u.c.arenas.get(size)
	u.mu.Lock()
	u.giveBack(u.loan)
	u.loan = &loan{size: cap(a.memory), users: 1}
	u.lent += u.loan.size
	u.mu.Unlock()
	return a, nil
}

// giveBack ends one use of a loan; of none, it does nothing. u.mu is held.
func (u *Upload) giveBack(l *loan) {
	if l == nil {
		return
	}
	if l.users--; l.users == 0 {
		u.lent -= l.size
	}
}

// await waits until there is room for more in memory: fits says so, or when to ask it again if not when something of the upload is settled. It is
// called with u.mu held.
func (u *Upload) await(fits func() (bool, <-chan struct{})) error {
	for {
		u.mu.Lock()
		if u.err != nil {
			u.mu.Unlock()
			return u.err
		}
		ok, freed := fits()
		u.mu.Unlock()
		if ok {
			return nil
		}
		if err := u.yield(); err != nil {
			return err
		}
		u.nudge()
		select {
		case <-u.wake:
		case <-freed:
		case <-u.ctx.Done():
			return u.failure()
		}
	}
}

// yield sends and commits what has been gathered and held back, before a wait for memory: who waits for what others hold while he keeps his
// own might wait for ever, and what waits anyway may as well be on its way.
func (u *Upload) yield() error {
	switch {
	case u.segment.size == 0 && len(u.segments) == 0:
		return nil
	case u.segment.size == 0:
		return u.commit()
	}
	if err := u.send(); err != nil || len(u.segments) == 0 {
		return err
	}
	return u.commit()
}

// nudge has the oldest row flushed that this upload has bytes in, although it is not full, if
// nothing else would set them free: rows wider than the memory an upload may have.
func (u *Upload) nudge() {
	u.mu.Lock()
	sent := slices.Clone(u.sent)
	u.mu.Unlock()
	for _, s := range sent {
		select {
		case <-s.stored:
		default:
			return // more is coming to the row
		}
	}
	for _, s := range sent {
		for _, b := range s.blocks {
			select {
			case <-b.done:
			default:
				b.w.hurry(b)
				return
			}
		}
	}
}

// send has the gathered segment stored. While one Create may still do for the whole file, its commit is held back.
func (u *Upload) send() error {
	s := u.segment
	u.segment = newSegment(u.offset)
	u.segments = append(u.segments, s)
	u.mu.Lock()
	u.sent = append(u.sent, s)
	u.mu.Unlock()
	u.wg.Go(func() {
		defer u.signal()
		defer close(s.stored)
		if err := u.c.store(u.ctx, &u.t, s.pieces); err != nil {
			u.fail(err)
		}
		for _, p := range s.pieces {
			if p.block != nil {
				s.blocks = append(s.blocks, p.block)
			}
		}
	})
	if u.inode == 0 && u.offset <= uint64(min(wholeMax, u.rows)) {
		return nil
	}
	return u.commit()
}

// commit starts the commits of the segments sent so far, after making the anonymous inode.
func (u *Upload) commit() error {
	if u.inode == 0 {
		op := u.o.Create
		op.Anonymous, op.Content, op.Match, op.Exclusive, op.Replace, op.MakeParents, op.Key = true, nil, nil, false, false, false, false
		op.Parent, op.Name, op.Type = u.o.Home, "", granary.TypeRegular
		// Attributes come with the name: what they say of the file, such as a lock, may hold from then on. But the master wants to know of any
		// content what it is.
		op.Xattrs = slices.DeleteFunc(slices.Clone(op.Xattrs), func(x granary.Xattr) bool { return !granary.IsEncryption(x.Name) })
		r, err := u.c.Do(u.ctx, u.o.Cred, &op)
		if granary.IsKind(err, granary.KindNotFound) && u.o.Home != u.o.Create.Parent { // pruned, to be made again by Link
			op.Parent = u.o.Home.Dataset().Root()
			r, err = u.c.Do(u.ctx, u.o.Cred, &op)
		}
		if err != nil {
			u.fail(err)
			return u.failure()
		}
		u.inode = r.Attr.Inode
	}
	for _, s := range u.segments {
		u.wg.Go(func() {
			if err := u.settle(s); err != nil {
				u.fail(err)
			}
		})
	}
	u.segments = nil
	return nil
}

// settle commits one segment as soon as it is durable, and gives back its memory.
func (u *Upload) settle(s *segment) error {
	<-s.stored
	if err := u.failure(); err != nil {
		return err // the segment's memory is given back by end
	}
	if err := u.patience(s); err != nil {
		return err
	}
	_, err := u.c.settle(u.ctx, &u.t, s.pieces, func(chunks []granary.Chunk) (granary.Result, error) {
		return u.c.Do(u.ctx, u.o.Cred, &granary.Commit{Inode: u.inode, Content: contentOf(s.offset, s.pieces, chunks, u.c.parity(&u.t))})
	})
	if err != nil {
		return err
	}
	u.c.drop(s.pieces)
	u.mu.Lock()
	u.held -= s.size
	u.giveBack(s.loan)
	u.c.budget.give(s.size)
	u.sent = slices.DeleteFunc(u.sent, func(o *segment) bool { return o == s })
	u.mu.Unlock()
	u.signal()
	return nil
}

// patience waits for the segment's rows without hurrying them, until the end of the stream: rows
// that fill up waste less of the disks.
func (u *Upload) patience(s *segment) error {
	for _, b := range s.blocks {
		if u.last() {
			return nil
		}
		select {
		case <-b.done:
		case <-u.ctx.Done():
			return u.failure()
		}
	}
	return nil
}

// last reports whether no more segments come.
func (u *Upload) last() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.finished
}

// contentOf is the content of consecutive pieces from offset on, of which chunks has the distinct ones.
func contentOf(offset uint64, pieces []*piece, chunks []granary.Chunk, parity uint8) granary.Content {
	content := granary.Content{Chunks: chunks, Parity: parity}
	index := make(map[granary.Hash]uint32, len(chunks))
	for i := range chunks {
		index[chunks[i].Hash] = uint32(i)
	}
	for _, p := range pieces {
		content.Extents = append(content.Extents, granary.ExtentWrite{Offset: offset, Length: uint64(p.raw), Chunk: index[p.hash]})
		offset += uint64(p.raw)
	}
	content.Size = offset
	return content
}

// Finish publishes the file in one step and returns what Create or Link did. The xattrs, such as an
// ETag known only now, are added to those of Create.
func (u *Upload) Finish(xattrs []granary.Xattr) (granary.Result, error) {
	if u.over {
		return granary.Result{}, granary.Errorf(granary.KindInvalid, "upload", u.o.Create.Name, "ended before")
	}
	r, err := u.finish(slices.Concat(u.o.Create.Xattrs, xattrs))
	u.end(err == nil)
	return r, err
}

func (u *Upload) finish(xattrs []granary.Xattr) (granary.Result, error) {
	if err := u.failure(); err != nil {
		return granary.Result{}, err
	}
	op := u.o.Create
	op.Type, op.Xattrs, op.Content = granary.TypeRegular, xattrs, nil
	if n := len(u.cut.coming()); u.offset == 0 && (n == 0 || !u.o.NoInline && n <= u.t.policy.InlineMax) {
		if n > 0 {
			op.Content = &granary.Content{Inline: slices.Clone(u.cut.coming())}
		}
		return u.c.Do(u.ctx, u.o.Cred, &op)
	}
	if err := u.cut.finish(u.chunk); err != nil {
		return granary.Result{}, err
	}
	if err := u.send(); err != nil {
		return granary.Result{}, err
	}
	if u.inode == 0 {
		return u.whole(&op)
	}
	return u.link(xattrs)
}

// whole creates the file with all of its content.
func (u *Upload) whole(op *granary.Create) (granary.Result, error) {
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
		op.Content = &content
		return u.c.Do(u.ctx, u.o.Cred, op)
	})
}

// link waits for the commits and gives the inode its name.
func (u *Upload) link(xattrs []granary.Xattr) (granary.Result, error) {
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

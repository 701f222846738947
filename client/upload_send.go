package client

import (
	"slices"

	"github.com/dsorchard/granary"
)

// segment is a run of an upload's pieces that is committed at once.
type segment struct {
	offset uint64
	size   int
	loan   *loan // of the arena that all of it lies in
	pieces []*piece
	stored chan struct{} // closed when all pieces are in rows …
	blocks []*placed     // … and these are the blocks that they had then
}

func newSegment(offset uint64) *segment {
	return &segment{offset: offset, stored: make(chan struct{})}
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
// that fill up waste less of the disks. A Write that waits for memory is told of each row: it may be waiting for the next one, which it hurries.
func (u *Upload) patience(s *segment) error {
	for _, b := range s.blocks {
		if u.last() {
			return nil
		}
		select {
		case <-b.done:
			u.signal()
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

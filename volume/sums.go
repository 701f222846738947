package volume

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/erasure"
	"github.com/dsorchard/granary/internal/block"
)

// sealSums are the sums of a shard as it was read when it was sealed.
type sealSums struct {
	length uint64
	sums   []byte
}

// keepSums remembers the sums of a shard that is being sealed: who seals the others asks for them next, and nothing is read again.
func (sh *shard) keepSums(length uint64, sums []byte) { sh.sums.Store(&sealSums{length, sums}) }

// Sums returns the sums of a sealed shard, and, if that is asked of a data shard, verifies its blocks by their frames. KindInvalid says that
// the shard is not sealed, or is shorter.
func (s *Store) Sums(ctx context.Context, q *granary.SumShard) (*granary.ShardSums, error) {
	ref := q.Ref
	d, err := s.enter(opSums, ref)
	if err != nil {
		return nil, err
	}
	defer s.exit()
	sh, f, err := d.open(opSums, shardKey{ref.Volume, ref.Shard})
	if err != nil {
		return nil, err
	}
	defer d.files.release(f)
	st, err := sh.load(opSums, f)
	switch {
	case err != nil:
		return nil, err
	case !st.slot.Sealed:
		return nil, granary.Errorf(granary.KindInvalid, opSums, ref.String(), "the shard is not sealed")
	case st.slot.Length < q.Length:
		return nil, granary.Errorf(granary.KindInvalid, opSums, ref.String(), "the shard is sealed at %d, and not longer than %d", st.slot.Length, q.Length)
	}
	a := &granary.ShardSums{}
	if kept := sh.sums.Swap(nil); kept != nil && kept.length == q.Length {
		a.Sums = kept.sums
	} else if a.Sums, err = sh.sum(ctx, f, q.Length); err != nil {
		return nil, sh.unread(ctx, err)
	}
	if q.Blocks {
		w := &blockWalk{ctx: ctx, f: f, length: q.Length}
		if err := w.run(); err != nil {
			return nil, sh.unread(ctx, err)
		}
		a.Bad = w.bad
	}
	return a, nil
}

// unread makes the error of a shard of which something could not be read.
func (sh *shard) unread(ctx context.Context, err error) error {
	subject := sh.disk.ref(sh.key).String()
	switch {
	case ctx.Err() != nil:
		return interrupted(opSums, subject, ctx.Err())
	case errors.Is(err, io.EOF):
		reason := "the file ends before its stream"
		sh.damage(reason)
		return granary.Errorf(granary.KindCorrupt, opSums, subject, "disk %s: %s", sh.disk.dir, reason)
	}
	sh.noteRead(err)
	return sh.disk.failure(opSums, sh.key, err)
}

// sum reads the stream.
func (sh *shard) sum(ctx context.Context, f *openFile, length uint64) ([]byte, error) {
	summer := erasure.NewSummer()
	err := eachPage(f, length, func(uint64, int) error { return ctx.Err() }, func(_ uint64, page []byte) error {
		summer.Add(page)
		return nil
	})
	return summer.Sums(), err
}

// blockWalk goes through the stream of a data shard from block to block. Blocks follow one another, from the beginning of a row on,
// which is a multiple of granary.RowAlignment; what is between is zeros.
type blockWalk struct {
	ctx    context.Context
	f      *openFile
	length uint64
	bad    []uint32
	buf    []byte
}

// run finds what is neither a sound block nor zeros. Behind such bytes it goes on where a row may begin.
func (w *blockWalk) run() error {
	w.buf = make([]byte, block.StoredSizeMax(granary.ChunkSizeMax))
	for off := uint64(0); off < w.length; {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		p, err := w.read(off, block.HeaderSize)
		if err != nil {
			return err
		}
		if h, err := block.ParseHeader(p); err == nil {
			next := off + uint64(h.StoredLength)
			if p, err = w.read(off, int(h.StoredLength)); err != nil {
				return err
			}
			if block.Check(p, h.Hash) != nil {
				w.spoilt(off, next)
			}
			off = next
			continue
		}
		row := (off + granary.RowAlignment) &^ (granary.RowAlignment - 1)
		if p, err = w.read(off, int(row-off)); err != nil {
			return err
		}
		for _, b := range p {
			if b != 0 {
				w.spoilt(off, row)
				break
			}
		}
		off = row
	}
	return nil
}

// read reads bytes of the stream, as far as it goes.
func (w *blockWalk) read(off uint64, size int) ([]byte, error) {
	size = int(min(uint64(size), w.length-off))
	if n, err := w.f.ReadAt(w.buf[:size], streamOffset+int64(off)); n < size {
		return nil, fmt.Errorf("at offset %d: %w", off, err)
	}
	return w.buf[:size], nil
}

// spoilt notes the pieces of a range.
func (w *blockWalk) spoilt(from, to uint64) {
	for n := uint32(from / erasure.SumPiece); uint64(n)*erasure.SumPiece < min(to, w.length); n++ {
		if len(w.bad) == 0 || w.bad[len(w.bad)-1] < n {
			w.bad = append(w.bad, n)
		}
	}
}

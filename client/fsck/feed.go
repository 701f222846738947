package fsck

import (
	"context"

	"github.com/dsorchard/granary"
)

// feed verifies the live blocks of a data shard as its bytes come along.
type feed struct {
	s     *sealedCheck
	shard uint8

	page []granary.StoredBlock // not verified yet
	from uint64                // where the next page begins
	more bool                  // there may be one

	carry []byte // of a block that begins in an earlier stripe
	short bool   // bytes of it were not to be had
	wrong []span // where blocks did not verify
}

// take verifies the blocks that end in n bytes from off on; data is nil if they are not to be had.
func (f *feed) take(ctx context.Context, off uint64, n int, data []byte) error {
	end := off + uint64(n)
	for {
		b, err := f.peek(ctx)
		if err != nil || b == nil {
			return err
		}
		at := &b.Block.Location
		last := at.Offset + uint64(at.Length)
		if at.Offset >= end {
			return nil
		}
		from, to := max(at.Offset, off), min(last, end)
		if data == nil || from > to || uint64(len(f.carry)) != from-at.Offset {
			f.short = true
		}
		if !f.short && (last > end || len(f.carry) > 0) {
			f.carry = append(f.carry, data[from-off:to-off]...)
		}
		if last > end {
			return nil
		}
		stored := f.carry
		if !f.short && len(stored) == 0 {
			stored = data[from-off : to-off]
		}
		if err := f.verify(ctx, b, stored); err != nil {
			return err
		}
		f.carry, f.short = f.carry[:0], false
		f.page = f.page[1:]
	}
}

func (f *feed) verify(ctx context.Context, b *granary.StoredBlock, stored []byte) error {
	c := f.s.c
	c.counted(1, 0)
	if !f.short && c.verify(&b.Block, stored) == nil {
		return nil
	}
	at := &b.Block.Location
	f.wrong = append(f.wrong, span{at.Offset, at.Offset + uint64(at.Length)})
	return c.suspect(ctx, f.s.v, b)
}

// peek returns the next block, or nil if there is none.
func (f *feed) peek(ctx context.Context) (*granary.StoredBlock, error) {
	for len(f.page) == 0 {
		if !f.more {
			return nil, nil
		}
		q := &granary.ListBlocks{Volume: f.s.v.ID, Shard: f.shard, From: f.from}
		page, err := ask[*granary.Blocks](ctx, f.s.c, q)
		switch {
		case granary.IsKind(err, granary.KindNotFound):
			return nil, errGone
		case err != nil:
			return nil, err
		}
		f.more = page.More && len(page.Blocks) > 0
		for _, b := range page.Blocks {
			if b.Block.Location.Shard != f.shard {
				f.more = false
				break
			}
			f.page = append(f.page, b)
			f.from = b.Block.Location.Offset + 1
		}
	}
	return &f.page[0], nil
}

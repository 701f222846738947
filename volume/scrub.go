package volume

import (
	"context"

	"github.com/dsorchard/granary"
)

// ReadSealed reads a range of a sealed shard as ReadAt does, and compares it with the page table made at its seal:
// KindCorrupt says that the bytes are not those that were sealed, and the shard is Damaged from then on, until it is built anew.
// KindInvalid says that the shard is not sealed.
func (s *Store) ReadSealed(ctx context.Context, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error) {
	return 0, 0, granary.Errorf(granary.KindNotSupported, opRead, ref.String(), "")
}

// Scrub begins a pass of a disk now, unless one is under way. Its progress is in Usage, and what it finds in List and the heartbeats.
func (s *Store) Scrub(ctx context.Context, disk granary.DiskID) error {
	return granary.Errorf(granary.KindNotSupported, opScrub, string(disk), "")
}

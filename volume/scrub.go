package volume

import (
	"context"

	"github.com/dsorchard/granary"
)

// Scrub begins a pass of a disk now, unless one is under way. Its progress is in Usage, and what it finds in List and the heartbeats.
func (s *Store) Scrub(ctx context.Context, disk granary.DiskID) error {
	return granary.Errorf(granary.KindNotSupported, opScrub, string(disk), "")
}

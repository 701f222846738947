package volume

import (
	"context"
	"io"

	"github.com/dsorchard/granary"
)

// Build makes a whole shard of the stream that r gives, b.Length bytes: see granary.Build. Pages of zeros become holes. When it
// returns nil the shard is durable, sealed, and there under its name; a shard that was there before is replaced in that moment, and stays
// what it was if anything fails. An r that ends early is KindUnavailable.
func (s *Store) Build(ctx context.Context, b *granary.Build, r io.Reader) error {
	return granary.Errorf(granary.KindNotSupported, opBuild, b.Ref.String(), "")
}

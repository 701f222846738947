package volume

import (
	"context"
	"io"

	"github.com/dsorchard/granary"
)

// Build is Store.Build at addr.
func (c *Client) Build(ctx context.Context, addr string, b *granary.Build, r io.Reader) error {
	if s := c.local(addr); s != nil {
		return s.Build(ctx, b, r)
	}
	return granary.Errorf(granary.KindNotSupported, opBuild, b.Ref.String(), "")
}

// ReadSealed is Store.ReadSealed at addr.
func (c *Client) ReadSealed(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error) {
	if s := c.local(addr); s != nil {
		return s.ReadSealed(ctx, ref, p, off)
	}
	return 0, 0, granary.Errorf(granary.KindNotSupported, opRead, ref.String(), "")
}

// Scrub is Store.Scrub at addr.
func (c *Client) Scrub(ctx context.Context, addr string, disk granary.DiskID) error {
	if s := c.local(addr); s != nil {
		return s.Scrub(ctx, disk)
	}
	return granary.Errorf(granary.KindNotSupported, opScrub, string(disk), "")
}

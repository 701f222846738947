package volume

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/dsorchard/granary"
)

// Build is Store.Build at addr. Pages of zeros are not sent.
func (c *Client) Build(ctx context.Context, addr string, b *granary.Build, r io.Reader) error {
	if s := c.local(addr); s != nil {
		return s.Build(ctx, b, r)
	}
	if err := checkBuild(b); err != nil {
		return err
	}
	subject := b.Ref.String()
	path := fmt.Sprintf("%s/build?epoch=%d&k=%d&m=%d&length=%d", shardPath(b.Ref), b.Epoch, b.DataShards, b.ParityShards, b.Length)
	body := newRecordBody(newStreamPieces(b, r), b.Length)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.scheme+"://"+addr+path, body)
	if err != nil {
		return granary.Errorf(granary.KindInvalid, opBuild, subject, "%w", err)
	}
	req.Header.Set("Expect", "100-continue")
	err = c.call(req, opBuild, subject)
	if broken := body.failure(); broken != nil {
		return broken
	}
	return err
}

// ReadSealed is Store.ReadSealed at addr.
func (c *Client) ReadSealed(ctx context.Context, addr string, ref granary.ShardRef, p []byte, off int64) (n int, length uint64, err error) {
	if s := c.local(addr); s != nil {
		return s.ReadSealed(ctx, ref, p, off)
	}
	return c.read(ctx, addr, ref, p, off, "&sealed=1")
}

// Scrub is Store.Scrub at addr.
func (c *Client) Scrub(ctx context.Context, addr string, disk granary.DiskID) error {
	if s := c.local(addr); s != nil {
		return s.Scrub(ctx, disk)
	}
	req, err := c.request(ctx, opScrub, http.MethodPost, addr, fmt.Sprintf("/v1/disks/%s/scrub", disk), string(disk), nil)
	if err != nil {
		return err
	}
	return c.call(req, opScrub, string(disk))
}

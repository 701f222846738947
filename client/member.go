package client

import (
	"context"
	"errors"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// memberPause lies between two questions about a change of members that is on its way.
const memberPause = 200 * time.Millisecond

// ChangeMember changes the group of masters, and returns when it is done. While the change is on its way, and for
// as long as that takes, report is told how far it is. It ends early with ctx; repeating it then goes on.
func (c *Client) ChangeMember(ctx context.Context, change *granary.MemberChange, report func(error)) error {
	for {
		var last error
		err := c.lead(ctx, "change member", func(ctx context.Context, m wire.Master) error {
			last = m.ChangeMember(ctx, change)
			return last
		})
		var notLeader *granary.NotLeader
		switch {
		case err == nil:
			return nil
		case granary.IsKind(err, granary.KindBusy) && ctx.Err() == nil:
			report(err)
			sleep(ctx, memberPause)
		case last != nil && ctx.Err() == nil && !errors.As(last, &notLeader):
			return last // it says more than that no leader was found
		default:
			return err
		}
	}
}

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

func diskForgetCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "forget DISK",
		Short: "Remove a retired or lost disk from the metadata, once it holds nothing",
		Args:  exactArgs("DISK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				d, err := diskOf(ctx, c, args[0])
				if err != nil {
					return err
				}
				if d.Up {
					return granary.Errorf(granary.KindBusy, "disk forget", string(d.ID),
						"server %s still has the disk: take it out of its flags and start it again, or the disk will register again", d.Addr)
				}
				if _, err := c.Do(ctx, granary.Cred{}, &granary.ForgetDisk{Disk: d.ID}); err != nil {
					return err
				}
				list, err := listDisks(ctx, c)
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), list, list.table)
			})
		},
	}
}

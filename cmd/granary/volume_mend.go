package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

func volumeMoveCommand(env *environment) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "move VOLUME",
		Short: "Store the live blocks of a volume anew in others; then it is dropped",
		Args:  exactArgs("VOLUME"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return env.withVolume(cmd, args[0], func(ctx context.Context, c *client.Client, id granary.VolumeID) (*granary.Volume, error) {
			r, err := c.Do(ctx, granary.Cred{}, &granary.MoveVolume{Volume: id})
			if err != nil || !wait {
				return r.Volume, err
			}
			return awaitVolume(ctx, c, cmd.ErrOrStderr(), "to be moved", r.Volume, func(v *granary.Volume) uint64 { return v.LiveBytes })
		})
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "return when no live block is left in it")
	return cmd
}

func volumeRepairCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "repair VOLUME",
		Short: "Verify a volume now, and return when all of its shards are whole",
		Long: `Verify every shard of a sealed volume at its server, now, and wait until those that
are damaged or lost have been rebuilt: which the cluster does by itself, and begins at once.`,
		Args: exactArgs("VOLUME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				volumes, err := chosenVolumes(ctx, c, args)
				if err != nil {
					return err
				}
				if state := volumes[0].State; state != granary.VolumeSealed.String() && state != granary.VolumeSealing.String() {
					return granary.Errorf(granary.KindInvalid, "volume repair", args[0], "it is %s: only what is sealed can be verified", state)
				}
				list := verifyVolumes(ctx, volumes)
				if err := env.print(cmd.ErrOrStderr(), list, list.table); err != nil {
					return err
				}
				return env.awaitWhole(ctx, c, cmd, &volumes[0], list)
			})
		},
	}
}

// awaitWhole waits until all shards of a volume are up and verify.
func (env *environment) awaitWhole(ctx context.Context, c *client.Client, cmd *cobra.Command, r *volumeReport, list verifyReports) error {
	missing := func(v *granary.Volume) uint64 {
		return uint64(len(v.Shards)-v.DataShards-v.Redundancy()) * v.Watermark
	}
	for list.failure() != nil {
		if err := again(ctx); err != nil { // first: what was found has to be reported
			return err
		}
		v, err := getVolume(ctx, c, r.ID)
		if err != nil {
			return err
		}
		if v.Redundancy() < 0 {
			return granary.Errorf(granary.KindCorrupt, "volume repair", fmt.Sprint(v.ID), "%d more shards are needed to rebuild what is lost", -v.Redundancy())
		}
		v, err = awaitVolume(ctx, c, cmd.ErrOrStderr(), "to be rebuilt", v, missing)
		if err != nil {
			return err
		}
		*r = volumeReportOf(v)
		list = verifyVolumes(ctx, volumeReports{*r})
	}
	return env.print(cmd.OutOrStdout(), r, r.show)
}

// awaitVolume returns a volume as it is when nothing of something is left in it.
func awaitVolume(ctx context.Context, c *client.Client, out io.Writer, what string, v *granary.Volume, left func(*granary.Volume) uint64) (*granary.Volume, error) {
	g := newGauge(out)
	defer g.done()
	for n := left(v); n > 0; n = left(v) {
		g.left(what, n)
		if err := again(ctx); err != nil {
			return nil, err
		}
		var err error
		if v, err = getVolume(ctx, c, v.ID); err != nil {
			return nil, err
		}
	}
	return v, nil
}

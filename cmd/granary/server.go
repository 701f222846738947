package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

func serverCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "server",
		Short: "See the volume servers, empty and forget them",
		Long: `A SERVER is a volume server, named by its id, the beginning of that, or its address.
To take one out:

  granary server drain SERVER --wait
  (stop it)
  granary server forget SERVER`,
	}
	cmd.AddCommand(serverLsCommand(env), serverDrainCommand(env), serverForgetCommand(env))
	for _, c := range cmd.Commands() {
		env.clusterFlag(c)
		env.outputFlag(c)
	}
	return cmd
}

// serverReport is one line of "server ls". Fields are added, not renamed.
type serverReport struct {
	ID    granary.ServerID `json:"id"`
	Addr  string           `json:"addr"`
	Zone  string           `json:"zone,omitempty"`
	Rack  string           `json:"rack,omitempty"`
	Up    bool             `json:"up"`
	Seen  string           `json:"seen,omitempty"`
	Disks diskReports      `json:"disks"`
}

type serverReports []serverReport

func listServers(ctx context.Context, c *client.Client) (serverReports, error) {
	d, err := client.Ask[*granary.Disks](ctx, c, &granary.ListDisks{})
	if err != nil {
		return nil, err
	}
	disks, list := diskReportsOf(d), serverReports{}
	for _, s := range d.Servers {
		r := serverReport{ID: s.ID, Addr: s.Addr, Zone: s.Zone, Rack: s.Rack, Up: s.Up, Seen: timeText(s.SeenAt), Disks: diskReports{}}
		for _, k := range disks {
			if k.Server == s.ID {
				r.Disks = append(r.Disks, k)
			}
		}
		list = append(list, r)
	}
	return list, nil
}

func (list serverReports) table(t *tableWriter) {
	t.row("SERVER", "ADDRESS", "ZONE", "RACK", "STATE", "DISKS", "USED", "FREE", "VOLUMES")
	for _, s := range list {
		state := "up"
		if !s.Up {
			state = "down"
		}
		var used, free uint64
		volumes := 0
		for _, d := range s.Disks {
			used, free, volumes = used+d.Used, free+d.Free, volumes+d.Volumes
		}
		t.row(shortID(string(s.ID)), s.Addr, orDash(s.Zone), orDash(s.Rack), state, len(s.Disks), byteText(used), byteText(free), volumes)
	}
}

// serverOf finds the server that an argument names.
func serverOf(ctx context.Context, c *client.Client, arg string) (*serverReport, error) {
	list, err := listServers(ctx, c)
	if err != nil {
		return nil, err
	}
	var found []*serverReport
	for i := range list {
		if arg != "" && strings.HasPrefix(string(list[i].ID), arg) || list[i].Addr == arg {
			found = append(found, &list[i])
		}
	}
	switch len(found) {
	case 0:
		return nil, granary.Errorf(granary.KindNotFound, "server", arg, "no volume server has such an id or address: see 'granary server ls'")
	case 1:
		return found[0], nil
	}
	return nil, usagef("%q names %d servers: give more of the id", arg, len(found))
}

func serverLsCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the volume servers",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				list, err := listServers(ctx, c)
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), list, list.table)
			})
		},
	}
}

func serverDrainCommand(env *environment) *cobra.Command {
	var reason string
	var wait bool
	cmd := &cobra.Command{
		Use:   "drain SERVER",
		Short: "Move everything off all disks of a server; they take nothing new",
		Args:  exactArgs("SERVER"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			s, err := serverOf(ctx, c, args[0])
			if err != nil {
				return err
			}
			var disks []granary.DiskID
			for _, d := range s.Disks {
				if d.State == granary.DiskRetired {
					continue
				}
				if _, err := c.Do(ctx, granary.Cred{}, &granary.SetDisk{Disk: d.ID, State: granary.DiskDraining, Reason: reason}); err != nil {
					return err
				}
				disks = append(disks, d.ID)
			}
			if wait {
				if err := awaitEmpty(ctx, c, cmd.ErrOrStderr(), disks); err != nil {
					return err
				}
			}
			if s, err = serverOf(ctx, c, string(s.ID)); err != nil {
				return err
			}
			return env.print(cmd.OutOrStdout(), s.Disks, s.Disks.table)
		})
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read it later")
	cmd.Flags().BoolVar(&wait, "wait", false, "return when they hold no shard any more")
	return cmd
}

func serverForgetCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "forget SERVER",
		Short: "Remove a volume server from the metadata, after it was emptied",
		Args:  exactArgs("SERVER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				s, err := serverOf(ctx, c, args[0])
				if err != nil {
					return err
				}
				if s.Up {
					return granary.Errorf(granary.KindBusy, "server forget", s.Addr, "the server is running: stop it first, or it will register again")
				}
				if _, err := c.Do(ctx, granary.Cred{}, &granary.ForgetServer{Server: s.ID}); err != nil {
					return err
				}
				list, err := listServers(ctx, c)
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), list, list.table)
			})
		},
	}
}

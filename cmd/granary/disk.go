package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/volume"
)

func diskCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "disk",
		Short: "See the disks, empty, retire, label and scrub them",
		Long: `A DISK is named by its id, the beginning of that, or its path if only one server
has it. To take a disk out:

  granary disk drain DISK --wait
  granary disk retire DISK

Then remove it from the flags of its server, start that again, and have the disk forgotten:

  granary disk forget DISK`,
	}
	cmd.AddCommand(diskLsCommand(env), diskShowCommand(env), diskDrainCommand(env),
		diskStateCommand(env, "activate", "Use a disk again that was drained, suspect or lost", granary.DiskActive),
		diskStateCommand(env, "retire", "Take a disk out for good; it must hold nothing any more", granary.DiskRetired),
		diskStateCommand(env, "lost", "Say that a disk is not coming back: its shards are rebuilt at once", granary.DiskLost),
		diskForgetCommand(env), diskLabelCommand(env), diskScrubCommand(env))
	for _, c := range cmd.Commands() {
		env.clusterFlag(c)
		env.outputFlag(c)
	}
	return cmd
}

// diskReport is one line of "disk ls". Fields are added, not renamed.
type diskReport struct {
	ID          granary.DiskID    `json:"id"`
	Server      granary.ServerID  `json:"server"`
	Addr        string            `json:"addr"`
	Zone        string            `json:"zone,omitempty"`
	Rack        string            `json:"rack,omitempty"`
	Class       string            `json:"class,omitempty"`
	Path        string            `json:"path"`
	Up          bool              `json:"up"`
	State       granary.DiskState `json:"state"`
	Reason      string            `json:"reason,omitempty"`
	ReadOnly    string            `json:"readOnly,omitempty"`
	Failing     string            `json:"failing,omitempty"`
	Total       uint64            `json:"totalBytes"`
	Free        uint64            `json:"freeBytes"`
	Used        uint64            `json:"usedBytes"`
	Shards      int               `json:"shards"`
	Volumes     int               `json:"volumes"`     // that have a shard on it, by the metadata
	VolumeBytes uint64            `json:"volumeBytes"` // of those shards
	Scrub       scrubReport       `json:"scrub"`
}

// scrubReport is how far the verification of a disk is.
type scrubReport struct {
	Began    string `json:"began,omitempty"`
	Ended    string `json:"ended,omitempty"`
	Bytes    uint64 `json:"bytes"`
	Total    uint64 `json:"totalBytes"`
	Findings uint64 `json:"findings"`
}

type diskReports []diskReport

func diskReportsOf(d *granary.Disks) diskReports {
	servers := map[granary.ServerID]granary.Server{}
	for _, s := range d.Servers {
		servers[s.ID] = s
	}
	list := diskReports{}
	for _, k := range d.Disks {
		s, u := servers[k.Server], k.Usage
		list = append(list, diskReport{
			ID: k.ID, Server: k.Server, Addr: s.Addr, Zone: s.Zone, Rack: s.Rack, Class: k.Class, Path: u.Path, Up: k.Up,
			State: k.State, Reason: k.Reason, ReadOnly: u.ReadOnly, Failing: u.Failing, Total: u.Total, Free: u.Free, Used: u.Used,
			Shards: u.Shards, Volumes: k.Volumes, VolumeBytes: k.Bytes,
			Scrub: scrubReport{
				Began: timeText(u.Scrub.Began), Ended: timeText(u.Scrub.Ended), Bytes: u.Scrub.Bytes, Total: u.Scrub.Total,
				Findings: u.Scrub.Findings,
			},
		})
	}
	return list
}

func listDisks(ctx context.Context, c *client.Client) (diskReports, error) {
	d, err := client.Ask[*granary.Disks](ctx, c, &granary.ListDisks{})
	if err != nil {
		return nil, err
	}
	return diskReportsOf(d), nil
}

// diskOf finds the disk that an argument names.
func diskOf(ctx context.Context, c *client.Client, arg string) (*diskReport, error) {
	list, err := listDisks(ctx, c)
	if err != nil {
		return nil, err
	}
	var found []*diskReport
	for i := range list {
		if arg != "" && strings.HasPrefix(string(list[i].ID), arg) || list[i].Path != "" && list[i].Path == arg {
			found = append(found, &list[i])
		}
	}
	switch len(found) {
	case 0:
		return nil, granary.Errorf(granary.KindNotFound, "disk", arg, "no disk has such an id or path: see 'granary disk ls'")
	case 1:
		return found[0], nil
	}
	return nil, usagef("%q names %d disks: give more of the id", arg, len(found))
}

func diskLsCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the disks of all volume servers",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				list, err := listDisks(ctx, c)
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), list, list.table)
			})
		},
	}
}

func (list diskReports) table(t *tableWriter) {
	t.row("DISK", "SERVER", "ADDRESS", "CLASS", "STATE", "USED", "FREE", "VOLUMES", "SCRUBBED", "PATH")
	for _, d := range list {
		t.row(shortID(string(d.ID)), shortID(string(d.Server)), d.Addr, orDash(d.Class), d.condition(), byteText(d.Used), byteText(d.Free),
			d.Volumes, d.Scrub.text(), d.Path)
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// condition is the worst that is known of a disk, in a few words.
func (d *diskReport) condition() string {
	var words []string
	if d.State != granary.DiskActive && d.State != 0 {
		words = append(words, d.State.String())
	}
	switch {
	case !d.Up:
		words = append(words, "down")
	case d.Failing != "":
		words = append(words, "failing: "+d.Failing)
	case d.ReadOnly != "":
		words = append(words, "read-only: "+d.ReadOnly)
	case len(words) == 0:
		words = append(words, "up")
	}
	return strings.Join(words, ", ")
}

// text says when a disk was verified last, or how far that is.
func (s *scrubReport) text() string {
	text := "never"
	switch {
	case s.Total > 0:
		text = fmt.Sprintf("%d %%", s.Bytes*100/s.Total)
	case s.Ended != "":
		text = s.Ended
	}
	if s.Findings > 0 {
		text += fmt.Sprintf(", %d findings", s.Findings)
	}
	return text
}

func diskShowCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "show DISK",
		Short: "Show all that is known of a disk",
		Args:  exactArgs("DISK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				d, err := diskOf(ctx, c, args[0])
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), d, d.show)
			})
		},
	}
}

func (d *diskReport) show(t *tableWriter) {
	t.row("disk", d.ID)
	t.row("server", d.Server, d.Addr)
	t.row("zone, rack", orDash(d.Zone), orDash(d.Rack))
	t.row("class", orDash(d.Class))
	t.row("path", d.Path)
	t.row("state", d.condition())
	if d.Reason != "" {
		t.row("reason", d.Reason)
	}
	t.row("space", byteText(d.Total), byteText(d.Free)+" free", byteText(d.Used)+" used")
	t.row("shards", d.Shards, fmt.Sprintf("of %d volumes, %s by the metadata", d.Volumes, byteText(d.VolumeBytes)))
	t.row("scrubbed", d.Scrub.text())
}

// setDisk changes a disk, and prints what it is then.
func (env *environment) setDisk(cmd *cobra.Command, arg string, change func(*granary.SetDisk)) error {
	return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
		d, err := diskOf(ctx, c, arg)
		if err != nil {
			return err
		}
		op := &granary.SetDisk{Disk: d.ID}
		change(op)
		if _, err := c.Do(ctx, granary.Cred{}, op); err != nil {
			return err
		}
		if d, err = diskOf(ctx, c, string(d.ID)); err != nil {
			return err
		}
		return env.print(cmd.OutOrStdout(), d, d.show)
	})
}

func diskStateCommand(env *environment, name, short string, state granary.DiskState) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   name + " DISK",
		Short: short,
		Args:  exactArgs("DISK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.setDisk(cmd, args[0], func(op *granary.SetDisk) { op.State, op.Reason = state, reason })
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read it later")
	return cmd
}

func diskDrainCommand(env *environment) *cobra.Command {
	var reason string
	var wait bool
	cmd := &cobra.Command{
		Use:   "drain DISK",
		Short: "Move everything off a disk; it takes nothing new",
		Args:  exactArgs("DISK"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := env.setDisk(cmd, args[0], func(op *granary.SetDisk) { op.State, op.Reason = granary.DiskDraining, reason }); err != nil || !wait {
			return err
		}
		return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			d, err := diskOf(ctx, c, args[0])
			if err != nil {
				return err
			}
			return awaitEmpty(ctx, c, cmd.ErrOrStderr(), []granary.DiskID{d.ID})
		})
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who read it later")
	cmd.Flags().BoolVar(&wait, "wait", false, "return when it holds no shard any more")
	return cmd
}

func diskLabelCommand(env *environment) *cobra.Command {
	var class string
	cmd := &cobra.Command{
		Use:     "label DISK --class CLASS",
		Short:   "Give a disk a class, such as ssd or hdd, for policies that ask for one",
		Example: "  granary disk label 3fa2 --class ssd\n  granary disk label 3fa2 --class ''    # what its server says",
		Args:    exactArgs("DISK"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flags().Changed("class") {
			return usagef("--class is missing")
		}
		return env.setDisk(cmd, args[0], func(op *granary.SetDisk) { op.Class = &class })
	}
	cmd.Flags().StringVar(&class, "class", "", "the class; '' for that of the server's flags")
	return cmd
}

func diskScrubCommand(env *environment) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "scrub [DISK...]",
		Short: "Verify every byte of disks now; of all that are up, if none is named",
		Long: `Verify every byte of disks now, rather than when its turn comes. What is found is
repaired without further ado, and counted by "granary disk ls".`,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
			disks, err := scrubbed(ctx, c, args)
			if err != nil {
				return err
			}
			blocks := volume.NewClient()
			defer blocks.Close()
			for _, d := range disks {
				if err := blocks.Scrub(ctx, d.Addr, d.ID); err != nil {
					return err
				}
			}
			if wait {
				if disks, err = awaitScrub(ctx, c, cmd.ErrOrStderr(), disks); err != nil {
					return err
				}
			}
			return env.print(cmd.OutOrStdout(), disks, disks.table)
		})
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "return when all of it is verified")
	return cmd
}

// scrubbed returns the disks that are named, or all that are up.
func scrubbed(ctx context.Context, c *client.Client, args []string) (diskReports, error) {
	if len(args) == 0 {
		all, err := listDisks(ctx, c)
		up := diskReports{}
		for _, d := range all {
			if d.Up {
				up = append(up, d)
			}
		}
		return up, err
	}
	list := diskReports{}
	for _, arg := range args {
		d, err := diskOf(ctx, c, arg)
		if err != nil {
			return nil, err
		}
		list = append(list, *d)
	}
	return list, nil
}

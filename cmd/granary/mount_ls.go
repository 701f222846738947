package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary/fuse"
)

// askWithin is how long a mount may take to say what it is.
const askWithin = 2 * time.Second

// mountReport is a line of granary mount ls.
type mountReport struct {
	MountPoint string          `json:"mountPoint"`
	Source     string          `json:"source"`
	State      string          `json:"state"`
	Options    string          `json:"options"`
	Mount      *fuse.MountInfo `json:"mount,omitempty"` // what its process says
}

func mountListCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the mounts of this host",
		Long: `List the mounts of this host. A mount of another user whose process tells nothing to this one is "not yours";
one whose process died is "dead": the next mount at the same place, or "granary umount", clears it away.`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := mountReports(cmd.Context())
			if err != nil {
				return err
			}
			return env.print(cmd.OutOrStdout(), list, func(t *tableWriter) {
				t.row("MOUNT POINT", "SOURCE", "STATE", "PID", "SINCE", "VERSION", "SESSION", "OPTIONS")
				for _, m := range list {
					i := m.Mount
					if i == nil {
						t.row(m.MountPoint, m.Source, m.State, "-", "-", "-", "-", m.Options)
						continue
					}
					t.row(m.MountPoint, m.Source, m.State, i.PID, i.Since.Local().Format("2006-01-02 15:04:05"), i.Version, i.Session, m.Options)
				}
			})
		},
	}
	env.outputFlag(cmd)
	return cmd
}

// mountReports asks all mounts, at once: some may not answer.
func mountReports(ctx context.Context) ([]mountReport, error) {
	mounts, err := listMounts()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	type numbered struct {
		i int
		mountReport
	}
	got := make(chan numbered)
	for i, m := range mounts {
		go func() {
			r := mountReport{MountPoint: m.point, Source: m.source, Options: m.options}
			info, err := askMount[fuse.MountInfo](ctx, m.point, fuse.XattrMount)
			if r.State = condition(err); err == nil {
				r.Mount = &info
			}
			got <- numbered{i, r}
		}()
	}
	list := make([]mountReport, len(mounts))
	for range mounts {
		r := <-got
		list[r.i] = r.mountReport
	}
	slices.SortStableFunc(list, func(a, b mountReport) int { return cmp.Compare(a.MountPoint, b.MountPoint) })
	return list, nil
}

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// lockReport is one lock in JSON and in listings. Fields are added, not renamed.
type lockReport struct {
	Inode     string            `json:"inode"`
	Path      string            `json:"path,omitempty"` // if it was asked for
	Kind      string            `json:"kind"`           // flock or fcntl
	Exclusive bool              `json:"exclusive"`
	Start     uint64            `json:"start"`
	End       uint64            `json:"end"` // inclusive
	Waiting   bool              `json:"waiting"`
	Session   granary.SessionID `json:"session"`
	Client    string            `json:"client"`
	PID       uint32            `json:"pid"`
	Since     time.Time         `json:"since"`
	Token     granary.Index     `json:"token"`
}

func lockReportOf(l *granary.Lock, path string) lockReport {
	kind := "fcntl"
	if l.Space == granary.LockWhole {
		kind = "flock"
	}
	return lockReport{
		Inode: l.Inode.String(), Path: path, Kind: kind, Exclusive: l.Exclusive, Start: l.Start, End: l.End, Waiting: l.Waiting,
		Session: l.Session, Client: l.Client, PID: l.PID, Since: l.Since.Std(), Token: l.Token,
	}
}

// cells are the columns of a lock.
func (r *lockReport) cells(now time.Time) []any {
	subject, mode, state, bytes := r.Path, "shared", "held", "all"
	if subject == "" {
		subject = r.Inode
	}
	if r.Exclusive {
		mode = "exclusive"
	}
	if r.Waiting {
		state = "waits"
	}
	switch {
	case r.Start == 0 && r.End == granary.LockEnd:
	case r.End == granary.LockEnd:
		bytes = fmt.Sprintf("%d-", r.Start)
	default:
		bytes = fmt.Sprintf("%d-%d", r.Start, r.End)
	}
	return []any{subject, r.Kind, mode, bytes, state, now.Sub(r.Since).Round(time.Second), r.Client, r.PID}
}

func lockCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "See who holds locks on files, and who waits",
		Long: `Programs in mounts lock files with flock(2) and fcntl(2), as flock(1) and
databases do. The locks hold across all mounts of a cluster.`,
	}
	cmd.AddCommand(lockLsCommand(env))
	for _, c := range cmd.Commands() {
		env.clusterFlag(c)
	}
	return cmd
}

func lockLsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls [PATH]",
		Short:   "List the locks on a file, or all",
		Example: "  granary lock ls /shared/db.sqlite\n  granary lock ls --output json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
				var q granary.ListLocks
				path := ""
				if len(args) > 0 {
					info, err := statPath(ctx, fs, args[0])
					if err != nil {
						return err
					}
					q.Inode, path = info.Attr.Inode, args[0]
				}
				list, err := listLocks(ctx, fs.Client(), q, path)
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), list, func(t *tableWriter) {
					t.row("FILE", "KIND", "MODE", "BYTES", "STATE", "FOR", "CLIENT", "PID")
					now := time.Now()
					for i := range list {
						t.row(list[i].cells(now)...)
					}
				})
			})
		},
	}
	env.outputFlag(cmd)
	return cmd
}

// listLocks asks page by page.
func listLocks(ctx context.Context, c *client.Client, q granary.ListLocks, path string) ([]lockReport, error) {
	list := []lockReport{}
	for {
		a, err := client.Ask[*granary.Locks](ctx, c, &q)
		if err != nil {
			return nil, err
		}
		for i := range a.Locks {
			list = append(list, lockReportOf(&a.Locks[i], path))
		}
		if a.Next == 0 || q.Inode != 0 {
			return list, nil
		}
		q.After = a.Next
	}
}

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// lockReport is one lock in JSON and in listings. Fields are added, not renamed.
type lockReport struct {
	Inode string `json:"inode,omitempty"` // of a lock on a path: of the first

	Path      string            `json:"path,omitempty"` // if it was asked for
	Kind      string            `json:"kind"`           // flock, fcntl or path
	Exclusive bool              `json:"exclusive"`
	Start     uint64            `json:"start"`
	End       uint64            `json:"end"` // inclusive
	Waiting   bool              `json:"waiting"`
	Session   granary.SessionID `json:"session"`
	Client    string            `json:"client"`
	PID       uint32            `json:"pid"`
	Since     time.Time         `json:"since"`
	Token     granary.Index     `json:"token"`

	// Of locks on paths.
	Paths     []lockedPathReport `json:"paths,omitempty"`
	Mandatory bool               `json:"mandatory,omitempty"`
	Owner     string             `json:"owner,omitempty"`
	Note      string             `json:"note,omitempty"`
	Expires   *time.Time         `json:"expires,omitempty"` // of a lease
	Waiters   int                `json:"waiters"`           // requests that wait for it, of a lock on a path
}

// lockedPathReport is a path of a lock.
type lockedPathReport struct {
	Path    string `json:"path"`
	Subtree bool   `json:"subtree,omitempty"`
	Exists  bool   `json:"exists"`
}

func pathLockReportOf(l *granary.PathLock) lockReport {
	r := lockReport{
		Path: l.Paths[0].Path, Kind: "path", Exclusive: l.Exclusive, End: granary.LockEnd, Waiting: l.Token == 0, Session: l.Session, Client: l.Client,
		Since: l.Since.Std(), Token: granary.Index(l.Token), Mandatory: l.Mandatory, Owner: l.Owner, Note: l.Note,
	}
	for _, p := range l.Paths {
		r.Paths = append(r.Paths, lockedPathReport{p.Path, p.Subtree, p.Inode != 0})
	}
	if l.Paths[0].Inode != 0 {
		r.Inode = l.Paths[0].Inode.String()
	}
	if l.Expires != 0 {
		expires := l.Expires.Std()
		r.Expires = &expires
	}
	return r
}

// countWaiters counts, for locks on paths that are held, the requests whose paths and modes they exclude.
func countWaiters(locks []granary.PathLock, list []lockReport) {
	for i := range locks {
		for j := range locks {
			if locks[i].Token != 0 && locks[j].Token == 0 && (locks[i].Exclusive || locks[j].Exclusive) && pathsMeet(&locks[i], &locks[j]) {
				list[i].Waiters++
			}
		}
	}
}

func pathsMeet(a, b *granary.PathLock) bool {
	for _, p := range a.Paths {
		for _, q := range b.Paths {
			if p.Path == q.Path || p.Subtree && isUnder(q.Path, p.Path) || q.Subtree && isUnder(p.Path, q.Path) {
				return true
			}
		}
	}
	return false
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
	if r.Mandatory {
		mode += ", mandatory"
	}
	for _, p := range r.Paths[min(1, len(r.Paths)):] {
		subject += " " + p.Path
	}
	switch {
	case len(r.Paths) > 0 && r.Paths[0].Subtree:
		bytes = "subtree"
	case len(r.Paths) > 0:
		bytes = "-"
	case r.Start == 0 && r.End == granary.LockEnd:
	case r.End == granary.LockEnd:
		bytes = fmt.Sprintf("%d-", r.Start)
	default:
		bytes = fmt.Sprintf("%d-%d", r.Start, r.End)
	}
	who := r.Client
	if r.Owner != "" {
		who = r.Owner
	}
	return []any{subject, r.Kind, mode, bytes, state, now.Sub(r.Since).Round(time.Second), who, r.Token, r.Waiters}
}

func lockCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Lock paths, run commands under a lock, see who holds locks",
		Long: `Locks on paths exclude each other wherever they are taken: here, by the HTTP door or
by a program. With the lock comes a token; what carries it is refused once the lock is
lost. Programs in mounts lock files with flock(2) and fcntl(2), as flock(1) and
databases do: these locks hold across all mounts of a cluster, and exclude locks on
the file's path.`,
	}
	cmd.AddCommand(lockLsCommand(env), lockAcquireCommand(env), lockRenewCommand(env), lockReleaseCommand(env), lockBreakCommand(env),
		lockRunCommand(env))
	for _, c := range cmd.Commands() {
		env.clusterFlag(c)
	}
	return cmd
}

func lockLsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls [PATH]",
		Short:   "List the locks on a path and around it, or all",
		Example: "  granary lock ls /shared/db.sqlite\n  granary lock ls --output json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
				path := ""
				if len(args) > 0 {
					path = args[0]
				}
				list, err := listAllLocks(ctx, fs, path)
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), list, func(t *tableWriter) {
					t.row("FILE", "KIND", "MODE", "BYTES", "STATE", "FOR", "WHO", "TOKEN", "WAITERS")
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

// listAllLocks lists the locks of all kinds that concern a path, "" for all.
func listAllLocks(ctx context.Context, fs *filer.FS, path string) ([]lockReport, error) {
	var q granary.ListLocks
	clean := ""
	if path != "" {
		var err error
		if clean, err = filer.CleanPath(path); err != nil {
			return nil, err
		}
	}
	locks, err := fs.Client().PathLocks(ctx)
	if err != nil {
		return nil, err
	}
	if clean != "" {
		locks = slices.DeleteFunc(locks, func(l granary.PathLock) bool { return !locksPath(&l, clean, true) })
	}
	list := make([]lockReport, len(locks))
	for i := range locks {
		list[i] = pathLockReportOf(&locks[i])
	}
	countWaiters(locks, list)
	if path != "" {
		info, err := statPath(ctx, fs, path)
		if granary.IsKind(err, granary.KindNotFound) {
			return list, nil // a lock may be on it all the same
		}
		if err != nil {
			return nil, err
		}
		q.Inode = info.Attr.Inode
	}
	others, err := listLocks(ctx, fs.Client(), q, path)
	return append(list, others...), err
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/user"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// pathLockFlags are the flags of what takes locks on paths.
type pathLockFlags struct {
	shared, subtree, mandatory bool
	ttl, timeout               time.Duration
	owner, note                string
}

func (o *pathLockFlags) flags(cmd *cobra.Command, timeout time.Duration) {
	f := cmd.Flags()
	f.BoolVar(&o.shared, "shared", false, "let others have shared locks as well")
	f.BoolVar(&o.subtree, "subtree", false, "lock all that is below, too")
	f.BoolVar(&o.mandatory, "mandatory", false, "have the store refuse all changes that do not carry the token")
	f.DurationVar(&o.ttl, "ttl", 30*time.Second, "the lock ends when it was not renewed for so long")
	f.DurationVar(&o.timeout, "timeout", timeout, "how long to wait for the lock; 0: not at all")
	f.StringVar(&o.owner, "owner", "", "who holds it; requests of one owner never wait for each other (default: user, host and process)")
	f.StringVar(&o.note, "note", "", "what for: listings show it")
}

// op makes the operation for paths.
func (o *pathLockFlags) op(ctx context.Context, fs *filer.FS, paths []string) (granary.AcquirePaths, error) {
	op := granary.AcquirePaths{
		Exclusive: !o.shared, Mandatory: o.mandatory, Wait: o.timeout > 0, TTL: granary.Time(o.ttl), Owner: o.owner, Note: o.note,
	}
	if op.Owner == "" {
		op.Owner = ownerName()
	}
	for _, p := range paths {
		clean, err := filer.CleanPath(p)
		if err != nil {
			return op, err
		}
		at, err := fs.LockPath(ctx, granary.RootInode, clean, o.subtree)
		if err != nil {
			return op, err
		}
		op.Paths = append(op.Paths, at)
	}
	return op, nil
}

// ownerName says who runs the command.
func ownerName() string {
	name := "uid"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return name + " " + sessionName("lock")
}

// acquiredReport is a lock that was taken. Fields are added, not renamed.
type acquiredReport struct {
	Path    string               `json:"path"`
	Paths   []string             `json:"paths"`
	Token   granary.FencingToken `json:"token"`
	Expires time.Time            `json:"expires"`
}

func lockAcquireCommand(env *environment) *cobra.Command {
	o := &pathLockFlags{}
	cmd := &cobra.Command{
		Use:   "acquire PATH...",
		Short: "Take a lock on a path, or on several at once, and print its token as JSON",
		Long: `Take a lock on paths, which need not exist, all of them or none. It lasts until it is
released, or was not renewed for --ttl. What is changed with --fence TOKEN (or the
HTTP header Granary-Fence) is refused once the lock is lost.`,
		Example: "  granary lock acquire /jobs/nightly --ttl 5m\n  granary lock acquire /data --subtree --mandatory --timeout 1m",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, cred granary.Cred) error {
				g, err := o.acquire(ctx, fs, cred, args)
				if err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), acquiredReport{path.Clean("/" + args[0]), args, g.Token, g.Expires})
			})
		},
	}
	o.flags(cmd, 0)
	return cmd
}

func (o *pathLockFlags) acquire(ctx context.Context, fs *filer.FS, cred granary.Cred, paths []string) (client.Grant, error) {
	op, err := o.op(ctx, fs, paths)
	if err != nil {
		return client.Grant{}, err
	}
	waiting, cancel := o.waiting(ctx)
	defer cancel()
	g, err := fs.Client().AcquirePaths(waiting, cred, op)
	return g, o.timedOut(ctx, waiting, err)
}

func (o *pathLockFlags) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, o.timeout)
}

// timedOut says why there is no lock, if it is because the time to wait is over.
func (o *pathLockFlags) timedOut(ctx, waiting context.Context, err error) error {
	if granary.IsKind(err, granary.KindCanceled) && ctx.Err() == nil && waiting.Err() != nil {
		return granary.Errorf(granary.KindWouldBlock, "lock paths", "", "it was not to be had within %s", o.timeout)
	}
	return err
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func parseToken(text string) (granary.FencingToken, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil || n == 0 {
		return 0, usagef("%q is no fencing token: a number, as \"granary lock acquire\" prints it", text)
	}
	return granary.FencingToken(n), nil
}

// parseTokens reads a list of tokens, with commas between them; "" is none.
func parseTokens(text string) (tokens []granary.FencingToken, err error) {
	for t := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(t) == "" {
			continue
		}
		token, err := parseToken(t)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, token)
	}
	return tokens, nil
}

// withToken calls f with the token that an argument is.
func (e *environment) withToken(ctx context.Context, text string, f func(context.Context, *filer.FS, granary.Cred, granary.FencingToken) error) error {
	token, err := parseToken(text)
	if err != nil {
		return err
	}
	return e.withFilerAs(ctx, func(ctx context.Context, fs *filer.FS, cred granary.Cred) error { return f(ctx, fs, cred, token) })
}

func lockRenewCommand(env *environment) *cobra.Command {
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "renew TOKEN",
		Short: "Have a lock last for its --ttl from now on, or for another",
		Args:  exactArgs("TOKEN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withToken(cmd.Context(), args[0], func(ctx context.Context, fs *filer.FS, cred granary.Cred, token granary.FencingToken) error {
				is, err := client.Ask[*granary.PathLocks](ctx, fs.Client(), &granary.ListPathLocks{Token: token})
				if err != nil {
					return err
				}
				expires, err := fs.Client().RenewPaths(ctx, cred, token, ttl, time.Duration(is.Locks[0].TTL))
				if err != nil {
					return err
				}
				r := acquiredReport{Token: token, Expires: expires}
				for _, p := range is.Locks[0].Paths {
					r.Paths = append(r.Paths, p.Path)
				}
				r.Path = r.Paths[0]
				return printJSON(cmd.OutOrStdout(), r)
			})
		},
	}
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "another time after which it ends without renewal")
	return cmd
}

func lockReleaseCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "release TOKEN",
		Short: "Give a lock up",
		Args:  exactArgs("TOKEN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withToken(cmd.Context(), args[0], func(ctx context.Context, fs *filer.FS, cred granary.Cred, token granary.FencingToken) error {
				return fs.Client().ReleasePaths(ctx, cred, granary.ReleasePaths{Token: token})
			})
		},
	}
}

func lockBreakCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "break TOKEN|PATH",
		Short: "Take a lock on a path away from who holds it",
		Long: `End locks on a path whoever holds them: the one with a token, or all that are held on
exactly PATH. What their holders still do with their tokens is refused. Only root may,
and who took the lock. Locks of flock(2) and fcntl(2) are not broken: end the program
or the mount.`,
		Args: exactArgs("TOKEN|PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, cred granary.Cred) error {
				tokens, err := tokensOn(ctx, fs, args[0])
				if err != nil {
					return err
				}
				for _, token := range tokens {
					if err := fs.Client().ReleasePaths(ctx, cred, granary.ReleasePaths{Token: token, Break: true}); err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "broke the lock with token %d\n", token)
				}
				return nil
			})
		},
	}
}

// tokensOn returns the token that a text is, or those of the locks that are held on the path that it is.
func tokensOn(ctx context.Context, fs *filer.FS, text string) ([]granary.FencingToken, error) {
	if !strings.HasPrefix(text, "/") {
		token, err := parseToken(text)
		return []granary.FencingToken{token}, err
	}
	clean, err := filer.CleanPath(text)
	if err != nil {
		return nil, err
	}
	locks, err := fs.Client().PathLocks(ctx)
	if err != nil {
		return nil, err
	}
	var tokens []granary.FencingToken
	for i := range locks {
		if locks[i].Token != 0 && locksPath(&locks[i], clean, false) {
			tokens = append(tokens, locks[i].Token)
		}
	}
	if tokens == nil {
		return nil, granary.Errorf(granary.KindNotFound, "break lock", text, "no lock is held on it")
	}
	return tokens, nil
}

// locksPath reports whether a lock is on a path; with around also whether it is on all below a directory above it, or on
// something below.
func locksPath(l *granary.PathLock, clean string, around bool) bool {
	for _, p := range l.Paths {
		if p.Path == clean || around && (p.Subtree && isUnder(clean, p.Path) || isUnder(p.Path, clean)) {
			return true
		}
	}
	return false
}

func isUnder(name, top string) bool {
	return strings.HasPrefix(name, strings.TrimSuffix(top, "/")+"/")
}

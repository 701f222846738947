package main

import (
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/accounts"
)

// identityReport is a user, group or policy in JSON and in listings. Fields are added, not renamed.
type identityReport struct {
	Name     string            `json:"name"`
	ID       string            `json:"id"`
	ARN      string            `json:"arn"`
	Created  time.Time         `json:"created"`
	UID      *uint32           `json:"uid,omitempty"`
	GID      *uint32           `json:"gid,omitempty"`
	GIDs     []uint32          `json:"gids,omitempty"`
	Groups   []string          `json:"groups,omitempty"`
	Members  []string          `json:"members,omitempty"`
	Attached []string          `json:"attached,omitempty"`
	Inline   map[string]string `json:"inline,omitempty"`
	Keys     []keyReport       `json:"keys,omitempty"`
	Document string            `json:"document,omitempty"`
	Limits   *limitsReport     `json:"limits,omitempty"`
}

// limitsReport is what bounds the requests of a user; 0 for no bound.
type limitsReport struct {
	Requests uint64 `json:"requestsPerSecond"`
	Bytes    uint64 `json:"bytesPerSecond"`
	InFlight uint64 `json:"inFlight"`
}

func identityReportOf(i *granary.Identity) identityReport {
	r := identityReport{Name: i.Name, ID: i.ID, ARN: accounts.ARN(i.Kind.String(), i.Path, i.Name), Created: i.Created.Std(),
		Groups: i.Groups, Attached: i.Attached, Document: i.Document}
	if c := i.Cred; c != nil {
		r.UID, r.GID, r.GIDs = &c.UID, &c.GID, c.Groups
	}
	if i.Limits != (granary.Limits{}) {
		r.Limits = &limitsReport{i.Limits.Requests, i.Limits.Bytes, i.Limits.InFlight}
	}
	for _, d := range i.Inline {
		if r.Inline == nil {
			r.Inline = map[string]string{}
		}
		r.Inline[d.Name] = d.Document
	}
	return r
}

func userCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Make users of the S3 door, their keys, and what they may do",
		Long: `Users ask the S3 door with their access keys, and may do what policies allow:
their own, those of their groups, and those of buckets. With a uid a user is
somebody in the file system, too: its permissions bind it, and what it makes is
its own. "aws iam" does the same, and more, at the address of the S3 door.`,
	}
	key := &cobra.Command{Use: "key", Short: "Make, disable and remove access keys of users"}
	key.AddCommand(keyCreateCommand(env), keySetCommand(env, "disable", true), keySetCommand(env, "enable", false), keyRmCommand(env))
	cmd.AddCommand(userCreateCommand(env), userSetCommand(env), userLimitCommand(env), identityLsCommand(env, granary.IdentityUser), userShowCommand(env), userRmCommand(env), key,
		attachCommand(env, granary.IdentityUser, "attach"), attachCommand(env, granary.IdentityUser, "detach"))
	clusterFlags(env, cmd)
	return cmd
}

// clusterFlags adds the flag to all commands below one that do something.
func clusterFlags(env *environment, cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.HasSubCommands() {
			clusterFlags(env, c)
			continue
		}
		env.clusterFlag(c)
	}
}

// identityFlags are who a user is in the file system.
type identityFlags struct {
	uid, gid uint32
	gids     []uint
	none     bool
}

func (f *identityFlags) add(cmd *cobra.Command) {
	cmd.Flags().Uint32Var(&f.uid, "uid", 0, "uid that the user is in the file system; without one it is nobody there, and policies alone bind it")
	cmd.Flags().Uint32Var(&f.gid, "gid", 0, "its gid; by default its uid")
	cmd.Flags().UintSliceVar(&f.gids, "gids", nil, "further gids")
}

// cred returns who the flags say that a user is; nil for nobody.
func (f *identityFlags) cred(cmd *cobra.Command) (*granary.Cred, error) {
	if !cmd.Flags().Changed("uid") {
		if cmd.Flags().Changed("gid") || cmd.Flags().Changed("gids") {
			return nil, usagef("--gid and --gids need --uid")
		}
		return nil, nil
	}
	c := &granary.Cred{UID: f.uid, GID: f.uid}
	if cmd.Flags().Changed("gid") {
		c.GID = f.gid
	}
	for _, g := range f.gids {
		if uint64(g) >= 1<<32-1 {
			return nil, usagef("--gids: %d is no gid", g)
		}
		c.Groups = append(c.Groups, uint32(g))
	}
	return c, nil
}

func userCreateCommand(env *environment) *cobra.Command {
	f, path := &identityFlags{}, "/"
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a user", Args: exactArgs("NAME"),
		Example: "  granary user create ann --uid 1000\n  granary user key create ann",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cred, err := f.cred(cmd)
		if err != nil {
			return err
		}
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			u := accounts.NewUser(args[0], path)
			u.Cred = cred
			return fs.PutIdentity(ctx, u)
		})
	}
	f.add(cmd)
	cmd.Flags().StringVar(&path, "path", "/", "path of its ARN, such as /staff/")
	return cmd
}

func userSetCommand(env *environment) *cobra.Command {
	f := &identityFlags{}
	cmd := &cobra.Command{Use: "set NAME", Short: "Change who a user is in the file system", Args: exactArgs("NAME")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cred, err := f.cred(cmd)
		if err != nil {
			return err
		}
		if (cred == nil) != f.none {
			return usagef("give either --uid or --nobody")
		}
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			return accounts.Change(ctx, fs, granary.IdentityUser, args[0], func(i *granary.Identity) error {
				i.Cred = cred
				return nil
			})
		})
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.none, "nobody", false, "it is nobody there")
	return cmd
}

func userLimitCommand(env *environment) *cobra.Command {
	var l granary.Limits
	rate := ""
	cmd := &cobra.Command{
		Use: "limit NAME", Short: "Bound what a user asks of the S3 door", Args: exactArgs("NAME"),
		Long: `Bound the requests of a user, at each filer by itself. What is beyond is refused
with SlowDown, to be tried again; bodies flow at the rate that is given. Flags
that are left out leave their limit as it is, and 0 is none.`,
		Example: "  granary user limit ann --requests 100 --bytes 50MiB --in-flight 20",
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		changed := cmd.Flags().Changed
		if !changed("requests") && !changed("bytes") && !changed("in-flight") {
			return usagef("give --requests, --bytes or --in-flight")
		}
		if changed("bytes") {
			n, err := parseBytes(rate)
			if err != nil {
				return usagef("--bytes: %w", err)
			}
			l.Bytes = n
		}
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			return accounts.Change(ctx, fs, granary.IdentityUser, args[0], func(i *granary.Identity) error {
				if changed("requests") {
					i.Limits.Requests = l.Requests
				}
				if changed("bytes") {
					i.Limits.Bytes = l.Bytes
				}
				if changed("in-flight") {
					i.Limits.InFlight = l.InFlight
				}
				return nil
			})
		})
	}
	cmd.Flags().Uint64Var(&l.Requests, "requests", 0, "requests a second")
	cmd.Flags().StringVar(&rate, "bytes", "", "bytes a second, sent and received together, such as 50MiB")
	cmd.Flags().Uint64Var(&l.InFlight, "in-flight", 0, "requests at one time")
	return cmd
}

// allIdentities lists a kind.
func allIdentities(ctx context.Context, fs *filer.FS, kind granary.IdentityKind) ([]identityReport, error) {
	list := []identityReport{}
	for q := (granary.ListIdentities{Kind: kind}); ; {
		page, err := fs.Identities(ctx, &q)
		if err != nil {
			return nil, err
		}
		for i := range page.Identities {
			list = append(list, identityReportOf(&page.Identities[i]))
			q.After = page.Identities[i].Name
		}
		if !page.More || len(page.Identities) == 0 {
			return list, nil
		}
	}
}

func identityLsCommand(env *environment, kind granary.IdentityKind) *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List them", Args: exactArgs()}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			list, err := allIdentities(ctx, fs, kind)
			if err != nil {
				return err
			}
			return env.print(cmd.OutOrStdout(), list, func(t *tableWriter) {
				t.row("NAME", "UID", "GROUPS", "POLICIES", "ARN")
				for _, r := range list {
					t.row(r.Name, r.uid(), listText(r.Groups), listText(r.policies()), r.ARN)
				}
			})
		})
	}
	env.outputFlag(cmd)
	return cmd
}

func (r *identityReport) uid() any {
	if r.UID == nil {
		return "-"
	}
	return *r.UID
}

// policies are the names of all that it has.
func (r *identityReport) policies() []string {
	all := slices.Clone(r.Attached)
	for name := range r.Inline {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

func listText(all []string) string {
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ",")
}

func userShowCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Show a user with its keys, groups and policies", Args: exactArgs("NAME")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			i, err := fs.Identity(ctx, granary.IdentityUser, args[0])
			if err != nil {
				return err
			}
			r := identityReportOf(&i)
			keys, err := accounts.Users(ctx, fs, granary.IdentityUser, i.Name, granary.IdentityKey)
			if err != nil {
				return err
			}
			for _, name := range keys {
				k, err := fs.Identity(ctx, granary.IdentityKey, name)
				if err != nil {
					return err
				}
				k.Secret = ""
				r.Keys = append(r.Keys, keyReportOf(&k))
			}
			return env.print(cmd.OutOrStdout(), &r, func(t *tableWriter) { r.table(t) })
		})
	}
	env.outputFlag(cmd)
	return cmd
}

func (r *identityReport) table(t *tableWriter) {
	t.row("name", r.Name)
	t.row("arn", r.ARN)
	t.row("created", r.Created.Format(time.RFC3339))
	if r.UID != nil {
		t.row("uid", *r.UID)
		t.row("gid", *r.GID)
		t.row("gids", r.GIDs)
	}
	t.row("groups", listText(r.Groups))
	t.row("members", listText(r.Members))
	t.row("attached", listText(r.Attached))
	if l := r.Limits; l != nil {
		t.row("limits", strconv.FormatUint(l.Requests, 10)+" requests/s", byteText(l.Bytes)+"/s", strconv.FormatUint(l.InFlight, 10)+" in flight")
	}
	for _, k := range r.Keys {
		t.row("key", k.AccessKey, k.state(), k.Created.Format(time.RFC3339))
	}
	for name, document := range r.Inline {
		t.row("policy "+name, document)
	}
	if r.Document != "" {
		t.row("document", r.Document)
	}
}

func userRmCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "rm NAME", Short: "Remove a user, with its keys and its own policies", Args: exactArgs("NAME")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			keys, err := accounts.Users(ctx, fs, granary.IdentityUser, args[0], granary.IdentityKey)
			if err != nil {
				return err
			}
			for _, name := range keys {
				if err := fs.DeleteIdentity(ctx, &granary.DeleteIdentity{Kind: granary.IdentityKey, Name: name}); err != nil && !granary.IsKind(err, granary.KindNotFound) {
					return err
				}
			}
			return fs.DeleteIdentity(ctx, &granary.DeleteIdentity{Kind: granary.IdentityUser, Name: args[0]})
		})
	}
	return cmd
}

// attachCommand attaches a managed policy to a user or group, or detaches it.
func attachCommand(env *environment, kind granary.IdentityKind, verb string) *cobra.Command {
	change, short := accounts.With, "Attach a managed policy"
	if verb == "detach" {
		change, short = accounts.Without, "Detach a managed policy"
	}
	return &cobra.Command{
		Use: verb + " NAME POLICY", Short: short, Args: exactArgs("NAME", "POLICY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
				if _, err := fs.Identity(ctx, granary.IdentityPolicy, args[1]); err != nil {
					return err
				}
				return accounts.Change(ctx, fs, kind, args[0], func(i *granary.Identity) error {
					i.Attached = change(i.Attached, args[1])
					return nil
				})
			})
		},
	}
}

// readDocument reads a policy from a file, or from standard input for "-".
func readDocument(cmd *cobra.Command, name string) (string, error) {
	if name == "-" {
		var b strings.Builder
		_, err := io.Copy(&b, cmd.InOrStdin())
		return b.String(), err
	}
	b, err := os.ReadFile(name)
	return string(b), err
}

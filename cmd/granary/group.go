package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/accounts"
	"github.com/dsorchard/granary/filer/iam"
)

func groupCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "group", Short: "Make groups of users of the S3 door, and what they may do"}
	cmd.AddCommand(groupCreateCommand(env), identityLsCommand(env, granary.IdentityGroup), groupShowCommand(env), identityRmCommand(env, granary.IdentityGroup, "a group without members"),
		groupMemberCommand(env, "add"), groupMemberCommand(env, "remove"),
		attachCommand(env, granary.IdentityGroup, "attach"), attachCommand(env, granary.IdentityGroup, "detach"))
	clusterFlags(env, cmd)
	return cmd
}

func groupCreateCommand(env *environment) *cobra.Command {
	path := "/"
	cmd := &cobra.Command{Use: "create NAME", Short: "Make a group", Args: exactArgs("NAME")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			return fs.PutIdentity(ctx, accounts.NewGroup(args[0], path))
		})
	}
	cmd.Flags().StringVar(&path, "path", "/", "path of its ARN, such as /staff/")
	return cmd
}

func groupShowCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Show a group with its members and policies", Args: exactArgs("NAME")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			i, err := fs.Identity(ctx, granary.IdentityGroup, args[0])
			if err != nil {
				return err
			}
			r := identityReportOf(&i)
			if r.Members, err = accounts.Users(ctx, fs, granary.IdentityGroup, i.Name, granary.IdentityUser); err != nil {
				return err
			}
			return env.print(cmd.OutOrStdout(), &r, func(t *tableWriter) { r.table(t) })
		})
	}
	env.outputFlag(cmd)
	return cmd
}

func identityRmCommand(env *environment, kind granary.IdentityKind, what string) *cobra.Command {
	return &cobra.Command{
		Use: "rm NAME", Short: "Remove " + what, Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
				return fs.DeleteIdentity(ctx, &granary.DeleteIdentity{Kind: kind, Name: args[0]})
			})
		},
	}
}

// groupMemberCommand adds a user to a group, or removes it from there.
func groupMemberCommand(env *environment, verb string) *cobra.Command {
	change, short := accounts.With, "Add a user to a group"
	if verb == "remove" {
		change, short = accounts.Without, "Remove a user from a group"
	}
	return &cobra.Command{
		Use: verb + " GROUP USER", Short: short, Args: exactArgs("GROUP", "USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
				if _, err := fs.Identity(ctx, granary.IdentityGroup, args[0]); err != nil {
					return err
				}
				return accounts.Change(ctx, fs, granary.IdentityUser, args[1], func(i *granary.Identity) error {
					i.Groups = change(i.Groups, args[0])
					return nil
				})
			})
		},
	}
}

// iamCommand is about policies in AWS's language; "granary policy" is about how data is stored.
func iamCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "iam", Short: "Keep the managed policies that users and groups of the S3 door have attached"}
	policy := &cobra.Command{Use: "policy", Short: "Make, show and remove managed policies, in AWS's language"}
	policy.AddCommand(iamPolicyCreateCommand(env), iamPolicySetCommand(env), identityLsCommand(env, granary.IdentityPolicy), iamPolicyShowCommand(env),
		identityRmCommand(env, granary.IdentityPolicy, "a policy that is attached nowhere"))
	cmd.AddCommand(policy)
	clusterFlags(env, cmd)
	return cmd
}

func iamPolicyCreateCommand(env *environment) *cobra.Command {
	path := "/"
	cmd := &cobra.Command{Use: "create NAME FILE", Short: "Make a managed policy of a document; - reads standard input", Args: exactArgs("NAME", "FILE")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		document, err := readDocument(cmd, args[1])
		if err != nil {
			return err
		}
		p, err := accounts.NewPolicy(args[0], path, document)
		if err != nil {
			return err
		}
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error { return fs.PutIdentity(ctx, p) })
	}
	cmd.Flags().StringVar(&path, "path", "/", "path of its ARN, such as /staff/")
	return cmd
}

func iamPolicySetCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "set NAME FILE", Short: "Put a document in force as a new version of a managed policy", Args: exactArgs("NAME", "FILE")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		document, err := readDocument(cmd, args[1])
		if err != nil {
			return err
		}
		if _, err := iam.Parse([]byte(document), iam.OfIdentity); err != nil {
			return granary.Errorf(granary.KindInvalid, "policy", args[0], "%w", err)
		}
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			return accounts.Change(ctx, fs, granary.IdentityPolicy, args[0], func(i *granary.Identity) error {
				return accounts.SetDocument(i, document, granary.Time(time.Now().UnixNano()))
			})
		})
	}
	return cmd
}

func iamPolicyShowCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "show NAME", Short: "Show a managed policy", Args: exactArgs("NAME")}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			i, err := fs.Identity(ctx, granary.IdentityPolicy, args[0])
			if err != nil {
				return err
			}
			r := identityReportOf(&i)
			return env.print(cmd.OutOrStdout(), &r, func(t *tableWriter) { r.table(t) })
		})
	}
	env.outputFlag(cmd)
	return cmd
}

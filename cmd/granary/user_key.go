package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/accounts"
)

// keyReport is an access key; its secret is told once, when it is made.
type keyReport struct {
	AccessKey string    `json:"accessKey"`
	User      string    `json:"user"`
	Secret    string    `json:"secretKey,omitempty"`
	Disabled  bool      `json:"disabled"`
	Created   time.Time `json:"created"`
}

func keyReportOf(i *granary.Identity) keyReport {
	return keyReport{AccessKey: i.Name, User: i.User, Secret: i.Secret, Disabled: i.Disabled, Created: i.Created.Std()}
}

func (r *keyReport) state() string {
	if r.Disabled {
		return "disabled"
	}
	return "active"
}
func keyCreateCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use: "create USER", Short: "Make an access key; its secret is told this once", Args: exactArgs("USER"),
		Example: "  granary user key create ann\n  granary user key create ann --access-key OLDKEY --secret-key-file secret",
	}
	accessKey, secretFile := "", ""
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		k := accounts.NewKey(args[0])
		if (accessKey == "") != (secretFile == "") {
			return usagef("--access-key and --secret-key-file go together")
		}
		if accessKey != "" {
			secret, err := readSecret(cmd.InOrStdin(), secretFile)
			if err != nil {
				return err
			}
			k.Name, k.Secret = accessKey, secret
		}
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			if err := fs.PutIdentity(ctx, k); err != nil {
				return err
			}
			made, err := fs.Identity(ctx, k.Kind, k.Name)
			if err != nil {
				return err
			}
			r := keyReportOf(&made)
			return env.print(cmd.OutOrStdout(), &r, func(t *tableWriter) {
				t.row("ACCESS KEY", "SECRET KEY")
				t.row(r.AccessKey, r.Secret)
			})
		})
	}
	cmd.Flags().StringVar(&accessKey, "access-key", "", "a key that there is elsewhere, to be valid here, too")
	cmd.Flags().StringVar(&secretFile, "secret-key-file", "", "`FILE` with its secret; - for standard input")
	env.outputFlag(cmd)
	return cmd
}

// secretKeyMin is how long the secret of an access key is at least, in bytes.
const secretKeyMin = 6

// readSecret reads the secret of an access key.
func readSecret(in io.Reader, name string) (string, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, 1<<10))
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(b))
	if len(secret) < secretKeyMin || strings.ContainsAny(secret, " \t\r\n") {
		return "", usagef("the secret key has %d bytes: it is one word of at least %d", len(secret), secretKeyMin)
	}
	return secret, nil
}

func keySetCommand(env *environment, verb string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " KEY", Short: "Say whether an access key counts: " + verb + " it", Args: exactArgs("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
				return accounts.Change(ctx, fs, granary.IdentityKey, args[0], func(i *granary.Identity) error {
					i.Disabled = disabled
					return nil
				})
			})
		},
	}
}

func keyRmCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "rm KEY", Short: "Remove an access key", Args: exactArgs("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
				return fs.DeleteIdentity(ctx, &granary.DeleteIdentity{Kind: granary.IdentityKey, Name: args[0]})
			})
		},
	}
}

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/filer/seal"
)

// ringReport is one line of "cluster encryption keys". Fields are added, not renamed.
type ringReport struct {
	ID       string `json:"id"`
	Encrypts bool   `json:"encrypts"`
}

type ringReports []ringReport

func ringReportsOf(ids []seal.KeyID) ringReports {
	list := ringReports{}
	for i, id := range ids {
		list = append(list, ringReport{id.String(), i == len(ids)-1})
	}
	return list
}

func (l ringReports) table(t *tableWriter) {
	t.row("KEY", "ENCRYPTS")
	for _, k := range l {
		encrypts := "no, reads only"
		if k.Encrypts {
			encrypts = "yes"
		}
		t.row(k.ID, encrypts)
	}
}

func encryptionCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "encryption", Short: "See and rotate the keys that encrypt objects (SSE-S3)"}
	for _, sub := range []struct {
		use, short string
		do         func(*filer.FS, context.Context) ([]seal.KeyID, error)
	}{
		{"keys", "List the keys of the cluster by their ids, the oldest first", (*filer.FS).Keys},
		{"rotate", "Add a key, with which objects are encrypted from a second later on; the others stay, for what they have encrypted", (*filer.FS).RotateKeys},
	} {
		c := &cobra.Command{
			Use: sub.use, Short: sub.short, Args: exactArgs(),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
					ids, err := sub.do(fs, ctx)
					if err != nil {
						return err
					}
					list := ringReportsOf(ids)
					return env.print(cmd.OutOrStdout(), list, list.table)
				})
			},
		}
		env.clusterFlag(c)
		env.outputFlag(c)
		cmd.AddCommand(c)
	}
	return cmd
}

package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// classReport is a storage class as "storage-class ls" prints it.
type classReport struct {
	Class       string  `json:"class"`
	Set         bool    `json:"set"` // by somebody: else it is the default
	Code        string  `json:"code,omitempty"`
	Compression string  `json:"compression,omitempty"`
	Media       *string `json:"media,omitempty"`
}

type classReports []classReport

func (r classReports) table(t *tableWriter) {
	const same = "as the directory"
	t.row("CLASS", "CODE", "COMPRESSION", "MEDIA", "RULE")
	t.row(granary.StorageClassStandard, same, same, same, "none")
	for _, c := range r {
		media, rule := same, "default"
		if c.Media != nil {
			media = cmp.Or(*c.Media, "any")
		}
		if c.Set {
			rule = "set"
		}
		t.row(c.Class, cmp.Or(c.Code, same), cmp.Or(c.Compression, same), media, rule)
	}
}

func storageClassCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "storage-class", Short: "See and change how objects of S3's storage classes are stored"}
	ls := &cobra.Command{
		Use: "ls", Short: "List the storage classes", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
				r, err := classesOf(ctx, fs)
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), r, r.table)
			})
		},
	}
	env.clusterFlag(ls)
	env.outputFlag(ls)
	rm := &cobra.Command{
		Use: "rm CLASS", Short: "Have a storage class follow its default again", Args: exactArgs("CLASS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
				return fs.SetClassRule(ctx, args[0], nil)
			})
		},
	}
	env.clusterFlag(rm)
	cmd.AddCommand(ls, setStorageClassCommand(env), rm)
	return cmd
}

func setStorageClassCommand(env *environment) *cobra.Command {
	var rule granary.ClassRule
	var media string
	cmd := &cobra.Command{
		Use:   "set CLASS",
		Short: "Say how objects of a storage class are stored; what is not said is as their directory's policy says. Those that there are follow in the background",
		Example: `  granary storage-class set STANDARD_IA --ec 6+3 --media hdd
  granary storage-class set GLACIER_IR --ec 10+4 --compression zstd`,
		Args: exactArgs("CLASS"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case args[0] == granary.StorageClassStandard:
			return usagef("%s is stored as the policy of the directory says: see granary policy set", args[0])
		case !granary.IsStorageClass(args[0]):
			return usagef("%q is none of %v", args[0], granary.StorageClasses())
		}
		if cmd.Flags().Changed("media") {
			rule.Media = &media
		}
		if _, err := rule.Over(granary.DefaultPolicy(), args[0]); err != nil {
			return err
		}
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			return fs.SetClassRule(ctx, args[0], &rule)
		})
	}
	cmd.Flags().StringVar(&rule.Code, "ec", "", "data and parity shards, K+M, or auto")
	cmd.Flags().StringVar(&rule.Compression, "compression", "", "none, lz4 or zstd")
	cmd.Flags().StringVar(&media, "media", "", "class of the disks, such as hdd; '' for any")
	env.clusterFlag(cmd)
	return cmd
}

// classesOf returns the storage classes of a cluster, with what their rules say.
func classesOf(ctx context.Context, fs *filer.FS) (classReports, error) {
	rules, err := fs.Client().ClassRules(ctx)
	if err != nil {
		return nil, err
	}
	var all classReports
	for _, class := range granary.StorageClasses() {
		rule, set := rules[class]
		if !set {
			rule = granary.DefaultClassRule(class)
		}
		all = append(all, classReport{Class: class, Set: set, Code: rule.Code, Compression: rule.Compression, Media: rule.Media})
	}
	return all, nil
}

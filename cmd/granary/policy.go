package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// policyReport is what "policy show" prints.
type policyReport struct {
	Path        string `json:"path"`
	Code        string `json:"code"`
	InlineMax   int    `json:"inlineMax"`
	Compression string `json:"compression"`
	Chunking    string `json:"chunking"`
	Class       string `json:"class,omitempty"` // of the disks; "" for any
	Storage     string `json:"storageClass,omitempty"`
}

func (r *policyReport) table(t *tableWriter) {
	t.row("path", r.Path)
	t.row("code", r.Code)
	t.row("inline up to", byteText(uint64(r.InlineMax)))
	t.row("compression", r.Compression)
	t.row("chunking", r.Chunking)
	if r.Class != "" {
		t.row("disks of class", r.Class)
	}
	if r.Storage != "" {
		t.row("storage class", r.Storage)
	}
}

func policyCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "See and change how the content of a directory is stored"}
	show := &cobra.Command{
		Use:   "show PATH",
		Short: "Print the policy of a file or directory",
		Args:  exactArgs("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
				_, p, err := policyOf(ctx, fs, args[0])
				if err != nil {
					return err
				}
				r := policyReportOf(args[0], p)
				return env.print(cmd.OutOrStdout(), r, r.table)
			})
		},
	}
	env.clusterFlag(show)
	env.outputFlag(show)
	cmd.AddCommand(show, policySetCommand(env))
	return cmd
}

func policySetCommand(env *environment) *cobra.Command {
	var code, compression, chunking, class string
	var inlineMax int
	cmd := &cobra.Command{
		Use:   "set PATH",
		Short: "Change the policy of a directory: what is in it is stored anew where it differs, in the background",
		Example: `  granary policy set / --ec 4+2
  granary policy set /logs --ec auto --compression zstd`,
		Args: exactArgs("PATH"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			info, p, err := policyOf(ctx, fs, args[0])
			if err != nil {
				return err
			}
			p.StorageClass = "" // a file gets a policy of its own in place of its class's
			if cmd.Flags().Changed("ec") {
				if p.DataShards, p.ParityShards, err = granary.ParseCode(code); err != nil {
					return usagef("--ec: %v", err)
				}
			}
			if cmd.Flags().Changed("inline-max") {
				p.InlineMax = inlineMax
			}
			if cmd.Flags().Changed("compression") {
				if p.Compression, err = granary.ParseCompression(compression); err != nil {
					return usagef("--compression: %v", err)
				}
			}
			if cmd.Flags().Changed("chunking") {
				if p.Chunking, err = indexOf[granary.Chunking](chunkingNames(), chunking, "chunking"); err != nil {
					return err
				}
			}
			if cmd.Flags().Changed("class") {
				p.Class = class
			}
			if err := p.Validate(); err != nil {
				return err
			}
			if _, err := fs.Client().Do(ctx, granary.Cred{}, &granary.SetPolicy{Inode: info.Attr.Inode, Policy: p}); err != nil {
				return err
			}
			r := policyReportOf(args[0], p)
			return env.print(cmd.OutOrStdout(), r, r.table)
		})
	}
	cmd.Flags().StringVar(&code, "ec", "", "data and parity shards, K+M, or auto")
	cmd.Flags().IntVar(&inlineMax, "inline-max", 0, "bytes up to which files live in the metadata")
	cmd.Flags().StringVar(&compression, "compression", "", "none, lz4 or zstd")
	cmd.Flags().StringVar(&chunking, "chunking", "", "cdc or fixed")
	cmd.Flags().StringVar(&class, "class", "", "class of the disks that it is stored on, such as ssd; '' for any")
	env.clusterFlag(cmd)
	env.outputFlag(cmd)
	return cmd
}

func policyOf(ctx context.Context, fs *filer.FS, path string) (*filer.Info, granary.Policy, error) {
	clean, err := filer.CleanPath(path)
	if err != nil {
		return nil, granary.Policy{}, err
	}
	info, err := fs.Stat(ctx, granary.RootInode, clean, filer.StatOptions{Follow: true})
	if err != nil {
		return nil, granary.Policy{}, err
	}
	p, err := fs.Client().Policy(ctx, info.Attr.Policy)
	return info, p, err
}

func chunkingNames() []string { return []string{"cdc", "fixed"} }

func policyReportOf(path string, p granary.Policy) *policyReport {
	return &policyReport{
		Path: path, Code: p.String(), InlineMax: p.InlineMax,
		Compression: p.Compression.String(), Chunking: chunkingNames()[p.Chunking], Class: p.Class, Storage: p.StorageClass,
	}
}

func indexOf[T ~uint8](names []string, name, what string) (T, error) {
	for i, n := range names {
		if n == name {
			return T(i), nil
		}
	}
	return 0, usagef("--%s %q is none of %v", what, name, names)
}

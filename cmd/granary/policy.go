package main

import (
	"context"
	"fmt"

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
			if cmd.Flags().Changed("ec") {
				if p.DataShards, p.ParityShards, err = parseCode(code); err != nil {
					return err
				}
			}
			if cmd.Flags().Changed("inline-max") {
				p.InlineMax = inlineMax
			}
			if cmd.Flags().Changed("compression") {
				if p.Compression, err = indexOf[granary.Compression](compressionNames(), compression, "compression"); err != nil {
					return err
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

func compressionNames() []string { return []string{"none", "lz4", "zstd"} }
func chunkingNames() []string    { return []string{"cdc", "fixed"} }

func policyReportOf(path string, p granary.Policy) *policyReport {
	return &policyReport{
		Path: path, Code: p.String(), InlineMax: p.InlineMax,
		Compression: compressionNames()[p.Compression], Chunking: chunkingNames()[p.Chunking], Class: p.Class,
	}
}

// parseCode reads "4+2" or "auto".
func parseCode(text string) (k, m int, err error) {
	if text == "auto" {
		return 0, 0, nil
	}
	if n, err := fmt.Sscanf(text, "%d+%d", &k, &m); err != nil || n != 2 || k < 1 || fmt.Sprintf("%d+%d", k, m) != text {
		return 0, 0, usagef("--ec %q is neither auto nor K+M, such as 4+2", text)
	}
	return k, m, nil
}

func indexOf[T ~uint8](names []string, name, what string) (T, error) {
	for i, n := range names {
		if n == name {
			return T(i), nil
		}
	}
	return 0, usagef("--%s %q is none of %v", what, name, names)
}

package main

import (
	"context"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// ownerReport is what a user or group owns in a dataset.
type ownerReport struct {
	ID uint32 `json:"id"`
	usageReport
}

func datasetUsageCommand(env *environment) *cobra.Command {
	var by string
	cmd := &cobra.Command{
		Use:   "usage PATH",
		Short: "Print what the dataset of a path holds, or its users or groups own in it",
		Example: `  granary dataset usage /projects
  granary dataset usage /projects --by user`,
		Args: exactArgs("PATH"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		scope, ok := map[string]granary.QuotaScope{"": granary.QuotaDataset, "user": granary.QuotaUser, "group": granary.QuotaGroup}[by]
		if !ok {
			return usagef("--by %q is neither user nor group", by)
		}
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			d, err := datasetAt(ctx, fs, args[0])
			if err != nil {
				return err
			}
			if scope == granary.QuotaDataset {
				return env.printDataset(cmd, d)
			}
			list, err := listOwners(ctx, fs.Client(), d.ID, scope)
			if err != nil {
				return err
			}
			return env.print(cmd.OutOrStdout(), list, func(t *tableWriter) {
				t.row(usageColumns(strings.ToUpper(by))...)
				for i := range list {
					t.row(append([]any{list[i].ID}, list[i].cells()...)...)
				}
			})
		})
	}
	cmd.Flags().StringVar(&by, "by", "", "user or group: one line for each that owns something or has a quota")
	env.outputFlag(cmd)
	return cmd
}

func (env *environment) printDataset(cmd *cobra.Command, d *granary.Dataset) error {
	r := datasetReportOf(d)
	return env.print(cmd.OutOrStdout(), r, func(t *tableWriter) {
		t.row(usageColumns("DATASET", "ID")...)
		t.row(append([]any{r.Path, r.ID}, r.cells()...)...)
	})
}

func listOwners(ctx context.Context, c *client.Client, id granary.DatasetID, scope granary.QuotaScope) ([]ownerReport, error) {
	list := []ownerReport{}
	for q := (granary.ListUsage{Dataset: id, Scope: scope}); ; {
		a, err := client.Ask[*granary.Usages](ctx, c, &q)
		if err != nil {
			return nil, err
		}
		for i := range a.Usages {
			list = append(list, ownerReport{a.Usages[i].ID, usageReportOf(&a.Usages[i])})
			q.From = a.Usages[i].ID + 1
		}
		if !a.More || q.From == 0 {
			return list, nil
		}
	}
}

// quotaFlags are the flags of "dataset quota".
type quotaFlags struct {
	bytes       string
	inodes      uint64
	user, group uint32
}

func datasetQuotaCommand(env *environment) *cobra.Command {
	var f quotaFlags
	cmd := &cobra.Command{
		Use:   "quota PATH",
		Short: "Limit the dataset of a path, or what a user or group owns in it",
		Long: `What would bring the sum of file sizes, or the number of files and directories,
above a limit is refused: with "Disk quota exceeded" on a mount. A limit below what
is there stops growth. Without --bytes and --inodes the limits stay as they are, and
are printed; 0 lifts one.`,
		Example: `  granary dataset quota /projects --bytes 10TiB
  granary dataset quota /projects --user 1000 --bytes 100GiB --inodes 1000000
  granary dataset quota /projects --user 1000 --bytes 0`,
		Args: exactArgs("PATH"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		changed := cmd.Flags().Changed
		if changed("user") && changed("group") {
			return usagef("--user and --group exclude each other")
		}
		op := &granary.SetQuota{}
		switch {
		case changed("user"):
			op.Scope, op.ID = granary.QuotaUser, f.user
		case changed("group"):
			op.Scope, op.ID = granary.QuotaGroup, f.group
		}
		size, err := parseBytes(f.bytes)
		if err != nil {
			return err
		}
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			d, err := datasetAt(ctx, fs, args[0])
			if err != nil {
				return err
			}
			op.Dataset = d.ID
			u, err := usageOf(ctx, fs.Client(), d, op)
			if err != nil {
				return err
			}
			if changed("bytes") {
				u.Limit.Bytes = size
			}
			if changed("inodes") {
				u.Limit.Inodes = f.inodes
			}
			op.Limit = u.Limit
			if changed("bytes") || changed("inodes") {
				if _, err := fs.Client().Do(ctx, granary.Cred{}, op); err != nil {
					return err
				}
			}
			if op.Scope == granary.QuotaDataset {
				d.Usage = *u
				return env.printDataset(cmd, d)
			}
			r := ownerReport{op.ID, usageReportOf(u)}
			return env.print(cmd.OutOrStdout(), r, func(t *tableWriter) {
				t.row(usageColumns(strings.ToUpper(op.Scope.String()))...)
				t.row(append([]any{r.ID}, r.cells()...)...)
			})
		})
	}
	cmd.Flags().StringVar(&f.bytes, "bytes", "0", "sum of file sizes, such as 500MiB, 10GiB or 1000000")
	cmd.Flags().Uint64Var(&f.inodes, "inodes", 0, "number of files, directories and the like")
	cmd.Flags().Uint32Var(&f.user, "user", 0, "limit what this uid owns in the dataset")
	cmd.Flags().Uint32Var(&f.group, "group", 0, "limit what this gid owns in the dataset")
	env.outputFlag(cmd)
	return cmd
}

// usageOf finds the usage that a SetQuota is about.
func usageOf(ctx context.Context, c *client.Client, d *granary.Dataset, op *granary.SetQuota) (*granary.Usage, error) {
	if op.Scope == granary.QuotaDataset {
		return &d.Usage, nil
	}
	a, err := client.Ask[*granary.Usages](ctx, c, &granary.ListUsage{Dataset: d.ID, Scope: op.Scope, From: op.ID, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(a.Usages) == 0 || a.Usages[0].ID != op.ID {
		return &granary.Usage{ID: op.ID}, nil
	}
	return &a.Usages[0], nil
}

// parseBytes reads a number of bytes, with a unit of 1024 ("10GiB" or "10G") or of 1000 ("10GB").
func parseBytes(text string) (uint64, error) {
	bad := func() (uint64, error) {
		return 0, usagef("%q is not a size, such as 1000000, 500MiB or 10GiB", text)
	}
	digits := strings.TrimRight(text, "KMGTPEkiB ")
	unit := strings.TrimSpace(text[len(digits):])
	factor := uint64(1)
	if unit != "" && unit != "B" {
		power := strings.IndexByte("KMGTPE", unit[0])
		if unit[0] == 'k' {
			power = 0
		}
		base := uint64(1024)
		switch unit[1:] {
		case "", "iB":
		case "B":
			base = 1000
		default:
			return bad()
		}
		if power < 0 {
			return bad()
		}
		for range power + 1 {
			factor *= base
		}
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(n >= 0 && n*float64(factor) < math.MaxInt64) { // NaN is neither
		return bad()
	}
	if whole, err := strconv.ParseUint(digits, 10, 64); err == nil {
		return whole * factor, nil
	}
	return uint64(n * float64(factor)), nil
}

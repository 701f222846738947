package main

import (
	"context"
	"path"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// datasetReport is one dataset in JSON and in listings. Fields are added, not renamed.
type datasetReport struct {
	Path string `json:"path"`
	ID   uint32 `json:"id"`
	usageReport
}

// usageReport is what there is of something that may have a quota; a limit of 0 is none.
type usageReport struct {
	Bytes      uint64 `json:"bytes"`
	Inodes     uint64 `json:"inodes"`
	BytesMax   uint64 `json:"bytesMax"`
	InodesMax  uint64 `json:"inodesMax"`
	OverBytes  bool   `json:"overBytes"`
	OverInodes bool   `json:"overInodes"`
}

func usageReportOf(u *granary.Usage) usageReport {
	return usageReport{
		Bytes: u.Bytes, Inodes: u.Inodes, BytesMax: u.Limit.Bytes, InodesMax: u.Limit.Inodes,
		OverBytes:  u.Limit.Bytes != 0 && u.Bytes > u.Limit.Bytes,
		OverInodes: u.Limit.Inodes != 0 && u.Inodes > u.Limit.Inodes,
	}
}

// cells are the columns of a usage.
func (r *usageReport) cells() []any {
	bytesMax, inodesMax := "-", "-"
	if r.BytesMax != 0 {
		bytesMax = byteText(r.BytesMax)
	}
	if r.InodesMax != 0 {
		inodesMax = strconv.FormatUint(r.InodesMax, 10)
	}
	over := ""
	if r.OverBytes || r.OverInodes {
		over = "over quota"
	}
	return []any{byteText(r.Bytes), bytesMax, r.Inodes, inodesMax, over}
}

func usageColumns(first ...any) []any {
	return append(first, "USED", "QUOTA", "INODES", "QUOTA", "")
}

func datasetReportOf(d *granary.Dataset) datasetReport {
	r := datasetReport{Path: "/" + d.Name, ID: uint32(d.ID), usageReport: usageReportOf(&d.Usage)}
	if d.Parent == granary.BucketsInode {
		r.Path = path.Join("/", granary.BucketsName, d.Name)
	}
	return r
}

func datasetCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dataset",
		Short: "Make datasets, see what they hold, and limit it",
		Long: `A dataset is a directory with accounts of its own: how many bytes and inodes it
holds, and how many each user and group owns in it, with limits on all of them.
It lies in / or in /buckets, where every bucket is one. Files do not move or link
from one dataset to another: they are copied.`,
	}
	cmd.AddCommand(datasetCreateCommand(env), datasetLsCommand(env), datasetUsageCommand(env), datasetQuotaCommand(env), datasetRmCommand(env))
	for _, c := range cmd.Commands() {
		env.clusterFlag(c)
	}
	return cmd
}

func datasetCreateCommand(env *environment) *cobra.Command {
	var mode string
	owner := newOwner()
	user, group := owner.cred.UID, owner.cred.GID
	cmd := &cobra.Command{
		Use:     "create PATH",
		Short:   "Make a dataset, in / or in /buckets",
		Example: "  granary dataset create /projects --user 1000 --group 1000 --mode 0775",
		Args:    exactArgs("PATH"),
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		bits, err := strconv.ParseUint(mode, 8, 32)
		if err != nil || bits > 0o7777 {
			return usagef("--mode %q is not an octal mode, such as 0755", mode)
		}
		return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
			parent, name, err := datasetPlace(ctx, fs, args[0])
			if err != nil {
				return err
			}
			_, err = fs.Client().Do(ctx, granary.Cred{}, &granary.CreateDataset{Parent: parent, Name: name, Mode: uint32(bits), UID: user, GID: group})
			return err
		})
	}
	cmd.Flags().StringVar(&mode, "mode", "0755", "permissions of its root directory, octal")
	cmd.Flags().Uint32Var(&user, "user", user, "uid that owns its root directory")
	cmd.Flags().Uint32Var(&group, "group", group, "gid that owns its root directory")
	return cmd
}

// datasetPlace splits the path of a dataset into the directory that holds its name, and the name.
func datasetPlace(ctx context.Context, fs *filer.FS, p string) (granary.InodeID, string, error) {
	clean, err := filer.CleanPath(p)
	if err != nil {
		return 0, "", err
	}
	dir, name := path.Split(clean)
	info, err := statPath(ctx, fs, dir)
	if err != nil {
		return 0, "", err
	}
	return info.Attr.Inode, name, nil
}

func datasetRmCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "rm PATH",
		Short: "Remove a dataset that is empty, with its quotas",
		Args:  exactArgs("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFiler(cmd.Context(), func(ctx context.Context, fs *filer.FS) error {
				info, err := statPath(ctx, fs, args[0])
				if err != nil {
					return err
				}
				if info.Attr.Inode != info.Attr.Inode.Dataset().Root() {
					return granary.Errorf(granary.KindInvalid, "dataset rm", args[0], "it is not a dataset, but lies in one")
				}
				parent, name, err := datasetPlace(ctx, fs, args[0])
				if err != nil {
					return err
				}
				return fs.Rmdir(ctx, granary.Cred{}, parent, name)
			})
		},
	}
}

func datasetLsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the datasets with what they hold",
		Args:  exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return env.withClient(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				list, err := listDatasets(ctx, c)
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), list, func(t *tableWriter) {
					t.row(usageColumns("DATASET", "ID")...)
					for i := range list {
						t.row(append([]any{list[i].Path, list[i].ID}, list[i].cells()...)...)
					}
				})
			})
		},
	}
	env.outputFlag(cmd)
	return cmd
}

func listDatasets(ctx context.Context, c *client.Client) ([]datasetReport, error) {
	list := []datasetReport{}
	for q := (granary.ListDatasets{}); ; {
		a, err := client.Ask[*granary.Datasets](ctx, c, &q)
		if err != nil {
			return nil, err
		}
		for i := range a.Datasets {
			list = append(list, datasetReportOf(&a.Datasets[i]))
			q.After = a.Datasets[i].ID
		}
		if !a.More || len(a.Datasets) == 0 {
			return list, nil
		}
	}
}

// datasetAt finds the dataset that a path lies in.
func datasetAt(ctx context.Context, fs *filer.FS, p string) (*granary.Dataset, error) {
	info, err := statPath(ctx, fs, p)
	if err != nil {
		return nil, err
	}
	id := info.Attr.Inode.Dataset()
	a, err := client.Ask[*granary.Datasets](ctx, fs.Client(), &granary.ListDatasets{After: id - 1, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(a.Datasets) == 0 || a.Datasets[0].ID != id {
		return nil, granary.Errorf(granary.KindNotFound, "dataset", p, "dataset %d was removed meanwhile", id)
	}
	return &a.Datasets[0], nil
}

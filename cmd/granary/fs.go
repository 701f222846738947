package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

func fsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{Use: "fs", Short: "Work with files without a mount"}
	cmd.AddCommand(fsLsCommand(env), fsCatCommand(env), fsPutCommand(env), fsGetCommand(env),
		fsRmCommand(env), fsMkdirCommand(env), fsMvCommand(env), fsStatCommand(env))
	for _, c := range cmd.Commands() {
		env.clusterFlag(c)
		switch c.Name() {
		case "put", "rm", "mkdir", "mv":
			env.fenceFlag(c)
		}
	}
	return cmd
}

// fileReport is one file in JSON and in listings.
type fileReport struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"`
	Inode   granary.InodeID `json:"inode"`
	Mode    string          `json:"mode"`
	Nlink   uint32          `json:"nlink"`
	UID     uint32          `json:"uid"`
	GID     uint32          `json:"gid"`
	Size    uint64          `json:"size"`
	Mtime   time.Time       `json:"mtime"`
	Ctime   time.Time       `json:"ctime"`
	Target  string          `json:"target,omitempty"`
	ETag    string          `json:"etag,omitempty"`
	Version granary.Index   `json:"version"`
	Code    string          `json:"code,omitempty"`
}

func fileReportOf(name string, a granary.Attr, target string) fileReport {
	return fileReport{
		Name: name, Type: a.Type.String(), Inode: a.Inode, Mode: fmt.Sprintf("%04o", a.Mode), Nlink: a.Nlink, UID: a.UID,
		GID: a.GID, Size: a.Size, Mtime: a.Mtime.Std(), Ctime: a.Ctime.Std(), Target: target, Version: a.Version,
	}
}

func (r *fileReport) row(t *tableWriter) {
	name := r.Name
	if r.Type == "directory" {
		name += "/"
	}
	if r.Target != "" {
		name += " -> " + r.Target
	}
	t.row(r.Mode, r.Nlink, r.UID, r.GID, r.Size, r.Mtime.Local().Format("2006-01-02 15:04:05"), name)
}

func fsLsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls [PATH]",
		Short: "List a directory",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := "/"
			if len(args) == 1 {
				name = args[0]
			}
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, _ granary.Cred) error {
				list, err := listPath(ctx, fs, name)
				if err != nil {
					return err
				}
				return env.print(cmd.OutOrStdout(), list, func(t *tableWriter) {
					for i := range list {
						list[i].row(t)
					}
				})
			})
		},
	}
	env.outputFlag(cmd)
	return cmd
}

// listPath returns the entries of a directory, or the one file.
func listPath(ctx context.Context, fs *filer.FS, name string) ([]fileReport, error) {
	info, err := statPath(ctx, fs, name)
	if err != nil {
		return nil, err
	}
	list := []fileReport{}
	if !info.Attr.IsDir() {
		return append(list, fileReportOf(name, info.Attr, info.Target)), nil
	}
	err = fs.ReadDir(ctx, info.Attr.Inode, func(e granary.Entry) bool {
		list = append(list, fileReportOf(e.Name, e.Attr, e.Target))
		return true
	})
	return list, err
}

func statPath(ctx context.Context, fs *filer.FS, name string) (*filer.Info, error) {
	clean, err := filer.CleanPath(name)
	if err != nil {
		return nil, err
	}
	return fs.Stat(ctx, granary.RootInode, clean, filer.StatOptions{Follow: true, Xattrs: true})
}

func fsStatCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stat PATH",
		Short: "Print what is known about a file",
		Args:  exactArgs("PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, _ granary.Cred) error {
				info, err := statPath(ctx, fs, args[0])
				if err != nil {
					return err
				}
				p, err := fs.Client().Policy(ctx, info.Attr.Policy)
				if err != nil {
					return err
				}
				r := fileReportOf(args[0], info.Attr, info.Target)
				r.ETag, r.Code = info.ETag(), p.String()
				return env.print(cmd.OutOrStdout(), r, func(t *tableWriter) {
					t.row("path", r.Name)
					t.row("type", r.Type)
					t.row("size", r.Size)
					t.row("inode", r.Inode)
					t.row("mode", r.Mode)
					t.row("links", r.Nlink)
					t.row("owner", fmt.Sprintf("%d:%d", r.UID, r.GID))
					t.row("modified", r.Mtime.Local().Format(time.RFC3339Nano))
					t.row("changed", r.Ctime.Local().Format(time.RFC3339Nano))
					t.row("etag", r.ETag)
					t.row("policy", r.Code)
				})
			})
		},
	}
	env.outputFlag(cmd)
	return cmd
}

func fsCatCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "cat PATH...",
		Short: "Write files to standard output",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, _ granary.Cred) error {
				for _, name := range args {
					if err := download(ctx, fs, name, cmd.OutOrStdout()); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// download writes the content of a file to w.
func download(ctx context.Context, fs *filer.FS, name string, w io.Writer) (err error) {
	clean, err := filer.CleanPath(name)
	if err != nil {
		return err
	}
	f, err := fs.OpenFile(ctx, granary.RootInode, clean, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := f.NewReader(0, int64(f.Info.Attr.Size))
	defer func() { err = errors.Join(err, r.Close()) }()
	_, err = io.Copy(w, r)
	return err
}

func fsPutCommand(env *environment) *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "put LOCAL PATH",
		Short: "Store a local file (\"-\" is standard input), or with -r a tree",
		Args:  exactArgs("LOCAL", "PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, cred granary.Cred) error {
				p := newProgress(os.Stderr)
				defer p.done()
				if recursive {
					return putTree(ctx, fs, cred, args[0], args[1], p)
				}
				return putFile(ctx, fs, cred, args[0], args[1], p)
			})
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "store a whole directory")
	return cmd
}

// putFile stores one file; into a directory it goes under its own name.
func putFile(ctx context.Context, fs *filer.FS, cred granary.Cred, local, name string, p *progress) (err error) {
	in, mode := os.Stdin, os.FileMode(0o644)
	if local != "-" {
		if in, err = os.Open(local); err != nil {
			return err
		}
		defer in.Close()
		st, err := in.Stat()
		if err != nil {
			return err
		}
		if st.IsDir() {
			return usagef("%s is a directory: give -r to store the whole tree", local)
		}
		mode = st.Mode().Perm()
		info, err := statPath(ctx, fs, name)
		if err == nil && info.Attr.IsDir() {
			name = path.Join(name, filepath.Base(local))
		} else if err != nil && !granary.IsKind(err, granary.KindNotFound) {
			return err
		}
	}
	clean, err := filer.CleanPath(name)
	if err != nil {
		return err
	}
	u, err := fs.Upload(ctx, filer.UploadOptions{Root: granary.RootInode, Path: clean, Mode: uint32(mode), Cred: cred})
	if err != nil {
		return err
	}
	defer u.Abort()
	if _, err := io.Copy(u, p.reader(in)); err != nil {
		return err
	}
	_, err = u.Commit(nil)
	return err
}

func putTree(ctx context.Context, fs *filer.FS, cred granary.Cred, local, name string, p *progress) error {
	return filepath.WalkDir(local, func(from string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(local, from)
		if err != nil {
			return err
		}
		to := path.Join(name, filepath.ToSlash(rel))
		clean, err := filer.CleanPath(to)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			_, err := fs.MkdirAll(ctx, cred, granary.RootInode, clean, 0o755)
			return err
		case d.Type().IsRegular():
			return putFile(ctx, fs, cred, from, to, p)
		case d.Type()&os.ModeSymlink != 0:
			target, err := os.Readlink(from)
			if err != nil {
				return err
			}
			dir, err := statPath(ctx, fs, path.Dir(clean))
			if err != nil {
				return err
			}
			_, err = fs.Symlink(ctx, cred, dir.Attr.Inode, path.Base(clean), target)
			return err
		}
		return fmt.Errorf("%s is neither file, directory nor symbolic link", from)
	})
}

func fsGetCommand(env *environment) *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "get PATH LOCAL",
		Short: "Fetch a file (LOCAL \"-\" is standard output), or with -r a tree",
		Args:  exactArgs("PATH", "LOCAL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, _ granary.Cred) error {
				p := newProgress(os.Stderr)
				defer p.done()
				if args[1] == "-" {
					return download(ctx, fs, args[0], cmd.OutOrStdout())
				}
				info, err := statPath(ctx, fs, args[0])
				if err != nil {
					return err
				}
				if !info.Attr.IsDir() {
					return getFile(ctx, fs, args[0], args[1], info.Attr, p)
				}
				if !recursive {
					return usagef("%s is a directory: give -r to fetch the whole tree", args[0])
				}
				return getTree(ctx, fs, args[0], args[1], info.Attr, p)
			})
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "fetch a whole directory")
	return cmd
}

// getFile fetches one file beside its name and renames it into place when it is whole.
func getFile(ctx context.Context, fs *filer.FS, name, local string, a granary.Attr, p *progress) (err error) {
	if st, err := os.Stat(local); err == nil && st.IsDir() {
		local = filepath.Join(local, path.Base(name))
	}
	tmp, err := os.CreateTemp(filepath.Dir(local), ".granary-get-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	if err := errors.Join(download(ctx, fs, name, p.writer(tmp)), tmp.Chmod(os.FileMode(a.Mode&0o777)), tmp.Close()); err != nil {
		return err
	}
	if err := os.Chtimes(tmp.Name(), a.Atime.Std(), a.Mtime.Std()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), local)
}

func getTree(ctx context.Context, fs *filer.FS, name, local string, a granary.Attr, p *progress) error {
	if err := os.MkdirAll(local, 0o755); err != nil {
		return err
	}
	var entries []granary.Entry
	if err := fs.ReadDir(ctx, a.Inode, func(e granary.Entry) bool { entries = append(entries, e); return true }); err != nil {
		return err
	}
	for _, e := range entries {
		from, to := path.Join(name, e.Name), filepath.Join(local, e.Name)
		var err error
		switch e.Attr.Type {
		case granary.TypeDirectory:
			err = getTree(ctx, fs, from, to, e.Attr, p)
		case granary.TypeRegular:
			err = getFile(ctx, fs, from, to, e.Attr, p)
		case granary.TypeSymlink:
			err = os.Symlink(e.Target, to)
		default:
			err = fmt.Errorf("%s is a %s", from, e.Attr.Type.String())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func fsRmCommand(env *environment) *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "rm PATH...",
		Short: "Remove files and empty directories, or with -r whole trees",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, cred granary.Cred) error {
				for _, name := range args {
					clean, err := filer.CleanPath(name)
					if err != nil {
						return err
					}
					if err := fs.Remove(ctx, granary.RootInode, clean, filer.RemoveOptions{Recursive: recursive, Cred: cred}); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "remove a directory and everything below it")
	return cmd
}

func fsMkdirCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "mkdir PATH...",
		Short: "Make directories, with those on the way",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, cred granary.Cred) error {
				for _, name := range args {
					clean, err := filer.CleanPath(name)
					if err != nil {
						return err
					}
					if _, err := fs.MkdirAll(ctx, cred, granary.RootInode, clean, 0o755); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func fsMvCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "mv FROM TO",
		Short: "Rename a file or directory",
		Args:  exactArgs("FROM", "TO"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return env.withFilerAs(cmd.Context(), func(ctx context.Context, fs *filer.FS, cred granary.Cred) error {
				src, err := filer.CleanPath(args[0])
				if err != nil {
					return err
				}
				dst, err := filer.CleanPath(args[1])
				if err != nil {
					return err
				}
				if info, err := statPath(ctx, fs, dst); err == nil && info.Attr.IsDir() {
					dst = path.Join(dst, path.Base(src))
				} else if err != nil && !granary.IsKind(err, granary.KindNotFound) {
					return err
				}
				return fs.RenamePath(ctx, cred, granary.RootInode, src, dst)
			})
		},
	}
}

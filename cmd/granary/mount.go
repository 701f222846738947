package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/fuse"
)

// mountOptions are the flags of granary mount.
type mountOptions struct {
	path, mountPoint string
	foreground       bool
	allowOther       bool
	readOnly         bool
	logFile          string
	readyFD          int
	patience         time.Duration
	metaCache        string
}

func mountCommand(env *environment) *cobra.Command {
	o := &mountOptions{}
	cmd := &cobra.Command{
		Use:   "mount [PATH] MOUNTPOINT",
		Short: "Mount the file system, or a directory of it",
		Long: `Mount the directory PATH of the cluster (default /) at MOUNTPOINT, and go into
the background when it is ready. Unmount with "granary umount MOUNTPOINT".

As mount.granary it serves fstab:

  127.0.0.1:7400:/  /mnt/granary  granary  defaults,allow_other,_netdev  0 0`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("%s takes [PATH] MOUNTPOINT, not %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.path, o.mountPoint = "/", args[len(args)-1]
			if len(args) == 2 {
				o.path = args[0]
			}
			if o.foreground {
				return runMount(cmd.Context(), env, o)
			}
			return daemonize(cmd.Context(), env, o)
		},
	}
	cmd.Flags().BoolVar(&o.foreground, "foreground", false, "stay in the foreground")
	cmd.Flags().BoolVar(&o.allowOther, "allow-other", false, "let other users than this one in (root's mounts always do)")
	cmd.Flags().BoolVar(&o.readOnly, "read-only", false, "refuse changes")
	cmd.Flags().StringVar(&o.logFile, "log-file", "", "where a mount in the background logs (default nowhere)")
	cmd.Flags().DurationVar(&o.patience, "patience", 10*time.Minute, "how long programs wait for a cluster that does not answer, before they get an error")
	cmd.Flags().StringVar(&o.metaCache, "meta-cache-size", "256MiB", "memory for attributes, names and listings that need not be asked for again; 0: none")
	cmd.Flags().IntVar(&o.readyFD, "ready-fd", 0, "file descriptor that is told when the mount is ready")
	if err := cmd.Flags().MarkHidden("ready-fd"); err != nil {
		panic(err)
	}
	env.clusterFlag(cmd)
	return cmd
}

// runMount mounts and serves until the mount is taken away or ctx ends.
func runMount(ctx context.Context, env *environment, o *mountOptions) (err error) {
	var ready *os.File
	if o.readyFD > 0 {
		ready = os.NewFile(uintptr(o.readyFD), "ready")
		defer func() {
			if ready != nil && err != nil {
				fmt.Fprintln(ready, err)
			}
		}()
	}
	log, err := env.logger()
	if err != nil {
		return err
	}
	if err := checkMountPoint(o.mountPoint); err != nil {
		return err
	}
	keep, err := parseBytes(o.metaCache)
	if err != nil {
		return err
	}
	clean, err := filer.CleanPath(o.path)
	if err != nil {
		return err
	}
	connecting, cancel := context.WithTimeout(ctx, cliPatience)
	defer cancel()
	c, err := env.connect(connecting, "mount "+o.mountPoint, o.patience, keep, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	fs := filer.New(filer.Options{Client: c, Log: log})
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err = errors.Join(err, fs.Close(closing))
	}()
	info, err := fs.Stat(ctx, granary.RootInode, clean, filer.StatOptions{Follow: true})
	if err != nil {
		return err
	}
	if !info.Attr.IsDir() {
		return granary.Errorf(granary.KindNotDir, "mount", o.path, "")
	}
	m, err := fuse.Mount(o.mountPoint, fuse.Options{
		FS: fs, Root: info.Attr.Inode, Source: env.cluster + ":" + clean,
		AllowOther: o.allowOther || os.Geteuid() == 0, ReadOnly: o.readOnly, Log: log,
	})
	if err != nil {
		return err
	}
	if ready != nil {
		_, werr := fmt.Fprintln(ready, "ok")
		if err := errors.Join(werr, ready.Close()); err != nil {
			return errors.Join(err, m.Unmount())
		}
		ready = nil
	}
	return serveMount(ctx, o.mountPoint, m)
}

// serveMount waits for the end of the mount; when ctx ends it unmounts, and says why it cannot.
func serveMount(ctx context.Context, mountPoint string, m *fuse.Server) error {
	gone := make(chan struct{})
	go func() { m.Wait(); close(gone) }()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	if err := m.Unmount(); err != nil {
		return fmt.Errorf("%s: %w; files in it are still open", mountPoint, err)
	}
	<-gone
	return nil
}

// checkMountPoint refuses what cannot be mounted on, and clears away a mount whose process died.
func checkMountPoint(dir string) error {
	st, err := os.Stat(dir)
	if errors.Is(err, syscall.ENOTCONN) {
		if out, uerr := exec.Command("fusermount3", "-uz", dir).CombinedOutput(); uerr != nil {
			return fmt.Errorf("%s is a mount whose process died and cannot be unmounted: %w: %s", dir, uerr, strings.TrimSpace(string(out)))
		}
		st, err = os.Stat(dir)
	}
	if err != nil {
		return fmt.Errorf("mount point: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("mount point %s is not a directory", dir)
	}
	return nil
}

// daemonize starts this program again with --foreground, in a session of its own, and waits until
// the mount is ready or has failed.
func daemonize(ctx context.Context, env *environment, o *mountOptions) (err error) {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	point, err := filepath.Abs(o.mountPoint)
	if err != nil {
		return err
	}
	args := []string{"mount", o.path, point, "--foreground", "--ready-fd", "3", "--cluster", env.cluster, "--log-level", env.logLevel}
	args = append(args, "--patience", o.patience.String(), "--meta-cache-size", o.metaCache)
	if o.allowOther {
		args = append(args, "--allow-other")
	}
	if o.readOnly {
		args = append(args, "--read-only")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(exe, args...)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if o.logFile != "" {
		log, err := os.OpenFile(o.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return errors.Join(err, w.Close())
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log
	}
	if err := errors.Join(cmd.Start(), w.Close()); err != nil {
		return err
	}
	said, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if text := strings.TrimSpace(string(said)); text != "ok" {
		if text == "" {
			text = "the mount process ended without a word"
		}
		return errors.New(text)
	}
	return cmd.Process.Release()
}

func umountCommand(*environment) *cobra.Command {
	var lazy bool
	cmd := &cobra.Command{
		Use:   "umount MOUNTPOINT",
		Short: "Unmount; when it returns, everything written is durable",
		Args:  exactArgs("MOUNTPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !lazy {
				if err := syncMount(args[0]); err != nil {
					return err
				}
			}
			flags := "-u"
			if lazy {
				flags = "-uz"
			}
			out, err := exec.CommandContext(cmd.Context(), "fusermount3", flags, args[0]).CombinedOutput()
			if errors.Is(err, exec.ErrNotFound) {
				return errors.New("fusermount3 is missing: install the package fuse3")
			}
			if err != nil {
				return fmt.Errorf("umount %s: %s", args[0], strings.TrimSpace(string(out)))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&lazy, "lazy", false, "detach now, finish when nothing is open any more; without flushing first")
	return cmd
}

// syncMount makes everything written through the mount durable (syncfs).
func syncMount(mountPoint string) error {
	f, err := os.Open(mountPoint)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync of %s: %w", mountPoint, err)
	}
	return nil
}

// fstabArguments turns the arguments that mount(8) gives to mount.granary, SOURCE MOUNTPOINT
// [-o OPTIONS], into those of granary mount. SOURCE is [HOST:PORT,…:]/PATH.
func fstabArguments(args []string) []string {
	var out, places []string
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "-o" && i+1 < len(args):
			i++
			out = append(out, fstabOptions(args[i])...)
		case strings.HasPrefix(args[i], "-"):
			// -n, -s, -v and -f are mount(8)'s own business.
		default:
			places = append(places, args[i])
		}
	}
	if len(places) > 0 {
		if i := strings.LastIndex(places[0], ":/"); i > 0 {
			out = append(out, "--cluster", places[0][:i])
			places[0] = places[0][i+1:]
		}
	}
	return append(out, places...)
}

func fstabOptions(list string) []string {
	var out []string
	for _, o := range strings.Split(list, ",") {
		name, value, _ := strings.Cut(o, "=")
		switch name {
		case "ro":
			out = append(out, "--read-only")
		case "allow_other":
			out = append(out, "--allow-other")
		case "patience":
			out = append(out, "--patience", value)
		case "cluster":
			out = append(out, "--cluster", value)
		case "log_file":
			out = append(out, "--log-file", value)
		}
	}
	return out
}

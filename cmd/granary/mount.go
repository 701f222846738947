package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/fuse"
)

// closeWithin is how long a mount that has been taken away tries to write what is not written yet, if nothing else is said.
const closeWithin = time.Minute

// mountOptions are the flags of granary mount.
type mountOptions struct {
	path, mountPoint string
	subdir           string
	foreground       bool
	logFile          string
	readyFD          int
	closeWithin      time.Duration
	patience         time.Duration
	memory           bytesValue
	cache            cacheOptions
	kernel           fuse.Options // what the flags say of it
	ids              idOptions
	delegations      bool
	noDelegations    bool
	durableClose     bool
}

func mountCommand(env *environment) *cobra.Command {
	o := &mountOptions{}
	cmd := &cobra.Command{
		Use:   "mount [PATH] MOUNTPOINT",
		Short: "Mount the file system, or a directory of it",
		Long: `Mount the directory PATH of the cluster (default /) at MOUNTPOINT, and go into
the background when it is ready. Unmount with "granary umount MOUNTPOINT".

With a link to this program, /sbin/mount.granary, mount(8) and /etc/fstab know it:

  127.0.0.1:7400:/  /mnt/granary  granary  _netdev,allow_other  0 0

Every flag is an option there, with '_' for '-': subdir=/projects,cache_dir=/var/cache/granary.`,
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
			return daemonize(cmd, o)
		},
	}
	o.flags(cmd)
	env.clusterFlag(cmd)
	env.fenceFlag(cmd)
	cmd.AddCommand(mountListCommand(env))
	return cmd
}

func (o *mountOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.foreground, "foreground", false, "stay in the foreground")
	f.StringVar(&o.subdir, "subdir", "", "mount this directory below PATH")
	f.BoolVar(&o.kernel.AllowOther, "allow-other", false, "let other users than this one in (root's mounts always do)")
	f.BoolVar(&o.kernel.ReadOnly, "read-only", false, "refuse changes")
	f.BoolVar(&o.kernel.NoExec, "no-exec", false, "run no programs from it")
	f.BoolVar(&o.kernel.Suid, "suid", false, "let set-id bits of programs count, if root mounts")
	f.BoolVar(&o.kernel.Dev, "dev", false, "let device files be opened, if root mounts")
	f.StringVar(&o.logFile, "log-file", "", "where a mount in the background logs (default nowhere)")
	f.DurationVar(&o.patience, "patience", 10*time.Minute, "how long programs wait for masters and volume servers that do not answer, before they get an error")
	f.BoolVar(&o.delegations, "delegations", true, "what --no-delegations switches off")
	f.BoolVar(&o.noDelegations, "no-delegations", false, "ask the masters for each thing that is made, renamed or removed; without it, this mount does so by itself where it is alone in a directory, and commits within a second, or at fsync")
	f.BoolVar(&o.durableClose, "durable-close", false, "a file that is closed is durable, also where this mount is alone in a directory")
	o.memory = 1 << 30
	f.Var(&o.memory, "memory", "bytes that the mount's process is to keep to: caches, write buffers and what the kernel knows of files share them")
	o.cache.flags(cmd)
	o.ids.flags(cmd)
	f.IntVar(&o.readyFD, "ready-fd", 0, "file descriptor that is told when the mount is ready")
	f.DurationVar(&o.closeWithin, "close-within", closeWithin, "how long a mount that has been taken away tries to write what is not written yet")
	for _, name := range []string{"ready-fd", "close-within", "delegations"} {
		if err := f.MarkHidden(name); err != nil {
			panic(err)
		}
	}
}

// runMount mounts and serves until the mount is taken away or ctx ends.
func runMount(ctx context.Context, env *environment, o *mountOptions) (err error) {
	ready := readiness{}
	if o.readyFD > 0 {
		ready.file = os.NewFile(uintptr(o.readyFD), "ready")
		defer func() { ready.failed(err) }()
	}
	log, err := env.logger()
	if err != nil {
		return err
	}
	share, err := shareMemory(int64(o.memory))
	if err != nil {
		return err
	}
	if o.kernel.IDs, err = o.ids.parse(); err != nil {
		return err
	}
	if err := checkMountPoint(ctx, o.mountPoint); err != nil {
		return err
	}
	chunks, err := o.cache.open(log)
	if err != nil {
		return err
	}
	if chunks != nil {
		defer func() { err = errors.Join(err, chunks.Close()) }()
	}
	connecting, cancel := context.WithTimeout(ctx, cliPatience)
	defer cancel()
	fences, err := parseTokens(env.fence)
	if err != nil {
		return err
	}
	var recalls recalls
	clientOptions := client.Options{
		Fences: fences,
		Name:   sessionName("mount " + o.mountPoint), RetryFor: o.patience, CacheBytes: share.cache, KeepBytes: share.kept, Chunks: chunks, Log: log,
	}
	if o.noDelegations || o.kernel.ReadOnly {
		o.delegations = false
	}
	if len(fences) > 0 { // they hold for what the master is asked to do, when it is asked
		o.delegations = false
	}
	if o.delegations {
		clientOptions.OnRecall = recalls.take
	}
	c, err := env.connect(connecting, clientOptions)
	if err != nil {
		return err
	}
	closeClient := sync.OnceValue(c.Close)
	defer func() { err = errors.Join(err, closeClient()) }()
	fs := filer.New(filer.Options{
		Client: c, Log: log, WriteMemory: share.writes, Patience: o.patience, Delegations: o.delegations, DurableClose: o.durableClose,
	})
	recalls.to.Store(fs)
	defer func() {
		closing, cancel := context.WithTimeout(context.Background(), o.closeWithin)
		defer cancel()
		// What is being told then has as much patience as any call. It ends with the client.
		defer context.AfterFunc(closing, func() { closeClient() })() //nolint:errcheck // it is returned above
		err = errors.Join(err, fs.Close(closing))
	}()
	m, err := o.mount(ctx, env, fs, share, log)
	if err != nil {
		return err
	}
	if err := ready.ok(); err != nil {
		return errors.Join(err, m.Unmount())
	}
	return serveMount(ctx, o.mountPoint, m)
}

// mount looks for the directory and mounts it.
func (o *mountOptions) mount(ctx context.Context, env *environment, fs *filer.FS, share memoryShare, log *slog.Logger) (*fuse.Server, error) {
	clean, err := filer.CleanPath(path.Join(o.path, o.subdir))
	if err != nil {
		return nil, err
	}
	info, err := fs.Stat(ctx, granary.RootInode, clean, filer.StatOptions{Follow: true})
	if err != nil {
		return nil, err
	}
	if !info.Attr.IsDir() {
		return nil, granary.Errorf(granary.KindNotDir, "mount", clean, "")
	}
	k := o.kernel
	k.FS, k.Root, k.Log, k.NodesMax, k.MemoryMax = fs, info.Attr.Inode, log, share.nodes, int64(o.memory)
	k.Source = env.cluster + ":" + clean
	k.AllowOther = k.AllowOther || os.Geteuid() == 0
	return fuse.Mount(o.mountPoint, k)
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

// recalls passes on what the client is told to give back. Before there is a file system nothing is held.
type recalls struct{ to atomic.Pointer[filer.FS] }

func (r *recalls) take(ids []granary.InodeID) {
	if fs := r.to.Load(); fs != nil {
		fs.Recall(ids)
	}
}

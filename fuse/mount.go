package fuse

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

const (
	writeSizeMax  = 1 << 20 // bytes of one kernel read or write request
	backgroundMax = 128     // asynchronous requests of the kernel at a time
	readAheadKiB  = 4096    // of the kernel, for buffered sequential reads
	blockSize     = 128 << 10
)

// Options configures a mount.
type Options struct {
	FS         *filer.FS
	Root       granary.InodeID // directory that appears at the mount point
	Source     string          // first column of df
	AllowOther bool            // let other users in; /etc/fuse.conf must allow it for ordinary users
	ReadOnly   bool
	NoExec     bool
	Suid, Dev  bool // let set-id bits and device files count; of root's mounts alone
	IDs        IDs  // who the users of this host are
	NodesMax   int  // files and directories that the kernel is to remember at most, as far as it can be told; 0: any number
	MemoryMax  int64
	Log        *slog.Logger
}

// Validate reports what is missing.
func (o *Options) Validate() error {
	switch {
	case o.FS == nil:
		return granary.Errorf(granary.KindInvalid, "mount", "", "no file system")
	case o.Root == 0:
		return granary.Errorf(granary.KindInvalid, "mount", "", "no root directory")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Server is one mount.
type Server struct {
	options Options
	groups  *groups
	missed  missed
	kept    kept
	server  *gofuse.Server
	meter   *meter
	nodes   *nodes
	since   time.Time
	ctx     context.Context // of every request; ends when the mount has gone
	cancel  context.CancelFunc
	wg      sync.WaitGroup // what runs until ctx ends
}

// Mount mounts the file system at a directory and returns when it can be used.
func Mount(mountPoint string, o Options) (*Server, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	m := &Server{options: o, groups: newGroups(), since: time.Now()}
	root := &node{m: m, ino: o.Root}
	m.nodes = newNodes(o.NodesMax, root.NotifyPrune)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	server, err := m.serve(mountPoint, root)
	if err != nil {
		m.cancel()
		return nil, fmt.Errorf("mount %s: %w", mountPoint, explained(err))
	}
	m.server = server
	m.wg.Go(func() { m.nodes.run(m.ctx, o.FS.InUse) })
	o.FS.Changed(m.changed)
	if err := raiseReadAhead(mountPoint); err != nil {
		o.Log.Debug("the kernel's readahead stays as it is", "mount", mountPoint, "err", err)
	}
	return m, nil
}

// explained is an error of mounting with what most often is behind it.
func explained(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w (is the package fuse3 installed, and /dev/fuse there?)", err)
	}
	device, closed := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if closed == nil {
		_ = device.Close() // nothing was done with it
		return err
	}
	// fusermount opens it as the user who mounts, and go-fuse passes on only its exit code, and a line's end.
	return fmt.Errorf("%s (%w; ordinary users can mount where it has mode 0666)", strings.TrimSpace(err.Error()), closed)
}

// serve makes the mount, and serves it until it has gone.
func (m *Server) serve(mountPoint string, root *node) (*gofuse.Server, error) {
	options := m.mountOptions()
	nodes := gofs.NewNodeFS(root, options)
	m.meter = &meter{RawFileSystem: newLocks(umasks{nodes}), about: m.about}
	server, err := gofuse.NewServer(m.meter, mountPoint, &options.MountOptions)
	if err != nil {
		return nil, err
	}
	go server.Serve() // Wait waits for it
	if err := server.WaitMount(); err != nil {
		return nil, err
	}
	return server, nil
}

func (m *Server) mountOptions() *gofs.Options {
	never := time.Duration(0)
	o := &gofs.Options{
		EntryTimeout: &never, AttrTimeout: &never, NegativeTimeout: &never,
		NullPermissions: true,
		RootStableAttr:  &gofs.StableAttr{Ino: uint64(m.options.Root), Gen: 1},
		Logger:          slog.NewLogLogger(m.options.Log.Handler(), slog.LevelDebug),
	}
	o.MountOptions = gofuse.MountOptions{
		AllowOther:    m.options.AllowOther,
		Options:       []string{"default_permissions"},
		MaxBackground: backgroundMax,
		MaxWrite:      writeSizeMax,
		MaxReadAhead:  writeSizeMax,
		// The master takes set-id bits and capabilities from what is written to, and knows where a umask does not count.
		ExtraCapabilities: gofuse.CAP_HANDLE_KILLPRIV_V2 | gofuse.CAP_DONT_MASK,
		EnableAcl:         true,
		EnableLocks:       true,
		FsName:            m.options.Source,
		Name:              "granary",
		DisableSplice:     true, // replies are memory; a reply of 1 MiB would not fit a pipe
		DirectMount:       os.Geteuid() == 0,
		Logger:            slog.NewLogLogger(m.options.Log.Handler(), slog.LevelDebug),
		PanicHandler:      m.panicked,
	}
	o.MountOptions.Options = append(o.MountOptions.Options, m.options.names()...)
	if m.options.ReadOnly {
		o.MountOptions.DirectMountFlags = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_RDONLY
	}
	return o
}

// names are options as mount(8) has them. Programs get no rights from set-id bits and device files unless that is asked for.
func (o *Options) names() []string {
	var names []string
	for _, n := range []struct {
		is   bool
		name string
	}{
		{o.ReadOnly, "ro"}, {o.NoExec, "noexec"}, {o.Suid && os.Geteuid() == 0, "suid"}, {o.Dev && os.Geteuid() == 0, "dev"},
	} {
		if n.is {
			names = append(names, n.name)
		}
	}
	return names
}

// panicked turns a broken invariant in one request into EIO of that request: the mount holds other
// programs' unsaved data and must not die of it.
func (m *Server) panicked(p any) gofuse.Status {
	m.options.Log.Error("a request panicked", "panic", p)
	return gofuse.EIO
}

// Wait returns when the file system has been unmounted.
func (m *Server) Wait() {
	m.server.Wait()
	m.options.FS.Changed(nil)
	m.cancel()
	m.wg.Wait()
}

// Unmount takes the mount away; it fails while something in it is in use.
func (m *Server) Unmount() error { return m.server.Unmount() }

// raiseReadAhead lets the kernel read further ahead than its 128 KiB. Only root may.
func raiseReadAhead(mountPoint string) error {
	var st unix.Stat_t
	if err := unix.Stat(mountPoint, &st); err != nil {
		return err
	}
	name := filepath.Join("/sys/class/bdi", fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)), "read_ahead_kb")
	return os.WriteFile(name, []byte(fmt.Sprint(readAheadKiB)), 0)
}

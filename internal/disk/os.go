package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Files belong to the server alone: what is in them is the users' data.
const (
	fileMode = 0o600
	dirMode  = 0o700
)

// OS returns the file system under dir, which must exist. No name leads out of it, by dots or by a
// symbolic link. Its errors are *fs.PathError and the like.
func OS(dir string) (FS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &osFS{root: root, dir: abs}, nil
}

// osFS has no Close: the directory it holds is released when it is no longer referenced.
type osFS struct {
	root *os.Root
	dir  string
}

// Path returns where others find a file, as long as the directory has the place that it had.
func (o *osFS) Path(name string) string { return filepath.Join(o.dir, name) }

type osFile struct {
	f      *os.File
	direct second
}

// checkName refuses what is not a slash-separated path below the root. "." is the root itself.
func checkName(op, name string) error {
	if !fs.ValidPath(name) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return nil
}

// Create opens with O_EXCL, so that of two creators one fails.
func (o *osFS) Create(name string) (File, error) {
	return o.open("create", name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (o *osFS) Open(name string) (File, error) { return o.open("open", name, os.O_RDWR) }

func (o *osFS) open(op, name string, flag int) (File, error) {
	if err := checkName(op, name); err != nil {
		return nil, err
	}
	f, err := o.root.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err
	}
	return &osFile{f: f, direct: second{flags: os.O_RDWR | directFlag}}, nil
}

func (o *osFS) Remove(name string) error {
	if err := checkName("remove", name); err != nil {
		return err
	}
	return o.root.Remove(name)
}

func (o *osFS) Rename(old, new string) error {
	if err := errors.Join(checkName("rename", old), checkName("rename", new)); err != nil {
		return err
	}
	return o.root.Rename(old, new)
}

func (o *osFS) MkdirAll(name string) error {
	if err := checkName("mkdir", name); err != nil {
		return err
	}
	return o.root.MkdirAll(name, dirMode)
}

func (o *osFS) ReadDir(name string) ([]string, error) {
	d, err := o.openDir("readdir", name)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

func (o *osFS) SyncDir(name string) error {
	d, err := o.openDir("syncdir", name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (o *osFS) openDir(op, name string) (*os.File, error) {
	if err := checkName(op, name); err != nil {
		return nil, err
	}
	return o.root.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
}

// Lock uses flock, which belongs to the open file: a second Lock conflicts with the first within one
// process as well, and the kernel releases it when the process dies.
func (o *osFS) Lock(name string) (io.Closer, error) {
	if err := checkName("lock", name); err != nil {
		return nil, err
	}
	f, err := o.root.OpenFile(name, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	err = control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if err != nil {
		return nil, errors.Join(&fs.PathError{Op: "lock", Path: name, Err: err}, f.Close())
	}
	return f, nil
}

func (o *osFS) Usage() (Usage, error) {
	d, err := o.openDir("usage", ".")
	if err != nil {
		return Usage{}, err
	}
	var s unix.Statfs_t
	err = control(d, func(fd int) error { return unix.Fstatfs(fd, &s) })
	if err := errors.Join(err, d.Close()); err != nil {
		return Usage{}, fmt.Errorf("usage: %w", err)
	}
	return Usage{Total: s.Blocks * uint64(s.Bsize), Free: s.Bavail * uint64(s.Bsize)}, nil
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }
func (f *osFile) Truncate(size int64) error               { return f.f.Truncate(size) }
func (f *osFile) Close() error                            { return errors.Join(f.direct.close(), f.f.Close()) }

// writeMax bounds what one system call writes. For a long write at an aligned offset ext4 takes folios of megabytes, and the kernel
// copies into one of them by a single instruction, which on some processors takes five times as long as for small ones. Nothing is
// lost by cutting: writes are made durable by Sync, and one that fails leaves a part of its bytes either way.
const writeMax = 128 << 10

// WriteAt writes what it can past the system's memory, and the rest in pieces.
func (f *osFile) WriteAt(p []byte, off int64) (n int, err error) {
	if n, err = f.writeDirect(p, off); err != nil || n == len(p) && n > 0 {
		return n, err
	}
	for {
		piece := p[n:min(len(p), n+writeMax)]
		wrote, err := f.f.WriteAt(piece, off+int64(n))
		n += wrote
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// Sync is fdatasync: it leaves out the time stamps, but not the length.
func (f *osFile) Sync() error {
	if err := control(f.f, fdatasync); err != nil {
		return &fs.PathError{Op: "sync", Path: f.f.Name(), Err: err}
	}
	return nil
}

// Uncache implements Uncacher.
func (f *osFile) Uncache(off, length int64) error {
	if err := control(f.f, func(fd int) error { return uncache(fd, off, length) }); err != nil {
		return &fs.PathError{Op: "fadvise", Path: f.f.Name(), Err: err}
	}
	return nil
}

func (f *osFile) Size() (int64, error) {
	st, err := f.stat()
	return st.Size, err
}

func (f *osFile) Allocated() (int64, error) {
	st, err := f.stat()
	if err != nil {
		return 0, err
	}
	if st.Blocks > math.MaxInt64/512 {
		return 0, &fs.PathError{Op: "stat", Path: f.f.Name(), Err: syscall.EOVERFLOW}
	}
	return st.Blocks * 512, nil // st_blocks counts 512 bytes whatever the file system's block is
}

func (f *osFile) stat() (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := control(f.f, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return st, &fs.PathError{Op: "stat", Path: f.f.Name(), Err: err}
	}
	return st, nil
}

// control runs a system call on f's descriptor, which cannot be closed meanwhile, again as long as a
// signal interrupts it.
func control(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) {
		for {
			if callErr = call(int(fd)); !errors.Is(callErr, syscall.EINTR) {
				return
			}
		}
	})
	if err != nil { // there is one reason only, which the standard library does not export
		return fs.ErrClosed
	}
	return callErr
}

package faultdisk

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Faults is what is wrong with a disk. The zero value is nothing.
type Faults struct {
	Sync  syscall.Errno // of every sync, of files and of directories; nothing is synced
	Write syscall.Errno // of every write and creation; and, but for ENOSPC, of what takes no space: truncations, renames, removals
	Torn  bool          // a write that fails has been made in part: whole pages up to somewhere
	Read  syscall.Errno // of every read of a file's bytes
	Delay time.Duration // of every access
	Hang  bool          // no access ends until there are other faults
	Every int           // only one of so many accesses fails or is delayed; 0: all
}

// Disk is a mount at one directory of what is in another.
type Disk struct {
	Lower string // directory below
	Point string // where it is mounted

	count atomic.Int64 // accesses that could fail
	made  atomic.Int64 // faults

	mu      sync.Mutex
	faults  Faults
	changed chan struct{} // closed when the faults change
}

// Mount mounts. It takes root, or fusermount3.
func Mount(lower, point string) (*Disk, error) {
	d := &Disk{Lower: lower, Point: point, changed: make(chan struct{})}
	below, err := fs.NewLoopbackRoot(lower)
	if err != nil {
		return nil, err
	}
	data := below.(*fs.LoopbackNode).RootData
	root := &node{LoopbackNode: fs.LoopbackNode{RootData: data}, disk: d}
	data.NewNode = func(*fs.LoopbackRoot, *fs.Inode, string, *syscall.Stat_t) fs.InodeEmbedder {
		return &node{LoopbackNode: fs.LoopbackNode{RootData: data}, disk: d}
	}
	data.RootNode = root
	var none time.Duration // nothing is remembered by the kernel
	_, err = fs.Mount(point, root, &fs.Options{
		AttrTimeout: &none, EntryTimeout: &none, NegativeTimeout: &none,
		Logger: log.New(os.Stderr, "faultdisk: ", 0),
		MountOptions: fuse.MountOptions{
			FsName: lower, Name: "faultdisk", AllowOther: os.Geteuid() == 0, DirectMount: os.Geteuid() == 0,
			MaxWrite: 1 << 20, DisableXAttrs: true, DisableSplice: true, IgnoreSecurityLabels: true,
		},
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Set replaces the faults; what hangs goes on.
func (d *Disk) Set(f Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f
	close(d.changed)
	d.changed = make(chan struct{})
}

// Made returns how many accesses failed, were delayed or hung so far.
func (d *Disk) Made() int64 { return d.made.Load() }

// Unmount takes the mount away, at once. Who has something on it open, and processes with a copy of the mount in a namespace of
// their own, are served until they end.
func (d *Disk) Unmount() error {
	d.Set(Faults{})
	if os.Geteuid() == 0 {
		return syscall.Unmount(d.Point, syscall.MNT_DETACH)
	}
	out, err := exec.Command("fusermount3", "-uz", d.Point).CombinedOutput()
	if err != nil {
		return fmt.Errorf("unmount of %s: %w: %s", d.Point, err, out)
	}
	return nil
}

// access is a kind of call.
type access int

const (
	reading access = iota
	writing
	changing // without taking space
	syncing
	looking // attributes, names: they are slow or hang, but do not fail
)

// fault waits as the disk does, and returns the error that the access shall fail with, and whether a part of it is done.
func (d *Disk) fault(a access) (errno syscall.Errno, torn bool) {
	d.mu.Lock()
	f, changed := d.faults, d.changed
	d.mu.Unlock()
	switch a {
	case reading:
		errno = f.Read
	case writing:
		errno = f.Write
	case changing:
		if errno = f.Write; errno == syscall.ENOSPC {
			errno = 0
		}
	case syncing:
		errno = f.Sync
	}
	if errno == 0 && f.Delay == 0 && !f.Hang || f.Every > 1 && d.count.Add(1)%int64(f.Every) != 0 {
		return 0, false
	}
	d.made.Add(1)
	if f.Hang {
		<-changed
		return d.fault(a)
	}
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-changed:
		}
	}
	return errno, f.Torn
}

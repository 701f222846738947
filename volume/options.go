package volume

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// Defaults of Options.
const (
	reserveBytesDefault = 64 << 20
	openFilesDefault    = 512
	classLengthMax      = 64
	retryEveryDefault   = time.Minute
)

// Options configures a Store.
type Options struct {
	Dirs         []string                          // one a disk
	OpenFS       func(dir string) (disk.FS, error) // if nil disk.OS, of a directory that is made if it is missing
	Classes      map[string]string                 // by directory: DiskUsage.Class, the medium in a word
	Format       []string                          // of Dirs: may be made new disks although they held others at the last start
	Cluster      granary.ClusterID                 // "" to take whatever the disks say, or join one later
	ReserveBytes uint64                            // kept free on every disk; default 64 MiB
	OpenFilesMax int                               // shard files kept open; default 512
	ScrubEvery   time.Duration                     // how often every byte is verified; default 30 days, negative for when it is asked for
	Log          *slog.Logger                      // discards if nil

	makeDir    func(dir string) error // nil if directories are not made
	retryEvery time.Duration          // of directories that are left out; default retryEveryDefault
}

// Validate fills in defaults and refuses what cannot work.
func (o *Options) Validate() error {
	if len(o.Dirs) == 0 {
		return granary.Errorf(granary.KindInvalid, opOpen, "", "no directory given")
	}
	seen := make(map[string]bool, len(o.Dirs))
	for _, dir := range o.Dirs {
		clean := filepath.Clean(dir)
		if dir == "" || seen[clean] {
			return granary.Errorf(granary.KindInvalid, opOpen, dir, "directory is empty or given twice")
		}
		seen[clean] = true
	}
	if o.Cluster != "" && !validID(string(o.Cluster)) {
		return granary.Errorf(granary.KindInvalid, opOpen, string(o.Cluster), "a cluster id has 32 lower-case hexadecimal digits")
	}
	for _, dir := range o.Format {
		if !seen[filepath.Clean(dir)] {
			return granary.Errorf(granary.KindInvalid, opOpen, dir, "it is to be formatted, and is none of the directories")
		}
	}
	for dir, class := range o.Classes {
		if !seen[filepath.Clean(dir)] || len(class) > classLengthMax {
			return granary.Errorf(granary.KindInvalid, opOpen, dir, "a class for what is none of the directories, or too long: %q", class)
		}
	}
	if o.OpenFS == nil {
		o.OpenFS, o.makeDir = disk.OS, makeDir
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = reserveBytesDefault
	}
	if o.OpenFilesMax <= 0 {
		o.OpenFilesMax = openFilesDefault
	}
	if o.ScrubEvery == 0 {
		o.ScrubEvery = scrubEveryDefault
	}
	if o.retryEvery == 0 {
		o.retryEvery = retryEveryDefault
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// mayFormat reports whether a directory that held a disk may become another.
func (o *Options) mayFormat(dir string) bool {
	return slices.ContainsFunc(o.Format, func(f string) bool { return filepath.Clean(f) == filepath.Clean(dir) })
}

// makeDir makes a directory and the missing ones above it, durably: what is synced inside would be lost
// with the name of a directory that is not.
func makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
		}
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above := filepath.Dir(dir)
	if err := makeDir(above); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	parent, err := os.Open(above)
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}

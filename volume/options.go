package volume

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// Defaults of Options.
const (
	reserveBytesDefault = 64 << 20
	openFilesDefault    = 512
)

// Options configures a Store.
type Options struct {
	Dirs         []string                          // one a disk
	OpenFS       func(dir string) (disk.FS, error) // if nil disk.OS, of a directory that is made if it is missing
	Cluster      granary.ClusterID                 // "" to take whatever the disks say, or join one later
	ReserveBytes uint64                            // kept free on every disk; default 64 MiB
	OpenFilesMax int                               // shard files kept open; default 512
	Log          *slog.Logger                      // discards if nil
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
	if o.OpenFS == nil {
		o.OpenFS = openOS
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = reserveBytesDefault
	}
	if o.OpenFilesMax <= 0 {
		o.OpenFilesMax = openFilesDefault
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// openOS is the default of OpenFS.
func openOS(dir string) (disk.FS, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	return disk.OS(dir)
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

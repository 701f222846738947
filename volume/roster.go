package volume

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

const (
	rosterName    = "disks.json"
	rosterTmpName = "disks.json.tmp"
	rosterFormat  = 1
)

// roster says which disks the server had at its last start, and where. Each disk has a copy, so that the server notices when one of them
// is not there. One that cannot be read says nothing.
type roster struct {
	Format  int           `json:"format"`
	Version uint64        `json:"version"` // the highest holds
	Disks   []rosterEntry `json:"disks"`   // in the order of their paths
	CRC32C  string        `json:"crc32c"`  // see checksum
}

type rosterEntry struct {
	Disk granary.DiskID `json:"disk"`
	Path string         `json:"path"`
}

// checksum covers "format version", then each "disk path" on a line of its own.
func (r roster) checksum() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d %d\n", r.Format, r.Version)
	for _, e := range r.Disks {
		fmt.Fprintf(&text, "%s %s\n", e.Disk, e.Path)
	}
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text.String()), castagnoli))
}

// missing returns the disk that was in a directory and is not open in another now, or "".
func (r roster) missing(dir string, open []*dataDisk) granary.DiskID {
	path := absolute(dir)
	for _, e := range r.Disks {
		if e.Path == path && !slices.ContainsFunc(open, func(d *dataDisk) bool { return d.id() == e.Disk }) {
			return e.Disk
		}
	}
	return ""
}

// update writes the roster of the disks that are open, and of those that should be, on all that are.
func (r roster) update(s *Store) {
	next := roster{Format: rosterFormat, Version: r.Version + 1}
	for _, dir := range s.o.Dirs {
		e := rosterEntry{Disk: r.missing(dir, s.disks), Path: absolute(dir)}
		for _, d := range s.disks {
			if d.dir == dir {
				e.Disk = d.id()
			}
		}
		if e.Disk != "" {
			next.Disks = append(next.Disks, e)
		}
	}
	slices.SortFunc(next.Disks, func(a, b rosterEntry) int { return cmp.Compare(a.Path, b.Path) })
	if slices.Equal(next.Disks, r.Disks) {
		next.Version = r.Version
	}
	next.CRC32C = next.checksum()
	text, err := json.MarshalIndent(next, "", "  ")
	for _, d := range s.disks {
		if d.rosterVersion == next.Version {
			continue
		}
		if err == nil {
			err = replaceFile(d.fs, rosterTmpName, rosterName, append(text, '\n'))
		}
		if err != nil { // the others have it
			d.log.Warn("the list of the server's disks is not kept here", "error", err)
			d.noteFailure(err)
			err = nil
		}
	}
}

// readRosters returns the newest list of the server's disks that a disk has.
func (s *Store) readRosters() roster {
	var newest roster
	for _, d := range s.disks {
		if d.id() == "" {
			continue
		}
		r, err := readRoster(d.fs)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			d.log.Warn("the list of the server's disks cannot be read", "file", rosterName, "error", err)
			continue
		}
		d.rosterVersion = r.Version
		if r.Version > newest.Version {
			newest = r
		}
	}
	return newest
}

func readRoster(fsys disk.FS) (r roster, err error) {
	text, err := readSmall(fsys, rosterName)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, err
	}
	if r.Format != rosterFormat || r.CRC32C != r.checksum() {
		return r, granary.Errorf(granary.KindCorrupt, opOpen, rosterName, "format %d, or a wrong checksum", r.Format)
	}
	return r, nil
}

// readSmall reads a file of a disk's directory, as far as such files go.
func readSmall(fsys disk.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	text := make([]byte, min(size, smallFileMax))
	if n, err := f.ReadAt(text, 0); n < len(text) && err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return text, nil
}

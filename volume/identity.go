package volume

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// Names in a disk's directory.
const (
	identityName    = "identity.json"
	identityTmpName = "identity.json.tmp"
	lockName        = "lock"
	shardsName      = "shards"
	rootName        = "."

	identityFormat = 1
	smallFileMax   = 8 << 20 // of a file beside the shards
)

// identity says whose disk a directory is.
type identity struct {
	Format  int               `json:"format"`
	Cluster granary.ClusterID `json:"cluster"` // "" if none yet
	Server  granary.ServerID  `json:"server"`
	Disk    granary.DiskID    `json:"disk"`
	CRC32C  string            `json:"crc32c"` // of the other fields, in hexadecimal: see checksum
}

// checksum covers "format cluster server disk", so that a flipped bit cannot make another disk of it.
func (id identity) checksum() string {
	text := fmt.Sprintf("%d %s %s %s", id.Format, id.Cluster, id.Server, id.Disk)
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(text), castagnoli))
}

// parseIdentity reads and checks the file's content. A newer format is told from a broken file.
func parseIdentity(dir string, text []byte) (identity, error) {
	var id identity
	err := json.Unmarshal(text, &id)
	switch {
	case err != nil:
		return id, granary.Errorf(granary.KindCorrupt, opOpen, dir, "%s is not readable: %w", identityName, err)
	case id.Format > identityFormat:
		return id, granary.Errorf(granary.KindNotSupported, opOpen, dir,
			"the disk has format %d, this release (%s) knows formats up to %d", id.Format, granary.Version, identityFormat)
	case id.Format != identityFormat:
		return id, granary.Errorf(granary.KindCorrupt, opOpen, dir, "%s names format %d", identityName, id.Format)
	case id.CRC32C != id.checksum():
		return id, granary.Errorf(granary.KindCorrupt, opOpen, dir, "%s fails its checksum", identityName)
	case !validID(string(id.Server)), !validID(string(id.Disk)), id.Cluster != "" && !validID(string(id.Cluster)):
		return id, granary.Errorf(granary.KindCorrupt, opOpen, dir, "%s holds a malformed id", identityName)
	}
	return id, nil
}

// readIdentity returns false if the directory has none.
func readIdentity(fsys disk.FS, dir string) (identity, bool, error) {
	text, err := readSmall(fsys, identityName)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, false, nil
	}
	if err != nil {
		return identity{}, false, granary.Errorf(granary.KindUnavailable, opOpen, dir, "%s: %w", identityName, err)
	}
	id, err := parseIdentity(dir, text)
	return id, err == nil, err
}

// writeIdentity replaces the identity in one step: a crash leaves the old or the new one.
func writeIdentity(fsys disk.FS, dir string, id identity) error {
	id.Format = identityFormat
	id.CRC32C = id.checksum()
	text, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return granary.Errorf(granary.KindInternal, opOpen, dir, "%w", err)
	}
	if err := replaceFile(fsys, identityTmpName, identityName, append(text, '\n')); err != nil {
		return granary.Errorf(granary.KindUnavailable, opOpen, dir, "%s: %w", identityName, err)
	}
	return nil
}

// replaceFile writes tmp, syncs it, renames it to name and syncs the disk's directory.
func replaceFile(fsys disk.FS, tmp, name string, content []byte) error {
	if err := fsys.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(rootName)
}

// refuseForeign returns an error if a directory without identity holds anything but what an
// interrupted formatting, or making its file system, leaves (invariant 6).
func refuseForeign(fsys disk.FS, dir string, names []string) error {
	for _, name := range names {
		switch name {
		case identityTmpName, lockName, "lost+found":
			continue
		case shardsName:
			if inside, err := fsys.ReadDir(shardsName); err == nil && len(inside) == 0 {
				continue
			}
		}
		return granary.Errorf(granary.KindInvalid, opOpen, dir,
			"the directory holds %q but no %s: it is not a Granary disk, and only an empty directory is made one", name, identityName)
	}
	return nil
}

// newID returns 32 random hexadecimal digits.
func newID() string {
	var b [idSize / 2]byte
	rand.Read(b[:]) // never fails: it ends the program instead
	return hex.EncodeToString(b[:])
}

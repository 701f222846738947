package web

import (
	"archive/tar"
	"io"
	"strings"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// hardLinksMax is how many inodes with several names a tar remembers, to write their further names as links. Those of more
// become files of their own.
const hardLinksMax = 100_000

// paxXattr begins the records in which GNU tar, bsdtar and others keep extended attributes.
const paxXattr = "SCHILY.xattr."

// tarArchive writes a tar in the format of POSIX.1-2001 where the older one cannot say all there is: long names, large files,
// fractions of seconds, attributes. Holes are written as zeros.
type tarArchive struct {
	*tar.Writer
	names map[granary.InodeID]string // of files with several names
}

func newTarArchive(w io.Writer) *tarArchive {
	return &tarArchive{tar.NewWriter(w), map[granary.InodeID]string{}}
}

// add implements archiver.
func (t *tarArchive) add(name string, info *filer.Info, f file) error {
	a := &info.Attr
	h := &tar.Header{
		Name: name, Linkname: info.Target, Mode: int64(a.Mode), Uid: int(a.UID), Gid: int(a.GID), ModTime: a.Mtime.Std(), Format: tar.FormatPAX,
	}
	switch a.Type {
	case granary.TypeRegular:
		h.Typeflag, h.Size = tar.TypeReg, int64(a.Size)
	case granary.TypeDirectory:
		h.Typeflag = tar.TypeDir
	case granary.TypeSymlink:
		h.Typeflag = tar.TypeSymlink
	case granary.TypeFifo:
		h.Typeflag = tar.TypeFifo
	case granary.TypeCharDevice:
		h.Typeflag = tar.TypeChar
	case granary.TypeBlockDevice:
		h.Typeflag = tar.TypeBlock
	default:
		return nil // a socket means nothing elsewhere
	}
	if a.Type == granary.TypeCharDevice || a.Type == granary.TypeBlockDevice { // as in Linux's st_rdev
		h.Devmajor, h.Devminor = int64(a.Rdev>>8&0xfff), int64(a.Rdev&0xff|a.Rdev>>12&0xfff00)
	}
	if first, again := t.names[a.Inode]; again && f != nil {
		h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		return t.WriteHeader(h)
	}
	if a.Nlink > 1 && f != nil && len(t.names) < hardLinksMax {
		t.names[a.Inode] = name
	}
	for _, x := range userXattrs(info) {
		if strings.ContainsRune(x.Name, '=') { // which no record can say
			continue
		}
		if h.PAXRecords == nil {
			h.PAXRecords = map[string]string{}
		}
		h.PAXRecords[paxXattr+x.Name] = string(x.Value)
	}
	if err := t.WriteHeader(h); err != nil || f == nil {
		return err
	}
	return copyContent(t, info, f)
}

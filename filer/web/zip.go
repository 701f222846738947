package web

import (
	"archive/zip"
	"io"
	"io/fs"

	"github.com/klauspost/compress/flate"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// zipEntriesMax bounds the entries of a zip: its table of contents comes last, and is in memory until then.
const zipEntriesMax = 1_000_000

// zipArchive writes a zip: directories, files, and symbolic links as Info-ZIP has them. What else there may be is left out.
type zipArchive struct {
	*zip.Writer
	entries int
}

func newZipArchive(w io.Writer) *zipArchive {
	z := &zipArchive{Writer: zip.NewWriter(w)}
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	return z
}

// add implements archiver.
func (z *zipArchive) add(name string, info *filer.Info, f file) error {
	if name == "./" { // a zip is of what is in the directory
		return nil
	}
	if z.entries++; z.entries > zipEntriesMax {
		return granary.Errorf(granary.KindTooLarge, "archive", name, "a zip has at most %d entries: take a tar", zipEntriesMax)
	}
	h := &zip.FileHeader{Name: name, Modified: info.Attr.Mtime.Std(), Method: zip.Deflate}
	mode := fs.FileMode(info.Attr.Mode & 0o777)
	switch info.Attr.Type {
	case granary.TypeRegular:
	case granary.TypeDirectory:
		mode, h.Method = mode|fs.ModeDir, zip.Store
	case granary.TypeSymlink:
		mode, h.Method = mode|fs.ModeSymlink, zip.Store
	default:
		return nil
	}
	h.SetMode(mode)
	w, err := z.CreateHeader(h)
	switch {
	case err != nil:
		return err
	case f != nil:
		return copyContent(w, info, f)
	}
	_, err = io.WriteString(w, info.Target)
	return err
}

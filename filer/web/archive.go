package web

import (
	"context"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

// archivePage is how many entries of a directory an archive has in memory, for each directory on the way.
const archivePage = 256

// archiver writes an archive as it goes. Names are relative to the directory that it is of.
type archiver interface {
	// add writes an entry. f is the file, for regular ones; what it has is of one version.
	add(name string, info *filer.Info, f file) error
	Close() error
}

// archiveFormat returns which kind of archive a request asks for, or "".
func (q *request) archiveFormat() string {
	for _, format := range []string{"tar", "tar.gz", "zip"} {
		if q.query.Has(format) {
			return format
		}
	}
	return ""
}

// archive sends a directory with all that is in it. What is removed meanwhile may be missing, and each file is of one version: that a
// file changes while it is sent, and any other failure, cuts the answer off.
func (q *request) archive(format string) error {
	info, err := q.h.store.Stat(q.r.Context(), granary.RootInode, q.path, filer.StatOptions{Follow: true, Xattrs: true})
	switch {
	case err != nil:
		return absent(err)
	case !info.Attr.IsDir():
		return granary.Errorf(granary.KindNotDir, "archive", q.path, "only directories become archives")
	}
	name := path.Base(q.path)
	if name == "/" {
		name = "granary"
	}
	header := q.w.Header()
	header.Set("Content-Type", map[string]string{"tar": "application/x-tar", "tar.gz": "application/gzip", "zip": "application/zip"}[format])
	header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name + "." + format}))
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	q.w.WriteHeader(http.StatusOK)
	if q.r.Method == http.MethodHead {
		return nil
	}
	return q.sendArchive(format, info)
}

func (q *request) sendArchive(format string, info *filer.Info) error {
	var out archiver
	var zipped *gzip.Writer
	switch format {
	case "tar":
		out = newTarArchive(q.w)
	case "tar.gz":
		var err error
		if zipped, err = gzip.NewWriterLevel(q.w, gzip.BestSpeed); err != nil {
			return err
		}
		out = newTarArchive(zipped)
	default:
		out = newZipArchive(q.w)
	}
	a := &archiving{store: q.h.store, out: out}
	if err := out.add("./", info, nil); err != nil {
		return err
	}
	if err := a.directory(q.r.Context(), info.Attr.Inode, ""); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	if zipped != nil {
		return zipped.Close()
	}
	return nil
}

// archiving is an archive on its way.
type archiving struct {
	store store
	out   archiver
}

// directory adds what is in a directory, whose name ends in '/' or is "".
func (a *archiving) directory(ctx context.Context, dir granary.InodeID, name string) error {
	cursor := ""
	for {
		entries, more, err := a.store.Page(ctx, dir, cursor, archivePage)
		if err != nil {
			return err
		}
		for i := range entries {
			if err := a.entry(ctx, dir, name, &entries[i]); err != nil && !granary.IsKind(err, granary.KindNotFound) {
				return err
			}
		}
		if !more || len(entries) == 0 {
			return nil
		}
		cursor = cursorOf(&entries[len(entries)-1])
	}
}

// entry adds one entry: KindNotFound if it was removed before anything of it was written.
func (a *archiving) entry(ctx context.Context, dir granary.InodeID, prefix string, e *granary.Entry) error {
	name := prefix + e.Name
	if e.Attr.Type == granary.TypeRegular {
		f, err := a.store.OpenFile(ctx, dir, "/"+e.Name, false)
		if err != nil {
			return err
		}
		err = a.out.add(name, f.Stat(), f)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		return cut(err)
	}
	info, err := a.store.Stat(ctx, dir, "/"+e.Name, filer.StatOptions{Xattrs: true})
	if err != nil {
		return err
	}
	if !info.Attr.IsDir() {
		return cut(a.out.add(name, info, nil))
	}
	if err := cut(a.out.add(name+"/", info, nil)); err != nil {
		return err
	}
	if err := a.directory(ctx, info.Attr.Inode, name+"/"); !granary.IsKind(err, granary.KindNotFound) {
		return err
	}
	return nil // it was removed with what was still to come of it
}

// cut keeps an error of what is under way from being taken for one of what is not there.
func cut(err error) error {
	if granary.IsKind(err, granary.KindNotFound) {
		return granary.Errorf(granary.KindStale, "archive", "", "%w", err)
	}
	return err
}

// copyContent writes what a file has, and no more or less than its size.
func copyContent(w io.Writer, info *filer.Info, f file) error {
	r := f.NewReader(0, -1)
	n, err := io.Copy(w, r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err == nil && uint64(n) != info.Attr.Size {
		err = granary.Errorf(granary.KindStale, "archive", info.Name, "it ended after %d of %d bytes", n, info.Attr.Size)
	}
	return err
}

// userXattrs returns those attributes that are users'.
func userXattrs(info *filer.Info) []granary.Xattr {
	var list []granary.Xattr
	for _, x := range info.Xattrs {
		if strings.HasPrefix(x.Name, userXattrPrefix) {
			list = append(list, x)
		}
	}
	return list
}

package web

import (
	"context"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/net/webdav"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
)

// davEntriesMax bounds the entries of a directory that is listed, which are in memory all at once.
const davEntriesMax = 200_000

// davFS is the file system that webdav.Handler sees. Contents do not come this way.
type davFS struct{ d *davRequest }

// fail notes an error that the handler would not tell from others, and returns it in a form that it knows.
func (d *davRequest) fail(op, name string, err error) error {
	pathError := func(cause error) error { return &fs.PathError{Op: op, Path: name, Err: cause} }
	switch granary.KindOf(err) {
	case granary.KindNone:
		return nil
	case granary.KindNotFound, granary.KindNotDir:
		return pathError(fs.ErrNotExist)
	case granary.KindExists:
		return pathError(fs.ErrExist)
	}
	if d.err == nil {
		d.err = err
	}
	return err
}

// context adds the locks that the request itself was granted.
func (d *davRequest) context(ctx context.Context) context.Context {
	return client.WithFences(ctx, d.granted...)
}

func (d *davRequest) clean(name string) (string, error) {
	clean, _, err := cleanPath(name)
	if err == nil {
		err = checkTarget(clean)
	}
	return clean, err
}

// Mkdir implements webdav.FileSystem.
func (f davFS) Mkdir(ctx context.Context, name string, _ os.FileMode) error {
	clean, err := f.d.clean(name)
	if err != nil {
		return f.d.fail("mkdir", name, err)
	}
	if clean == "/" {
		return f.d.fail("mkdir", name, granary.Errorf(granary.KindExists, "mkdir", name, ""))
	}
	h := f.d.q.h
	parent, err := h.fs.Stat(ctx, granary.RootInode, path.Dir(clean), filer.StatOptions{Follow: true})
	if err == nil && !parent.Attr.IsDir() {
		err = granary.Errorf(granary.KindNotDir, "mkdir", name, "")
	}
	if err == nil {
		_, err = h.fs.Mkdir(f.d.context(ctx), f.d.q.cred, parent.Attr.Inode, path.Base(clean), directoryMode, 0)
	}
	return f.d.fail("mkdir", name, err)
}

// OpenFile implements webdav.FileSystem: for listings, and to make the empty file that a LOCK makes where nothing is.
func (f davFS) OpenFile(ctx context.Context, name string, flag int, _ os.FileMode) (webdav.File, error) {
	clean, err := f.d.clean(name)
	if err != nil {
		return nil, f.d.fail("open", name, err)
	}
	if flag&os.O_CREATE != 0 {
		if err := f.d.q.davEmpty(f.d.context(ctx), clean); err != nil {
			return nil, f.d.fail("open", name, err)
		}
	}
	info, err := f.stat(ctx, clean)
	if err != nil {
		return nil, err
	}
	return &davFile{d: f.d, ctx: ctx, info: info}, nil
}

// davEmpty makes an empty file.
func (q *request) davEmpty(ctx context.Context, clean string) error {
	if err := q.parentThere(clean); err != nil {
		return err
	}
	o, err := q.h.uploadFor(ctx, q.cred, filer.UploadOptions{Path: clean, Mode: fileMode, Exclusive: true})
	if err != nil {
		return err
	}
	up, err := q.h.fs.Upload(ctx, o)
	if err != nil {
		return err
	}
	defer up.Abort()
	_, err = up.Commit(nil)
	return err
}

// RemoveAll implements webdav.FileSystem.
func (f davFS) RemoveAll(ctx context.Context, name string) error {
	clean, err := f.d.clean(name)
	if err == nil && clean == "/" {
		err = granary.Errorf(granary.KindPermission, "remove", clean, "the root stays")
	}
	if err == nil {
		err = f.d.q.h.fs.Remove(f.d.context(ctx), granary.RootInode, clean, filer.RemoveOptions{Recursive: true, Cred: f.d.q.cred})
	}
	return f.d.fail("remove", name, err)
}

// Rename implements webdav.FileSystem. serveDav does without.
func (f davFS) Rename(ctx context.Context, oldName, newName string) error {
	return f.d.fail("rename", oldName, granary.Errorf(granary.KindNotSupported, "rename", oldName, ""))
}

// Stat implements webdav.FileSystem. What is no file and no directory is not there.
func (f davFS) Stat(ctx context.Context, name string) (os.FileInfo, error) {
	clean, err := f.d.clean(name)
	if err != nil {
		return nil, f.d.fail("stat", name, err)
	}
	info, err := f.stat(ctx, clean)
	if err != nil {
		return nil, err
	}
	return info, nil
}

func (f davFS) stat(ctx context.Context, clean string) (*davInfo, error) {
	if f.d.known != nil && f.d.known.path == clean && f.d.q.r.Method == "PROPFIND" {
		return f.d.known, nil
	}
	info, err := f.d.q.h.fs.Stat(ctx, granary.RootInode, clean, filer.StatOptions{Follow: true, Xattrs: true})
	if err == nil && !info.Attr.IsDir() && info.Attr.Type != granary.TypeRegular {
		err = granary.Errorf(granary.KindNotFound, "stat", clean, "a %s", info.Attr.Type)
	}
	if err != nil {
		return nil, f.d.fail("stat", clean, err)
	}
	f.d.known = &davInfo{path: clean, info: info}
	return f.d.known, nil
}

// davInfo is a fs.FileInfo that knows its ETag and Content-Type, so that files need not be read for them.
type davInfo struct {
	path string
	info *filer.Info
}

// Name implements fs.FileInfo.
func (i *davInfo) Name() string { return path.Base(i.path) }

// Size implements fs.FileInfo.
func (i *davInfo) Size() int64 { return int64(i.info.Attr.Size) }

// Mode implements fs.FileInfo.
func (i *davInfo) Mode() fs.FileMode {
	mode := fs.FileMode(i.info.Attr.Mode & 0o777)
	if i.IsDir() {
		mode |= fs.ModeDir
	}
	return mode
}

// ModTime implements fs.FileInfo.
func (i *davInfo) ModTime() time.Time { return i.info.Attr.Mtime.Std() }

// IsDir implements fs.FileInfo.
func (i *davInfo) IsDir() bool { return i.info.Attr.IsDir() }

// Sys implements fs.FileInfo.
func (i *davInfo) Sys() any { return nil }

// ETag implements webdav.ETager.
func (i *davInfo) ETag(context.Context) (string, error) { return quoteETag(i.info.ETag()), nil }

// ContentType implements webdav.ContentTyper.
func (i *davInfo) ContentType(context.Context) (string, error) { return contentType(i.info), nil }

// davFile is a file or directory of which attributes and entries are asked for.
type davFile struct {
	d    *davRequest
	ctx  context.Context
	info *davInfo
}

// Stat implements http.File.
func (f *davFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close implements http.File.
func (f *davFile) Close() error { return nil }

// Readdir implements http.File: it returns all entries, whatever count is. Only their names count.
func (f *davFile) Readdir(int) ([]fs.FileInfo, error) {
	var list []fs.FileInfo
	cursor := ""
	for {
		entries, more, err := f.d.q.h.store.Page(f.ctx, f.info.info.Attr.Inode, cursor, pageEntriesMax)
		if err != nil {
			return nil, f.d.fail("readdir", f.info.path, err)
		}
		for i := range entries {
			p := path.Join(f.info.path, entries[i].Name)
			if !own(p) && !strings.ContainsRune(entries[i].Name, 0) {
				list = append(list, &davInfo{path: p, info: &filer.Info{Name: entries[i].Name, Attr: entries[i].Attr}})
			}
		}
		if len(list) > davEntriesMax {
			return nil, f.d.fail("readdir", f.info.path, granary.Errorf(granary.KindTooLarge, "webdav", f.info.path, "more than %d entries", davEntriesMax))
		}
		if !more || len(entries) == 0 {
			return list, nil
		}
		cursor = cursorOf(&entries[len(entries)-1])
	}
}

// notHere is why contents are not read and written through webdav.Handler.
func (f *davFile) notHere(op string) error {
	return f.d.fail(op, f.info.path, &refusal{status: http.StatusMethodNotAllowed, err: granary.Errorf(granary.KindNotSupported, op, f.info.path, "")})
}

// Read implements http.File.
func (f *davFile) Read([]byte) (int, error) { return 0, f.notHere("read") }

// Write implements webdav.File.
func (f *davFile) Write([]byte) (int, error) { return 0, f.notHere("write") }

// Seek implements http.File.
func (f *davFile) Seek(int64, int) (int64, error) { return 0, f.notHere("seek") }

package web

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

const (
	// extractWorkers is how many small files of an archive are stored at a time, each of which is in memory.
	extractWorkers = 16
	extractSmall   = 1 << 20 // bytes
	// extractDirsMax bounds the directories of an archive whose times are remembered: they are set last.
	extractDirsMax = 1_000_000
	// extractKnownMax is how many directories are remembered with their inodes.
	extractKnownMax = 10_000
)

// extracted is what is told of an archive.
type extracted struct {
	Path        string `json:"path"`
	Files       int    `json:"files"`
	Directories int    `json:"directories"`
	Links       int    `json:"links"`
	Bytes       uint64 `json:"bytes"`
}

// extract makes the directory that the path names of the tar in the body, which may be compressed with gzip: all of it, in one step,
// when the body has come to its end, or nothing. It must not be there, or be empty; ?replace has what is in it go.
func (q *request) extract() error {
	if q.path == "/" {
		return granary.Errorf(granary.KindPermission, "extract", q.path, "the root stays what it is")
	}
	if conditional(q.r) {
		return granary.Errorf(granary.KindNotSupported, "extract", q.path, "conditions")
	}
	if err := q.refuseParts(); err != nil {
		return err
	}
	replace, err := q.flag("replace")
	if err != nil {
		return err
	}
	sums, err := announced(q.r)
	if err != nil {
		return err
	}
	ctx := q.r.Context()
	stage, err := q.h.fs.Stage(ctx, filer.StageOptions{Root: granary.RootInode, Path: q.path, Mode: directoryMode, Cred: q.cred, Replace: replace})
	if err != nil {
		return err
	}
	defer stage.Discard()
	out, err := unpack(ctx, q.h.fs, q.cred, stage.Tree, io.TeeReader(q.r.Body, sums))
	if err == nil {
		err = sums.check(q.path)
	}
	if err != nil {
		return err
	}
	if _, err := stage.Publish(ctx); err != nil {
		return err
	}
	out.Path = strings.TrimSuffix(q.path, "/") + "/"
	q.w.Header().Set("Location", escapePath(out.Path))
	return q.sendJSON(http.StatusCreated, out)
}

// unpack reads a tar to the end of the stream into a directory that nobody else sees.
func unpack(ctx context.Context, fs *filer.FS, cred granary.Cred, tree granary.InodeID, body io.Reader) (*extracted, error) {
	in, err := decompress(body)
	if err != nil {
		return nil, broken(err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	x := &extraction{ctx: ctx, stop: stop, fs: fs, cred: cred, tree: tree, in: tar.NewReader(in), from: new(filer.CopyBuffers), flying: map[string]bool{}, dirs: map[string]granary.InodeID{"": tree}}
	x.files.SetLimit(extractWorkers)
	err = x.entries()
	if werr := x.settle(); werr != nil {
		err = werr // what was read after it does not matter
	}
	if err == nil {
		err = x.finish()
	}
	if err != nil {
		return nil, err
	}
	// What follows the archive's end, such as its padding, belongs to the body: only when that has ended is the archive whole.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return nil, broken(err)
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return nil, broken(err)
	}
	return &x.out, nil
}

// broken says that an archive could not be read.
func broken(err error) error {
	if kind := granary.KindOf(err); kind != granary.KindInternal {
		return err
	}
	return granary.Errorf(granary.KindInvalid, "extract", "", "the archive broke off, or is none: %w", err)
}

// decompress returns what a stream is, by its first bytes.
func decompress(body io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(body, filer.CopySize)
	if magic, err := buffered.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		return gzip.NewReader(buffered)
	} else if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return buffered, nil
}

// extraction is an archive on its way into a directory. Entries are made by inode and name, in directories that it has made or found
// itself: a symbolic link is never followed.
type extraction struct {
	ctx  context.Context
	stop context.CancelFunc // when a file could not be stored
	fs   *filer.FS
	cred granary.Cred // who makes it all
	tree granary.InodeID
	in   *tar.Reader
	from *filer.CopyBuffers
	out  extracted

	files  errgroup.Group
	flying map[string]bool            // names of small files that may not be there yet
	dirs   map[string]granary.InodeID // directories that are known
	dated  []datedDir
}

// datedDir is a directory whose mode and time are to be set when all that is in it is there.
type datedDir struct {
	inode granary.InodeID
	mode  uint32
	mtime granary.Time
}

func (x *extraction) entries() error {
	for first := true; ; first = false {
		h, err := x.in.Next()
		switch {
		case errors.Is(err, io.EOF) && first:
			return granary.Errorf(granary.KindInvalid, "extract", "", "the archive is empty")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return broken(err)
		}
		if err := x.entry(h); err != nil {
			return err
		}
		if x.ctx.Err() != nil {
			return nil // settle tells why
		}
	}
}

func (x *extraction) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil // git's: a commit id
	}
	name, err := archiveName(h.Name)
	if err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		return x.directory(name, h)
	}
	if name == "" {
		return granary.Errorf(granary.KindInvalid, "extract", h.Name, "the archive's root is no directory")
	}
	if len(x.flying) >= extractKnownMax || x.flying[name] { // later entries replace earlier ones
		if err := x.settle(); err != nil {
			return err
		}
	}
	dir, base, err := x.parent(name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		return x.file(dir, base, name, h)
	case tar.TypeSymlink:
		if err := checkTargetInside(name, h.Linkname); err != nil {
			return err
		}
		x.out.Links++
		return x.make(dir, base, func() (granary.Entry, error) { return x.fs.Symlink(x.ctx, x.cred, dir, base, h.Linkname) }, h)
	case tar.TypeLink:
		return x.link(dir, base, h)
	case tar.TypeFifo:
		return x.make(dir, base, func() (granary.Entry, error) {
			return x.fs.Mknod(x.ctx, x.cred, dir, base, granary.TypeFifo, uint32(h.Mode)&0o777, 0, 0)
		}, h)
	}
	return granary.Errorf(granary.KindNotSupported, "extract", h.Name, "an entry of type %q: there are files, directories, links and FIFOs", h.Typeflag)
}

// settle waits for the small files on their way, and lets further ones follow.
func (x *extraction) settle() error {
	clear(x.flying)
	return x.files.Wait()
}

// parent returns the directory that an entry lies in, and makes it if need be, and the entry's own name.
func (x *extraction) parent(name string) (granary.InodeID, string, error) {
	i := strings.LastIndexByte(name, '/')
	dir, err := x.dir(name[:max(i, 0)])
	return dir, name[i+1:], err
}

// dir returns a directory of the tree, and makes it with those above it if need be. What stands in its way, such as a symbolic
// link, is refused.
func (x *extraction) dir(name string) (granary.InodeID, error) {
	if ino, known := x.dirs[name]; known {
		return ino, nil
	}
	above, base, err := x.parent(name)
	if err != nil {
		return 0, err
	}
	e, err := x.fs.Mkdir(x.ctx, x.cred, above, base, directoryMode, 0)
	if granary.IsKind(err, granary.KindExists) {
		e, err = x.fs.Lookup(x.ctx, above, base)
		if err == nil && !e.Attr.IsDir() {
			return 0, granary.Errorf(granary.KindInvalid, "extract", name, "entries lie below it, and it is a %s", e.Attr.Type)
		}
	} else if err == nil {
		x.out.Directories++
	}
	if err != nil {
		return 0, err
	}
	if len(x.dirs) >= extractKnownMax {
		clear(x.dirs)
		x.dirs[""] = x.tree
	}
	x.dirs[name] = e.Attr.Inode
	return e.Attr.Inode, nil
}

func (x *extraction) directory(name string, h *tar.Header) error {
	if x.flying[name] {
		if err := x.settle(); err != nil {
			return err
		}
	}
	ino, err := x.dir(name)
	if err != nil {
		return err
	}
	if len(x.dated) == extractDirsMax {
		return granary.Errorf(granary.KindTooLarge, "extract", h.Name, "more than %d directories", extractDirsMax)
	}
	x.dated = append(x.dated, datedDir{ino, uint32(h.Mode) & 0o777, granary.TimeOf(h.ModTime)})
	return x.xattrs(ino, h)
}

// xattrs sets the attributes that an entry has, as far as they are users'.
func (x *extraction) xattrs(ino granary.InodeID, h *tar.Header) error {
	for _, attr := range archivedXattrs(h) {
		if err := x.fs.SetXattr(x.ctx, x.cred, &granary.SetXattr{Inode: ino, Xattr: attr}); err != nil {
			return err
		}
	}
	return nil
}

func archivedXattrs(h *tar.Header) []granary.Xattr {
	var list []granary.Xattr
	for record, value := range h.PAXRecords {
		if name, is := strings.CutPrefix(record, paxXattr); is && strings.HasPrefix(name, userXattrPrefix) {
			list = append(list, granary.Xattr{Name: name, Value: []byte(value)})
		}
	}
	return list
}

// file stores a file: a small one beside others, while the archive is read on.
func (x *extraction) file(dir granary.InodeID, base, name string, h *tar.Header) error {
	x.out.Files++
	x.out.Bytes += uint64(h.Size)
	if h.Size > extractSmall {
		return x.store(dir, base, h, x.in)
	}
	content := bytes.NewBuffer(make([]byte, 0, h.Size))
	if _, err := io.Copy(content, x.in); err != nil {
		return broken(err)
	}
	x.flying[name] = true
	x.files.Go(func() error {
		err := x.store(dir, base, h, content)
		if err != nil {
			x.stop()
		}
		return err
	})
	return nil
}

func (x *extraction) store(dir granary.InodeID, base string, h *tar.Header, content io.Reader) error {
	up, err := x.fs.Upload(x.ctx, filer.UploadOptions{Root: dir, Path: base, Size: h.Size, Mode: uint32(h.Mode) & 0o777, Cred: x.cred, Xattrs: archivedXattrs(h)})
	if err != nil {
		return err
	}
	defer up.Abort()
	if _, err := copyBody(x.from, up, io.Discard, &incoming{path: h.Name, body: content, size: h.Size}); err != nil {
		return err
	}
	info, err := up.Commit(nil)
	if err != nil {
		return err
	}
	return x.date(info.Attr.Inode, h)
}

func (x *extraction) date(ino granary.InodeID, h *tar.Header) error {
	mtime := granary.TimeOf(h.ModTime)
	_, err := x.fs.SetAttr(x.ctx, x.cred, &granary.SetAttr{Inode: ino, Mtime: &mtime})
	return err
}

// make makes what is no file, in place of an earlier entry by that name.
func (x *extraction) make(dir granary.InodeID, base string, entry func() (granary.Entry, error), h *tar.Header) error {
	e, err := entry()
	if granary.IsKind(err, granary.KindExists) {
		if err := x.fs.Unlink(x.ctx, x.cred, dir, base); err != nil {
			return err
		}
		e, err = entry()
	}
	if err != nil {
		return err
	}
	return x.date(e.Attr.Inode, h)
}

// link gives a file that came before a further name.
func (x *extraction) link(dir granary.InodeID, base string, h *tar.Header) error {
	target, err := archiveName(h.Linkname)
	if err != nil {
		return err
	}
	if err := x.settle(); err != nil { // it may be on its way
		return err
	}
	above, first, err := x.parent(target)
	if err != nil {
		return err
	}
	e, err := x.fs.Lookup(x.ctx, above, first)
	if granary.IsKind(err, granary.KindNotFound) || err == nil && e.Attr.Type != granary.TypeRegular {
		return granary.Errorf(granary.KindInvalid, "extract", h.Name, "a link to %q, which is no file that came before", h.Linkname)
	}
	if err != nil {
		return err
	}
	x.out.Links++
	return x.make(dir, base, func() (granary.Entry, error) { return x.fs.Link(x.ctx, x.cred, e.Attr.Inode, dir, base) }, h)
}

// finish sets modes and times of directories, the deepest first for no reason but that they came last.
func (x *extraction) finish() error {
	group, ctx := errgroup.WithContext(x.ctx)
	group.SetLimit(extractWorkers)
	for _, d := range x.dated {
		group.Go(func() error {
			_, err := x.fs.SetAttr(ctx, x.cred, &granary.SetAttr{Inode: d.inode, Mode: &d.mode, Mtime: &d.mtime})
			return err
		})
	}
	return group.Wait()
}

// archiveName returns the name of an entry, clean and relative to the directory that is made of the archive; "" is that itself.
// What is absolute or leads out of it is refused, not mended: its author meant something else.
func archiveName(name string) (string, error) {
	bad := func(format string, args ...any) (string, error) {
		return "", granary.Errorf(granary.KindInvalid, "extract", strings.ReplaceAll(name, "\x00", "\\x00"), format, args...)
	}
	if name == "" || strings.HasPrefix(name, "/") {
		return bad("an entry's name is relative")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return bad("an entry's name has no \"..\"")
		}
	}
	clean, err := filer.CleanPath(name)
	if err != nil {
		return "", err
	}
	return clean[1:], nil
}

// checkTargetInside refuses a symbolic link that leads out of the directory that is made of the archive. Its own directory is a real
// one, as all that the archive makes are. So ".." at its beginning goes up as often as it says; one that follows a name could go up from where
// another link leads, and is refused.
func checkTargetInside(name, target string) error {
	bad := func(format string, args ...any) error {
		return granary.Errorf(granary.KindInvalid, "extract", name, format, args...)
	}
	switch {
	case target == "" || strings.ContainsRune(target, 0):
		return bad("a symbolic link to %q", target)
	case strings.HasPrefix(target, "/"):
		return bad("a symbolic link to %q, which is absolute", target)
	case len(target) > granary.SymlinkMax:
		return granary.Errorf(granary.KindNameTooLong, "extract", name, "a symbolic link of %d bytes", len(target))
	}
	depth, down := strings.Count(name, "/"), false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part != "..":
			down = true
		case down:
			return bad("a symbolic link to %q, with \"..\" after a name", target)
		default:
			if depth--; depth < 0 {
				return bad("a symbolic link to %q, which leads out of the archive", target)
			}
		}
	}
	return nil
}

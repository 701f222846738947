package master

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/dsorchard/granary"
)

// A snapshot travels as a tar stream: info.json, then the files of state/ by name. Headers hold
// nothing but name and size, so equal directories give equal streams, and the size of a stream is
// known from those of the files.

const tarBlock = 512

// streamFile is one file of a stream.
type streamFile struct {
	name string // relative to the snapshot's directory, slash-separated
	size int64
}

// streamFiles lists what a snapshot's stream holds, in its order.
func streamFiles(dir string) ([]streamFile, error) {
	var files []streamFile
	err := filepath.WalkDir(filepath.Join(dir, stateName), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := statStreamFile(dir, p)
		files = append(files, f)
		return err
	})
	if err != nil {
		return nil, openError(dir, err)
	}
	slices.SortFunc(files, func(a, b streamFile) int { return strings.Compare(a.name, b.name) })
	info, err := statStreamFile(dir, filepath.Join(dir, infoName))
	if err != nil {
		return nil, openError(dir, err)
	}
	return slices.Insert(files, 0, info), nil
}

func statStreamFile(dir, p string) (streamFile, error) {
	st, err := os.Stat(p)
	if err != nil {
		return streamFile{}, err
	}
	rel, err := filepath.Rel(dir, p)
	return streamFile{filepath.ToSlash(rel), st.Size()}, err
}

// streamSize returns the length of a snapshot's stream.
func streamSize(dir string) (int64, error) {
	l, err := layoutStream(dir)
	if err != nil {
		return 0, err
	}
	return l.size, nil
}

// streamLayout says which byte of a snapshot's stream comes from where, so that it can be read from any
// offset: a header, the content and padding for each file, and two empty blocks.
type streamLayout struct {
	dir   string
	parts []streamPart
	size  int64
}

// streamPart is the header and the content of one file.
type streamPart struct {
	streamFile
	header  []byte
	content int64 // offset in the stream
}

func layoutStream(dir string) (*streamLayout, error) {
	files, err := streamFiles(dir)
	if err != nil {
		return nil, err
	}
	l := &streamLayout{dir: dir}
	for _, f := range files {
		var header bytes.Buffer
		h := &tar.Header{Name: f.name, Size: f.size, Mode: 0o600, Typeflag: tar.TypeReg, Format: tar.FormatGNU}
		if err := tar.NewWriter(&header).WriteHeader(h); err != nil {
			return nil, openError(dir, err)
		}
		p := streamPart{streamFile: f, header: header.Bytes(), content: l.size + int64(header.Len())}
		l.parts = append(l.parts, p)
		l.size = p.content + (f.size+tarBlock-1)/tarBlock*tarBlock
	}
	l.size += 2 * tarBlock
	return l, nil
}

// ReadAt implements io.ReaderAt. It opens the files that the range touches, and no others.
func (l *streamLayout) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, granary.Errorf(granary.KindInvalid, "master.snapshot", l.dir, "offset %d", off)
	}
	n := int(max(0, min(int64(len(p)), l.size-off)))
	want := p[:n]
	clear(want) // padding
	i := sort.Search(len(l.parts), func(i int) bool { return l.parts[i].content+l.parts[i].size > off })
	for ; i < len(l.parts); i++ {
		part := &l.parts[i]
		if part.content-int64(len(part.header)) >= off+int64(n) {
			break
		}
		overlay(want, off, part.header, part.content-int64(len(part.header)))
		if err := l.readFile(want, off, part); err != nil {
			return 0, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// overlay copies the bytes that lie at an offset of the stream into the part of p, which begins at off,
// that they belong to.
func overlay(p []byte, off int64, b []byte, at int64) {
	if at < off {
		b, at = b[min(int64(len(b)), off-at):], off
	}
	if at-off < int64(len(p)) {
		copy(p[at-off:], b)
	}
}

// readFile reads what p, which begins at off, wants of a file.
func (l *streamLayout) readFile(p []byte, off int64, part *streamPart) error {
	from, to := max(off, part.content), min(off+int64(len(p)), part.content+part.size)
	if from >= to {
		return nil
	}
	f, err := os.Open(filepath.Join(l.dir, filepath.FromSlash(part.name)))
	if err != nil {
		return err
	}
	_, err = f.ReadAt(p[from-off:to-off], from-part.content)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // the file was longer when the stream was laid out
	}
	return errors.Join(err, f.Close())
}

// newStreamReader produces a snapshot's stream.
func newStreamReader(dir string) (*streamReader, error) {
	l, err := layoutStream(dir)
	if err != nil {
		return nil, err
	}
	s := &streamReader{dir: dir}
	s.stream = bufio.NewReaderSize(io.NewSectionReader(l, 0, l.size), streamBuffer)
	return s, nil
}

// streamBuffer is how much of a stream is read at once.
const streamBuffer = 256 << 10

// streamReader reads a snapshot's stream from its beginning.
type streamReader struct {
	dir    string
	stream *bufio.Reader
}

// Read implements io.Reader.
func (s *streamReader) Read(p []byte) (int, error) { return s.stream.Read(p) }

// unpackStream writes what a stream holds below dir, durably.
func unpackStream(r io.Reader, dir string) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := checkStreamName(h); err != nil {
			return err
		}
		if err := unpackFile(t, filepath.Join(dir, filepath.FromSlash(h.Name))); err != nil {
			return err
		}
	}
	// tar stops at its end mark; the pipe must be read to the end of what was sent.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return syncTree(dir)
}

func checkStreamName(h *tar.Header) error {
	inside := h.Name == infoName || strings.HasPrefix(h.Name, stateName+"/")
	if h.Typeflag != tar.TypeReg || !inside || path.Clean(h.Name) != h.Name {
		return granary.Errorf(granary.KindCorrupt, "master.snapshot", "", "a snapshot's stream holds %q", h.Name)
	}
	return nil
}

func unpackFile(r io.Reader, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// syncTree makes all names below dir durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return syncDir(p)
	})
}

// cloneState copies the state of a snapshot into dir, durably. Tables never change once written and
// are linked; everything else is copied, so that nothing done to the clone reaches the snapshot.
func cloneState(snapshotDir, dir string) error {
	src := filepath.Join(snapshotDir, stateName)
	err := filepath.WalkDir(src, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, p)
		if err != nil {
			return err
		}
		dst := filepath.Join(dir, rel)
		switch ext := filepath.Ext(p); {
		case e.IsDir():
			return os.MkdirAll(dst, 0o700)
		case ext == ".sst" || ext == ".blob":
			return os.Link(p, dst)
		}
		return cloneFile(p, dst)
	})
	if err != nil {
		return openError(dir, err)
	}
	return syncTree(dir)
}

func cloneFile(src, dst string) error {
	f, err := os.Open(src)
	if err != nil {
		return err
	}
	defer f.Close()
	return unpackFile(f, dst)
}

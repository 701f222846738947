package master

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
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

// streamSize returns the length of a snapshot's stream: a header and whole blocks for each file, and
// two empty blocks.
func streamSize(dir string) (int64, error) {
	files, err := streamFiles(dir)
	if err != nil {
		return 0, err
	}
	size := int64(2 * tarBlock)
	for _, f := range files {
		size += tarBlock + (f.size+tarBlock-1)/tarBlock*tarBlock
	}
	return size, nil
}

// streamReader produces a snapshot's stream.
type streamReader struct {
	dir  string
	pipe *io.PipeReader
	done chan struct{}
}

func newStreamReader(dir string) (*streamReader, error) {
	files, err := streamFiles(dir)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	s := &streamReader{dir: dir, pipe: r, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		w.CloseWithError(packStream(w, dir, files))
	}()
	return s, nil
}

// Read implements io.Reader.
func (s *streamReader) Read(p []byte) (int, error) { return s.pipe.Read(p) }

// Close ends the stream and waits for who produces it.
func (s *streamReader) Close() error {
	err := s.pipe.Close()
	<-s.done
	return err
}

func packStream(w io.Writer, dir string, files []streamFile) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Size: f.size, Mode: 0o600, Typeflag: tar.TypeReg, Format: tar.FormatGNU}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if err := packFile(t, filepath.Join(dir, filepath.FromSlash(f.name)), f.size); err != nil {
			return err
		}
	}
	return t.Close()
}

func packFile(w io.Writer, name string, size int64) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(w, f, size)
	return err
}

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

package backup

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/zeebo/blake3"

	"github.com/dsorchard/granary"
)

const (
	partSuffix    = ".part"
	syncEvery     = 64 << 20 // bytes
	copyBuffer    = 1 << 20
	beginningsMax = 3 // how often a backup that its node lost is begun again
)

// Saver writes a backup into a file.
type Saver struct {
	Name     string   // of the file, which must not exist
	Leader   Source   // where a new backup is begun
	Nodes    []Source // that may still keep the one that was being written
	Patience Patience
	Now      func() time.Time
	Say      func(format string, args ...any) // tells the user what is not as expected
	Moved    func(bytes int)                  // progress

	syncEvery int64 // 0 for the usual
}

// Save writes the file, and returns the header. What it could not finish stays in Name.part, and is gone on with by the
// next Save, if a node still keeps that backup.
func (s *Saver) Save(ctx context.Context) (*Header, error) {
	if s.syncEvery == 0 {
		s.syncEvery = syncEvery
	}
	if err := mustNotExist(s.Name); err != nil {
		return nil, err
	}
	f, err := lockPart(s.Name + partSuffix)
	if err != nil {
		return nil, err
	}
	h, err := s.fill(ctx, f)
	if err == nil {
		err = fileError(s.Name, f.Sync())
	}
	if err == nil {
		err = publish(s.Name)
	}
	return h, errors.Join(err, f.Close())
}

func lockPart(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fileError(name, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = granary.Errorf(granary.KindBusy, "backup", name, "another backup is being written there")
	case err != nil:
		err = fileError(name, err)
	default:
		err = sameFile(name, f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sameFile refuses a file that got its final name, or was removed, before it was locked here.
func sameFile(name string, f *os.File) error {
	is, err := f.Stat()
	if err != nil {
		return fileError(name, err)
	}
	named, err := os.Lstat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fileError(name, err)
	}
	if err != nil || !os.SameFile(is, named) {
		return granary.Errorf(granary.KindBusy, "backup", name, "another backup was being written there, and has ended")
	}
	return nil
}

// publish gives the file its name. The part is still locked, so nobody writes into what has the final name.
func publish(name string) error {
	if err := mustNotExist(name); err != nil {
		return err
	}
	if err := os.Rename(name+partSuffix, name); err != nil {
		return fileError(name, err)
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return fileError(name, err)
	}
	return errors.Join(d.Sync(), d.Close())
}

func mustNotExist(name string) error {
	_, err := os.Lstat(name)
	if err == nil {
		return granary.Errorf(granary.KindExists, "backup", name, "the file exists, and is not replaced")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fileError(name, err)
	}
	return nil
}

// fill makes the content of the part whole.
func (s *Saver) fill(ctx context.Context, f *os.File) (*Header, error) {
	if h, err := readWhole(f); err == nil {
		return h, nil
	}
	stream, keep, err := s.resume(ctx, f)
	for n := 1; ; n++ {
		if err == nil && stream == nil {
			keep = 0
			stream, err = Begin(ctx, s.Leader, s.Patience, s.Now())
		}
		if err != nil {
			return nil, err
		}
		err = s.write(f, stream, keep)
		if !granary.IsKind(err, granary.KindNotFound) || n == beginningsMax {
			return stream.Header(), err
		}
		s.Say("the master no longer keeps the backup, for it was restarted or waited too long: beginning anew")
		stream, err = nil, nil
	}
}

// readWhole returns the header of a part to which nothing is missing: its writer died before it could rename it.
func readWhole(f *os.File) (*Header, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	content := io.NewSectionReader(f, 0, st.Size())
	if h, _, err := readHeader(content); err != nil || h.Length() != st.Size() {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r, err := NewReader(content)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, r)
	return &r.Header, err
}

// resume finds what a part holds already, and who has the rest. A nil stream says that there is nothing to go on with.
func (s *Saver) resume(ctx context.Context, f *os.File) (stream *Stream, keep int64, err error) {
	st, err := f.Stat()
	if err != nil {
		return nil, 0, fileError(s.Name, err)
	}
	if st.Size() == 0 {
		return nil, 0, nil
	}
	h, _, err := readHeader(io.NewSectionReader(f, 0, st.Size()))
	if err != nil {
		s.Say("%s%s is not the beginning of a backup (%v): beginning anew", s.Name, partSuffix, err)
		return nil, 0, nil
	}
	// What lies before the last multiple was synced before anything beyond it was written.
	keep = min(max(st.Size()-1, 0)/s.syncEvery*s.syncEvery, h.length()+h.Size)
	if keep < h.length() {
		keep = 0
	}
	for _, node := range s.Nodes {
		patience := Patience{} // there are others
		stream, err = Continue(ctx, node, patience, h, max(keep-h.length(), 0))
		if err == nil {
			stream.patience = s.Patience
			s.Say("going on with the backup of index %d after %d of %d bytes", h.Index, keep, h.Length())
			return stream, keep, nil
		}
		if ctx.Err() != nil {
			return nil, 0, err
		}
	}
	s.Say("no master that answers still keeps the backup that %s%s is part of: beginning anew", s.Name, partSuffix)
	return nil, 0, nil
}

// write writes the backup from the offset keep on; what lies before it is in the file.
func (s *Saver) write(f *os.File, stream *Stream, keep int64) error {
	if err := f.Truncate(keep); err != nil {
		return fileError(s.Name, err)
	}
	hash := blake3.New()
	if n, err := io.Copy(hash, io.NewSectionReader(f, 0, keep)); err != nil || n != keep {
		return fileError(s.Name, errors.Join(err, shortIf(n != keep)))
	}
	if _, err := f.Seek(keep, io.SeekStart); err != nil {
		return fileError(s.Name, err)
	}
	s.Moved(int(keep))
	w := &syncedWriter{f: f, name: s.Name, at: keep, every: s.syncEvery, moved: s.Moved}
	h := stream.Header()
	left := h.Size
	if keep == 0 {
		b, err := h.Marshal()
		if err != nil {
			return err
		}
		hash.Write(b)
		if _, err := w.Write(b); err != nil {
			return err
		}
	} else {
		left -= keep - h.length()
	}
	body := io.TeeReader(&exactReader{r: stream, left: left}, hash)
	if _, err := io.CopyBuffer(w, body, make([]byte, copyBuffer)); err != nil {
		return err
	}
	_, err := w.Write(hash.Sum(nil))
	return err
}

func shortIf(short bool) error {
	if short {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// syncedWriter syncs the file before it passes a multiple of every.
type syncedWriter struct {
	f         *os.File
	name      string
	at, every int64
	moved     func(int)
}

// Write implements io.Writer.
func (w *syncedWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		room := w.every - w.at%w.every
		n, err := w.f.Write(p[done:min(int64(len(p)), int64(done)+room)])
		done, w.at = done+n, w.at+int64(n)
		w.moved(n)
		if err != nil {
			return done, fileError(w.name, err)
		}
		if w.at%w.every == 0 {
			if err := w.f.Sync(); err != nil {
				return done, fileError(w.name, err)
			}
		}
	}
	return done, nil
}

func fileError(name string, err error) error {
	if err == nil {
		return nil
	}
	kind := granary.KindInternal
	if errors.Is(err, syscall.ENOSPC) {
		kind = granary.KindNoSpace
	}
	return granary.Errorf(kind, "backup", name, "%w", err)
}

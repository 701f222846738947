package master

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// TestStreamLayout: the stream that can be read from anywhere is the tar stream of the files.
func TestStreamLayout(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, stateName), 0o700); err != nil {
		t.Fatal(err)
	}
	files := []struct {
		name string
		size int
	}{{infoName, 77}, {"state/000001.log", 0}, {"state/000002.sst", 1}, {"state/000003.sst", 511}, {"state/000004.sst", 512},
		{"state/000005.sst", 5000}, {"state/LOCK", 0}, {"state/" + string(bytes.Repeat([]byte("x"), 120)), 600}}
	var want bytes.Buffer
	w := tar.NewWriter(&want)
	for i, f := range files {
		content := bytes.Repeat([]byte{byte(i + 1)}, f.size)
		h := &tar.Header{Name: f.name, Size: int64(f.size), Mode: 0o600, Typeflag: tar.TypeReg, Format: tar.FormatGNU}
		_, err := w.Write(nil)
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, f.name), content, 0o600), w.WriteHeader(h))
		if _, werr := w.Write(content); err != nil || werr != nil {
			t.Fatal(err, werr)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := layoutStream(dir)
	if err != nil || l.size != int64(want.Len()) {
		t.Fatalf("size %d, want %d: %v", l.size, want.Len(), err)
	}
	r, err := newStreamReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(r); err != nil || !bytes.Equal(all, want.Bytes()) {
		t.Fatalf("the whole differs: %v", err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		off, n := rnd.IntN(want.Len()+2), rnd.IntN(3000)
		p := make([]byte, n)
		got, err := l.ReadAt(p, int64(off))
		rest := want.Bytes()[min(off, want.Len()):]
		if err == nil && got < n || err != nil && (err != io.EOF || got != len(rest)) || !bytes.Equal(p[:got], rest[:got]) {
			t.Fatalf("%d bytes at %d: %d, %v", n, off, got, err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "state/000005.sst"), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReadAt(make([]byte, l.size), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that became shorter: %v", err)
	}
}

// readBackup reads a whole backup, in pieces as the node gives them.
func readBackup(t *testing.T, s *Server, id string) (*granary.BackupPiece, []byte) {
	t.Helper()
	first, err := s.ReadBackup(t.Context(), &granary.ReadBackup{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	all := first.Data
	for int64(len(all)) < first.Size {
		p, err := s.ReadBackup(t.Context(), &granary.ReadBackup{ID: first.ID, Offset: int64(len(all))})
		if err != nil || p.ID != first.ID || p.Index != first.Index || len(p.Data) == 0 || len(p.Data) > backupPieceMax {
			t.Fatalf("a piece: %+v, %v", p, err)
		}
		all = append(all, p.Data...)
	}
	return first, all
}

// unpacked opens the state in a backup.
func unpacked(t *testing.T, p *granary.BackupPiece, stream []byte) *state {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "unpacked")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := unpackBackup(t.Context(), bytes.NewReader(stream), p.Cluster, p.Index, dir); err != nil {
		t.Fatal(err)
	}
	st, err := openState(filepath.Join(dir, stateName), stateOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

func (s *state) names(dir granary.InodeID) (n int) {
	s.each(key(tableDentry, uint64(dir)), func([]byte, []byte) { n++ })
	return n
}

// TestBackupIsOneState: while clients make each file first in one directory and then in another, every backup has as many
// in the first as in the second, or one more for each client; and all that was acknowledged before it began.
func TestBackupIsOneState(t *testing.T) {
	t.Parallel()
	s := openAlone(t, t.TempDir(), nil)
	setup := newClient(t, s)
	var dirs [2]granary.InodeID
	for i, name := range []string{"a", "b"} {
		r := setup.do(s, &granary.Create{Parent: granary.RootInode, Name: name, Type: granary.TypeDirectory, Mode: 0o755})
		dirs[i] = r.Attr.Inode
	}
	const writers = 4
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		acked int // pairs
	)
	stop := make(chan struct{})
	for w := range writers {
		c := newClient(t, s)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				for _, dir := range dirs {
					op := createOp(fmt.Sprintf("w%d-%d", w, i))
					op.Parent = dir
					c.seq++
					if _, err := c.send(s, c.seq, op); err != nil {
						t.Error(err)
						return
					}
				}
				mu.Lock()
				acked++
				mu.Unlock()
			}
		})
	}
	for range 5 {
		mu.Lock()
		before := acked
		mu.Unlock()
		p, stream := readBackup(t, s, "")
		st := unpacked(t, p, stream)
		if err := st.check(); err != nil {
			t.Error(err)
		}
		a, b := st.names(dirs[0]), st.names(dirs[1])
		if a < b || a > b+writers || b < before {
			t.Errorf("%d and %d files, %d pairs acknowledged before", a, b, before)
		}
		if index, _ := st.applied(); index != uint64(p.Index) {
			t.Errorf("index %d, said to be %d", index, p.Index)
		}
		if _, again := readBackup(t, s, p.ID); !bytes.Equal(again, stream) {
			t.Errorf("the backup reads differently the second time")
		}
		s.backups.mu.Lock()
		s.backups.held[p.ID].read = time.Time{}
		s.backups.mu.Unlock()
	}
	close(stop)
	wg.Wait()
}

// TestVerifyBackup: what is not as it is said to be is told, and nothing is left behind.
func TestVerifyBackup(t *testing.T) {
	t.Parallel()
	s := openAlone(t, t.TempDir(), nil)
	newClient(t, s).do(s, createOp("f"))
	p, stream := readBackup(t, s, "")
	dir := filepath.Join(t.TempDir(), "v")
	r, err := VerifyBackup(t.Context(), bytes.NewReader(stream), p.Cluster, p.Index, dir)
	if err != nil || r.Err() != nil || r.Cluster != p.Cluster || r.Index != p.Index || r.Inodes != 4 || r.Sessions != 1 || r.Datasets != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range map[string]error{
		"another index":   second(VerifyBackup(t.Context(), bytes.NewReader(stream), p.Cluster, p.Index+1, dir)),
		"another cluster": second(VerifyBackup(t.Context(), bytes.NewReader(stream), "x", p.Index, dir)),
		"half":            second(VerifyBackup(t.Context(), bytes.NewReader(stream[:len(stream)/2]), p.Cluster, p.Index, dir)),
		"nothing":         second(VerifyBackup(t.Context(), bytes.NewReader(nil), p.Cluster, p.Index, dir)),
		"interrupted":     second(VerifyBackup(ended, bytes.NewReader(stream), p.Cluster, p.Index, dir)),
	} {
		if err == nil {
			t.Errorf("%s was taken", name)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the directory is left: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestBackupsAreBounded: only so many are kept, none for ever, and none over a restart.
func TestBackupsAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAlone(t, dir, nil)
	var mu sync.Mutex
	now := time.Now()
	s.backups.now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	pass := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	ask := func(id string, offset int64) (*granary.BackupPiece, error) {
		return s.ReadBackup(t.Context(), &granary.ReadBackup{ID: id, Offset: offset})
	}
	begin := func() *granary.BackupPiece {
		t.Helper()
		p, err := ask("", 0)
		if err != nil {
			t.Fatal(err)
		}
		s.backups.mu.Lock()
		s.backups.held[p.ID].ended = false // the state is so small that the first piece was all
		s.backups.mu.Unlock()
		return p
	}
	first := begin()
	for range backupsMax - 1 {
		begin()
	}
	if _, err := ask("", 0); !granary.IsKind(err, granary.KindBusy) {
		t.Errorf("one too many: %v", err)
	}
	if p, err := ask(first.ID, first.Size); err != nil || len(p.Data) != 0 {
		t.Errorf("the end: %v", err)
	}
	for _, offset := range []int64{-1, first.Size + 1} {
		if _, err := ask(first.ID, offset); !granary.IsKind(err, granary.KindInvalid) {
			t.Errorf("offset %d: %v", offset, err)
		}
	}
	pass(backupReadMax)
	begin() // in the place of the one that was read to its end
	if _, err := ask(first.ID, 0); !granary.IsKind(err, granary.KindNotFound) {
		t.Errorf("one that ended: %v", err)
	}
	pass(backupIdleMax)
	last := begin()
	if n, err := os.ReadDir(filepath.Join(dir, "backups")); err != nil || len(n) != 1 {
		t.Errorf("%d are left, %v", len(n), err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "backups")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a close: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "backups", "left", "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	s = openAlone(t, dir, nil)
	if _, err := s.ReadBackup(t.Context(), &granary.ReadBackup{ID: last.ID}); !granary.IsKind(err, granary.KindNotFound) {
		t.Errorf("after a restart: %v", err)
	}
	if n, err := os.ReadDir(filepath.Join(dir, "backups")); err != nil || len(n) != 0 {
		t.Errorf("after a crash %d are left, %v", len(n), err)
	}
}

// TestBackupOfFollower: any node gives a backup, of what it has applied.
func TestBackupOfFollower(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, true, nil)
	g.do(g.client(), createOp("f"))
	leader := g.leader()
	for i, s := range g.nodes {
		if i == leader {
			continue
		}
		eventually(t, "the follower", func() error {
			if s.RootUser().AccessKey == "" {
				return errors.New("it has not heard of the founding")
			}
			p, stream := readBackup(t, s, "")
			s.backups.mu.Lock()
			s.backups.held[p.ID].read = time.Time{}
			s.backups.mu.Unlock()
			st := unpacked(t, p, stream)
			if err := st.check(); err != nil {
				t.Error(err)
			}
			if n := st.names(granary.RootInode); n != 2 {
				return fmt.Errorf("%d names", n)
			}
			return nil
		})
	}
}

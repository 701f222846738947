//go:build e2e

package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/tests/cluster"
	"github.com/dsorchard/granary/volume"
)

const (
	writersN      = 3
	readersN      = 2
	filesOfWriter = 30
	patience      = 90 * time.Second // of one operation
	volumeSize    = 3 << 20          // of a shard's stream: volumes are sealed often
)

// door is one way into the cluster: a client with a file system over it.
type door struct {
	c  *client.Client
	fs *filer.FS
}

// openDoor opens a client. One that verifies has no cache, so it reads what is on the disks.
func openDoor(t testing.TB, f *cluster.Fleet, name string, cache int64) *door {
	t.Helper()
	d, err := newDoor(t.Context(), f.Addrs(), name, cache, slog.New(slog.NewTextHandler(clientLog(t, f), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(d.fs.Close(ctx), d.c.Close()); err != nil {
			t.Errorf("close of %s: %v", name, err)
		}
	})
	return d
}

func newDoor(ctx context.Context, masters []string, name string, cache int64, log *slog.Logger) (*door, error) {
	c, err := client.Open(ctx, client.Options{
		Masters: masters, Shards: volume.NewClient(), Name: name, VolumeSize: volumeSize, RowSize: 1 << 20, CacheBytes: cache, RetryFor: patience,
		Log: log.With("client", name),
	})
	if err != nil {
		return nil, err
	}
	return &door{c: c, fs: filer.New(filer.Options{Client: c})}, nil
}

// clientLog is where the clients say what they notice; it is kept if the test fails.
func clientLog(t testing.TB, f *cluster.Fleet) io.Writer {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(f.Dir, "clients.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := log.Close()
		if t.Failed() {
			text, rerr := os.ReadFile(log.Name())
			err = errors.Join(err, rerr, os.WriteFile(filepath.Join(t.ArtifactDir(), "clients.log"), text, 0o600))
		}
		if err != nil {
			t.Error(err)
		}
	})
	return log
}

// read reads a file whole; nil if there is none.
func (d *door) read(ctx context.Context, path string) ([]byte, error) {
	f, err := d.fs.OpenFile(ctx, granary.RootInode, path, false)
	if granary.IsKind(err, granary.KindNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, f.Size())
	r := f.NewReader(0, f.Size())
	_, err = io.ReadFull(r, b)
	return b, errors.Join(err, r.Close(), f.Close())
}

// put writes a file whole.
func (d *door) put(ctx context.Context, path string, c content) error {
	up, err := d.fs.Upload(ctx, filer.UploadOptions{Root: granary.RootInode, Path: path, Mode: 0o644})
	if err != nil {
		return err
	}
	defer up.Abort()
	if _, err := up.Write(c.bytes()); err != nil {
		return err
	}
	_, err = up.Commit(nil)
	return err
}

// change writes into a file that is there, at an offset or at its end.
func (d *door) change(ctx context.Context, path string, off int, atEnd bool, c content) error {
	info, err := d.fs.Stat(ctx, granary.RootInode, path, filer.StatOptions{})
	if err != nil {
		return err
	}
	h, err := d.fs.Open(ctx, granary.Cred{}, info.Attr.Inode, filer.OpenFlags{Append: atEnd, Write: !atEnd})
	if err != nil {
		return err
	}
	_, err = h.WriteAt(ctx, c.bytes(), int64(off))
	return errors.Join(err, h.Close(ctx))
}

func (d *door) remove(ctx context.Context, path string) error {
	return d.fs.Remove(ctx, granary.RootInode, path, filer.RemoveOptions{})
}

// load writes and reads all the time, and knows what must be there.
type load struct {
	truth  truth
	seed   uint64
	ops    atomic.Int64 // that were acknowledged
	wrote  atomic.Int64 // bytes that were acknowledged
	read   atomic.Int64 // bytes that were read and compared
	lost   atomic.Int64 // operations of unknown outcome
	slow   atomic.Int64 // nanoseconds of the slowest operation since it was last asked for
	others []*writer    // beside those that run makes
}

// run starts writers and readers. The function that it returns ends them and waits.
func (l *load) run(t testing.TB, f *cluster.Fleet) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	work := func(name string, do func(ctx context.Context) error) {
		running.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				began := time.Now()
				if err := do(context.WithoutCancel(ctx)); err != nil {
					t.Errorf("%s, after %s: %v", name, time.Since(began).Round(time.Millisecond), err)
					return
				}
				took := int64(time.Since(began))
				for was := l.slow.Load(); took > was && !l.slow.CompareAndSwap(was, took); was = l.slow.Load() {
				}
				l.ops.Add(1)
			}
		})
	}
	for i := range writersN - min(len(l.others), 1) {
		name := fmt.Sprintf("writer %d", i)
		w := &writer{l: l, h: openDoor(t, f, name, 0), name: name, dir: fmt.Sprintf("load/%d/", i), changeMax: 300 << 10, rand: rand.New(rand.NewPCG(l.seed, uint64(i)))}
		work(name, w.one)
	}
	for _, w := range l.others {
		work(w.name, w.one)
	}
	for i := range readersN {
		r := rand.New(rand.NewPCG(l.seed, uint64(100+i)))
		d := openDoor(t, f, fmt.Sprintf("reader %d", i), 1)
		work(fmt.Sprintf("reader %d", i), func(ctx context.Context) error { return l.readOne(ctx, d, r) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// readOne reads a file while others may be damaged: it must succeed all the same.
func (l *load) readOne(ctx context.Context, h hand, r *rand.Rand) error {
	all := l.truth.all()
	if len(all) == 0 {
		rest(ctx, 10*time.Millisecond)
		return nil
	}
	return l.verify(ctx, h, all[r.IntN(len(all))])
}

// rest leaves the machine to others for a moment.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// verify reads a file and compares. What is not to be had at the moment is tried again for a while.
func (l *load) verify(ctx context.Context, h hand, f *file) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var not *wrong
	err := cluster.Poll(patience, func() error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		n, err := check(ctx, h, f.path, f.allowed)
		if errors.As(err, &not) {
			return nil
		}
		l.read.Add(int64(n))
		return err
	})
	if err != nil {
		return fmt.Errorf("read of %s: %w", f.path, err)
	}
	if not != nil {
		return not
	}
	return nil
}

// verifyAll reads every file by a client that has nothing in memory, several at a time.
func (l *load) verifyAll(t testing.TB, d *door) {
	t.Helper()
	queue := make(chan *file)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for f := range queue {
				if err := l.verify(t.Context(), d, f); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, f := range l.truth.all() {
		queue <- f
	}
	close(queue)
	readers.Wait()
}

// writer changes files of its own, one at a time.
type writer struct {
	l         *load
	h         hand
	name      string
	dir       string // of its files, with a slash at its end
	changeMax int    // bytes that are written into a file in one step; 0: files are only written whole
	everyone  bool   // it reads, too, and then anybody's files; own: those of its directory
	own       bool
	rand      *rand.Rand
	files     []*file
	named     int
}

// fresh makes content of a size; now and then such as was written before, so that chunks are shared.
func (w *writer) fresh(size int) content {
	seed := w.rand.Uint64()
	if w.rand.IntN(8) == 0 {
		seed = uint64(w.rand.IntN(4))
	}
	return content{{Seed: seed, N: size}}
}

// size is small mostly, and rarely large.
func (w *writer) size() int {
	switch n := w.rand.IntN(20); {
	case n < 3:
		return w.rand.IntN(4 << 10) // in the metadata
	case n < 13:
		return w.rand.IntN(200 << 10)
	case n < 19:
		return w.rand.IntN(2 << 20)
	default:
		return w.rand.IntN(20 << 20)
	}
}

// one does one operation.
func (w *writer) one(ctx context.Context) error {
	if (w.everyone || w.own) && w.rand.IntN(4) == 0 {
		return w.look(ctx)
	}
	f := w.pick()
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	now := f.is()
	switch n := w.rand.IntN(10); {
	case now == nil || n < 4 || n < 8 && w.changeMax == 0:
		c := w.fresh(w.size())
		return w.note(f, c, c.size(), w.h.put(ctx, f.path, c))
	case n < 6:
		c := w.fresh(w.rand.IntN(w.changeMax))
		return w.note(f, now.with(now.size(), c), c.size(), w.h.change(ctx, f.path, 0, true, c))
	case n < 8 && now.size() > 0:
		c, off := w.fresh(w.rand.IntN(w.changeMax)), w.rand.IntN(now.size())
		return w.note(f, now.with(off, c), c.size(), w.h.change(ctx, f.path, off, false, c))
	default:
		return w.note(f, nil, 0, w.h.remove(ctx, f.path))
	}
}

// look reads a file by the writer's own door.
func (w *writer) look(ctx context.Context) error {
	all := w.l.truth.all()
	if !w.everyone {
		all = w.files
	}
	if len(all) == 0 {
		return nil
	}
	return w.l.verify(ctx, w.h, all[w.rand.IntN(len(all))])
}

// note takes down what an operation has done, by its error.
func (w *writer) note(f *file, c content, n int, err error) error {
	switch {
	case err == nil:
		f.set(c)
		w.l.wrote.Add(int64(n))
		return nil
	case granary.IsKind(err, granary.KindIndeterminate), granary.IsKind(err, granary.KindCanceled), granary.IsKind(err, granary.KindExpired),
		granary.IsKind(err, granary.KindUnavailable), granary.IsKind(err, granary.KindNoSpace), errors.Is(err, context.DeadlineExceeded):
		f.may(c)
		w.l.lost.Add(1)
		rest(context.Background(), 50*time.Millisecond) // somebody is away
		return nil
	}
	return fmt.Errorf("%s: %w", f.path, err)
}

// pick chooses a file that can be changed, or a new one.
func (w *writer) pick() *file {
	if len(w.files) >= filesOfWriter {
		i := w.rand.IntN(len(w.files))
		if f := w.files[i]; !f.unclear {
			return f
		}
		w.files[i] = w.files[len(w.files)-1]
		w.files = w.files[:len(w.files)-1]
	}
	w.named++
	f := w.l.truth.add(fmt.Sprintf("%s%04d", w.dir, w.named))
	w.files = append(w.files, f)
	return f
}

package master

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// snapshotSink receives a snapshot: from this node's own state by adopt, or as a stream from the
// leader by Write. Close makes it durable, then visible.
type snapshotSink struct {
	store *snapshots
	meta  raft.SnapshotMeta
	tmp   string

	written int64
	pipe    *io.PipeWriter // to the goroutine that unpacks; nil before the first Write
	result  chan error     // its outcome
	closed  bool
}

// ID implements raft.SnapshotSink.
func (k *snapshotSink) ID() string { return k.meta.ID }

// Write implements raft.SnapshotSink.
func (k *snapshotSink) Write(p []byte) (int, error) {
	if k.pipe == nil {
		r, w := io.Pipe()
		k.pipe, k.result = w, make(chan error, 1)
		go func() {
			err := unpackStream(r, k.tmp)
			r.CloseWithError(errors.Join(err, io.ErrClosedPipe)) // for a Write that comes after the end
			k.result <- err
		}()
	}
	n, err := k.pipe.Write(p)
	k.written += int64(n)
	return n, err
}

// adopt takes the content from a directory that checkpoint made, on the same file system.
func (k *snapshotSink) adopt(dir string) error {
	for _, name := range []string{stateName, infoName} {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(k.tmp, name)); err != nil {
			return openError(dir, err)
		}
	}
	return k.store.hook("snapshot: adopted")
}

// Close implements raft.SnapshotSink. The order is the crash safety: content, meta.json, the names
// in the directory, and only then the directory's own name.
func (k *snapshotSink) Close() error {
	if k.closed {
		return nil
	}
	if err := k.finish(); err != nil {
		return errors.Join(err, k.Cancel())
	}
	k.closed = true
	k.store.reap()
	return nil
}

func (k *snapshotSink) finish() error {
	if err := k.endStream(nil); err != nil {
		return err
	}
	if _, err := readInfo(k.tmp); err != nil {
		return err
	}
	size, err := streamSize(k.tmp)
	if err != nil {
		return err
	}
	if k.written > 0 && k.written != size {
		return granary.Errorf(granary.KindCorrupt, "master.snapshot", k.meta.ID, "%d bytes were received for a stream of %d", k.written, size)
	}
	if err := k.store.hook("snapshot: content"); err != nil {
		return err
	}
	k.meta.Size = size
	b, err := json.Marshal(&k.meta)
	if err != nil {
		return openError(k.tmp, err)
	}
	if err := writeFileDurably(filepath.Join(k.tmp, metaName), append(b, '\n')); err != nil {
		return err
	}
	if err := k.store.hook("snapshot: meta"); err != nil {
		return err
	}
	if err := os.Rename(k.tmp, filepath.Join(k.store.dir, k.meta.ID)); err != nil {
		return openError(k.tmp, err)
	}
	if err := syncDir(k.store.dir); err != nil {
		return err
	}
	return k.store.hook("snapshot: visible")
}

// endStream ends the unpacking, if any, with what the reader is to see, and returns its outcome.
func (k *snapshotSink) endStream(cause error) error {
	if k.pipe == nil {
		return nil
	}
	k.pipe.CloseWithError(cause) // nil is the end of the stream
	k.pipe = nil
	return <-k.result
}

// Cancel implements raft.SnapshotSink.
func (k *snapshotSink) Cancel() error {
	if k.closed {
		return nil
	}
	k.closed = true
	_ = k.endStream(io.ErrUnexpectedEOF) // it was to fail
	return os.RemoveAll(k.tmp)
}

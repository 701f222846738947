package master

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

const (
	backupPieceMax  = 4 << 20 // bytes of one answer
	backupsMax      = 4       // kept at a time; each pins the files of its checkpoint
	backupIdleMax   = 10 * time.Minute
	backupReadMax   = time.Minute // as backupIdleMax, for one that was read to its end
	backupLookEvery = 10 * time.Second
)

// ReadBackup implements wire.Master: it begins a backup, or reads a piece of one from any offset.
//
// A backup is a checkpoint of the state and travels as a snapshot's stream. At the leader it holds
// every mutation acknowledged before the question; at a follower it is of what that node has applied,
// which may lie behind. It stays as it is, whatever is applied, until nobody has read it for ten
// minutes, or for one after its end was read. It does not outlive the node's process.
func (s *Server) ReadBackup(ctx context.Context, req *granary.ReadBackup) (*granary.BackupPiece, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	id := req.ID
	if id == "" {
		if l := s.leading.Load(); l != nil {
			if err := l.confirm(ctx); err != nil {
				return nil, err
			}
		}
		st := s.states.acquire()
		defer st.release()
		if id, err = s.backups.begin(st.state); err != nil {
			return nil, err
		}
	}
	return s.backups.read(id, req.Offset)
}

// backups keeps the backups that are being read: Dir/backups, one directory for each, as
// checkpoint makes it. They are of this process: what a start finds there is removed.
type backups struct {
	dir string
	log *slog.Logger
	now func() time.Time

	making sync.Mutex // one checkpoint at a time
	mu     sync.Mutex
	held   map[string]*backup
}

// backup is a checkpoint that is being read.
type backup struct {
	dir     string
	info    snapshotInfo
	layout  *streamLayout
	read    time.Time // last
	readers int       // now
	ended   bool      // its end was read
}

func openBackups(dir string, log *slog.Logger, now func() time.Time) (*backups, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, openError(dir, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, openError(dir, err)
	}
	return &backups{dir: dir, log: log, now: now, held: make(map[string]*backup)}, nil
}

// begin makes a backup of the state, and returns its id.
func (b *backups) begin(st *state) (string, error) {
	const op = "read backup"
	b.making.Lock()
	defer b.making.Unlock()
	b.sweep()
	b.mu.Lock()
	full := len(b.held) >= backupsMax
	b.mu.Unlock()
	if full {
		return "", granary.Errorf(granary.KindBusy, op, "",
			"%d backups are being read at this node; one ends when nobody has read it for %s", backupsMax, backupIdleMax)
	}
	if _, founded := st.cluster(); !founded {
		return "", granary.Errorf(granary.KindUnavailable, op, "", "the cluster has not been founded yet")
	}
	id := randomHex(16)
	held, err := newBackup(st, filepath.Join(b.dir, id), b.now())
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	b.held[id] = held
	b.mu.Unlock()
	b.log.Info("a backup begins", "backup", id, "index", held.info.Index, "bytes", held.layout.size)
	return id, nil
}

func newBackup(st *state, dir string, now time.Time) (*backup, error) {
	held := &backup{dir: dir, read: now}
	err := checkpoint(st, dir)
	if err == nil {
		held.info, err = readInfo(dir)
	}
	if err == nil {
		held.layout, err = layoutStream(dir)
	}
	if err != nil {
		_ = os.RemoveAll(dir) // what stays is removed at the next start
		return nil, err
	}
	return held, nil
}

// read returns a piece of a backup.
func (b *backups) read(id string, offset int64) (*granary.BackupPiece, error) {
	const op = "read backup"
	b.mu.Lock()
	held := b.held[id]
	if held != nil {
		held.readers++
		held.read = b.now()
	}
	b.mu.Unlock()
	if held == nil {
		return nil, granary.Errorf(granary.KindNotFound, op, id, "this node does not keep the backup, or no longer")
	}
	defer func() {
		b.mu.Lock()
		held.readers--
		b.mu.Unlock()
	}()
	size := held.layout.size
	if offset < 0 || offset > size {
		return nil, granary.Errorf(granary.KindInvalid, op, id, "offset %d of %d bytes", offset, size)
	}
	p := &granary.BackupPiece{ID: id, Cluster: held.info.Cluster, Index: granary.Index(held.info.Index), Size: size}
	p.Data = make([]byte, min(backupPieceMax, size-offset))
	if _, err := held.layout.ReadAt(p.Data, offset); err != nil {
		return nil, granary.Errorf(granary.KindInternal, op, id, "at %d: %w", offset, err)
	}
	if offset+int64(len(p.Data)) == size {
		b.mu.Lock()
		held.ended = true
		b.mu.Unlock()
	}
	return p, nil
}

// expire ends backups that nobody reads any more, until ctx ends.
func (b *backups) expire(ctx context.Context) {
	ticker := time.NewTicker(backupLookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			b.sweep()
		case <-ctx.Done():
			return
		}
	}
}

// sweep ends the backups that have not been read for too long.
func (b *backups) sweep() {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, held := range b.held {
		idle := backupIdleMax
		if held.ended {
			idle = backupReadMax
		}
		if held.readers > 0 || now.Sub(held.read) < idle {
			continue
		}
		delete(b.held, id)
		b.log.Info("a backup ends", "backup", id, "read to its end", held.ended)
		if err := os.RemoveAll(held.dir); err != nil {
			b.log.Warn("an ended backup stays until the next start", "backup", id, "error", err)
		}
	}
}

// close removes all of them. Their readers must be done.
func (b *backups) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.held)
	if err := os.RemoveAll(b.dir); err != nil {
		return fmt.Errorf("backups: %w", err)
	}
	return nil
}

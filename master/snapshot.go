package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// snapshotFormat is the version of a snapshot's directory and of its stream.
const snapshotFormat = 1

// snapshotsKept is how many snapshots are kept; each pins the files of its checkpoint.
const snapshotsKept = 2

// snapshots is the raft.SnapshotStore: Dir/snapshots, one directory for each snapshot.
//
//	<id>/info.json   what the state in it is; part of the stream
//	<id>/state/…     a checkpoint of the state's store; part of the stream
//	<id>/meta.json   what Raft wants to know about it
//
// A snapshot is made under the name <id>.tmp: everything in it is synced, then the directory is
// renamed, then the parent is synced. A name without .tmp is therefore whole. What ends in .tmp is
// removed at the next start.
type snapshots struct {
	dir  string
	hook func(string) error
	log  *slog.Logger

	mu   sync.Mutex
	open map[string]int // readers, by id
}

// snapshotInfo is info.json.
type snapshotInfo struct {
	Format  int               `json:"format"`
	Index   uint64            `json:"index"` // applied by the state; Raft's own entries may follow it
	Term    uint64            `json:"term"`
	Cluster granary.ClusterID `json:"cluster"`
}

const (
	infoName  = "info.json"
	metaName  = "meta.json"
	stateName = "state"
	tmpSuffix = ".tmp"
)

func openSnapshots(dir string, hook func(string) error, log *slog.Logger) (*snapshots, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, openError(dir, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"+tmpSuffix))
	if err != nil {
		return nil, openError(dir, err)
	}
	for _, name := range left {
		if err := os.RemoveAll(name); err != nil {
			return nil, openError(name, err)
		}
	}
	return &snapshots{dir: dir, hook: hook, log: log, open: make(map[string]int)}, nil
}

// Create implements raft.SnapshotStore.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration,
	confIndex uint64, _ raft.Transport) (raft.SnapshotSink, error) {
	if version != raft.SnapshotVersionMax {
		return nil, fmt.Errorf("snapshot version %d is not supported", version)
	}
	meta := raft.SnapshotMeta{
		Version: version, ID: fmt.Sprintf("%016x-%016x-%x", index, term, time.Now().UnixNano()),
		Index: index, Term: term, Configuration: conf, ConfigurationIndex: confIndex,
	}
	tmp := filepath.Join(s.dir, meta.ID+tmpSuffix)
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, openError(tmp, err)
	}
	return &snapshotSink{store: s, meta: meta, tmp: tmp}, s.hook("snapshot: created")
}

// List implements raft.SnapshotStore: newest first.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, openError(s.dir, err)
	}
	var metas []*raft.SnapshotMeta
	for _, e := range names {
		if !e.IsDir() || strings.HasSuffix(e.Name(), tmpSuffix) {
			continue
		}
		meta, err := s.readMeta(e.Name())
		if err != nil {
			return nil, err
		}
		metas = append(metas, meta)
	}
	slices.SortFunc(metas, func(a, b *raft.SnapshotMeta) int { return strings.Compare(b.ID, a.ID) })
	return metas, nil
}

// covered returns the index of the newest snapshot, 0 if there is none.
func (s *snapshots) covered() (uint64, error) {
	metas, err := s.List()
	if err != nil || len(metas) == 0 {
		return 0, err
	}
	return metas[0].Index, nil
}

func (s *snapshots) readMeta(id string) (*raft.SnapshotMeta, error) {
	b, err := os.ReadFile(filepath.Join(s.dir, id, metaName))
	if err != nil {
		return nil, openError(id, err)
	}
	meta := new(raft.SnapshotMeta)
	if err := json.Unmarshal(b, meta); err != nil {
		return nil, granary.Errorf(granary.KindCorrupt, "master.snapshot", id, "%s: %w", metaName, err)
	}
	return meta, nil
}

// info reads what the state in a snapshot is.
func (s *snapshots) info(id string) (snapshotInfo, error) { return readInfo(filepath.Join(s.dir, id)) }

func readInfo(dir string) (snapshotInfo, error) {
	var info snapshotInfo
	b, err := os.ReadFile(filepath.Join(dir, infoName))
	if err != nil {
		return info, openError(dir, err)
	}
	if err := json.Unmarshal(b, &info); err != nil {
		return info, granary.Errorf(granary.KindCorrupt, "master.snapshot", dir, "%s: %w", infoName, err)
	}
	if info.Format != snapshotFormat {
		return info, granary.Errorf(granary.KindNotSupported, "master.snapshot", dir, "format %d is not known", info.Format)
	}
	return info, nil
}

// Open implements raft.SnapshotStore. The snapshot is not removed before the reader is closed.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	meta, err := s.readMeta(id)
	if err != nil {
		return nil, nil, err
	}
	stream, err := newStreamReader(filepath.Join(s.dir, id))
	if err != nil {
		return nil, nil, err
	}
	s.open[id]++
	return meta, &snapshotReader{streamReader: stream, store: s, id: id}, nil
}

// snapshotReader is an open snapshot. Restore takes the directory from it, and spares the stream.
type snapshotReader struct {
	*streamReader
	store *snapshots
	id    string
	once  sync.Once
}

// Close ends reading; the snapshot may be removed afterwards.
func (r *snapshotReader) Close() error {
	r.once.Do(func() {
		r.store.mu.Lock()
		if r.store.open[r.id]--; r.store.open[r.id] == 0 {
			delete(r.store.open, r.id)
		}
		r.store.mu.Unlock()
	})
	return nil
}

// reap removes all but the newest snapshots that nobody reads. A failure leaves more than needed,
// and is tried again after the next snapshot.
func (s *snapshots) reap() {
	metas, err := s.List()
	if err != nil {
		s.log.Warn("old snapshots stay", "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, meta := range metas {
		if i < snapshotsKept || s.open[meta.ID] > 0 {
			continue
		}
		if err := s.remove(meta.ID); err != nil {
			s.log.Warn("an old snapshot stays", "snapshot", meta.ID, "error", err)
		}
	}
}

// remove takes the name away first, so that half of a snapshot is never taken for a whole one.
func (s *snapshots) remove(id string) error {
	dir := filepath.Join(s.dir, id)
	if err := os.Rename(dir, dir+tmpSuffix); err != nil {
		return err
	}
	return errors.Join(syncDir(s.dir), os.RemoveAll(dir+tmpSuffix))
}

// checkpoint writes info.json and a checkpoint of st into dir, which must not exist, durably. Nothing is
// applied meanwhile, so the checkpoint is of exactly the entry that info.json names.
func checkpoint(st *state, dir string) error {
	st.applying.Lock()
	defer st.applying.Unlock()
	if err := os.Mkdir(dir, 0o700); err != nil {
		return openError(dir, err)
	}
	info := snapshotInfo{Format: snapshotFormat}
	info.Index, info.Term = st.applied()
	info.Cluster, _ = st.cluster()
	if err := st.checkpoint(filepath.Join(dir, stateName)); err != nil {
		return openError(dir, err)
	}
	b, err := json.Marshal(info)
	if err != nil {
		return openError(dir, err)
	}
	return writeFileDurably(filepath.Join(dir, infoName), append(b, '\n'))
}

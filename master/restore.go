package master

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
)

// RestoreOptions say which backup becomes which node.
type RestoreOptions struct {
	Dir      string // of the new node: empty, or not there
	ID       string // of the new node in the Raft group; "" for GRPCAddr
	GRPCAddr string // that it will be started with
	RaftAddr string

	Stream  io.Reader // of the backup; its end is io.EOF if all of it is as it was
	Cluster granary.ClusterID
	Index   granary.Index
	NoCheck bool // restore the state as it is, in order or not; the check needs memory for each inode and block

	Log  *slog.Logger       // nil: none
	hook func(string) error // for tests: called between the steps; an error stops there
}

// Restored tells what was restored.
type Restored struct {
	State       StateReport   // of the backup; without NoCheck also what was counted
	Incarnation uint64        // of the cluster from now on
	Index       granary.Index // of its first state
}

// Restore makes the directory of a master that, alone, goes on with the cluster of a backup, in its next incarnation.
// Everything that the cluster did after the backup is lost, and nothing that it gave out since is given out again. The
// other masters must not be running, now or ever again with their directories.
//
// The directory is made beside the place where it belongs, as Dir.tmp, and gets its name when all in it is durable:
// after a crash at any step there is a whole Dir or none, and Restore can be repeated.
func Restore(ctx context.Context, o RestoreOptions) (*Restored, error) {
	switch {
	case o.Dir == "" || o.GRPCAddr == "" || o.RaftAddr == "":
		return nil, granary.Errorf(granary.KindInvalid, "restore", o.Dir, "directory and addresses are needed")
	case o.Stream == nil || o.Cluster == "":
		return nil, granary.Errorf(granary.KindInvalid, "restore", o.Dir, "there is no backup")
	}
	setDefault(&o.ID, o.GRPCAddr)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.hook == nil {
		o.hook = func(string) error { return nil }
	}
	o.Dir = filepath.Clean(o.Dir)
	if err := mustBeEmpty(o.Dir); err != nil {
		return nil, err
	}
	tmp := o.Dir + tmpSuffix
	lock, err := clearRestore(tmp)
	if err != nil {
		return nil, err
	}
	out, err := o.build(ctx, tmp)
	if err == nil {
		err = o.publish(tmp)
	}
	if err := errors.Join(err, lock.Close()); err != nil {
		return nil, err
	}
	return out, nil
}

func mustBeEmpty(dir string) error {
	names, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return openError(dir, err)
	case len(names) > 0:
		return granary.Errorf(granary.KindNotEmpty, "restore", dir, "a master is restored into an empty directory, or one that is not there")
	}
	return nil
}

// Names in a directory that is being restored, besides the node's own.
const restoreWork = "work" // the backup, unpacked

// clearRestore makes an empty directory of what an earlier try left, and locks it. A directory that holds anything
// else is left alone.
func clearRestore(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, openError(dir, err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, openError(dir, err)
	}
	ours := []string{"lock", restoreWork, "snapshots", "node.json", "node.json.new"}
	for _, e := range names {
		if !slices.Contains(ours, e.Name()) {
			return nil, granary.Errorf(granary.KindExists, "restore", dir, "%s in it is not of a restore that was broken off: move the directory away", e.Name())
		}
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range ours[1:] {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return nil, errors.Join(openError(dir, err), lock.Close())
		}
	}
	return lock, nil
}

// build makes the node's directory in tmp.
func (o *RestoreOptions) build(ctx context.Context, tmp string) (*Restored, error) {
	work := filepath.Join(tmp, restoreWork)
	if err := os.Mkdir(work, 0o700); err != nil {
		return nil, openError(work, err)
	}
	if _, err := unpackBackup(ctx, o.Stream, o.Cluster, o.Index, work); err != nil {
		return nil, err
	}
	if err := o.hook("restore: unpacked"); err != nil {
		return nil, err
	}
	st, err := openState(filepath.Join(work, stateName), stateOptions{Log: o.Log})
	if err != nil {
		return nil, err
	}
	out, err := o.revive(ctx, st, tmp)
	if err := errors.Join(err, st.close()); err != nil {
		return nil, err
	}
	if err := saveIdentity(tmp, identity{Format: identityFormat, ID: o.ID, Cluster: o.Cluster}); err != nil {
		return nil, err
	}
	if err := o.hook("restore: node file"); err != nil {
		return nil, err
	}
	if err := os.RemoveAll(work); err != nil {
		return nil, openError(work, err)
	}
	return out, o.hook("restore: cleaned")
}

// revive checks the state, brings it into its next incarnation, and makes it the snapshot that the node starts from.
func (o *RestoreOptions) revive(ctx context.Context, st *state, tmp string) (*Restored, error) {
	report, err := o.check(ctx, st)
	if err != nil {
		return nil, err
	}
	switch {
	case report.Cluster != o.Cluster || report.Index != o.Index:
		return nil, granary.Errorf(granary.KindCorrupt, "restore", o.Dir, "the state is of cluster %s at %d, not of %s at %d",
			report.Cluster, report.Index, o.Cluster, o.Index)
	case report.Violated > 0:
		return nil, granary.Errorf(granary.KindCorrupt, "restore", o.Dir, "the state of the backup is not in order: %w", report.Err())
	}
	if err := st.reincarnate(); err != nil {
		return nil, err
	}
	if err := o.hook("restore: reincarnated"); err != nil {
		return nil, err
	}
	if err := o.snapshot(st, filepath.Join(tmp, "snapshots")); err != nil {
		return nil, err
	}
	return &Restored{State: *report, Incarnation: st.head.Incarnation, Index: granary.Index(st.head.Applied)}, nil
}

// check returns what CheckState finds, or only what the state says of itself.
func (o *RestoreOptions) check(ctx context.Context, st *state) (*StateReport, error) {
	if !o.NoCheck {
		return st.audit(ctx)
	}
	h := st.current()
	return &StateReport{Cluster: h.Cluster, Index: granary.Index(h.Applied), Time: h.Time, Incarnation: h.Incarnation,
		Sessions: h.Sessions, Queued: h.Queue, LogicalBytes: h.LogicalBytes, BlockBytes: h.BlockBytes}, nil
}

// snapshot writes the state as the newest Raft snapshot of a node without a log, in a group of its own.
func (o *RestoreOptions) snapshot(st *state, dir string) error {
	snaps, err := openSnapshots(dir, o.hook, o.Log)
	if err != nil {
		return err
	}
	pending := filepath.Join(dir, "pending"+tmpSuffix)
	if err := checkpoint(st, pending); err != nil {
		return err
	}
	conf := raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(o.ID), Address: raft.ServerAddress(o.RaftAddr)}}}
	index, term := st.applied()
	sink, err := snaps.Create(raft.SnapshotVersionMax, index, term, conf, index, nil)
	if err != nil {
		return err
	}
	own, ok := sink.(*snapshotSink)
	if !ok {
		return granary.Errorf(granary.KindInternal, "restore", dir, "a sink that is not of this store: %T", sink)
	}
	if err := own.adopt(pending); err != nil {
		return errors.Join(err, own.Cancel())
	}
	if err := own.Close(); err != nil {
		return err
	}
	if err := os.Remove(pending); err != nil {
		return openError(pending, err)
	}
	return nil
}

// publish gives the directory its name. An empty one of that name is replaced; anything in it makes the rename fail.
func (o *RestoreOptions) publish(tmp string) error {
	if err := syncTree(tmp); err != nil {
		return err
	}
	if err := o.hook("restore: durable"); err != nil {
		return err
	}
	if err := os.Rename(tmp, o.Dir); err != nil {
		return openError(o.Dir, err)
	}
	if err := syncDir(filepath.Dir(o.Dir)); err != nil {
		return err
	}
	return o.hook("restore: named")
}

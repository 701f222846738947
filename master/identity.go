package master

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dsorchard/granary"
)

// identityFormat is the version of the node file and of the layout of the directory. Format 1 had the log in raft.db.
const identityFormat = 2

// identity is the node file, Dir/node.json.
type identity struct {
	Format  int               `json:"format"`
	ID      string            `json:"id"`
	Cluster granary.ClusterID `json:"cluster,omitempty"` // once known
}

// lockDir takes the exclusive lock of a node's directory. Closing the file releases it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, openError(dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, granary.Errorf(granary.KindBusy, "master.open", dir, "another master is running in this directory")
		}
		return nil, openError(dir, err)
	}
	return f, nil
}

// loadIdentity reads the node file, or makes one. The id that the options give must agree with it.
func loadIdentity(dir string, o *Options) (identity, error) {
	b, err := os.ReadFile(filepath.Join(dir, "node.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(dir, o)
	}
	if err != nil {
		return identity{}, openError(dir, err)
	}
	var id identity
	if err := json.Unmarshal(b, &id); err != nil || id.ID == "" || id.Format < 1 {
		return id, granary.Errorf(granary.KindCorrupt, "master.open", dir, "node.json is not a node file")
	}
	if id.Format > identityFormat {
		return id, granary.Errorf(granary.KindNotSupported, "master.open", dir,
			"the directory has format %d, and this release knows up to %d: use a newer one", id.Format, identityFormat)
	}
	if o.ID != "" && o.ID != id.ID {
		return id, granary.Errorf(granary.KindInvalid, "master.open", dir, "the directory belongs to node %q, not to %q", id.ID, o.ID)
	}
	if id.Format < identityFormat { // before the log moves, so that no older release takes the directory for one without a log
		id.Format = identityFormat
		return id, saveIdentity(dir, id)
	}
	return id, nil
}

func newIdentity(dir string, o *Options) (identity, error) {
	id := identity{Format: identityFormat, ID: o.ID}
	if id.ID == "" {
		id.ID = o.GRPCAddr
		if p, ok := o.self(""); ok {
			id.ID = p.ID
		}
	}
	if held, err := hasRaftState(dir); err != nil {
		return id, err
	} else if held {
		return id, granary.Errorf(granary.KindCorrupt, "master.open", dir, "the directory has a Raft log but no node.json")
	}
	if _, ok := o.self(id.ID); len(o.Peers) > 0 && !ok {
		return id, optionsError("this node, %q, is not among its peers", id.ID)
	}
	return id, saveIdentity(dir, id)
}

func saveIdentity(dir string, id identity) error {
	b, err := json.Marshal(id)
	if err != nil {
		return openError(dir, err)
	}
	return writeFileDurably(filepath.Join(dir, "node.json"), append(b, '\n'))
}

func openError(subject string, err error) error {
	return granary.Errorf(granary.KindInternal, "master.open", subject, "%w", err)
}

// writeFileDurably replaces a file whole: after a crash it has the old content or the new.
func writeFileDurably(name string, b []byte) error {
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return openError(name, err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return openError(name, err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return openError(name, err)
	}
	return syncDir(filepath.Dir(name))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return openError(dir, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return openError(dir, err)
	}
	return nil
}

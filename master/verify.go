package master

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/dsorchard/granary"
)

// VerifyBackup unpacks the stream of a backup into a directory, which it makes and removes again, and checks the state
// that it holds; cluster and index are what it is said to be of. An error says that the backup cannot be used, or could
// not be read; the report tells what is wrong with the state.
func VerifyBackup(ctx context.Context, stream io.Reader, cluster granary.ClusterID, index granary.Index, dir string) (*StateReport, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, openError(dir, err)
	}
	r, err := unpackAndCheck(ctx, stream, cluster, index, dir)
	if rerr := os.RemoveAll(dir); err == nil && rerr != nil {
		err = openError(dir, rerr)
	}
	return r, err
}

func unpackAndCheck(ctx context.Context, stream io.Reader, cluster granary.ClusterID, index granary.Index, dir string) (*StateReport, error) {
	if _, err := unpackBackup(ctx, stream, cluster, index, dir); err != nil {
		return nil, err
	}
	r, err := CheckState(ctx, filepath.Join(dir, stateName))
	if err != nil {
		return nil, err
	}
	if r.Cluster != cluster || r.Index != index {
		return nil, granary.Errorf(granary.KindCorrupt, "check", dir, "the state is of cluster %s at %d, not of %s at %d",
			r.Cluster, r.Index, cluster, index)
	}
	return r, nil
}

// unpackBackup writes a backup below a directory, durably, and checks that it is what it is said to be.
func unpackBackup(ctx context.Context, stream io.Reader, cluster granary.ClusterID, index granary.Index, dir string) (snapshotInfo, error) {
	if err := unpackStream(&interruptible{ctx, stream}, dir); err != nil {
		return snapshotInfo{}, err
	}
	info, err := readInfo(dir)
	if err != nil {
		return info, err
	}
	if info.Cluster != cluster || info.Index != uint64(index) {
		return info, granary.Errorf(granary.KindCorrupt, "unpack backup", dir, "it holds cluster %s at %d, not %s at %d",
			info.Cluster, info.Index, cluster, index)
	}
	return info, nil
}

// interruptible is a reader that ends with its context.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

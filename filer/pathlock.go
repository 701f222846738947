package filer

import (
	"context"
	"path"

	"github.com/dsorchard/granary"
)

// LockPath finds what a path to be locked is on, and follows symbolic links as far as there is something. Paths are as CleanPath
// returns them.
func (fs *FS) LockPath(ctx context.Context, root granary.InodeID, name string, subtree bool) (granary.LockPath, error) {
	rest := ""
	for at := name; ; at = path.Dir(at) {
		info, err := fs.Stat(ctx, root, at, StatOptions{Follow: true})
		switch {
		case granary.IsKind(err, granary.KindNotFound) && at != "/" && at != ".":
			rest = path.Join(path.Base(at), rest)
		case err != nil:
			return granary.LockPath{}, err
		case info.Attr.IsDir():
			return granary.LockPath{Base: info.Attr.Inode, Path: rest, Subtree: subtree}, nil
		case rest != "":
			return granary.LockPath{}, granary.Errorf(granary.KindNotDir, "lock paths", name, "%q is no directory", at)
		default:
			return granary.LockPath{Base: info.Parent, Path: info.Name, Subtree: subtree}, nil
		}
	}
}

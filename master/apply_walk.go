package master

import (
	"strings"

	"github.com/dsorchard/granary"
)

// step is one directory on the way of a relative path.
type step struct {
	dir  *inodeRecord
	name entryName // of the next component in dir
}

// walk follows all but the last component of a relative path, or of a key. With owner set, it makes the
// directories that are missing, for the owner of the entry that shall be made.
func (t *txn) walk(op string, base granary.InodeID, path string, isKey bool, owner *granary.Attr) ([]step, *granary.Error) {
	dir, err := t.directory(op, base)
	if err != nil {
		return nil, err
	}
	if len(path) > granary.PathLengthMax {
		return nil, granary.Errorf(granary.KindNameTooLong, op, path[:64]+"…", "%d bytes, of %d at most", len(path), granary.PathLengthMax)
	}
	names := strings.Split(path, "/")
	if len(names) > granary.PathDepthMax+1 || !isKey && len(names) > granary.PathDepthMax {
		return nil, granary.Errorf(granary.KindNameTooLong, op, path[:64]+"…", "more than %d components", granary.PathDepthMax)
	}
	if isKey && path == "" {
		return nil, granary.Errorf(granary.KindInvalid, op, "", "the key is empty")
	}
	steps := make([]step, 0, len(names))
	w := descent{owner: owner}
	for i, raw := range names {
		name := entryName{raw, fileName}
		switch {
		case isKey && i < len(names)-1:
			name.kind = dirName
		case !isKey:
			if name, err = t.entry(op, dir, raw); err != nil {
				return nil, err
			}
		}
		steps = append(steps, step{dir, name})
		if i == len(names)-1 {
			break
		}
		if dir, err = t.descend(op, dir, name, &w); err == nil {
			err = t.reach(op, dir)
		}
		if err != nil {
			return nil, err
		}
		if err := t.permit(op, path, dir, granary.AccessExecute); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

// descent is what a walk knows on its way down.
type descent struct {
	owner *granary.Attr // of directories that it makes; nil: it makes none
	made  int           // the depth of the directory that it made last; 0: none yet
}

// descend goes down one component, which it makes if there is an owner for it.
func (t *txn) descend(op string, dir *inodeRecord, name entryName, w *descent) (*inodeRecord, *granary.Error) {
	d := t.find(dir.Inode, name)
	if d == nil && w.owner != nil && dir.Inode != granary.BucketsInode {
		return t.addImplicit(op, dir, name, w)
	}
	if d == nil {
		return nil, granary.Errorf(granary.KindNotFound, op, name.raw, "")
	}
	if d.Type != granary.TypeDirectory {
		return nil, granary.Errorf(granary.KindNotDir, op, name.raw, "")
	}
	return t.inode(d.Inode), nil
}

func (t *txn) addImplicit(op string, dir *inodeRecord, entry entryName, w *descent) (*inodeRecord, *granary.Error) {
	owner, name := w.owner, entry.raw
	if entry.kind == fileName {
		return nil, granary.Errorf(granary.KindNotDir, op, name, "the escape is not of a directory")
	}
	if w.made == 0 {
		w.made = t.depth(dir)
	}
	if w.made++; w.made > granary.PathDepthMax {
		return nil, granary.Errorf(granary.KindInvalid, op, name, "more than %d directories deep", granary.PathDepthMax)
	}
	if err := t.mayAdd(op, name, dir); err != nil {
		return nil, err
	}
	if err := t.guard(op, dir, name, nil); err != nil {
		return nil, err
	}
	uid, gid := owner.UID, owner.GID
	if !t.owns(&inodeRecord{Attr: *owner}) { // a link to what is another's
		uid, gid = t.cred.UID, t.cred.GID
	}
	child := &inodeRecord{Attr: granary.Attr{Inode: t.nextInode(dir.Inode.Dataset()), Mode: 0o755,
		UID: uid, GID: gid, Flags: granary.FlagImplicit, Policy: dir.Policy}}
	inheritGroup(dir, child, true)
	t.addInode(child, granary.TypeDirectory)
	if err := t.inheritACL(op, dir, child, 0); err != nil {
		return nil, err
	}
	t.addName(dir, name, child)
	t.placesMade(dir.Inode, name)
	t.noteMade(granary.ChangeCreate, dir, name, child, 0, nil, false)
	return child, nil
}

// depth counts the directories from a dataset's root down to r, the root not counted.
func (t *txn) depth(r *inodeRecord) int {
	dataset, n := r.Inode.Dataset(), 0
	for r != nil && r.Inode != dataset.Root() && r.Inode != dataset.System() && n <= granary.PathDepthMax {
		r = t.inode(r.Parent)
		n++
	}
	return n
}

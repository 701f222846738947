package master

import "github.com/dsorchard/granary"

// link gives an inode a name.
func (t *txn) link(session granary.SessionID, op *granary.Link) granary.Result {
	r := t.inode(op.Inode)
	if r == nil {
		return failed(granary.KindNotFound, "link", op.Inode.String(), "no such inode")
	}
	orphan := keyOrphan(session, op.Inode)
	if !r.IsDir() && r.Nlink == 0 && t.get(orphan) == nil {
		return failed(granary.KindNotFound, "link", op.Inode.String(), "the inode has no name and belongs to another session")
	}
	dir, entry, err := t.parentOf("link", op.Parent, op.Name, op.MakeParents, op.Key, &r.Attr)
	if err != nil {
		return granary.Result{Err: err}
	}
	name, keeps := entry.raw, t.versioning(dir)
	old, err := t.linkOver(op, dir, entry)
	marked := old == dir
	switch {
	case marked && keeps != 0:
		marked, old = false, t.markToFile(dir)
	case marked:
		old = nil
	}
	if err == nil {
		err = t.mayRetire("link", op.Name, dir, name, old, keeps)
	}
	if err == nil {
		err = t.checkLink(op, dir, r, old)
	}
	if err == nil {
		err = t.guard("link", dir, name, old)
	}
	if err == nil && r.Nlink > 0 {
		err = t.guardInode("link", r)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	for i := range op.Xattrs {
		if err = t.maySetXattr("link", op.Xattrs[i].Name, r); err == nil {
			err = t.sameEncryption("link", &op.Xattrs[i], r)
		}
		if err != nil {
			return granary.Result{Err: err}
		}
	}
	if err := t.putXattrs("link", r, op.Xattrs); err != nil {
		return granary.Result{Err: err}
	}
	if old == r {
		return granary.Result{Attr: r.Attr}
	}
	first := r.Nlink == 0
	if first {
		t.del(orphan)
	}
	if old != nil {
		t.retire(dir, name, old, keeps)
	}
	if marked {
		t.clearMark(dir)
	}
	t.supersede(dir, name, keeps)
	if first {
		t.enumerate(r, keeps)
	}
	t.addName(dir, name, r)
	t.placesMade(dir.Inode, name)
	kind := granary.ChangeLink
	if first {
		kind = granary.ChangeCreate
	}
	t.noteMade(kind, dir, name, r, r.Size, op.Xattrs, old != nil || marked)
	return granary.Result{Attr: r.Attr, Created: true, Replaced: old != nil || marked}
}

// linkOver returns what a Link replaces: nil for nothing, the directory itself for a mark on it.
func (t *txn) linkOver(op *granary.Link, dir *inodeRecord, name entryName) (*inodeRecord, *granary.Error) {
	if err := checkKind("link", name, false); err != nil {
		return nil, err
	}
	old := t.target(dir, name, op.Key)
	if err := t.checkMatch("link", op.Name, op.Match, old); err != nil {
		return nil, err
	}
	switch {
	case old == nil || old == dir:
	case !op.Replace:
		return nil, granary.Errorf(granary.KindExists, "link", op.Name, "")
	case old.IsDir():
		return nil, granary.Errorf(granary.KindIsDir, "link", op.Name, "")
	}
	return old, nil
}

// checkLink refuses what link(2) refuses, and in its order, once it is known that the name is free or may be replaced.
func (t *txn) checkLink(op *granary.Link, dir, r, old *inodeRecord) *granary.Error {
	switch {
	case dir.Inode == granary.BucketsInode:
		return granary.Errorf(granary.KindNotOwner, "link", op.Name, "only directories can be made among the buckets")
	case dir.Inode.Dataset() != op.Inode.Dataset():
		return granary.Errorf(granary.KindCrossDataset, "link", op.Name, "")
	}
	err := t.mayLink(op.Name, r)
	switch {
	case err != nil:
	case old != nil:
		err = t.mayRemove("link", op.Name, dir, old)
	default:
		err = t.mayAdd("link", op.Name, dir)
	}
	switch {
	case err != nil:
		return err
	case r.IsDir():
		return granary.Errorf(granary.KindNotOwner, "link", op.Name, "directories have one name")
	case r.Flags&granary.FlagPart != 0:
		return granary.Errorf(granary.KindInvalid, "link", op.Inode.String(), "the part of an upload has one name")
	case dir.isUpload() && r.Nlink > 0:
		return granary.Errorf(granary.KindInvalid, "link", op.Name, "the directory of an upload takes files that have no name yet")
	case r.Nlink >= nlinkMax:
		return granary.Errorf(granary.KindTooManyLinks, "link", op.Name, "")
	}
	return nil
}

package master

import (
	"github.com/dsorchard/granary"
)

// rename moves an entry, as renameat2(2) says.
func (t *txn) rename(op *granary.Rename) granary.Result {
	switch {
	case op.NoReplace && op.Exchange:
		return failed(granary.KindInvalid, "rename", op.DstName, "no-replace and exchange exclude each other")
	case op.Key:
		return t.renameKey(op)
	case op.SrcMatch != nil || op.Match != nil:
		return failed(granary.KindInvalid, "rename", op.DstName, "only a rename of keys is conditional")
	}
	if err := checkName("rename", op.DstName); err != nil {
		return granary.Result{Err: err}
	}
	// Both directories are found before a name in either is looked for.
	if _, err := t.directory("rename", op.SrcParent); err != nil {
		return granary.Result{Err: err}
	}
	dstDir, err := t.directory("rename", op.DstParent)
	if err != nil {
		return granary.Result{Err: err}
	}
	srcDir, src, srcName, err := t.victim("rename", op.SrcParent, op.SrcName)
	if err != nil {
		return granary.Result{Err: err}
	}
	dstEntry, err := t.entry("rename", dstDir, op.DstName)
	if err != nil {
		return granary.Result{Err: err}
	}
	dstName := dstEntry.raw
	var dst *inodeRecord
	if d := t.find(op.DstParent, dstEntry); d != nil {
		dst = t.inode(d.Inode)
	}
	if err := t.reach("rename", dst); err != nil {
		return granary.Result{Err: err}
	}
	if dst == nil || op.Exchange {
		if err := checkKind("rename", dstEntry, src.IsDir()); err != nil {
			return granary.Result{Err: err}
		}
	}
	err = t.checkRename(op, srcDir, dstDir, src, dst)
	if err == nil {
		err = t.guard("rename", srcDir, srcName, src)
	}
	if err == nil {
		err = t.guard("rename", dstDir, dstName, dst)
	}
	if err != nil {
		return granary.Result{Err: err}
	}
	if src != dst {
		if err := t.mayMove(op, srcDir, dstDir, src, dst); err != nil {
			return granary.Result{Err: err}
		}
	}
	switch {
	case src == dst:
		// Two names of one inode, or one name: rename(2) leaves both.
	case op.Exchange:
		t.removeName(srcDir, srcName, src)
		t.removeName(dstDir, dstName, dst)
		t.enumerate(dst, t.versioning(srcDir))
		t.enumerate(src, t.versioning(dstDir))
		t.addName(srcDir, srcName, dst)
		t.addName(dstDir, dstName, src)
		t.placesRenamed(srcDir.Inode, srcName, dstDir.Inode, dstName, src)
		t.placesRenamed(dstDir.Inode, dstName, srcDir.Inode, srcName, dst)
		t.placesMade(dstDir.Inode, dstName)
		t.placesMade(srcDir.Inode, srcName)
	default:
		t.moveName(srcDir, srcName, dstDir, dstName, src, dst)
	}
	if src != dst {
		t.noteRename(op, srcDir, srcName, dstDir, dstName, src, dst != nil && !op.Exchange)
	}
	return granary.Result{Attr: src.Attr, Replaced: dst != nil && dst != src && !op.Exchange}
}

// moveName gives an inode another name in place of the one that it has.
func (t *txn) moveName(srcDir *inodeRecord, srcName string, dstDir *inodeRecord, dstName string, src, dst *inodeRecord) {
	srcKeeps, dstKeeps := t.versioning(srcDir), t.versioning(dstDir)
	if dst != nil {
		t.renameOver(dstDir, dstName, dst, dstKeeps)
	}
	t.removeName(srcDir, srcName, src)
	if earlier, _ := t.newestVersion(srcDir, srcName); earlier != nil && !src.IsDir() {
		t.deleteMarker(srcDir, srcName, srcKeeps)
	}
	if !src.IsDir() {
		t.supersede(dstDir, dstName, dstKeeps)
		t.enumerate(src, dstKeeps)
	}
	t.addName(dstDir, dstName, src)
	t.placesRenamed(srcDir.Inode, srcName, dstDir.Inode, dstName, src)
	t.placesMade(dstDir.Inode, dstName)
}

// renameKey gives an object another key. What is in the way of the new key is what is in the way of a Create.
func (t *txn) renameKey(op *granary.Rename) granary.Result {
	steps, err := t.walk("rename", op.SrcParent, op.SrcName, true, nil)
	if err != nil {
		return granary.Result{Err: err}
	}
	srcDir, srcName := steps[len(steps)-1].dir, steps[len(steps)-1].name
	src := t.target(srcDir, srcName, true)
	if err := t.reach("rename", src); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.checkMatch("rename", op.SrcName, op.SrcMatch, src); err != nil {
		return granary.Result{Err: err}
	}
	if src == nil {
		return failed(granary.KindNotFound, "rename", op.SrcName, "")
	}
	dstDir, dstName, err := t.parentOf("rename", op.DstParent, op.DstName, false, true, &granary.Attr{UID: src.UID, GID: src.GID})
	if err != nil {
		return granary.Result{Err: err}
	}
	dst := t.target(dstDir, dstName, true)
	if err := t.reach("rename", dst); err != nil {
		return granary.Result{Err: err}
	}
	if err := t.checkMatch("rename", op.DstName, op.Match, dst); err != nil {
		return granary.Result{Err: err}
	}
	switch {
	case op.Exchange || srcName.raw == "" || dstName.raw == "" || src.IsDir() || dst != nil && dst.IsDir():
		return failed(granary.KindInvalid, "rename", op.DstName, "what is renamed by key is a file, and its new key is a file's")
	case t.versioning(srcDir)|t.versioning(dstDir) != 0:
		return failed(granary.KindNotSupported, "rename", op.SrcName, "the bucket keeps versions, of which each keeps its key")
	case dstDir.Inode == granary.BucketsInode:
		return failed(granary.KindNotOwner, "rename", op.DstName, "only directories can be made among the buckets")
	}
	err = t.checkRename(op, srcDir, dstDir, src, dst)
	if err == nil {
		err = t.guard("rename", srcDir, srcName.raw, src)
	}
	if err == nil {
		err = t.guard("rename", dstDir, dstName.raw, dst)
	}
	if err == nil && src != dst {
		err = t.mayMove(op, srcDir, dstDir, src, dst)
	}
	switch {
	case err != nil:
		return granary.Result{Err: err}
	case src == dst && srcDir == dstDir && srcName.raw == dstName.raw:
		return granary.Result{Attr: src.Attr}
	case src == dst: // two names of one file: the old one is what shall go
		return failed(granary.KindExists, "rename", op.DstName, "it is the same file")
	}
	t.moveName(srcDir, srcName.raw, dstDir, dstName.raw, src, dst)
	t.noteRename(op, srcDir, srcName.raw, dstDir, dstName.raw, src, dst != nil)
	attr := src.Attr
	t.prune(steps)
	return granary.Result{Attr: attr, Replaced: dst != nil}
}

// renameOver takes the name that a rename is to give from what has it.
func (t *txn) renameOver(dir *inodeRecord, name string, dst *inodeRecord, keeps versioning) {
	if dst.IsDir() {
		t.removeName(dir, name, dst)
		t.placesLost(dir.Inode, name, dst)
		t.noteGone(dir, name, dst)
		t.dispose(dst)
		return
	}
	t.retire(dir, name, dst, keeps)
}

// mayMove refuses to move what is locked under its key, and directories where something in them may be; and to replace what is locked.
func (t *txn) mayMove(op *granary.Rename, srcDir, dstDir, src, dst *inodeRecord) *granary.Error {
	moved := []*inodeRecord{src}
	if op.Exchange {
		moved = append(moved, dst)
	}
	for _, r := range moved {
		if r.IsDir() && r.Entries+r.Versions > 0 && t.versioning(srcDir)&versioningLocks != 0 {
			return granary.Errorf(granary.KindNotOwner, "rename", op.SrcName, "versions of objects may be locked in the bucket: a directory that holds something stays where it is")
		}
		if err := t.unlocked("rename", op.SrcName, r, false); err != nil {
			return err
		}
	}
	if dst == nil || op.Exchange {
		return nil
	}
	if dst.IsDir() && dst.Versions > 0 {
		return granary.Errorf(granary.KindNotEmpty, "rename", op.DstName, "it holds %d earlier versions of objects", dst.Versions)
	}
	return t.mayRetire("rename", op.DstName, dstDir, op.DstName, dst, t.versioning(dstDir))
}

// checkRename refuses what rename(2) refuses, in the order in which Linux does.
func (t *txn) checkRename(op *granary.Rename, srcDir, dstDir, src, dst *inodeRecord) *granary.Error {
	bad := func(kind granary.Kind, format string, args ...any) *granary.Error {
		return granary.Errorf(kind, "rename", op.DstName, format, args...)
	}
	switch {
	case op.NoReplace && dst != nil:
		return bad(granary.KindExists, "")
	case op.Exchange && dst == nil:
		return bad(granary.KindNotFound, "")
	case dst != nil && dst.Inode == granary.BucketsInode:
		return bad(granary.KindNotOwner, "the directory of buckets stays where it is")
	case (srcDir.Inode == granary.BucketsInode) != (dstDir.Inode == granary.BucketsInode),
		srcDir.Inode.Dataset() != dstDir.Inode.Dataset():
		return bad(granary.KindCrossDataset, "")
	case srcDir != dstDir && (src.isDatasetRoot() || op.Exchange && dst.isDatasetRoot()):
		return bad(granary.KindCrossDataset, "a dataset stays in the directory where it was made")
	case srcDir != dstDir && (srcDir.holdsUploads() || dstDir.holdsUploads()): // or it would be in vain that parts are written once
		return bad(granary.KindInvalid, "an upload stays where it is, and nothing else becomes one")
	case srcDir != dstDir && (dstDir.isUpload() && !src.IsDir() || op.Exchange && srcDir.isUpload() && !dst.IsDir()):
		return bad(granary.KindInvalid, "the directory of an upload takes files that have no name yet")
	}
	if err := t.checkCycle(op, srcDir, dstDir, src, dst); err != nil || src == dst {
		return err
	}
	if err := t.mayRename(op, srcDir, dstDir, src, dst); err != nil || dst == nil || op.Exchange {
		return err
	}
	switch {
	case dst.isDatasetRoot():
		return bad(granary.KindExists, "a bucket or dataset is not replaced by a rename")
	case dst.IsDir() && dst.Entries > 0:
		return bad(granary.KindNotEmpty, "")
	}
	return nil
}

// mayRename refuses a rename for want of permission, or because a directory is to replace what is none or the
// reverse: Linux finds out about both between two checks of permissions.
func (t *txn) mayRename(op *granary.Rename, srcDir, dstDir, src, dst *inodeRecord) *granary.Error {
	if err := t.mayRemove("rename", op.SrcName, srcDir, src); err != nil {
		return err
	}
	var err *granary.Error
	if dst == nil {
		err = t.mayAdd("rename", op.DstName, dstDir)
	} else {
		err = t.mayRemove("rename", op.DstName, dstDir, dst)
	}
	switch {
	case err != nil:
		return err
	case dst == nil || op.Exchange:
	case src.IsDir() && !dst.IsDir():
		return granary.Errorf(granary.KindNotDir, "rename", op.DstName, "")
	case !src.IsDir() && dst.IsDir():
		return granary.Errorf(granary.KindIsDir, "rename", op.DstName, "")
	}
	if srcDir == dstDir {
		return nil
	}
	// A directory that moves has another ".." afterwards.
	if src.IsDir() {
		err = t.permit("rename", op.SrcName, src, granary.AccessWrite)
	}
	if err == nil && op.Exchange && dst.IsDir() {
		err = t.permit("rename", op.DstName, dst, granary.AccessWrite)
	}
	return err
}

// checkCycle refuses to move a directory into itself, and beyond the depth that this check bounds.
func (t *txn) checkCycle(op *granary.Rename, srcDir, dstDir, src, dst *inodeRecord) *granary.Error {
	if srcDir == dstDir {
		return nil
	}
	if src.IsDir() && t.below(dstDir, src) {
		return granary.Errorf(granary.KindInvalid, "rename", op.DstName, "a directory cannot move into itself")
	}
	if dst != nil && dst.IsDir() && t.below(srcDir, dst) {
		if op.Exchange {
			return granary.Errorf(granary.KindInvalid, "rename", op.SrcName, "a directory cannot move into itself")
		}
		return granary.Errorf(granary.KindNotEmpty, "rename", op.DstName, "it holds what is to replace it")
	}
	if src.IsDir() && t.depth(dstDir) >= granary.PathDepthMax || op.Exchange && dst.IsDir() && t.depth(srcDir) >= granary.PathDepthMax {
		return granary.Errorf(granary.KindInvalid, "rename", op.DstName, "more than %d directories deep", granary.PathDepthMax)
	}
	return nil
}

// below reports whether r is the directory top, or lies below it.
func (t *txn) below(r, top *inodeRecord) bool {
	dataset := r.Inode.Dataset()
	for r != nil && r != top && r.Inode != dataset.Root() && r.Inode != dataset.System() {
		r = t.inode(r.Parent)
	}
	return r == top
}

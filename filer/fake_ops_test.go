package filer

import (
	"bytes"
	"context"
	"strings"

	"github.com/dsorchard/granary"
)

func (f *fake) Do(ctx context.Context, cred granary.Cred, op granary.Op) (granary.Result, error) {
	results, err := f.DoAll(ctx, cred, []granary.Op{op})
	if err != nil {
		return granary.Result{}, err
	}
	if results[0].Err != nil {
		return results[0], results[0].Err
	}
	return results[0], nil
}

func (f *fake) DoAll(ctx context.Context, cred granary.Cred, ops []granary.Op) ([]granary.Result, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.step()
	results := make([]granary.Result, len(ops))
	for i, op := range ops {
		f.ops = append(f.ops, op)
		r, err := granary.Result{}, error(nil)
		if f.onOp != nil {
			err = f.onOp(op)
		}
		if err == nil {
			r, err = f.apply(op)
		}
		if err != nil {
			r.Err = granary.Errorf(granary.KindOf(err), "fake", "", "%w", err)
		}
		results[i] = r
	}
	return results, nil
}

// apply mirrors what the master does, for the ops that a FS uses.
func (f *fake) apply(op granary.Op) (granary.Result, error) {
	switch op := op.(type) {
	case *granary.Create:
		r, err := f.create(op)
		if err == nil && op.Open {
			f.open[r.Attr.Inode]++
		}
		return r, err
	case *granary.Unlink:
		return f.unlink(op)
	case *granary.Rmdir:
		return f.rmdir(op.Parent, op.Name, false)
	case *granary.RemoveTree:
		return f.rmdir(op.Parent, op.Name, true)
	case *granary.Rename:
		return f.rename(op)
	case *granary.Link:
		return f.link(op)
	case *granary.SetAttr:
		return f.setAttr(op)
	case *granary.Commit:
		in := f.inodes[op.Inode]
		f.setData(in, append(bytes.Clone(in.data), make([]byte, max(int(op.Content.Size)-len(in.data), 0))...))
		return granary.Result{Attr: in.attr}, nil
	case *granary.CopyRange:
		return f.copyRange(op)
	case *granary.Allocate:
		return f.allocate(op)
	case *granary.Assemble:
		return f.assemble(op)
	case *granary.Release:
		if !f.session[op.Inode] {
			return granary.Result{}, fakeErr(granary.KindNotFound, "release", op.Inode.String())
		}
		delete(f.session, op.Inode)
		delete(f.inodes, op.Inode)
		return granary.Result{}, nil
	}
	return granary.Result{}, granary.Errorf(granary.KindNotSupported, "op", "", "%T", op)
}

// walk goes down a relative path to the directory that holds its last name.
func (f *fake) walk(parent granary.InodeID, path string, makeThem bool) (*fakeInode, string, error) {
	dir := f.inodes[parent]
	for {
		if dir == nil {
			return nil, "", fakeErr(granary.KindNotFound, "walk", path)
		}
		if dir.names == nil {
			return nil, "", fakeErr(granary.KindNotDir, "walk", path)
		}
		name, rest, more := strings.Cut(path, "/")
		if !more {
			return dir, name, nil
		}
		id, ok := dir.names[name]
		if !ok && !makeThem {
			return nil, "", fakeErr(granary.KindNotFound, "walk", path)
		}
		if !ok {
			f.next++
			id = dir.attr.Inode.Dataset().Inode(f.next)
			c := f.add(id, granary.TypeDirectory)
			c.attr.Flags, c.attr.Parent = granary.FlagImplicit, dir.attr.Inode
			dir.names[name] = id
		}
		dir, path = f.inodes[id], rest
	}
}

func (f *fake) match(in *fakeInode, m *granary.Precondition) error {
	if m == nil {
		return nil
	}
	if m.Absent && in != nil || m.Present && in == nil || m.Version != 0 && (in == nil || in.attr.Version != m.Version) {
		return fakeErr(granary.KindPrecondition, "match", "")
	}
	return nil
}

func (f *fake) create(op *granary.Create) (granary.Result, error) {
	newInode := func(parent *fakeInode) *fakeInode {
		f.next++
		id := parent.attr.Inode.Dataset().Inode(f.next)
		if parent.attr.Inode == granary.BucketsInode {
			id = granary.DatasetID(f.next).Root()
		}
		in := f.add(id, op.Type)
		in.attr.Mode, in.attr.UID, in.attr.GID, in.attr.Rdev, in.target = op.Mode, op.UID, op.GID, op.Rdev, op.Target
		in.attr.Flags = op.Flags
		in.attr.Parent = parent.attr.Inode
		for _, x := range op.Xattrs {
			in.xattrs[x.Name] = x.Value
		}
		f.touch(in)
		in.attr.ContentVersion = f.index
		if op.Content != nil {
			f.setData(in, bytes.Clone(op.Content.Inline))
		}
		return in
	}
	if op.Anonymous {
		in := newInode(f.inodes[op.Parent])
		in.attr.Nlink = 0
		f.session[in.attr.Inode] = true
		return granary.Result{Attr: in.attr, Created: true}, nil
	}
	dir, name, err := f.walk(op.Parent, op.Name, op.MakeParents)
	if err != nil {
		return granary.Result{}, err
	}
	old := f.inodes[dir.names[name]]
	if err := f.match(old, op.Match); err != nil {
		return granary.Result{}, err
	}
	switch {
	case old == nil:
	case op.Exclusive || op.Type != granary.TypeRegular:
		return granary.Result{}, fakeErr(granary.KindExists, "create", name)
	case old.names != nil:
		return granary.Result{}, fakeErr(granary.KindIsDir, "create", name)
	case !op.Replace:
		return granary.Result{Attr: old.attr}, nil
	default:
		f.lose(old)
	}
	in := newInode(dir)
	dir.names[name] = in.attr.Inode
	return granary.Result{Attr: in.attr, Created: true, Replaced: old != nil}, nil
}

// lose takes a name from an inode, which goes with the last name unless it is open.
func (f *fake) lose(in *fakeInode) {
	in.attr.Nlink--
	f.touch(in)
	f.drop(in)
}

func (f *fake) drop(in *fakeInode) {
	if id := in.attr.Inode; in.attr.Nlink == 0 && f.open[id] == 0 && !f.session[id] {
		delete(f.inodes, id)
	}
}

func (f *fake) unlink(op *granary.Unlink) (granary.Result, error) {
	dir, name, err := f.walk(op.Parent, op.Name, false)
	if err != nil {
		return granary.Result{}, err
	}
	in := f.inodes[dir.names[name]]
	if err := f.match(in, op.Match); err != nil {
		return granary.Result{}, err
	}
	switch {
	case in == nil:
		return granary.Result{}, fakeErr(granary.KindNotFound, "unlink", name)
	case in.names != nil:
		return granary.Result{}, fakeErr(granary.KindIsDir, "unlink", name)
	}
	delete(dir.names, name)
	f.lose(in)
	return granary.Result{Attr: in.attr}, nil
}

func (f *fake) rmdir(parent granary.InodeID, name string, tree bool) (granary.Result, error) {
	dir := f.inodes[parent]
	in := f.inodes[dir.names[name]]
	switch {
	case in == nil:
		return granary.Result{}, fakeErr(granary.KindNotFound, "rmdir", name)
	case in.names == nil && !tree:
		return granary.Result{}, fakeErr(granary.KindNotDir, "rmdir", name)
	case len(in.names) > 0 && !tree:
		return granary.Result{}, fakeErr(granary.KindNotEmpty, "rmdir", name)
	}
	delete(dir.names, name)
	if in.names == nil {
		f.lose(in)
		return granary.Result{}, nil
	}
	delete(f.inodes, in.attr.Inode)
	return granary.Result{}, nil
}

func (f *fake) rename(op *granary.Rename) (granary.Result, error) {
	src, dst := f.inodes[op.SrcParent], f.inodes[op.DstParent]
	in, old := f.inodes[src.names[op.SrcName]], f.inodes[dst.names[op.DstName]]
	switch {
	case in == nil:
		return granary.Result{}, fakeErr(granary.KindNotFound, "rename", op.SrcName)
	case old != nil && op.NoReplace:
		return granary.Result{}, fakeErr(granary.KindExists, "rename", op.DstName)
	case old != nil:
		f.lose(old)
	}
	delete(src.names, op.SrcName)
	dst.names[op.DstName] = in.attr.Inode
	f.touch(in)
	return granary.Result{Attr: in.attr}, nil
}

func (f *fake) link(op *granary.Link) (granary.Result, error) {
	in := f.inodes[op.Inode]
	if in == nil {
		return granary.Result{}, fakeErr(granary.KindNotFound, "link", op.Inode.String())
	}
	dir, name, err := f.walk(op.Parent, op.Name, op.MakeParents)
	if err != nil {
		return granary.Result{}, err
	}
	old := f.inodes[dir.names[name]]
	if err := f.match(old, op.Match); err != nil {
		return granary.Result{}, err
	}
	if old != nil && !op.Replace {
		return granary.Result{}, fakeErr(granary.KindExists, "link", name)
	}
	if old != nil {
		f.lose(old)
	}
	dir.names[name] = op.Inode
	delete(f.session, op.Inode)
	in.attr.Nlink++
	for _, x := range op.Xattrs {
		in.xattrs[x.Name] = x.Value
	}
	f.touch(in)
	return granary.Result{Attr: in.attr, Replaced: old != nil}, nil
}

func (f *fake) setAttr(op *granary.SetAttr) (granary.Result, error) {
	in := f.inodes[op.Inode]
	if in == nil {
		return granary.Result{}, fakeErr(granary.KindNotFound, "setattr", op.Inode.String())
	}
	if op.Size != nil {
		data := make([]byte, *op.Size)
		copy(data, in.data)
		f.setData(in, data)
	}
	if op.Mode != nil {
		in.attr.Mode = *op.Mode
	}
	if op.Mtime != nil {
		in.attr.Mtime = *op.Mtime
	}
	if op.MtimeNow {
		in.attr.Mtime = f.clock
	}
	f.touch(in)
	return granary.Result{Attr: in.attr}, nil
}

func (f *fake) assemble(op *granary.Assemble) (granary.Result, error) {
	dir, system := f.inodes[op.Upload], f.inodes[op.Upload.Dataset().System()]
	switch {
	case dir == nil || system.names[op.UploadName] != op.Upload:
		return granary.Result{}, fakeErr(granary.KindNotFound, "assemble", op.UploadName)
	case op.Version != 0 && op.Version != dir.attr.Version:
		return granary.Result{}, fakeErr(granary.KindStale, "assemble", op.UploadName)
	}
	var data []byte
	for _, name := range op.Parts {
		part := f.inodes[dir.names[name]]
		if part == nil || len(part.extents) == 0 {
			return granary.Result{}, fakeErr(granary.KindInvalid, "assemble", name)
		}
		data = append(data, part.data...)
	}
	r, err := f.create(&op.Create)
	if err != nil {
		return r, err
	}
	in := f.inodes[r.Attr.Inode]
	f.setData(in, data)
	delete(system.names, op.UploadName)
	delete(f.inodes, op.Upload)
	r.Attr = in.attr
	return r, nil
}

func (f *fake) allocate(op *granary.Allocate) (granary.Result, error) {
	in, n := f.inodes[op.Inode], op.Length
	if in == nil {
		return granary.Result{}, fakeErr(granary.KindNotFound, "allocate", op.Inode.String())
	}
	if f.copyMax > 0 {
		n = min(n, f.copyMax)
	}
	data := bytes.Clone(in.data)
	if op.Mode != granary.AllocatePunch && !op.KeepSize {
		data = append(data, make([]byte, max(int(op.Offset+n)-len(data), 0))...)
	}
	if op.Mode != granary.AllocateReserve {
		clear(data[min(op.Offset, uint64(len(data))):min(op.Offset+n, uint64(len(data)))])
	}
	f.setData(in, data)
	return granary.Result{Attr: in.attr, Offset: n}, nil
}

func (f *fake) copyRange(op *granary.CopyRange) (granary.Result, error) {
	src, dst := f.inodes[op.Src], f.inodes[op.Dst]
	switch {
	case src == nil || dst == nil:
		return granary.Result{}, fakeErr(granary.KindNotFound, "copy", op.Src.String())
	case op.Src.Dataset() != op.Dst.Dataset():
		return granary.Result{}, fakeErr(granary.KindCrossDataset, "copy", op.Src.String())
	case len(src.extents) == 0 && (op.SrcOffset != 0 || op.DstOffset != 0):
		return granary.Result{}, fakeErr(granary.KindNotSupported, "copy", op.Src.String())
	}
	n := min(op.Length, src.attr.Size-min(op.SrcOffset, src.attr.Size))
	if f.copyMax > 0 {
		n = min(n, f.copyMax)
	}
	data := make([]byte, max(uint64(len(dst.data)), op.DstOffset+n))
	copy(data, dst.data)
	copy(data[op.DstOffset:], src.data[op.SrcOffset:op.SrcOffset+n])
	f.setData(dst, data)
	return granary.Result{Attr: dst.attr, Offset: n}, nil
}

package wire

import "github.com/dsorchard/granary"

// The ops that change names and attributes.

func (f *fields) create(o *granary.Create) {
	unsigned(f, 1, &o.Parent)
	text(f, 2, &o.Name)
	unsigned(f, 3, &o.Type)
	unsigned(f, 4, &o.Mode)
	unsigned(f, 5, &o.UID)
	unsigned(f, 6, &o.GID)
	unsigned(f, 7, &o.Rdev)
	text(f, 8, &o.Target)
	unsigned(f, 9, &o.Flags)
	list(f, 10, &o.Xattrs, (*fields).xattr)
	optional(f, 11, &o.Content, (*fields).content)
	f.flag(12, &o.Exclusive)
	f.flag(13, &o.Replace)
	f.flag(14, &o.MakeParents)
	f.flag(15, &o.Anonymous)
	optional(f, 16, &o.Match, (*fields).precondition)
	f.flag(17, &o.Open)
	unsigned(f, 18, &o.Umask)
	unsigned(f, 19, &o.Inode)
	f.flag(20, &o.Delegate)
	f.optionalTime(21, &o.Atime)
	f.optionalTime(22, &o.Mtime)
	f.optionalTime(23, &o.Ctime)
	f.flag(24, &o.Key)
	unsigned(f, 25, &o.Policy)
}

func (f *fields) precondition(m *granary.Precondition) {
	f.flag(1, &m.Absent)
	f.flag(2, &m.Present)
	text(f, 3, &m.ETag)
	unsigned(f, 4, &m.Version)
}

func (f *fields) unlink(o *granary.Unlink) {
	unsigned(f, 1, &o.Parent)
	text(f, 2, &o.Name)
	f.retired(3)
	f.flag(4, &o.Path)
	f.flag(5, &o.Prune)
	optional(f, 6, &o.Match, (*fields).precondition)
	f.flag(7, &o.Key)
	unsigned(f, 8, &o.Object)
	f.flag(9, &o.Bypass)
}

func (f *fields) rmdir(o *granary.Rmdir) {
	unsigned(f, 1, &o.Parent)
	text(f, 2, &o.Name)
}

func (f *fields) removeTree(o *granary.RemoveTree) {
	unsigned(f, 1, &o.Parent)
	text(f, 2, &o.Name)
}

func (f *fields) rename(o *granary.Rename) {
	unsigned(f, 1, &o.SrcParent)
	unsigned(f, 2, &o.DstParent)
	text(f, 3, &o.SrcName)
	text(f, 4, &o.DstName)
	f.flag(5, &o.NoReplace)
	f.flag(6, &o.Exchange)
	f.retired(7)
	f.flag(8, &o.Key)
	optional(f, 9, &o.SrcMatch, (*fields).precondition)
	optional(f, 10, &o.Match, (*fields).precondition)
}

func (f *fields) link(o *granary.Link) {
	unsigned(f, 1, &o.Inode)
	unsigned(f, 2, &o.Parent)
	text(f, 3, &o.Name)
	f.flag(4, &o.Replace)
	f.flag(5, &o.MakeParents)
	list(f, 6, &o.Xattrs, (*fields).xattr)
	optional(f, 7, &o.Match, (*fields).precondition)
	f.flag(8, &o.Key)
}

func (f *fields) setAttr(o *granary.SetAttr) {
	unsigned(f, 1, &o.Inode)
	optionalUnsigned(f, 2, &o.Mode)
	optionalUnsigned(f, 3, &o.UID)
	optionalUnsigned(f, 4, &o.GID)
	optionalUnsigned(f, 5, &o.Size)
	f.optionalTime(6, &o.Atime)
	f.optionalTime(7, &o.Mtime)
	f.flag(8, &o.AtimeNow)
	f.flag(9, &o.MtimeNow)
	f.flag(10, &o.KillSuidgid)
	f.retired(11)
	f.flag(12, &o.Opened)
	optional(f, 13, &o.Match, (*fields).precondition)
}

func (f *fields) xattr(x *granary.Xattr) {
	text(f, 1, &x.Name)
	f.data(2, &x.Value)
}

func (f *fields) setXattr(o *granary.SetXattr) {
	unsigned(f, 1, &o.Inode)
	required(f, 2, &o.Xattr, (*fields).xattr, "extended attribute")
	f.flag(3, &o.CreateOnly)
	f.flag(4, &o.ReplaceOnly)
	f.flag(5, &o.Bypass)
}

func (f *fields) removeXattr(o *granary.RemoveXattr) {
	unsigned(f, 1, &o.Inode)
	text(f, 2, &o.Name)
	f.flag(3, &o.Bypass)
}

func (f *fields) release(o *granary.Release) { unsigned(f, 1, &o.Inode) }

package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// MarshalOp encodes an op: equal ops give equal bytes.
func MarshalOp(op granary.Op) ([]byte, error) {
	p, err := opTo(op)
	if err != nil {
		return nil, err
	}
	return marshal(p, "op")
}

// UnmarshalOp decodes what MarshalOp made. It keeps no reference to b. Malformed bytes, and an op
// that this program does not know, are KindInvalid.
func UnmarshalOp(b []byte) (granary.Op, error) {
	var p pb.Op
	if err := unmarshal(b, &p, "op"); err != nil {
		return nil, err
	}
	d := decoder{subject: "op"}
	op := d.op(&p)
	if d.err != nil {
		return nil, d.err
	}
	return op, nil
}

// opTo has a case for every Op.
func opTo(op granary.Op) (*pb.Op, error) {
	p := new(pb.Op)
	switch o := op.(type) {
	case *granary.Create:
		p.Op = &pb.Op_Create{Create: createTo(o)}
	case *granary.Unlink:
		p.Op = &pb.Op_Unlink{Unlink: unlinkTo(o)}
	case *granary.Rmdir:
		p.Op = &pb.Op_Rmdir{Rmdir: &pb.Rmdir{Parent: uint64(o.Parent), Name: []byte(o.Name)}}
	case *granary.RemoveTree:
		p.Op = &pb.Op_RemoveTree{RemoveTree: &pb.RemoveTree{Parent: uint64(o.Parent), Name: []byte(o.Name)}}
	case *granary.Rename:
		p.Op = &pb.Op_Rename{Rename: renameTo(o)}
	case *granary.Link:
		p.Op = &pb.Op_Link{Link: linkTo(o)}
	case *granary.SetAttr:
		p.Op = &pb.Op_SetAttr{SetAttr: setAttrTo(o)}
	case *granary.SetXattr:
		p.Op = &pb.Op_SetXattr{SetXattr: setXattrTo(o)}
	case *granary.RemoveXattr:
		p.Op = &pb.Op_RemoveXattr{RemoveXattr: &pb.RemoveXattr{Inode: uint64(o.Inode), Name: []byte(o.Name)}}
	case *granary.Commit:
		p.Op = &pb.Op_Commit{Commit: commitTo(o)}
	case *granary.CopyRange:
		p.Op = &pb.Op_CopyRange{CopyRange: copyRangeTo(o)}
	case *granary.Release:
		p.Op = &pb.Op_Release{Release: &pb.Release{Inode: uint64(o.Inode)}}
	case *granary.SetPolicy:
		p.Op = &pb.Op_SetPolicy{SetPolicy: &pb.SetPolicy{Inode: uint64(o.Inode), Policy: policyTo(&o.Policy)}}
	case *granary.OpenVolume:
		p.Op = &pb.Op_OpenVolume{OpenVolume: openVolumeTo(o)}
	case *granary.SealVolume:
		p.Op = &pb.Op_SealVolume{SealVolume: &pb.SealVolume{Volume: uint64(o.Volume), Epoch: uint64(o.Epoch)}}
	case *granary.CloseSession:
		p.Op = &pb.Op_CloseSession{CloseSession: new(pb.CloseSession)}
	case *granary.SetUser:
		p.Op = &pb.Op_SetUser{SetUser: &pb.SetUser{User: userTo(&o.User)}}
	case *granary.Allocate:
		p.Op = &pb.Op_Allocate{Allocate: allocateTo(o)}
	case *granary.Assemble:
		p.Op = &pb.Op_Assemble{Assemble: assembleTo(o)}
	case *granary.CreateDataset:
		p.Op = &pb.Op_CreateDataset{CreateDataset: createDatasetTo(o)}
	case *granary.SetQuota:
		p.Op = &pb.Op_SetQuota{SetQuota: setQuotaTo(o)}
	default:
		return nil, granary.Errorf(granary.KindInvalid, "encode", "op", "no encoding for %T", op)
	}
	return p, nil
}

// op has a case for every Op. It returns nil with an error.
func (d *decoder) op(p *pb.Op) granary.Op {
	switch o := p.GetOp().(type) {
	case *pb.Op_Create:
		return d.create(o.Create)
	case *pb.Op_Unlink:
		return d.unlink(o.Unlink)
	case *pb.Op_Rmdir:
		return &granary.Rmdir{Parent: granary.InodeID(o.Rmdir.Parent), Name: string(o.Rmdir.Name)}
	case *pb.Op_RemoveTree:
		return &granary.RemoveTree{Parent: granary.InodeID(o.RemoveTree.Parent), Name: string(o.RemoveTree.Name)}
	case *pb.Op_Rename:
		return renameFrom(o.Rename)
	case *pb.Op_Link:
		return d.link(o.Link)
	case *pb.Op_SetAttr:
		return setAttrFrom(o.SetAttr)
	case *pb.Op_SetXattr:
		return d.setXattr(o.SetXattr)
	case *pb.Op_RemoveXattr:
		return &granary.RemoveXattr{Inode: granary.InodeID(o.RemoveXattr.Inode), Name: string(o.RemoveXattr.Name)}
	case *pb.Op_Commit:
		return d.commit(o.Commit)
	case *pb.Op_CopyRange:
		return copyRangeFrom(o.CopyRange)
	case *pb.Op_Release:
		return &granary.Release{Inode: granary.InodeID(o.Release.Inode)}
	case *pb.Op_SetPolicy:
		return &granary.SetPolicy{Inode: granary.InodeID(o.SetPolicy.Inode), Policy: d.policy(o.SetPolicy.Policy)}
	case *pb.Op_OpenVolume:
		return d.openVolume(o.OpenVolume)
	case *pb.Op_SealVolume:
		return &granary.SealVolume{Volume: granary.VolumeID(o.SealVolume.Volume), Epoch: granary.Epoch(o.SealVolume.Epoch)}
	case *pb.Op_CloseSession:
		return &granary.CloseSession{}
	case *pb.Op_SetUser:
		return &granary.SetUser{User: d.user(o.SetUser.User)}
	case *pb.Op_Allocate:
		return d.allocate(o.Allocate)
	case *pb.Op_Assemble:
		return d.assemble(o.Assemble)
	case *pb.Op_CreateDataset:
		return createDatasetFrom(o.CreateDataset)
	case *pb.Op_SetQuota:
		return d.setQuota(o.SetQuota)
	default:
		d.bad("no op, or one that is not known here")
		return nil
	}
}

func preconditionTo(m *granary.Precondition) *pb.Precondition {
	if m == nil {
		return nil
	}
	return &pb.Precondition{Absent: m.Absent, Present: m.Present, Etag: []byte(m.ETag), Version: uint64(m.Version)}
}

func preconditionFrom(p *pb.Precondition) *granary.Precondition {
	if p == nil {
		return nil
	}
	return &granary.Precondition{Absent: p.Absent, Present: p.Present, ETag: string(p.Etag), Version: granary.Index(p.Version)}
}

func createTo(o *granary.Create) *pb.Create {
	return &pb.Create{
		Parent:      uint64(o.Parent),
		Name:        []byte(o.Name),
		Type:        uint32(o.Type),
		Mode:        o.Mode,
		Uid:         o.UID,
		Gid:         o.GID,
		Rdev:        o.Rdev,
		Target:      []byte(o.Target),
		Flags:       uint32(o.Flags),
		Xattrs:      listTo(o.Xattrs, fillXattr),
		Content:     contentTo(o.Content),
		Exclusive:   o.Exclusive,
		Replace:     o.Replace,
		MakeParents: o.MakeParents,
		Anonymous:   o.Anonymous,
		Open:        o.Open,
		Match:       preconditionTo(o.Match),
	}
}

func (d *decoder) create(p *pb.Create) *granary.Create {
	return &granary.Create{
		Parent:      granary.InodeID(p.Parent),
		Name:        string(p.Name),
		Type:        granary.FileType(d.uint8(p.Type, "file type")),
		Mode:        p.Mode,
		UID:         p.Uid,
		GID:         p.Gid,
		Rdev:        p.Rdev,
		Target:      string(p.Target),
		Flags:       granary.Flags(p.Flags),
		Xattrs:      listFrom(p.Xattrs, d.xattr),
		Content:     d.content(p.Content),
		Exclusive:   p.Exclusive,
		Replace:     p.Replace,
		MakeParents: p.MakeParents,
		Anonymous:   p.Anonymous,
		Open:        p.Open,
		Match:       preconditionFrom(p.Match),
	}
}

func unlinkTo(o *granary.Unlink) *pb.Unlink {
	return &pb.Unlink{
		Parent: uint64(o.Parent),
		Name:   []byte(o.Name),
		Path:   o.Path,
		Prune:  o.Prune,
		Match:  preconditionTo(o.Match),
	}
}

func (d *decoder) unlink(p *pb.Unlink) *granary.Unlink {
	return &granary.Unlink{
		Parent: granary.InodeID(p.Parent),
		Name:   string(p.Name),
		Path:   p.Path,
		Prune:  p.Prune,
		Match:  preconditionFrom(p.Match),
	}
}

func renameTo(o *granary.Rename) *pb.Rename {
	return &pb.Rename{
		SrcParent: uint64(o.SrcParent),
		DstParent: uint64(o.DstParent),
		SrcName:   []byte(o.SrcName),
		DstName:   []byte(o.DstName),
		NoReplace: o.NoReplace,
		Exchange:  o.Exchange,
	}
}

func renameFrom(p *pb.Rename) *granary.Rename {
	return &granary.Rename{
		SrcParent: granary.InodeID(p.SrcParent),
		DstParent: granary.InodeID(p.DstParent),
		SrcName:   string(p.SrcName),
		DstName:   string(p.DstName),
		NoReplace: p.NoReplace,
		Exchange:  p.Exchange,
	}
}

func linkTo(o *granary.Link) *pb.Link {
	return &pb.Link{
		Inode:       uint64(o.Inode),
		Parent:      uint64(o.Parent),
		Name:        []byte(o.Name),
		Replace:     o.Replace,
		MakeParents: o.MakeParents,
		Xattrs:      listTo(o.Xattrs, fillXattr),
		Match:       preconditionTo(o.Match),
	}
}

func (d *decoder) link(p *pb.Link) *granary.Link {
	return &granary.Link{
		Inode:       granary.InodeID(p.Inode),
		Parent:      granary.InodeID(p.Parent),
		Name:        string(p.Name),
		Replace:     p.Replace,
		MakeParents: p.MakeParents,
		Xattrs:      listFrom(p.Xattrs, d.xattr),
		Match:       preconditionFrom(p.Match),
	}
}

func setAttrTo(o *granary.SetAttr) *pb.SetAttr {
	return &pb.SetAttr{
		Inode:       uint64(o.Inode),
		Mode:        o.Mode,
		Uid:         o.UID,
		Gid:         o.GID,
		Size:        o.Size,
		Atime:       (*int64)(o.Atime),
		Mtime:       (*int64)(o.Mtime),
		AtimeNow:    o.AtimeNow,
		MtimeNow:    o.MtimeNow,
		KillSuidgid: o.KillSuidgid,
		Opened:      o.Opened,
		Match:       preconditionTo(o.Match),
	}
}

func setAttrFrom(p *pb.SetAttr) *granary.SetAttr {
	return &granary.SetAttr{
		Inode:       granary.InodeID(p.Inode),
		Mode:        p.Mode,
		UID:         p.Uid,
		GID:         p.Gid,
		Size:        p.Size,
		Atime:       (*granary.Time)(p.Atime),
		Mtime:       (*granary.Time)(p.Mtime),
		AtimeNow:    p.AtimeNow,
		MtimeNow:    p.MtimeNow,
		KillSuidgid: p.KillSuidgid,
		Opened:      p.Opened,
		Match:       preconditionFrom(p.Match),
	}
}

func setXattrTo(o *granary.SetXattr) *pb.SetXattr {
	p := &pb.SetXattr{
		Inode:       uint64(o.Inode),
		Xattr:       new(pb.Xattr),
		CreateOnly:  o.CreateOnly,
		ReplaceOnly: o.ReplaceOnly,
	}
	fillXattr(p.Xattr, &o.Xattr)
	return p
}

func (d *decoder) setXattr(p *pb.SetXattr) *granary.SetXattr {
	return &granary.SetXattr{
		Inode:       granary.InodeID(p.Inode),
		Xattr:       d.xattr(p.Xattr),
		CreateOnly:  p.CreateOnly,
		ReplaceOnly: p.ReplaceOnly,
	}
}

func openVolumeTo(o *granary.OpenVolume) *pb.OpenVolume {
	return &pb.OpenVolume{
		Policy:    uint32(o.Policy),
		Exclude:   textsTo(o.Exclude),
		Placement: placementTo(o.Placement),
	}
}

func (d *decoder) openVolume(p *pb.OpenVolume) *granary.OpenVolume {
	return &granary.OpenVolume{
		Policy:    granary.PolicyID(p.Policy),
		Exclude:   textsFrom[granary.DiskID](p.Exclude),
		Placement: d.placement(p.Placement),
	}
}

package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// attrTo returns nil for an Attr that is all zeros.
func attrTo(a *granary.Attr) *pb.Attr {
	if *a == (granary.Attr{}) {
		return nil
	}
	return &pb.Attr{
		Inode:          uint64(a.Inode),
		Type:           uint32(a.Type),
		Mode:           a.Mode,
		Nlink:          a.Nlink,
		Uid:            a.UID,
		Gid:            a.GID,
		Rdev:           a.Rdev,
		Flags:          uint32(a.Flags),
		Size:           a.Size,
		Allocated:      a.Allocated,
		Atime:          int64(a.Atime),
		Mtime:          int64(a.Mtime),
		Ctime:          int64(a.Ctime),
		Btime:          int64(a.Btime),
		Version:        uint64(a.Version),
		ContentVersion: uint64(a.ContentVersion),
		Policy:         uint32(a.Policy),
		Parent:         uint64(a.Parent),
		Entries:        a.Entries,
		Subdirs:        a.Subdirs,
		Object:         uint64(a.Object),
	}
}

func (d *decoder) attr(p *pb.Attr) granary.Attr {
	if p == nil {
		return granary.Attr{}
	}
	return granary.Attr{
		Inode:          granary.InodeID(p.Inode),
		Type:           granary.FileType(d.uint8(p.Type, "file type")),
		Mode:           p.Mode,
		Nlink:          p.Nlink,
		UID:            p.Uid,
		GID:            p.Gid,
		Rdev:           p.Rdev,
		Flags:          granary.Flags(p.Flags),
		Size:           p.Size,
		Allocated:      p.Allocated,
		Atime:          granary.Time(p.Atime),
		Mtime:          granary.Time(p.Mtime),
		Ctime:          granary.Time(p.Ctime),
		Btime:          granary.Time(p.Btime),
		Version:        granary.Index(p.Version),
		ContentVersion: granary.Index(p.ContentVersion),
		Policy:         granary.PolicyID(p.Policy),
		Parent:         granary.InodeID(p.Parent),
		Entries:        p.Entries,
		Subdirs:        p.Subdirs,
		Object:         granary.ObjectVersion(p.Object),
	}
}

func fillEntry(p *pb.Entry, e *granary.Entry) {
	p.Name, p.Attr, p.Target = []byte(e.Name), attrTo(&e.Attr), []byte(e.Target)
}

func (d *decoder) entry(p *pb.Entry) granary.Entry {
	if !d.required(p != nil, "entry") {
		return granary.Entry{}
	}
	return granary.Entry{Name: string(p.Name), Attr: d.attr(p.Attr), Target: string(p.Target)}
}

func fillXattr(p *pb.Xattr, x *granary.Xattr) { p.Name, p.Value = []byte(x.Name), x.Value }

func (d *decoder) xattr(p *pb.Xattr) granary.Xattr {
	if !d.required(p != nil, "extended attribute") {
		return granary.Xattr{}
	}
	return granary.Xattr{Name: string(p.Name), Value: p.Value}
}

func credTo(c *granary.Cred) *pb.Cred {
	return &pb.Cred{Uid: c.UID, Gid: c.GID, Groups: c.Groups}
}

// cred is required, for a zero Cred is that of the superuser.
func (d *decoder) cred(p *pb.Cred) granary.Cred {
	if !d.required(p != nil, "cred") {
		return granary.Cred{}
	}
	return granary.Cred{UID: p.Uid, GID: p.Gid, Groups: p.Groups}
}

func policyTo(y *granary.Policy) *pb.Policy {
	return &pb.Policy{
		DataShards:   int64(y.DataShards),
		ParityShards: int64(y.ParityShards),
		InlineMax:    int64(y.InlineMax),
		Compression:  uint32(y.Compression),
		Chunking:     uint32(y.Chunking),
		Class:        []byte(y.Class),
		StorageClass: []byte(y.StorageClass),
	}
}

func (d *decoder) policy(p *pb.Policy) granary.Policy {
	if !d.required(p != nil, "policy") {
		return granary.Policy{}
	}
	return granary.Policy{
		DataShards:   d.int(p.DataShards, "k"),
		ParityShards: d.int(p.ParityShards, "m"),
		InlineMax:    d.int(p.InlineMax, "inline limit"),
		Compression:  granary.Compression(d.uint8(p.Compression, "compression")),
		Chunking:     granary.Chunking(d.uint8(p.Chunking, "chunking")),
		Class:        string(p.Class),
		StorageClass: string(p.StorageClass),
	}
}

func userTo(u *granary.User) *pb.User {
	return &pb.User{
		AccessKey: []byte(u.AccessKey),
		SecretKey: []byte(u.SecretKey),
		Name:      []byte(u.Name),
		Root:      u.Root,
	}
}

func (d *decoder) user(p *pb.User) granary.User {
	if !d.required(p != nil, "user") {
		return granary.User{}
	}
	return granary.User{
		AccessKey: string(p.AccessKey),
		SecretKey: string(p.SecretKey),
		Name:      string(p.Name),
		Root:      p.Root,
	}
}

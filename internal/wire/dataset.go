package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

func quotaTo(q granary.Quota) *pb.Quota { return &pb.Quota{Bytes: q.Bytes, Inodes: q.Inodes} }

func (d *decoder) quota(p *pb.Quota) granary.Quota {
	if !d.required(p != nil, "limit") {
		return granary.Quota{}
	}
	return granary.Quota{Bytes: p.Bytes, Inodes: p.Inodes}
}

func fillUsage(p *pb.Usage, u *granary.Usage) {
	p.Id, p.Bytes, p.Inodes, p.Limit = u.ID, u.Bytes, u.Inodes, quotaTo(u.Limit)
}

func (d *decoder) usage(p *pb.Usage) granary.Usage {
	if !d.required(p != nil, "usage") {
		return granary.Usage{}
	}
	return granary.Usage{ID: p.Id, Bytes: p.Bytes, Inodes: p.Inodes, Limit: d.quota(p.Limit)}
}

func fillDataset(p *pb.Dataset, s *granary.Dataset) {
	p.Id, p.Parent, p.Name, p.Root, p.Usage = uint32(s.ID), uint64(s.Parent), []byte(s.Name), attrTo(&s.Root), new(pb.Usage)
	fillUsage(p.Usage, &s.Usage)
}

func (d *decoder) dataset(p *pb.Dataset) granary.Dataset {
	return granary.Dataset{
		ID:     granary.DatasetID(p.Id),
		Parent: granary.InodeID(p.Parent),
		Name:   string(p.Name),
		Root:   d.attr(p.Root),
		Usage:  d.usage(p.Usage),
	}
}

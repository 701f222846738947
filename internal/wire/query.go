package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// queryTo has a case for every Query.
func queryTo(q granary.Query) (*pb.Query, error) {
	p := new(pb.Query)
	switch q := q.(type) {
	case *granary.Lookup:
		p.Query = &pb.Query_Lookup{Lookup: lookupTo(q)}
	case *granary.ReadDir:
		p.Query = &pb.Query_ReadDir{ReadDir: &pb.ReadDir{
			Inode: uint64(q.Inode), After: []byte(q.After), AfterDir: q.AfterDir, Limit: int64(q.Limit)}}
	case *granary.List:
		p.Query = &pb.Query_List{List: listQueryTo(q)}
	case *granary.HasChunks:
		p.Query = &pb.Query_HasChunks{HasChunks: &pb.HasChunks{Dataset: uint32(q.Dataset), Hashes: hashesTo(q.Hashes), Parity: uint32(q.Parity)}}
	case *granary.StatFS:
		p.Query = &pb.Query_StatFs{StatFs: new(pb.StatFS)}
	case *granary.GetPolicy:
		p.Query = &pb.Query_GetPolicy{GetPolicy: &pb.GetPolicy{Policy: uint32(q.Policy)}}
	case *granary.GetUser:
		p.Query = &pb.Query_GetUser{GetUser: &pb.GetUser{AccessKey: []byte(q.AccessKey)}}
	case *granary.ListVolumes:
		p.Query = &pb.Query_ListVolumes{ListVolumes: &pb.ListVolumes{After: uint64(q.After), Limit: int64(q.Limit)}}
	case *granary.ListDisks:
		p.Query = &pb.Query_ListDisks{ListDisks: new(pb.ListDisks)}
	case *granary.GetStatus:
		p.Query = &pb.Query_GetStatus{GetStatus: new(pb.GetStatus)}
	default:
		return nil, granary.Errorf(granary.KindInvalid, "encode", "query", "no encoding for %T", q)
	}
	return p, nil
}

// query has a case for every Query. It returns nil with an error.
func (d *decoder) query(p *pb.Query) granary.Query {
	switch q := p.GetQuery().(type) {
	case *pb.Query_Lookup:
		return lookupFrom(q.Lookup)
	case *pb.Query_ReadDir:
		return &granary.ReadDir{
			Inode:    granary.InodeID(q.ReadDir.Inode),
			After:    string(q.ReadDir.After),
			AfterDir: q.ReadDir.AfterDir,
			Limit:    d.int(q.ReadDir.Limit, "limit"),
		}
	case *pb.Query_List:
		return d.listQuery(q.List)
	case *pb.Query_HasChunks:
		return &granary.HasChunks{
			Dataset: granary.DatasetID(q.HasChunks.Dataset),
			Hashes:  d.hashes(q.HasChunks.Hashes),
			Parity:  d.uint8(q.HasChunks.Parity, "parity"),
		}
	case *pb.Query_StatFs:
		return &granary.StatFS{}
	case *pb.Query_GetPolicy:
		return &granary.GetPolicy{Policy: granary.PolicyID(q.GetPolicy.Policy)}
	case *pb.Query_GetUser:
		return &granary.GetUser{AccessKey: string(q.GetUser.AccessKey)}
	case *pb.Query_ListVolumes:
		return &granary.ListVolumes{
			After: granary.VolumeID(q.ListVolumes.After),
			Limit: d.int(q.ListVolumes.Limit, "limit"),
		}
	case *pb.Query_ListDisks:
		return &granary.ListDisks{}
	case *pb.Query_GetStatus:
		return &granary.GetStatus{}
	default:
		d.bad("no query, or one that is not known here")
		return nil
	}
}

func lookupTo(q *granary.Lookup) *pb.Lookup {
	p := &pb.Lookup{Base: uint64(q.Base), Path: []byte(q.Path), Xattrs: q.Xattrs}
	if q.Layout != nil {
		p.Layout = &pb.Range{Offset: q.Layout.Offset, Length: q.Layout.Length}
	}
	return p
}

func lookupFrom(p *pb.Lookup) *granary.Lookup {
	q := &granary.Lookup{Base: granary.InodeID(p.Base), Path: string(p.Path), Xattrs: p.Xattrs}
	if p.Layout != nil {
		q.Layout = &granary.Range{Offset: p.Layout.Offset, Length: p.Layout.Length}
	}
	return q
}

func listQueryTo(q *granary.List) *pb.List {
	return &pb.List{
		Root:       uint64(q.Root),
		Prefix:     []byte(q.Prefix),
		StartAfter: []byte(q.StartAfter),
		Delimiter:  []byte(q.Delimiter),
		Limit:      int64(q.Limit),
	}
}

func (d *decoder) listQuery(p *pb.List) *granary.List {
	return &granary.List{
		Root:       granary.InodeID(p.Root),
		Prefix:     string(p.Prefix),
		StartAfter: string(p.StartAfter),
		Delimiter:  string(p.Delimiter),
		Limit:      d.int(p.Limit, "limit"),
	}
}

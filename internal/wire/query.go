package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// queryRequestTo fails for a query that has no encoding.
func queryRequestTo(r *granary.QueryRequest) (*pb.QueryRequest, error) {
	q, err := queryTo(r.Query)
	if err != nil {
		return nil, err
	}
	p := &pb.QueryRequest{MinIndex: uint64(r.MinIndex), Session: uint64(r.Session), Follower: r.Follower, Keep: r.Keep, Query: q}
	if r.Cred != nil {
		p.Cred = credTo(r.Cred)
	}
	return p, nil
}

func (d *decoder) queryRequest(p *pb.QueryRequest) *granary.QueryRequest {
	r := &granary.QueryRequest{
		MinIndex: granary.Index(p.MinIndex),
		Session:  granary.SessionID(p.Session),
		Follower: p.Follower,
		Keep:     p.Keep,
		Query:    d.query(p.Query),
	}
	if p.Cred != nil {
		cred := d.cred(p.Cred)
		r.Cred = &cred
	}
	return r
}

// queryTo has a case for every Query.
func queryTo(q granary.Query) (*pb.Query, error) {
	p := new(pb.Query)
	switch q := q.(type) {
	case *granary.Lookup:
		p.Query = &pb.Query_Lookup{Lookup: lookupTo(q)}
	case *granary.ReadDir:
		p.Query = &pb.Query_ReadDir{ReadDir: &pb.ReadDir{
			Inode: uint64(q.Inode), After: []byte(q.After), AfterDir: q.AfterDir, Limit: int64(q.Limit), Ahead: q.Ahead}}
	case *granary.List:
		p.Query = &pb.Query_List{List: listQueryTo(q)}
	case *granary.HasChunks:
		p.Query = &pb.Query_HasChunks{HasChunks: &pb.HasChunks{Dataset: uint32(q.Dataset), Hashes: hashesTo(q.Hashes), Parity: uint32(q.Parity)}}
	case *granary.StatFS:
		p.Query = &pb.Query_StatFs{StatFs: &pb.StatFS{Inode: uint64(q.Inode)}}
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
	case *granary.ListDatasets:
		p.Query = &pb.Query_ListDatasets{ListDatasets: &pb.ListDatasets{After: uint32(q.After), Limit: int64(q.Limit)}}
	case *granary.ListUsage:
		p.Query = &pb.Query_ListUsage{ListUsage: &pb.ListUsage{
			Dataset: uint32(q.Dataset), Scope: uint32(q.Scope), From: q.From, Limit: int64(q.Limit)}}
	case *granary.GetVolume:
		p.Query = &pb.Query_GetVolume{GetVolume: &pb.GetVolume{Volume: uint64(q.Volume)}}
	case *granary.ListBlocks:
		p.Query = &pb.Query_ListBlocks{ListBlocks: &pb.ListBlocks{
			Volume: uint64(q.Volume), Shard: uint32(q.Shard), From: q.From, Limit: int64(q.Limit)}}
	case *granary.ListTasks:
		p.Query = &pb.Query_ListTasks{ListTasks: &pb.ListTasks{Limit: int64(q.Limit)}}
	case *granary.GetDurability:
		p.Query = &pb.Query_GetDurability{GetDurability: &pb.GetDurability{After: uint64(q.After), Limit: int64(q.Limit)}}
	case *granary.GetUpkeep:
		p.Query = &pb.Query_GetUpkeep{GetUpkeep: new(pb.GetUpkeep)}
	case *granary.GetLock:
		p.Query = &pb.Query_GetLock{GetLock: getLockTo(q)}
	case *granary.ListLocks:
		p.Query = &pb.Query_ListLocks{ListLocks: &pb.ListLocks{Inode: uint64(q.Inode), After: uint64(q.After), Limit: int64(q.Limit)}}
	case *granary.AwaitReturn:
		p.Query = &pb.Query_AwaitReturn{AwaitReturn: &pb.AwaitReturn{Inodes: inodesTo(q.Inodes)}}
	case *granary.ListPathLocks:
		p.Query = &pb.Query_ListPathLocks{ListPathLocks: &pb.ListPathLocks{After: uint64(q.After), Limit: int64(q.Limit), Token: uint64(q.Token)}}
	case *granary.GetIdentity:
		p.Query = &pb.Query_GetIdentity{GetIdentity: &pb.GetIdentity{Kind: uint32(q.Kind), Name: []byte(q.Name)}}
	case *granary.ListIdentities:
		p.Query = &pb.Query_ListIdentities{ListIdentities: &pb.ListIdentities{Kind: uint32(q.Kind), After: []byte(q.After), Limit: int64(q.Limit)}}
	case *granary.ListIdentityUses:
		p.Query = &pb.Query_ListIdentityUses{ListIdentityUses: &pb.ListIdentityUses{
			Kind: uint32(q.Kind), Name: []byte(q.Name), Limit: int64(q.Limit),
			After: &pb.IdentityRef{Kind: uint32(q.After.Kind), Name: []byte(q.After.Name)}}}
	case *granary.ResolveIdentity:
		p.Query = &pb.Query_ResolveIdentity{ResolveIdentity: &pb.ResolveIdentity{
			AccessKey: []byte(q.AccessKey), Role: []byte(q.Role), Known: uint64(q.Known), Session: textsTo(q.Session)}}
	case *granary.Watch:
		p.Query = &pb.Query_Watch{Watch: &pb.Watch{Inode: uint64(q.Inode), From: positionTo(q.From), Start: uint32(q.Start),
			Limit: int64(q.Limit), Wait: int64(q.Wait)}}
	case *granary.GetChangeLog:
		p.Query = &pb.Query_GetChangeLog{GetChangeLog: new(pb.GetChangeLog)}
	default:
		return nil, granary.Errorf(granary.KindInvalid, "encode", "query", "no encoding for %T", q)
	}
	return p, nil
}

// query has a case for every Query. It returns nil with an error.
func (d *decoder) query(p *pb.Query) granary.Query {
	switch q := p.GetQuery().(type) {
	case *pb.Query_Lookup:
		return d.lookup(q.Lookup)
	case *pb.Query_ReadDir:
		return &granary.ReadDir{
			Inode:    granary.InodeID(q.ReadDir.Inode),
			After:    string(q.ReadDir.After),
			AfterDir: q.ReadDir.AfterDir,
			Limit:    d.int(q.ReadDir.Limit, "limit"),
			Ahead:    q.ReadDir.Ahead,
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
		return &granary.StatFS{Inode: granary.InodeID(q.StatFs.Inode)}
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
	case *pb.Query_ListDatasets:
		return &granary.ListDatasets{
			After: granary.DatasetID(q.ListDatasets.After),
			Limit: d.int(q.ListDatasets.Limit, "limit"),
		}
	case *pb.Query_ListUsage:
		return &granary.ListUsage{
			Dataset: granary.DatasetID(q.ListUsage.Dataset),
			Scope:   granary.QuotaScope(d.uint8(q.ListUsage.Scope, "scope")),
			From:    q.ListUsage.From,
			Limit:   d.int(q.ListUsage.Limit, "limit"),
		}
	case *pb.Query_GetVolume:
		return &granary.GetVolume{Volume: granary.VolumeID(q.GetVolume.Volume)}
	case *pb.Query_ListBlocks:
		return &granary.ListBlocks{
			Volume: granary.VolumeID(q.ListBlocks.Volume),
			Shard:  d.uint8(q.ListBlocks.Shard, "shard"),
			From:   q.ListBlocks.From,
			Limit:  d.int(q.ListBlocks.Limit, "limit"),
		}
	case *pb.Query_ListTasks:
		return &granary.ListTasks{Limit: d.int(q.ListTasks.Limit, "limit")}
	case *pb.Query_GetDurability:
		return &granary.GetDurability{After: granary.VolumeID(q.GetDurability.After), Limit: d.int(q.GetDurability.Limit, "limit")}
	case *pb.Query_GetUpkeep:
		return &granary.GetUpkeep{}
	case *pb.Query_GetLock:
		return d.getLock(q.GetLock)
	case *pb.Query_GetIdentity:
		return &granary.GetIdentity{Kind: d.identityKind(q.GetIdentity.Kind), Name: string(q.GetIdentity.Name)}
	case *pb.Query_ListIdentities:
		return &granary.ListIdentities{
			Kind:  d.identityKind(q.ListIdentities.Kind),
			After: string(q.ListIdentities.After),
			Limit: d.int(q.ListIdentities.Limit, "limit"),
		}
	case *pb.Query_ListIdentityUses:
		return d.listIdentityUses(q.ListIdentityUses)
	case *pb.Query_ResolveIdentity:
		return &granary.ResolveIdentity{
			AccessKey: string(q.ResolveIdentity.AccessKey),
			Role:      string(q.ResolveIdentity.Role),
			Known:     granary.Index(q.ResolveIdentity.Known),
			Session:   textsFrom[string](q.ResolveIdentity.Session),
		}
	case *pb.Query_ListLocks:
		return &granary.ListLocks{
			Inode: granary.InodeID(q.ListLocks.Inode),
			After: granary.InodeID(q.ListLocks.After),
			Limit: d.int(q.ListLocks.Limit, "limit"),
		}
	case *pb.Query_AwaitReturn:
		return &granary.AwaitReturn{Inodes: inodesFrom(q.AwaitReturn.Inodes)}
	case *pb.Query_ListPathLocks:
		return &granary.ListPathLocks{
			After: granary.LockID(q.ListPathLocks.After),
			Limit: d.int(q.ListPathLocks.Limit, "limit"),
			Token: granary.FencingToken(q.ListPathLocks.Token),
		}
	case *pb.Query_Watch:
		return d.watch(q.Watch)
	case *pb.Query_GetChangeLog:
		return &granary.GetChangeLog{}
	default:
		d.bad("no query, or one that is not known here")
		return nil
	}
}

func lookupTo(q *granary.Lookup) *pb.Lookup {
	p := &pb.Lookup{Base: uint64(q.Base), Path: []byte(q.Path), Xattrs: q.Xattrs, Access: uint32(q.Access), Open: q.Open,
		Key: q.Key, Nearest: q.Nearest, Object: uint64(q.Object), Markers: q.Markers, Stored: q.Stored}
	if q.Layout != nil {
		p.Layout = &pb.Range{Offset: q.Layout.Offset, Length: q.Layout.Length}
	}
	return p
}

func (d *decoder) lookup(p *pb.Lookup) *granary.Lookup {
	q := &granary.Lookup{
		Base:   granary.InodeID(p.Base),
		Path:   string(p.Path),
		Xattrs: p.Xattrs,
		Access: granary.Access(d.uint8(p.Access, "access")),
		Open:   p.Open,
		Stored: p.Stored,

		Key:     p.Key,
		Nearest: p.Nearest,
		Object:  granary.ObjectVersion(p.Object),
		Markers: p.Markers,
	}
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
		Versions:   q.Versions,
		StartAt:    (*uint64)(q.StartAt),
		Content:    q.Content,
	}
}

func (d *decoder) listQuery(p *pb.List) *granary.List {
	return &granary.List{
		Root:       granary.InodeID(p.Root),
		Prefix:     string(p.Prefix),
		StartAfter: string(p.StartAfter),
		Delimiter:  string(p.Delimiter),
		Limit:      d.int(p.Limit, "limit"),
		Versions:   p.Versions,
		StartAt:    (*granary.ObjectVersion)(p.StartAt),
		Content:    p.Content,
	}
}

package master

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// command is what one Raft log entry holds: items, applied in order, each for itself.
type command struct {
	Time    granary.Time // stamped by the leader; apply uses max(Time, last+1)
	Items   []item
	version uint8 // that it was decoded from
}

// item is one step of a command: one of the structs below. Each gives one granary.Result.
type item interface{ item() }

type (
	// mutation is one request of a session.
	mutation struct {
		Session       granary.SessionID
		LowestUnacked uint64
		Request       granary.Request
		unchecked     bool // of a command of version 1: no permissions are checked
	}

	// openSession makes a session, or finds the one that the same nonce made. Result.Offset is its
	// id: the entry's index, or the next free number if the entry opens several.
	openSession struct {
		Client string
		Nonce  uint64
	}

	// expireSession ends a session whose lease ran out: as CloseSession, by the leader.
	expireSession struct{ Session granary.SessionID }

	// registerServer records a volume server's address, labels and disks (Server.Disks). Up and
	// SeenAt are not kept. A disk that was another server's moves to this one.
	registerServer struct{ Server granary.Server }

	// shardsSealed says which shards of a sealing volume have been trimmed and sealed. When all
	// have, the volume is sealed. Result: Volume. Another epoch is KindStale.
	shardsSealed struct {
		Volume granary.VolumeID
		Epoch  granary.Epoch
		Shards uint32 // bit i for shard i
	}

	// reclaim takes one bounded step of queued removals. Result.Offset is the number of keys it
	// touched; 0 says that the queue is empty.
	reclaim struct{ Limit int }

	// drop disposes of inodes without a name that no session has open: at most dropMax. Result.Offset is their number;
	// what is not in the list of such inodes any more does not count.
	drop struct{ Inodes []granary.InodeID }

	// initCluster is the first entry of a cluster: root and buckets, which belong to UID and GID, default policy,
	// root user. In a cluster that has been initialised it has no effect.
	initCluster struct {
		Cluster  granary.ClusterID
		RootUser granary.User
		UID, GID uint32
	}

	// setMember records the gRPC address of a node of the Raft group; "" forgets the node, and that it has joined.
	setMember struct{ ID, GRPCAddr string }

	// addMember records, before the Raft group takes a node in by command, which and where it is.
	addMember struct{ ID, GRPCAddr string }

	// memberJoined records that a node of the Raft group has stored entries or voted.
	memberJoined struct{ ID string }

	// setRoot replaces the S3 root user: the keys that any other had are no longer valid.
	setRoot struct{ User granary.User }

	// verifyDigest has every node compare the digest of its state after entry Index, if it writes values of this
	// format and kept that digest: see digest.go.
	verifyDigest struct {
		Format        uint8
		Index, Digest uint64
	}

	// expirePaths ends leases of path locks that have run out: at most expireMax. Result.Offset is their number.
	expirePaths struct{ Tokens []granary.FencingToken }
)

func (*mutation) item()       {}
func (*openSession) item()    {}
func (*expireSession) item()  {}
func (*registerServer) item() {}
func (*shardsSealed) item()   {}
func (*reclaim) item()        {}
func (*drop) item()           {}
func (*initCluster) item()    {}
func (*setMember) item()      {}
func (*addMember) item()      {}
func (*memberJoined) item()   {}
func (*setRoot) item()        {}
func (*verifyDigest) item()   {}
func (*expirePaths) item()    {}

// commandVersion begins every encoded command. A node that reads another stops: it must not guess.
// Earlier versions are still read, and what they hold is applied as it was then, or replicas would differ by which release
// they applied it with: in version 1 mutations were applied without looking at who asked for them, until version 2
// nothing was entered into the tables of places, nor into the fields that volumes have since, and until version 3 access control
// lists were refused, and capabilities an attribute like others, and no window was marked as cut too finely. Until version 4 a name that
// now is an escape was a name like others, and files did not know their directory. Until version 5 no file was encrypted, and until version 6
// no policy had a storage class.
const (
	commandVersion              = 7
	commandVersionNoClasses     = 6
	commandVersionNoEscapes     = 4
	commandVersionNoParents     = 4
	commandVersionNoMarks       = 3
	commandVersionNoACLs        = 3
	commandVersionNoPlaces      = 2
	commandVersionNoPermissions = 1
)

// Tags of items in an encoded command: append-only.
const (
	tagMutation = iota + 1
	tagOpenSession
	tagExpireSession
	tagRegisterServer
	tagShardsSealed
	tagReclaim
	tagInitCluster
	tagSetMember
	tagMemberJoined
	tagSetRoot
	tagDrop
	tagVerifyDigest
	tagAddMember
	tagInitClusterOwned // an initCluster with an owner; without one, as at first, the directories are root's
	tagShardsDamaged
	tagAimShard
	tagCondemn
	tagForgetVolume
	tagIndexBlocks
	tagSweepDone
	tagSetDisk
	tagSealOpen
	tagServersAbsent
	tagAdoptShard
	tagSweepAt
	tagMutationUnder  // a mutation that its session has done already
	tagMutationFenced // a mutation that carries fencing tokens
	tagExpirePaths
	tagMutationOrigin // a mutation that says how it came about
)

// marshal encodes the command. It fails only for an op that wire cannot encode.
func (c *command) marshal() ([]byte, error) {
	e := encoder{b: make([]byte, 0, 64+128*len(c.Items))}
	putCommand(&e, c.Time, len(c.Items))
	for _, it := range c.Items {
		if err := putItem(&e, it); err != nil {
			return nil, err
		}
	}
	return e.b, nil
}

// commandHeaderMax bounds what putCommand adds.
const commandHeaderMax = 32

// putCommand begins a command of some items.
func putCommand(e *encoder, t granary.Time, items int) {
	e.u8(commandVersion)
	e.i64(int64(t))
	e.u64(uint64(items))
}

func putItem(e *encoder, it item) error {
	switch it := it.(type) {
	case *mutation:
		return putMutation(e, it)
	case *openSession:
		e.u8(tagOpenSession)
		e.str(it.Client)
		e.u64(it.Nonce)
	case *expireSession:
		e.u8(tagExpireSession)
		e.u64(uint64(it.Session))
	case *registerServer:
		e.u8(tagRegisterServer)
		e.str(string(it.Server.ID))
		r := serverRecord{Addr: it.Server.Addr, Zone: it.Server.Zone, Rack: it.Server.Rack, Disks: it.Server.Disks}
		r.put(e)
	case *shardsSealed:
		e.u8(tagShardsSealed)
		e.u64(uint64(it.Volume))
		e.u64(uint64(it.Epoch))
		e.u64(uint64(it.Shards))
	case *reclaim:
		e.u8(tagReclaim)
		e.i64(int64(it.Limit))
	case *initCluster:
		putInitCluster(e, it)
	case *setMember:
		e.u8(tagSetMember)
		e.str(it.ID)
		e.str(it.GRPCAddr)
	case *addMember:
		e.u8(tagAddMember)
		e.str(it.ID)
		e.str(it.GRPCAddr)
	case *memberJoined:
		e.u8(tagMemberJoined)
		e.str(it.ID)
	case *setRoot:
		e.u8(tagSetRoot)
		putUser(e, &it.User)
	case *drop:
		e.u8(tagDrop)
		e.u64(uint64(len(it.Inodes)))
		for _, id := range it.Inodes {
			e.u64(uint64(id))
		}
	case *verifyDigest:
		e.u8(tagVerifyDigest)
		e.u8(it.Format)
		e.u64(it.Index)
		e.u64(it.Digest)
	case *expirePaths:
		e.u8(tagExpirePaths)
		putTokens(e, it.Tokens)
	default:
		return putUpkeepItem(e, it)
	}
	return nil
}

func putInitCluster(e *encoder, it *initCluster) {
	owned := it.UID != 0 || it.GID != 0
	tag := uint8(tagInitCluster)
	if owned {
		tag = tagInitClusterOwned
	}
	e.u8(tag)
	e.str(string(it.Cluster))
	putUser(e, &it.RootUser)
	if owned {
		e.u64(uint64(it.UID))
		e.u64(uint64(it.GID))
	}
}

func putUser(e *encoder, u *granary.User) {
	e.str(u.AccessKey)
	(&userRecord{*u}).put(e)
}

func takeUser(d *decoder) granary.User {
	access := d.str()
	var r userRecord
	r.take(d)
	r.AccessKey = access
	return r.User
}

func putMutation(e *encoder, m *mutation) error {
	if m.Request.Origin != 0 {
		e.u8(tagMutationOrigin)
		e.u8(uint8(m.Request.Origin))
	}
	if len(m.Request.Fences) > 0 {
		e.u8(tagMutationFenced)
		putTokens(e, m.Request.Fences)
	}
	if u := m.Request.Under; u != nil {
		e.u8(tagMutationUnder)
		e.u64(u.Order)
		e.u64(uint64(u.Fence))
		e.i64(int64(u.At))
	} else {
		e.u8(tagMutation)
	}
	e.u64(uint64(m.Session))
	e.u64(m.LowestUnacked)
	e.u64(m.Request.Seq)
	e.u64(uint64(m.Request.Cred.UID))
	e.u64(uint64(m.Request.Cred.GID))
	e.u64(uint64(len(m.Request.Cred.Groups)))
	for _, g := range m.Request.Cred.Groups {
		e.u64(uint64(g))
	}
	begin := len(e.b)
	b, err := wire.AppendOp(e.b, m.Request.Op)
	if err != nil {
		return err
	}
	e.b = b
	e.enclose(begin)
	return nil
}

func putTokens(e *encoder, tokens []granary.FencingToken) {
	e.u64(uint64(len(tokens)))
	for _, token := range tokens {
		e.u64(uint64(token))
	}
}

func takeTokens(d *decoder) (tokens []granary.FencingToken) {
	for range d.count() {
		tokens = append(tokens, granary.FencingToken(d.u64()))
	}
	return tokens
}

// unmarshalCommand decodes what marshal made.
func unmarshalCommand(b []byte) (*command, error) {
	d := &decoder{b: b}
	version := d.u8()
	if version < commandVersionNoPermissions || version > commandVersion {
		return nil, granary.Errorf(granary.KindInvalid, "command", "", "version %d is unknown", version)
	}
	c := &command{Time: granary.Time(d.i64()), version: version}
	n := d.count()
	c.Items = make([]item, 0, n)
	for range n {
		it, err := takeItem(d)
		if err != nil {
			return nil, err
		}
		if m, ok := it.(*mutation); ok {
			m.unchecked = version == commandVersionNoPermissions
		}
		c.Items = append(c.Items, it)
	}
	if err := d.done(); err != nil {
		return nil, granary.Errorf(granary.KindInvalid, "command", "", "%w", err)
	}
	return c, nil
}

func takeItem(d *decoder) (item, error) {
	switch tag := d.u8(); tag {
	case tagMutation:
		return takeMutation(d, nil)
	case tagMutationFenced:
		return takeFenced(d)
	case tagMutationOrigin:
		return takeOrigin(d)
	case tagExpirePaths:
		return &expirePaths{Tokens: takeTokens(d)}, nil
	case tagMutationUnder:
		return takeMutation(d, &granary.Under{Order: d.u64(), Fence: granary.Index(d.u64()), At: granary.Time(d.i64())})
	case tagOpenSession:
		return &openSession{Client: d.str(), Nonce: d.u64()}, nil
	case tagExpireSession:
		return &expireSession{Session: granary.SessionID(d.u64())}, nil
	case tagRegisterServer:
		id := granary.ServerID(d.str())
		var r serverRecord
		r.take(d)
		return &registerServer{granary.Server{ID: id, Addr: r.Addr, Zone: r.Zone, Rack: r.Rack, Disks: r.Disks}}, nil
	case tagShardsSealed:
		return &shardsSealed{Volume: granary.VolumeID(d.u64()), Epoch: granary.Epoch(d.u64()), Shards: d.u32()}, nil
	case tagReclaim:
		return &reclaim{Limit: int(d.i64())}, nil
	case tagInitCluster:
		return &initCluster{Cluster: granary.ClusterID(d.str()), RootUser: takeUser(d)}, nil
	case tagInitClusterOwned:
		return &initCluster{Cluster: granary.ClusterID(d.str()), RootUser: takeUser(d), UID: d.u32(), GID: d.u32()}, nil
	case tagSetMember:
		return &setMember{ID: d.str(), GRPCAddr: d.str()}, nil
	case tagAddMember:
		return &addMember{ID: d.str(), GRPCAddr: d.str()}, nil
	case tagMemberJoined:
		return &memberJoined{ID: d.str()}, nil
	case tagSetRoot:
		return &setRoot{takeUser(d)}, nil
	case tagDrop:
		it := &drop{}
		for range d.count() {
			it.Inodes = append(it.Inodes, granary.InodeID(d.u64()))
		}
		return it, nil
	case tagVerifyDigest:
		return &verifyDigest{Format: d.u8(), Index: d.u64(), Digest: d.u64()}, nil
	default:
		return takeUpkeepItem(d, tag)
	}
}

// takeFenced takes a mutation with what comes before it: its tokens.
func takeFenced(d *decoder) (item, error) {
	fences := takeTokens(d)
	it, err := takeItem(d)
	m, ok := it.(*mutation)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, granary.Errorf(granary.KindInvalid, "command", "", "fencing tokens before what is no mutation")
	}
	m.Request.Fences = fences
	return m, nil
}

// takeOrigin takes a mutation with what comes before it: how it came about.
func takeOrigin(d *decoder) (item, error) {
	origin := granary.Origin(d.u8())
	it, err := takeItem(d)
	m, ok := it.(*mutation)
	switch {
	case err != nil:
		return nil, err
	case !ok || origin == 0 || m.Request.Origin != 0:
		return nil, granary.Errorf(granary.KindInvalid, "command", "", "an origin before what is no mutation, or has one")
	}
	m.Request.Origin = origin
	return m, nil
}

func takeMutation(d *decoder, under *granary.Under) (item, error) {
	m := &mutation{Session: granary.SessionID(d.u64()), LowestUnacked: d.u64(), Request: granary.Request{Under: under}}
	m.Request.Seq = d.u64()
	m.Request.Cred = granary.Cred{UID: d.u32(), GID: d.u32()}
	for range d.count() {
		m.Request.Cred.Groups = append(m.Request.Cred.Groups, d.u32())
	}
	op, err := wire.UnmarshalOp(d.blob())
	if err != nil {
		return nil, err
	}
	m.Request.Op = op
	return m, nil
}

package master

import (
	"github.com/dsorchard/granary"
)

// record is a value that encodes itself after the header.
type record[T any] interface {
	*T
	put(*encoder)
	take(*decoder)
}

// marshal encodes a record with its header.
func marshal[T any, P record[T]](r P, index granary.Index) []byte {
	e := header(index)
	r.put(&e)
	return e.b
}

// unmarshal decodes a record.
func unmarshal[T any, P record[T]](b []byte) (P, error) {
	r := P(new(T))
	return r, unmarshalInto(b, r)
}

// unmarshalInto decodes a record in place of another, of which nothing is left.
func unmarshalInto[T any, P record[T]](b []byte, r P) error {
	var zero T
	*r = zero
	d := open(b)
	r.take(&d)
	return d.done()
}

// headRecord is what there is one of. It is written with every batch.
type headRecord struct {
	Applied, Term uint64
	Time          granary.Time // of the last command
	Cluster       granary.ClusterID
	LastSession   granary.SessionID
	LastBlock     granary.BlockID
	LastVolume    granary.VolumeID
	LastDataset   granary.DatasetID
	LastPolicy    granary.PolicyID
	Files         uint64 // inodes that are no directories
	LogicalBytes  uint64 // sum of the sizes of regular files
	UniqueBytes   uint64 // of blocks, before compression
	BlockBytes    uint64 // of blocks, as stored
	Sessions      uint64
	Queue         uint64 // items in the queue of removals
	DyingDirs     uint64 // of them, directories

	// Since format 2.
	Incarnation uint64 // how often the cluster was restored from a backup
	Digest      uint64 // of what the entries since DigestFrom wrote; see digest.go
	CheckIndex  uint64 // the last entry after which Digest was kept to be compared …
	CheckDigest uint64 // … and what it was
	DigestFrom  uint64 // the first entry that Digest is of

	// Since format 4: what was stored before, or by commands of before, is entered into the tables of places from here on.
	IndexVolume granary.VolumeID // 0: all volumes are in table D …
	IndexBlock  granary.BlockID  // … and all blocks in table y

	Restored []granary.VolumeID // since format 4, of each restore the last volume of the backup. Never changed in place

	// Since format 5.
	Delegations uint64        // records of directories that sessions hold, or held until they ended
	Delegated   granary.Index // the last entry that granted one
}

// made reports whether the state can tell what became of a volume: it gave out the id. Ids that a restore skipped may be of
// volumes that were made between the backup and the restore; of a restore by an earlier release it is not known which those are.
func (r *headRecord) made(v granary.VolumeID) bool {
	if v > r.LastVolume || r.Incarnation > uint64(len(r.Restored)) {
		return false
	}
	for _, last := range r.Restored {
		if v > last && v-last <= skipID {
			return false
		}
	}
	return true
}

func (r *headRecord) put(e *encoder) {
	e.u64(r.Applied)
	e.u64(r.Term)
	e.i64(int64(r.Time))
	e.str(string(r.Cluster))
	for _, v := range [...]uint64{uint64(r.LastSession), uint64(r.LastBlock), uint64(r.LastVolume), uint64(r.LastDataset),
		uint64(r.LastPolicy), r.Files, r.LogicalBytes, r.UniqueBytes, r.BlockBytes, r.Sessions, r.Queue, r.DyingDirs,
		r.Incarnation, r.Digest, r.CheckIndex, r.CheckDigest, r.DigestFrom, uint64(r.IndexVolume), uint64(r.IndexBlock),
		uint64(len(r.Restored))} {
		e.u64(v)
	}
	for _, v := range r.Restored {
		e.u64(uint64(v))
	}
	e.u64(r.Delegations)
	e.u64(uint64(r.Delegated))
}

func (r *headRecord) take(d *decoder) {
	r.Applied, r.Term = d.u64(), d.u64()
	r.Time = granary.Time(d.i64())
	r.Cluster = granary.ClusterID(d.str())
	r.LastSession = granary.SessionID(d.u64())
	r.LastBlock = granary.BlockID(d.u64())
	r.LastVolume = granary.VolumeID(d.u64())
	r.LastDataset = granary.DatasetID(d.u32())
	r.LastPolicy = granary.PolicyID(d.u32())
	r.Files, r.LogicalBytes, r.UniqueBytes, r.BlockBytes = d.u64(), d.u64(), d.u64(), d.u64()
	r.Sessions, r.Queue, r.DyingDirs = d.u64(), d.u64(), d.u64()
	if d.version >= 2 {
		r.Incarnation, r.Digest, r.CheckIndex, r.CheckDigest, r.DigestFrom = d.u64(), d.u64(), d.u64(), d.u64(), d.u64()
	}
	r.IndexVolume, r.IndexBlock = 1, 1
	if d.version >= 4 {
		r.IndexVolume, r.IndexBlock = granary.VolumeID(d.u64()), granary.BlockID(d.u64())
		for range d.count() {
			r.Restored = append(r.Restored, granary.VolumeID(d.u64()))
		}
	}
	if d.version >= 5 {
		r.Delegations, r.Delegated = d.u64(), granary.Index(d.u64())
	}
}

// inodeRecord is an inode. Attr.Inode comes from the key, Attr.Version from the header.
type inodeRecord struct {
	granary.Attr
	Target        string // symlinks
	Inline        uint64 // bytes of inline content
	ExtentBytes   uint64 // bytes that extents cover
	Xattrs        uint64 // number of extended attributes …
	ContentXattrs uint64 // … and of those that describe the content
	// Trim, if not 0, is one more than the window from which on stored extents are no longer the
	// file's: a truncation too large for one entry, which reclaim completes.
	Trim uint64
	// Lost, if not 0, is the entry in which the inode lost its last name and was listed (table z). It never gets one
	// again, and counts in no usage.
	Lost granary.Index
	// Versions is how many records a directory has in table V. It and Attr.Object are stored if FlagVersions says so.
	Versions uint64
}

func (r *inodeRecord) put(e *encoder) {
	e.u8(uint8(r.Type))
	for _, v := range [...]uint64{uint64(r.Mode), uint64(r.Nlink), uint64(r.UID), uint64(r.GID), uint64(r.Rdev),
		uint64(r.Flags), r.Size, r.Allocated} {
		e.u64(v)
	}
	for _, v := range [...]granary.Time{r.Atime, r.Mtime, r.Ctime, r.Btime} {
		e.i64(int64(v))
	}
	for _, v := range [...]uint64{uint64(r.ContentVersion), uint64(r.Policy), uint64(r.Parent), r.Entries, r.Subdirs} {
		e.u64(v)
	}
	e.str(r.Target)
	for _, v := range [...]uint64{r.Inline, r.ExtentBytes, r.Xattrs, r.ContentXattrs, r.Trim, uint64(r.Lost)} {
		e.u64(v)
	}
	if r.Flags&granary.FlagVersions != 0 {
		e.u64(uint64(r.Object))
		e.u64(r.Versions)
	}
}

func (r *inodeRecord) take(d *decoder) {
	r.Version = d.index
	r.Type = granary.FileType(d.u8())
	r.Mode, r.Nlink, r.UID, r.GID, r.Rdev = d.u32(), d.u32(), d.u32(), d.u32(), d.u32()
	r.Flags = granary.Flags(d.u32())
	r.Size, r.Allocated = d.u64(), d.u64()
	r.Atime, r.Mtime = granary.Time(d.i64()), granary.Time(d.i64())
	r.Ctime, r.Btime = granary.Time(d.i64()), granary.Time(d.i64())
	r.ContentVersion = granary.Index(d.u64())
	r.Policy = granary.PolicyID(d.u32())
	r.Parent = granary.InodeID(d.u64())
	r.Entries, r.Subdirs = d.u64(), d.u64()
	r.Target = d.str()
	r.Inline, r.ExtentBytes, r.Xattrs, r.ContentXattrs, r.Trim = d.u64(), d.u64(), d.u64(), d.u64(), d.u64()
	if d.version >= 2 {
		r.Lost = granary.Index(d.u64())
	}
	if r.Flags&granary.FlagVersions != 0 {
		r.Object, r.Versions = granary.ObjectVersion(d.u64()), d.u64()
	}
}

// dentryRecord is what a name leads to.
type dentryRecord struct {
	Inode granary.InodeID
	Type  granary.FileType
	Twin  bool // it is no directory, and there is one of the same name: a bit of the stored type
}

const dentryTwin = 0x80

func (r *dentryRecord) put(e *encoder) {
	e.u64(uint64(r.Inode))
	typ := uint8(r.Type)
	if r.Twin {
		typ |= dentryTwin
	}
	e.u8(typ)
}

func (r *dentryRecord) take(d *decoder) {
	r.Inode = granary.InodeID(d.u64())
	typ := d.u8()
	r.Type, r.Twin = granary.FileType(typ&^dentryTwin), typ&dentryTwin != 0
}

// bytesRecord is inline content, or the value of an extended attribute.
type bytesRecord struct{ Bytes []byte }

func (r *bytesRecord) put(e *encoder)  { e.blob(r.Bytes) }
func (r *bytesRecord) take(d *decoder) { r.Bytes = append([]byte{}, d.blob()...) }

// memberRecord is a node of the Raft group.
type memberRecord struct {
	GRPCAddr string
	Added    bool // by command: its addresses are here and in Raft's configuration, whatever founding lists say
}

func (r *memberRecord) put(e *encoder) {
	e.str(r.GRPCAddr)
	e.bool(r.Added)
}

func (r *memberRecord) take(d *decoder) {
	r.GRPCAddr = d.str()
	if d.version >= 2 {
		r.Added = d.bool()
	}
}

// numberRecord is a block id, or a mark whose number means nothing.
type numberRecord struct{ Number uint64 }

func (r *numberRecord) put(e *encoder)  { e.u64(r.Number) }
func (r *numberRecord) take(d *decoder) { r.Number = d.u64() }

// piece is a part of an extent within one window.
type piece struct {
	Offset      uint64 // in the file
	Length      uint64
	Block       granary.BlockID
	ChunkOffset uint32
}

func (p *piece) end() uint64 { return p.Offset + p.Length }

// windowRecord is the pieces of one window, ascending, not overlapping. Offsets are stored as the
// distance from the end of the piece before.
type windowRecord struct {
	window uint64 // from the key
	Pieces []piece
}

func (r *windowRecord) put(e *encoder) {
	e.u64(uint64(len(r.Pieces)))
	at := r.window * granary.ExtentWindowSize
	for i := range r.Pieces {
		p := &r.Pieces[i]
		e.u64(p.Offset - at)
		e.u64(p.Length)
		e.u64(uint64(p.Block))
		e.u64(uint64(p.ChunkOffset))
		at = p.end()
	}
}

// take needs window to be set; see unmarshalWindow.
func (r *windowRecord) take(d *decoder) {
	n := d.count()
	r.Pieces = make([]piece, 0, n)
	at, end := r.window*granary.ExtentWindowSize, (r.window+1)*granary.ExtentWindowSize
	for range n {
		p := piece{Offset: d.u64(), Length: d.u64(), Block: granary.BlockID(d.u64()), ChunkOffset: d.u32()}
		if p.Offset > end-at || p.Length == 0 || p.Length > end-at-p.Offset {
			d.fail()
			return
		}
		p.Offset += at
		at = p.end()
		r.Pieces = append(r.Pieces, p)
	}
}

// unmarshalWindow decodes the value of a window.
func unmarshalWindow(window uint64, b []byte) (*windowRecord, error) {
	d := open(b)
	if window > granary.FileSizeMax/granary.ExtentWindowSize {
		return nil, errFormat
	}
	r := &windowRecord{window: window}
	r.take(&d)
	return r, d.done()
}

// blockRecord is a stored block. Refs counts the pieces that name it.
type blockRecord struct {
	Hash      granary.Hash
	RawLength uint32
	Location  granary.Location
	Refs      uint64
	Domain    granary.DatasetID
}

func (r *blockRecord) put(e *encoder) {
	e.b = append(e.b, r.Hash[:]...)
	l := &r.Location
	for _, v := range [...]uint64{uint64(r.RawLength), uint64(l.Volume), uint64(l.Epoch), uint64(l.Shard), l.Offset,
		uint64(l.Length), r.Refs, uint64(r.Domain)} {
		e.u64(v)
	}
}

func (r *blockRecord) take(d *decoder) {
	r.Hash = d.hash()
	r.RawLength = d.u32()
	r.Location.Volume = granary.VolumeID(d.u64())
	r.Location.Epoch = granary.Epoch(d.u64())
	r.Location.Shard = uint8(d.u64())
	r.Location.Offset = d.u64()
	r.Location.Length = d.u32()
	r.Refs = d.u64()
	r.Domain = granary.DatasetID(d.u32())
}

// sessionRecord is a session as the state keeps it.
type sessionRecord struct {
	ID     granary.SessionID // from the key
	Client string
	Nonce  uint64
	Opened granary.Time
	Lowest uint64 // results of sequences below this are forgotten

	// Since format 5.
	Ordered uint64                             // the last request with Under that was applied
	Leases  [granary.InodeLeasesMax]inodeLease // ids that it may use, the oldest range first; then empty ones
}

func (r *sessionRecord) put(e *encoder) {
	e.str(r.Client)
	e.u64(r.Nonce)
	e.i64(int64(r.Opened))
	e.u64(r.Lowest)
	e.u64(0) // until format 3, how far results had been deleted
	e.u64(r.Ordered)
	n := 0
	for n < len(r.Leases) && r.Leases[n] != (inodeLease{}) {
		n++
	}
	e.u64(uint64(n))
	for _, l := range r.Leases[:n] {
		e.u64(uint64(l.Next))
		e.u64(uint64(l.End))
	}
}

func (r *sessionRecord) take(d *decoder) {
	r.Client, r.Nonce, r.Opened = d.str(), d.u64(), granary.Time(d.i64())
	r.Lowest = d.u64()
	d.u64()
	if d.version < 5 {
		return
	}
	r.Ordered = d.u64()
	n := d.count()
	if n > len(r.Leases) {
		d.fail()
		return
	}
	for i := range n {
		r.Leases[i] = inodeLease{granary.InodeID(d.u64()), granary.InodeID(d.u64())}
	}
}

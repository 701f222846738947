package master

import (
	"github.com/dsorchard/granary"
)

// datasetRecord is a dataset. It outlives its root until its last inode is reclaimed. It is held by a ledger.
type datasetRecord struct {
	NextInode    uint64 // counter of the next inode
	Inodes       uint64 // in the inode table or in the queue
	Files        uint64 // as in headRecord
	LogicalBytes uint64
	Deleted      bool
	Versioning   versioning // bits beside Deleted's

	// Since format 2.
	Queued int64         // of Inodes, those in the queue, and those without a name that no session keeps: they are used no more
	Limit  granary.Quota // of Inodes less Queued, and of LogicalBytes
	Name   string        // of the root; "" for RootDataset, and where format 1 named it
}

// usage is what the dataset holds.
func (r *datasetRecord) usage() granary.Usage {
	return granary.Usage{Bytes: r.LogicalBytes, Inodes: uint64(max(0, int64(r.Inodes)-r.Queued)), Limit: r.Limit}
}

func (r *datasetRecord) put(e *encoder) {
	e.u64(r.NextInode)
	e.u64(r.Inodes)
	e.u64(r.Files)
	e.u64(r.LogicalBytes)
	state := uint8(r.Versioning)
	if r.Deleted {
		state |= 1
	}
	e.u8(state)
	e.i64(r.Queued)
	e.u64(r.Limit.Bytes)
	e.u64(r.Limit.Inodes)
	e.str(r.Name)
}

func (r *datasetRecord) take(d *decoder) {
	r.NextInode, r.Inodes, r.Files, r.LogicalBytes = d.u64(), d.u64(), d.u64(), d.u64()
	state := d.u8()
	r.Deleted, r.Versioning = state&1 != 0, versioning(state&^1)
	if d.version >= 2 {
		r.Queued = d.i64()
		r.Limit.Bytes, r.Limit.Inodes = d.u64(), d.u64()
		r.Name = d.str()
	}
}

// ownerRecord is what a user or group owns in a dataset, and may own at most. It is held by a ledger. The sums are of
// all changes since format 2: where there were files before, they may be below 0.
type ownerRecord struct {
	Bytes  int64 // sum of the sizes of regular files
	Inodes int64 // in the inode table: with a name, or kept without one
	Limit  granary.Quota
}

// usage is what the owner is said to have.
func (r *ownerRecord) usage(id uint32) granary.Usage {
	return granary.Usage{ID: id, Bytes: uint64(max(0, r.Bytes)), Inodes: uint64(max(0, r.Inodes)), Limit: r.Limit}
}

func (r *ownerRecord) put(e *encoder) {
	e.i64(r.Bytes)
	e.i64(r.Inodes)
	e.u64(r.Limit.Bytes)
	e.u64(r.Limit.Inodes)
}

func (r *ownerRecord) take(d *decoder) {
	r.Bytes, r.Inodes = d.i64(), d.i64()
	r.Limit.Bytes, r.Limit.Inodes = d.u64(), d.u64()
}

// policyRecord is an interned policy.
type policyRecord struct{ granary.Policy }

func (r *policyRecord) put(e *encoder) {
	e.u64(uint64(r.DataShards))
	e.u64(uint64(r.ParityShards))
	e.u64(uint64(r.InlineMax))
	e.u8(uint8(r.Compression))
	e.u8(uint8(r.Chunking))
	e.str(r.Class)
	e.str(r.StorageClass)
}

func (r *policyRecord) take(d *decoder) {
	r.DataShards, r.ParityShards, r.InlineMax = int(d.u32()), int(d.u32()), int(d.u32())
	r.Compression, r.Chunking = granary.Compression(d.u8()), granary.Chunking(d.u8())
	if d.version >= 4 {
		r.Class = d.str()
	}
	if d.version >= 7 {
		r.StorageClass = d.str()
	}
}

// userRecord is an S3 user, by access key.
type userRecord struct{ granary.User }

func (r *userRecord) put(e *encoder) {
	e.str(r.SecretKey)
	e.str(r.Name)
	e.bool(r.Root)
}

func (r *userRecord) take(d *decoder) { r.SecretKey, r.Name, r.Root = d.str(), d.str(), d.bool() }

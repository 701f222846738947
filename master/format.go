package master

import (
	"encoding/binary"
	"errors"

	"github.com/dsorchard/granary"
)

// Tables: the first byte of every key.
const (
	tableHead     = 'c' // the head record: counters, applied index, cluster
	tableInode    = 'i'
	tableDentry   = 'd'
	tableInline   = 'n'
	tableExtent   = 'e'
	tableXattr    = 'x'
	tableBlock    = 'b'
	tableHash     = 'h'
	tableVolume   = 'v'
	tableWriting  = 'w' // volumes that are not sealed yet, by owner
	tableServer   = 'k'
	tableSession  = 's'
	tableResult   = 'r'
	tableOrphan   = 'o'
	tableQueue    = 'q'
	tableNoName   = 'z' // inodes without a name that no session keeps
	tableDataset  = 't'
	tableOwner    = 'g' // what users and groups have in a dataset
	tablePolicy   = 'p'
	tableUser     = 'u'
	tableMember   = 'm'
	tableJoined   = 'j'
	tableAssembly = 'a'
	tablePlace    = 'y' // blocks, by where they lie
	tableDisk     = 'l'
	tableUpkeep   = 'f'
	tableHolds    = 'D' // volumes, by the disks that their shards are on or are to be made on
	tableAbsent   = 'A' // servers that have not been heard lately
	tableSweep    = 'B' // inodes whose policy was changed, and what is below has not been looked at
	tableSwept    = 'C' // how far that has come
	tableVersion  = 'V' // earlier versions of objects
	tableFine     = 'F' // windows of files that are cut too finely
	tableLocks    = 'L' // locks on inodes, and what waits for them
	tablePathLock = 'P' // locks on paths, and requests for them
	tableLocker   = 'O' // inodes that an owner of locks has some on, or waits for

	tableIdentity    = 'I' // users, groups, roles, policies and what belongs to them
	tableIdentityUse = 'J' // what refers to them
	tableChange      = 'W' // what entries changed, for those who watch

	tableDelegation = 'G' // directories that a session holds
	tableDelegate   = 'H' // those, by session
)

// formatVersion begins every value that is written. Values of earlier versions are read as well: they lack the fields
// that came later, which are zero then.
const formatVersion = 7

// errFormat is the cause of every decoding error.
var errFormat = errors.New("malformed value")

// key builds a key of a table from big-endian numbers.
func key(table byte, ids ...uint64) []byte {
	return appendKey(make([]byte, 0, 1+8*len(ids)+16), table, ids...)
}

// appendKey is key in room that is there.
func appendKey(k []byte, table byte, ids ...uint64) []byte {
	k = append(k, table)
	for _, id := range ids {
		k = binary.BigEndian.AppendUint64(k, id)
	}
	return k
}

func keyHead() []byte                      { return key(tableHead) }
func keyInode(id granary.InodeID) []byte   { return key(tableInode, uint64(id)) }
func keyInline(id granary.InodeID) []byte  { return key(tableInline, uint64(id)) }
func keyBlock(id granary.BlockID) []byte   { return key(tableBlock, uint64(id)) }
func keyVolume(id granary.VolumeID) []byte { return key(tableVolume, uint64(id)) }

func keyDisk(id granary.DiskID) []byte { return append(key(tableDisk), id...) }

// keyPlace is the key of what lies at an offset of a shard. Its value is the block.
func keyPlace(v granary.VolumeID, shard uint8, offset uint64) []byte {
	k := append(key(tablePlace, uint64(v)), shard)
	return binary.BigEndian.AppendUint64(k, offset)
}

// shardAndOffset takes apart the key of what lies in a volume.
func shardAndOffset(k []byte) (shard uint8, offset uint64) {
	return k[9], binary.BigEndian.Uint64(k[10:])
}

// keyHolds is the key of the mark that a disk has a shard of a volume, or that one is being made there; of the first such
// key, with volume 0. The length of the disk's id keeps the keys of one disk together.
func keyHolds(disk granary.DiskID, v granary.VolumeID) []byte {
	k := append([]byte{tableHolds, byte(len(disk))}, disk...)
	return binary.BigEndian.AppendUint64(k, uint64(v))
}

// holdsOf takes such a key apart.
func holdsOf(k []byte) (granary.DiskID, granary.VolumeID) {
	at := len(k) - 8
	return granary.DiskID(k[2:at]), granary.VolumeID(binary.BigEndian.Uint64(k[at:]))
}

func keyUpkeep() []byte                  { return key(tableUpkeep) }
func keySweep(id granary.InodeID) []byte { return key(tableSweep, uint64(id)) }
func keySwept(id granary.InodeID) []byte { return key(tableSwept, uint64(id)) }

func keyFine(id granary.InodeID, window uint64) []byte { return key(tableFine, uint64(id), window) }

func keyAbsent(id granary.ServerID) []byte { return append(key(tableAbsent), id...) }

func keySession(id granary.SessionID) []byte { return key(tableSession, uint64(id)) }

func keyAssembly(id granary.InodeID) []byte { return key(tableAssembly, uint64(id)) }

func keyExtent(id granary.InodeID, window uint64) []byte {
	return key(tableExtent, uint64(id), window)
}

func keyXattr(id granary.InodeID, name string) []byte {
	return append(key(tableXattr, uint64(id)), name...)
}

// keyDentry is the key of a name in a directory: a directory's ends in '/', so that a walk in key
// order is in the order of full paths.
func keyDentry(parent granary.InodeID, name string, dir bool) []byte {
	k := append(key(tableDentry, uint64(parent)), name...)
	if dir {
		k = append(k, '/')
	}
	return k
}

// dentryName takes a dentry's key apart.
func dentryName(k []byte) (name string, dir bool) {
	name = string(k[9:])
	if n := len(name); n > 0 && name[n-1] == '/' {
		return name[:n-1], true
	}
	return name, false
}

func keyHash(domain granary.DatasetID, h granary.Hash) []byte {
	k := binary.BigEndian.AppendUint32(append(make([]byte, 0, 37), tableHash), uint32(domain))
	return append(k, h[:]...)
}

func keyWriting(owner granary.SessionID, v granary.VolumeID) []byte {
	return key(tableWriting, uint64(owner), uint64(v))
}

func keyResult(s granary.SessionID, seq uint64) []byte { return key(tableResult, uint64(s), seq) }

func keyOrphan(s granary.SessionID, id granary.InodeID) []byte {
	return key(tableOrphan, uint64(s), uint64(id))
}

// keyNameless is in the order in which inodes lost their names: a key once passed is never followed by a lower one.
func keyNameless(n nameless) []byte { return key(tableNoName, uint64(n.Since), uint64(n.Inode)) }

func namelessOf(k []byte) nameless {
	return nameless{granary.Index(keyID(k, 0)), granary.InodeID(keyID(k, 1))}
}

// queueKind says what an item of the queue of removals is.
type queueKind byte

const (
	// A file that is put together of parts; the value is the number of those that are done. It comes first: whoever
	// writes to the file waits.
	queueAssembly queueKind = 0

	queueInode   queueKind = 1 // an inode without names: value is its record
	queueTrim    queueKind = 2 // a file whose windows from inodeRecord.Trim on go
	queueSession queueKind = 3 // a session that ended: its orphans and results go
	queueOwners  queueKind = 4 // a dataset that is gone: the records of its owners go
	queueLocks   queueKind = 5 // an inode that is gone: the locks on it go
)

func keyQueue(kind queueKind, id uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{tableQueue, byte(kind)}, id)
}

func keyDataset(id granary.DatasetID) []byte { return key(tableDataset, uint64(id)) }
func keyPolicy(id granary.PolicyID) []byte   { return key(tablePolicy, uint64(id)) }

func keyServer(id granary.ServerID) []byte { return append(key(tableServer), id...) }
func keyUser(accessKey string) []byte      { return append(key(tableUser), accessKey...) }
func keyMember(id string) []byte           { return append(key(tableMember), id...) }
func keyJoined(id string) []byte           { return append(key(tableJoined), id...) }

// keyID returns the number at the i-th place of a key; 0 if the key is too short.
func keyID(k []byte, i int) uint64 {
	if len(k) < 9+8*i {
		return 0
	}
	return binary.BigEndian.Uint64(k[1+8*i:])
}

// keyEnd returns the first key after all that begin with prefix.
func keyEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// encoder appends the fields of a value.
type encoder struct{ b []byte }

func (e *encoder) u8(v uint8)    { e.b = append(e.b, v) }
func (e *encoder) u64(v uint64)  { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) i64(v int64)   { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) str(s string)  { e.u64(uint64(len(s))); e.b = append(e.b, s...) }
func (e *encoder) blob(p []byte) { e.u64(uint64(len(p))); e.b = append(e.b, p...) }
func (e *encoder) bool(v bool) {
	if v {
		e.u8(1)
	} else {
		e.u8(0)
	}
}

// enclose makes a blob of what was appended from begin on.
func (e *encoder) enclose(begin int) {
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(e.b)-begin))
	e.b = append(e.b, length[:n]...) // room
	copy(e.b[begin+n:], e.b[begin:])
	copy(e.b[begin:], length[:n])
}

// decoder takes them off again. After a failure every read gives zeros, and done tells.
type decoder struct {
	b       []byte
	version uint8         // of the format, from the value's header
	index   granary.Index // of the value, from its header
	bad     bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) u8() uint8 {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) bool() bool { return d.u8() != 0 }

func (d *decoder) u64() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) u32() uint32 {
	v := d.u64()
	if v > 1<<32-1 {
		d.fail()
		return 0
	}
	return uint32(v)
}

func (d *decoder) i64() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// blob returns bytes that alias the input.
func (d *decoder) blob() []byte {
	n := d.u64()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	p := d.b[:n:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) str() string { return string(d.blob()) }

// count reads a number of things that take at least one byte each.
func (d *decoder) count() int {
	n := d.u64()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) hash() (h granary.Hash) {
	if len(d.b) < len(h) {
		d.fail()
		return h
	}
	copy(h[:], d.b)
	d.b = d.b[len(h):]
	return h
}

// done returns an error unless everything was read, and nothing beyond.
func (d *decoder) done() error {
	if d.bad || len(d.b) != 0 {
		return errFormat
	}
	return nil
}

// header begins a value: its format version and the index that changed it.
func header(index granary.Index) encoder {
	e := encoder{b: make([]byte, 0, 96)}
	e.header(index)
	return e
}

func (e *encoder) header(index granary.Index) {
	e.u8(formatVersion)
	e.u64(uint64(index))
}

// open reads the header of a value.
func open(b []byte) decoder {
	d := decoder{b: b}
	if d.version = d.u8(); d.version < 1 || d.version > formatVersion {
		d.fail()
	}
	d.index = granary.Index(d.u64())
	return d
}

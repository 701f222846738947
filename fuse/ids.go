package fuse

import (
	"encoding/binary"
	"slices"

	"github.com/dsorchard/granary"
)

// Squash says who of this host is nobody in particular to the cluster.
type Squash uint8

// Ways of squashing, as NFS has them.
const (
	SquashNone Squash = iota
	SquashRoot
	SquashAll
)

// IDs say who the users and groups of this host are in the cluster. The zero value says that they are the same.
type IDs struct {
	Users, Groups              IDMap
	Squash                     Squash
	AnonymousUID, AnonymousGID uint32 // in the cluster: who is squashed, or in no map
}

// IDRange says that the Count ids of this host from Host on are those of the cluster from Cluster on.
type IDRange struct{ Host, Cluster, Count uint32 }

// IDMap is how ids of this host and of the cluster stand for each other; none of them in two ranges. Empty: all are the same.
type IDMap []IDRange

// overflowID is what an id that has no counterpart looks like on this host, as in a user namespace.
const overflowID = 65534

// Validate refuses ranges that overlap, on either side.
func (m IDMap) Validate() error {
	for _, side := range []func(IDRange) uint32{func(r IDRange) uint32 { return r.Host }, func(r IDRange) uint32 { return r.Cluster }} {
		var end uint64
		for _, r := range slices.SortedFunc(slices.Values(m), func(a, b IDRange) int { return int(int64(side(a)) - int64(side(b))) }) {
			first := uint64(side(r))
			if r.Count == 0 || first+uint64(r.Count) > 1<<32-1 || first < end {
				return granary.Errorf(granary.KindInvalid, "mount", "", "the %d ids from %d on are too many, or are mapped twice", r.Count, first)
			}
			end = first + uint64(r.Count)
		}
	}
	return nil
}

// toCluster returns an id of this host as the cluster knows it.
func (m IDMap) toCluster(id uint32) (uint32, bool) {
	if len(m) == 0 {
		return id, true
	}
	for _, r := range m {
		if id >= r.Host && id-r.Host < r.Count {
			return r.Cluster + id - r.Host, true
		}
	}
	return 0, false
}

// toHost returns an id of the cluster as this host knows it.
func (m IDMap) toHost(id uint32) uint32 {
	if len(m) == 0 {
		return id
	}
	for _, r := range m {
		if id >= r.Cluster && id-r.Cluster < r.Count {
			return r.Host + id - r.Cluster
		}
	}
	return overflowID
}

// squashes reports whether a user of this host is nobody in particular.
func (i *IDs) squashes(uid uint32) bool {
	return i.Squash == SquashAll || i.Squash == SquashRoot && uid == 0
}

// same reports whether everybody of this host is the same in the cluster.
func (i *IDs) same() bool { return i.Squash == SquashNone && len(i.Users) == 0 && len(i.Groups) == 0 }

// cred returns who a caller of this host is in the cluster. Groups that are in no map are left out.
func (i *IDs) cred(c granary.Cred) granary.Cred {
	uid, known := i.Users.toCluster(c.UID)
	if i.squashes(c.UID) || !known {
		return granary.Cred{UID: i.AnonymousUID, GID: i.AnonymousGID}
	}
	out := granary.Cred{UID: uid, GID: i.AnonymousGID}
	if gid, ok := i.Groups.toCluster(c.GID); ok {
		out.GID = gid
	}
	if len(i.Groups) == 0 {
		out.Groups = c.Groups
		return out
	}
	for _, g := range c.Groups {
		if gid, ok := i.Groups.toCluster(g); ok {
			out.Groups = append(out.Groups, gid)
		}
	}
	return out
}

// owner translates the ids to which something is to be given. It returns false for those that mean nothing in the cluster.
func (i *IDs) owner(op *granary.SetAttr) bool {
	for _, id := range []struct {
		to *uint32
		m  IDMap
	}{{op.UID, i.Users}, {op.GID, i.Groups}} {
		if id.to == nil {
			continue
		}
		mapped, ok := id.m.toCluster(*id.to)
		if !ok {
			return false
		}
		*id.to = mapped
	}
	return true
}

// acl translates the ids of an access control list as it is passed to and from the kernel: a version of 4 bytes, then entries of tag and
// permissions, 2 bytes each, and an id of 4 (posix_acl_xattr.h). It returns false if one has no counterpart in the cluster.
func (i *IDs) acl(value []byte, toHost bool) ([]byte, bool) {
	const head, entry = 4, 8
	if len(i.Users) == 0 && len(i.Groups) == 0 || len(value) < head {
		return value, true
	}
	out := slices.Clone(value)
	for e := out[head:]; len(e) >= entry; e = e[entry:] {
		var m IDMap
		switch binary.LittleEndian.Uint16(e) {
		case 0x02: // ACL_USER
			m = i.Users
		case 0x08: // ACL_GROUP
			m = i.Groups
		default:
			continue
		}
		id := binary.LittleEndian.Uint32(e[4:])
		mapped, ok := m.toHost(id), true
		if !toHost {
			mapped, ok = m.toCluster(id)
		}
		if !ok {
			return nil, false
		}
		binary.LittleEndian.PutUint32(e[4:], mapped)
	}
	return out, true
}

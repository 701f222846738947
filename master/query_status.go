package master

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dsorchard/granary"
)

const (
	listVolumesMax = 1000
	reasonsMax     = 10
)

// listVolumes lists volumes by id.
func (v *view) listVolumes(q *granary.ListVolumes) (granary.Answer, error) {
	limit := q.Limit
	if limit <= 0 || limit > listVolumesMax {
		limit = listVolumesMax
	}
	a := &granary.Volumes{}
	err := v.eachVolume(q.After+1, func(id granary.VolumeID, r *volumeRecord) bool {
		if len(a.Volumes) == limit {
			a.More = true
			return false
		}
		a.Volumes = append(a.Volumes, *v.places.volume(id, r, v.up))
		return true
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// eachVolume calls f for the volumes from an id on, until it says false.
func (v *view) eachVolume(from granary.VolumeID, f func(granary.VolumeID, *volumeRecord) bool) error {
	return v.scan(keyVolume(from), keyEnd(key(tableVolume)), func(k, b []byte) (bool, error) {
		r, err := unmarshal[volumeRecord](b)
		if err != nil {
			return false, errStore(k, err)
		}
		return f(granary.VolumeID(keyID(k, 0)), r), nil
	})
}

func (p *places) server(id granary.ServerID) granary.Server {
	r := p.servers[id]
	return granary.Server{ID: id, Addr: r.Addr, Zone: r.Zone, Rack: r.Rack, Disks: slices.Clone(r.Disks)}
}

// usage returns what is known about a disk's space.
func (v *view) usage(disk granary.DiskID) granary.DiskUsage {
	if v.live != nil {
		if u, ok := v.live.usage(disk); ok {
			return u
		}
	}
	return granary.DiskUsage{Disk: disk}
}

// rootPolicy returns the policy of "/".
func (v *view) rootPolicy() (granary.Policy, error) {
	root, err := v.inode(granary.RootInode)
	if err != nil || root == nil {
		return granary.DefaultPolicy(), err
	}
	p, err := read[policyRecord](v, keyPolicy(root.Policy))
	if err != nil || p == nil {
		return granary.DefaultPolicy(), err
	}
	return p.Policy, nil
}

// statFS counts space in bytes of user data under the root's policy, on the disks that are up. An
// automatic policy is taken as what the number of servers gives. A quota of the dataset lowers the numbers.
func (v *view) statFS(q *granary.StatFS) (granary.Answer, error) {
	p, err := v.rootPolicy()
	if err != nil {
		return nil, err
	}
	var total, free uint64
	servers := 0
	for _, s := range v.places.servers {
		for _, disk := range s.Disks {
			if server := v.places.disks[disk]; v.up(server, disk) {
				u := v.usage(disk)
				total += u.Total
				if v.places.disk(disk).State == granary.DiskActive {
					free += u.Free
				}
			}
		}
	}
	for id := range v.places.servers {
		if v.live != nil && v.live.serverUp(id) {
			servers++
		}
	}
	k, m := p.DataShards, p.ParityShards
	if p.Auto() {
		k, m = granary.AutoShards(servers)
	}
	net := func(n uint64) uint64 { return n / uint64(k+m) * uint64(k) }
	a := &granary.FSStats{Bytes: net(total), BytesFree: net(free), Files: v.head.Files, FilesFree: inodeIDsMax}
	if q.Inode == 0 {
		return a, nil
	}
	return a, v.statDataset(q.Inode.Dataset(), a)
}

// status tells what the state knows about the cluster; the node adds the Raft group and what the
// policy gives.
func (v *view) status() (granary.Answer, error) {
	a := &granary.Status{Cluster: v.head.Cluster, Files: v.head.Files, LogicalBytes: v.head.LogicalBytes,
		UniqueBytes: v.head.UniqueBytes, BlockBytes: v.head.BlockBytes, Sessions: int(v.head.Sessions),
		AppliedIndex: granary.Index(v.head.Applied), Incarnation: v.head.Incarnation}
	var err error
	if a.Policy, err = v.rootPolicy(); err != nil {
		return nil, err
	}
	h := health{status: a}
	for _, id := range slices.Sorted(maps.Keys(v.places.servers)) {
		v.serverStatus(&h, id)
	}
	err = v.eachVolume(1, func(id granary.VolumeID, r *volumeRecord) bool {
		a.Volumes++
		if r.LiveBytes > 0 {
			h.volume(v.places.volume(id, r, v.up))
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	h.finish()
	return a, nil
}

func (v *view) serverStatus(h *health, id granary.ServerID) {
	a, s := h.status, v.places.servers[id]
	a.Servers++
	if v.live != nil && v.live.serverUp(id) {
		a.ServersUp++
	} else {
		h.down = append(h.down, fmt.Sprintf("server %s at %s is down", id, s.Addr))
	}
	for _, disk := range s.Disks {
		a.Disks++
		a.StoredBytes += v.usage(disk).Used
		if v.up(id, disk) {
			a.DisksUp++
		} else if s := v.places.disk(disk).State; s != granary.DiskRetired && s != granary.DiskLost && v.live != nil && v.live.serverUp(id) {
			h.down = append(h.down, fmt.Sprintf("disk %s of server %s is not there", disk, id))
		}
	}
}

// health gathers the worst that is true of any volume, and why.
type health struct {
	status *granary.Status
	down   []string // servers and disks
	worse  []string // volumes
	bare   int      // volumes without redundancy
}

// volume judges one volume by its shards that can be reached.
func (h *health) volume(v *granary.Volume) {
	up := 0
	for i := range v.Shards {
		if v.Shards[i].Up {
			up++
		}
	}
	all := v.DataShards + v.ParityShards
	is := granary.HealthOK
	switch {
	case up == all:
	case up > v.DataShards:
		is = granary.HealthDegraded
	case up == v.DataShards:
		is = granary.HealthAtRisk
	default:
		is = granary.HealthDataLoss
	}
	if v.ParityShards == 0 {
		h.bare++
	}
	h.status.Health = max(h.status.Health, is)
	if is != granary.HealthOK && len(h.worse) < reasonsMax {
		h.worse = append(h.worse, fmt.Sprintf("volume %d is %s: %d of %d shards, %d needed", v.ID, is, up, all, v.DataShards))
	}
}

// finish writes the reasons: at most reasonsMax lines.
func (h *health) finish() {
	reasons := h.down
	if h.bare > 0 {
		reasons = append(reasons, fmt.Sprintf("no redundancy: %d volumes are 1+0 or the like; the loss of a disk loses data", h.bare))
	} else if p := h.status.Policy; !p.Auto() && p.ParityShards == 0 {
		reasons = append(reasons, fmt.Sprintf("no redundancy: the policy of / is %s", p))
	}
	reasons = append(reasons, h.worse...)
	if len(reasons) > reasonsMax {
		more := len(reasons) - reasonsMax + 1
		reasons = append(reasons[:reasonsMax-1:reasonsMax-1], fmt.Sprintf("and %d more", more))
	}
	h.status.Reasons = reasons
}

package master

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dsorchard/granary"
)

// getVolume finds a volume.
func (v *view) getVolume(q *granary.GetVolume) (granary.Answer, error) {
	r, err := read[volumeRecord](v, keyVolume(q.Volume))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, granary.Errorf(granary.KindNotFound, "get volume", fmt.Sprint(q.Volume), "no such volume")
	}
	return &granary.VolumeIs{Volume: *v.places.volume(q.Volume, r, v.up)}, nil
}

// listBlocks lists the blocks of a volume by where they lie.
func (v *view) listBlocks(q *granary.ListBlocks) (granary.Answer, error) {
	const op = "list blocks"
	if v.head.IndexBlock != 0 {
		return nil, granary.Errorf(granary.KindBusy, op, fmt.Sprint(q.Volume), "where blocks lie is still being entered, after an upgrade: block %d is next", v.head.IndexBlock)
	}
	if r, err := read[volumeRecord](v, keyVolume(q.Volume)); err != nil {
		return nil, err
	} else if r == nil {
		return nil, granary.Errorf(granary.KindNotFound, op, fmt.Sprint(q.Volume), "no such volume")
	}
	limit := q.Limit
	if limit <= 0 || limit > granary.BlocksMax {
		limit = granary.BlocksMax
	}
	a := &granary.Blocks{}
	err := v.scan(keyPlace(q.Volume, q.Shard, q.From), keyEnd(key(tablePlace, uint64(q.Volume))), func(k, b []byte) (bool, error) {
		if len(a.Blocks) == limit {
			a.More = true
			return false, nil
		}
		place, err := unmarshal[numberRecord](b)
		if err != nil {
			return false, errStore(k, err)
		}
		block, err := v.storedBlock(granary.BlockID(place.Number))
		if err == nil {
			a.Blocks = append(a.Blocks, block)
		}
		return err == nil, err
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// storedBlock reads a block that must exist.
func (v *view) storedBlock(id granary.BlockID) (granary.StoredBlock, error) {
	b, err := read[blockRecord](v, keyBlock(id))
	if err == nil && b == nil {
		err = granary.Errorf(granary.KindCorrupt, "query", fmt.Sprint(id), "a place names a block that does not exist")
	}
	if err != nil {
		return granary.StoredBlock{}, err
	}
	info := granary.BlockInfo{ID: id, Hash: b.Hash, RawLength: b.RawLength, Location: b.Location}
	return granary.StoredBlock{Block: info, Dataset: b.Domain, Refs: b.Refs}, nil
}

// getUpkeep answers how the cluster maintains itself.
func (v *view) getUpkeep() (granary.Answer, error) {
	r, err := read[upkeepRecord](v, keyUpkeep())
	if err != nil {
		return nil, err
	}
	if r == nil {
		return &granary.UpkeepIs{Upkeep: granary.DefaultUpkeep()}, nil
	}
	return &granary.UpkeepIs{Upkeep: r.Upkeep}, nil
}

// listDisks lists the servers and their disks, by id.
func (v *view) listDisks() (granary.Answer, error) {
	holds := map[granary.DiskID]*held{}
	err := v.eachVolume(1, func(id granary.VolumeID, r *volumeRecord) bool {
		for i, disk := range r.Disks {
			if holds[disk] == nil {
				holds[disk] = &held{}
			}
			holds[disk].volumes++
			holds[disk].bytes += r.shardBytes(i)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	a := &granary.Disks{}
	for _, id := range slices.Sorted(maps.Keys(v.places.servers)) {
		s := v.places.server(id)
		s.Up = v.live != nil && v.live.serverUp(id)
		a.Servers = append(a.Servers, s)
		for _, disk := range s.Disks {
			a.Disks = append(a.Disks, v.disk(id, disk, holds[disk]))
		}
	}
	return a, nil
}

// held is what lies on a disk.
type held struct {
	volumes int
	bytes   uint64
}

func (v *view) disk(server granary.ServerID, id granary.DiskID, h *held) granary.Disk {
	r := v.places.disk(id)
	d := granary.Disk{ID: id, Server: server, Usage: v.usage(id), Up: v.up(server, id),
		State: r.State, Reason: r.Reason, Class: r.Class, Since: r.Since}
	if d.Class == "" {
		d.Class = d.Usage.Class
	}
	if h != nil {
		d.Volumes, d.Bytes = h.volumes, h.bytes
	}
	return d
}

// shardBytes is how long a shard is, by what is committed.
func (r *volumeRecord) shardBytes(shard int) uint64 {
	switch {
	case shard >= r.DataShards:
		return r.Watermark
	case shard < len(r.Ends):
		return r.Ends[shard]
	}
	return 0
}

// upkeep returns how the cluster maintains itself.
func (s *state) upkeep() granary.Upkeep {
	if r := one[upkeepRecord](s, keyUpkeep()); r != nil {
		return r.Upkeep
	}
	return granary.DefaultUpkeep()
}

// disk returns what was decided about a disk.
func (s *state) disk(id granary.DiskID) diskRecord { return s.places.Load().disk(id) }

// absences returns the servers that leaders have not heard lately.
func (s *state) absences() []absence {
	var all []absence
	s.each(key(tableAbsent), func(k, b []byte) {
		r, err := unmarshal[numberRecord](b)
		must(err)
		all = append(all, absence{granary.ServerID(k[1:]), granary.Time(r.Number)})
	})
	return all
}

package master

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// places says which server has which disk, and where servers are. It is never changed once shared.
type places struct {
	disks   map[granary.DiskID]granary.ServerID
	servers map[granary.ServerID]*serverRecord
}

func newPlaces() *places {
	return &places{disks: map[granary.DiskID]granary.ServerID{}, servers: map[granary.ServerID]*serverRecord{}}
}

func (p *places) add(id granary.ServerID, r *serverRecord) {
	p.servers[id] = r
	for _, d := range r.Disks {
		p.disks[d] = id
	}
}

// readPlaces reads all servers.
func readPlaces(r pebble.Reader) *places {
	p := newPlaces()
	prefix := key(tableServer)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyEnd(prefix)})
	must(err)
	for ok := it.First(); ok; ok = it.Next() {
		s, err := unmarshal[serverRecord](it.Value())
		must(err)
		p.add(granary.ServerID(it.Key()[1:]), s)
	}
	must(it.Close())
	return p
}

// volume makes a volume of its record, its shards with the servers that have their disks.
func (p *places) volume(id granary.VolumeID, r *volumeRecord, up func(granary.ServerID, granary.DiskID) bool) *granary.Volume {
	v := &granary.Volume{ID: id, Epoch: r.Epoch, State: r.State, DataShards: r.DataShards, ParityShards: r.ParityShards,
		Owner: r.Owner, Watermark: r.Watermark, LiveBytes: r.LiveBytes, DeadBytes: r.DeadBytes,
		Shards: make([]granary.ShardPlace, len(r.Disks))}
	for i, disk := range r.Disks {
		shard := granary.ShardPlace{Disk: disk}
		if server, ok := p.disks[disk]; ok {
			shard.Server, shard.Addr, shard.Up = server, p.servers[server].Addr, up(server, disk)
		}
		v.Shards[i] = shard
	}
	return v
}

// up reports whether a disk's server is up and has reported the disk.
func (v *view) up(server granary.ServerID, disk granary.DiskID) bool {
	if v.live == nil || !v.live.serverUp(server) {
		return false
	}
	_, ok := v.live.usage(disk)
	return ok
}

package master

import (
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// places says which server has which disk, and where servers are. It is never changed once shared.
type places struct {
	disks   map[granary.DiskID]granary.ServerID
	servers map[granary.ServerID]*serverRecord
	decided map[granary.DiskID]*diskRecord // of the disks about which something was
}

func newPlaces() *places {
	return &places{disks: map[granary.DiskID]granary.ServerID{}, servers: map[granary.ServerID]*serverRecord{},
		decided: map[granary.DiskID]*diskRecord{}}
}

// disk returns what was decided about a disk.
func (p *places) disk(id granary.DiskID) diskRecord {
	if r := p.decided[id]; r != nil {
		return *r
	}
	return diskRecord{State: granary.DiskActive}
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
	eachRecord(r, tableServer, func(k []byte, s *serverRecord) { p.add(granary.ServerID(k[1:]), s) })
	eachRecord(r, tableDisk, func(k []byte, d *diskRecord) { p.decided[granary.DiskID(k[1:])] = d })
	return p
}

// eachRecord calls f for all records of a small table. The key is lent.
func eachRecord[T any, P record[T]](r pebble.Reader, table byte, f func([]byte, P)) {
	prefix := key(table)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyEnd(prefix)})
	must(err)
	for ok := it.First(); ok; ok = it.Next() {
		v, err := unmarshal[T, P](it.Value())
		must(err)
		f(it.Key(), v)
	}
	must(it.Error())
	must(it.Close())
}

// volume makes a volume of its record, its shards with the servers that have their disks.
func (p *places) volume(id granary.VolumeID, r *volumeRecord, up func(granary.ServerID, granary.DiskID) bool) *granary.Volume {
	v := &granary.Volume{ID: id, Epoch: r.Epoch, State: r.State, DataShards: r.DataShards, ParityShards: r.ParityShards,
		Owner: r.Owner, Watermark: r.Watermark, LiveBytes: r.LiveBytes, DeadBytes: r.DeadBytes,
		Shards: make([]granary.ShardPlace, len(r.Disks)), Policy: r.Policy, Auto: r.Auto, OpenedAt: r.OpenedAt,
		SealedAt: r.SealedAt, DroppingAt: r.DroppingAt, Moving: r.Moving, Ends: slices.Clone(r.Ends)}
	if len(v.Ends) == 0 {
		v.Ends = make([]uint64, r.DataShards)
	}
	for i, disk := range r.Disks {
		shard := granary.ShardPlace{Disk: disk, Lost: r.Lost&(1<<i) != 0, Sealed: r.Sealed&(1<<i) != 0, Target: r.target(i)}
		if server, ok := p.disks[disk]; ok {
			shard.Server, shard.Addr = server, p.servers[server].Addr
			shard.Up = !shard.Lost && p.disk(disk).State != granary.DiskLost && up(server, disk)
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

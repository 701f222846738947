package master

import (
	"context"

	"github.com/dsorchard/granary"
)

// adopt makes a disk the place of a shard that was found on it, and that is not where the state says. This master was restored from a backup,
// and the shard has been copied there since. Were it not taken where it is, it would be made anew from k others, if those can
// be had. A shard that is sealed does not change: what it holds up to the watermark of the state is what the state means. It is
// compared with the others all the same.
func (c *curator) adopt(ctx context.Context, d *diskCheck, info *granary.ShardInfo) {
	v, from, addrs := c.adoptable(d, info)
	if v == nil {
		return
	}
	shard := int(info.Ref.Shard)
	r := &sealer{unsummed: map[granary.ShardRef]int{}}
	code, err := r.codes.Get(v.DataShards, v.ParityShards)
	if err != nil {
		c.l.s.log.Error("a shard that was found cannot be compared", "shard", info.Ref, "error", err)
		return
	}
	x := &comparison{v: v, code: code}
	others := uint32(1) << shard
	for i, place := range v.Shards {
		if place.Sealed {
			others |= 1 << i
		}
	}
	if c.l.sums(ctx, r, x, others, addrs, false) || x.sums[shard] == nil {
		return // it is listed again
	}
	if shard < v.DataShards && (c.l.sums(ctx, r, x, 1<<shard, addrs, true) || len(x.unsound[shard]) > 0) || len(x.look()) > 0 || x.wrong&(1<<shard) != 0 {
		c.l.s.log.Warn("a disk holds a shard that is not where it should be, but it does not fit the others", "shard", info.Ref, "server", d.addr)
		return
	}
	if c.propose(ctx, []item{&adoptShard{Volume: v.ID, Epoch: v.Epoch, Shard: info.Ref.Shard, From: from, To: d.disk}}) {
		c.l.s.log.Info("a shard is taken where it was found: it was copied there after the backup that this master was restored from",
			"shard", info.Ref, "server", d.addr, "instead", from)
	}
}

// adoptable returns the volume of a shard that may be taken on the disk where it was found, as if it had it there already, and where it is
// said to be: which is Lost there, or its disk is gone.
func (c *curator) adoptable(d *diskCheck, info *granary.ShardInfo) (v *granary.Volume, from granary.DiskID, addrs map[granary.ServerID]string) {
	st := c.l.s.states.acquire()
	defer st.release()
	r := one[volumeRecord](st.state, keyVolume(info.Ref.Volume))
	shard := int(info.Ref.Shard)
	if len(st.current().Restored) == 0 || r == nil || shard >= len(r.Disks) || r.State != granary.VolumeSealed && r.State != granary.VolumeSealing {
		return nil, "", nil
	}
	if !info.Sealed || info.Damaged != "" || info.Poisoned != "" || info.Length < r.Watermark || r.Watermark == 0 || r.LiveBytes == 0 {
		return nil, "", nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plan == nil {
		return nil, "", nil
	}
	from = r.Disks[shard]
	at, known := c.cat.disks[from]
	if r.Lost&(1<<shard) == 0 && (!known || int(at) >= len(c.scene.disks) || c.scene.disks[at].gone == "") {
		return nil, "", nil
	}
	v = st.places.Load().volume(info.Ref.Volume, r, c.l.live.shows)
	v.Shards[shard] = granary.ShardPlace{Disk: d.disk, Server: d.server, Addr: d.addr, Up: true, Sealed: true}
	addrs = map[granary.ServerID]string{}
	for _, s := range st.servers() {
		addrs[s.ID] = s.Addr
	}
	return v, from, addrs
}

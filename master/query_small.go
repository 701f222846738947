package master

import (
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dsorchard/granary"
)

// each calls f for the values of a table, or of a prefix, as of now. After close there are none.
func (s *state) each(prefix []byte, f func(k, b []byte)) {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyEnd(prefix)})
	must(err)
	for ok := it.First(); ok; ok = it.Next() {
		f(it.Key(), it.Value())
	}
	must(it.Close())
}

// one reads a record as of now; nil if there is none.
func one[T any, P record[T]](s *state, k []byte) P {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return nil
	}
	b := readKey(s.db, k)
	if b == nil {
		return nil
	}
	r, err := unmarshal[T, P](b)
	must(err)
	return r
}

// sessions returns the open sessions by id.
func (s *state) sessions() []sessionRecord {
	var all []sessionRecord
	s.each(key(tableSession), func(k, b []byte) {
		r, err := unmarshal[sessionRecord](b)
		must(err)
		r.ID = granary.SessionID(keyID(k, 0))
		all = append(all, *r)
	})
	return all
}

// volumesInState returns the volumes in a state, by id. Up is not set in their shards.
func (s *state) volumesInState(st granary.VolumeState) []granary.Volume {
	var all []granary.Volume
	at := s.places.Load()
	add := func(id granary.VolumeID, r *volumeRecord) {
		if r != nil && r.State == st {
			all = append(all, *at.volume(id, r, func(granary.ServerID, granary.DiskID) bool { return false }))
		}
	}
	if st == granary.VolumeSealed || st == granary.VolumeDropping {
		s.each(key(tableVolume), func(k, b []byte) {
			r, err := unmarshal[volumeRecord](b)
			must(err)
			add(granary.VolumeID(keyID(k, 0)), r)
		})
		return all
	}
	var ids []granary.VolumeID
	s.each(key(tableWriting), func(k, _ []byte) { ids = append(ids, granary.VolumeID(keyID(k, 1))) })
	slices.Sort(ids)
	for _, id := range ids {
		add(id, one[volumeRecord](s, keyVolume(id)))
	}
	return all
}

// shardsSealedOf returns which shards of a sealing volume have been sealed: bit i for shard i.
func (s *state) shardsSealedOf(id granary.VolumeID) uint32 {
	if r := one[volumeRecord](s, keyVolume(id)); r != nil {
		return r.Sealed
	}
	return 0
}

// servers returns the registered servers by id, with their Disks; Up and SeenAt are not set.
func (s *state) servers() []granary.Server {
	at := s.places.Load()
	all := make([]granary.Server, 0, len(at.servers))
	for _, id := range slices.Sorted(maps.Keys(at.servers)) {
		all = append(all, at.server(id))
	}
	return all
}

// disksOf returns the disks that a server is registered with.
func (s *state) disksOf(id granary.ServerID) []granary.DiskID {
	if r := s.places.Load().servers[id]; r != nil {
		return r.Disks
	}
	return nil
}

// pendingReclaim reports whether the queue of removals holds anything.
func (s *state) pendingReclaim() bool { return s.current().Queue > 0 }

// cluster returns the cluster's id; false before initCluster.
func (s *state) cluster() (granary.ClusterID, bool) {
	c := s.current().Cluster
	return c, c != ""
}

// lastTime is the time of the last command applied: the leader's clock starts no earlier.
func (s *state) lastTime() granary.Time { return s.current().Time }

// members returns what is recorded of the nodes of the Raft group, by id, as of now. It is shared, and not to be changed:
// Raft asks for it with everything that it sends.
func (s *state) members() map[string]memberRecord { return *s.nodes.Load() }

// readMembers reads the records of all nodes.
func readMembers(r pebble.Reader) *map[string]memberRecord {
	all := map[string]memberRecord{}
	prefix := key(tableMember)
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: keyEnd(prefix)})
	must(err)
	for ok := it.First(); ok; ok = it.Next() {
		m, err := unmarshal[memberRecord](it.Value())
		must(err)
		all[string(it.Key()[1:])] = *m
	}
	must(it.Error())
	must(it.Close())
	return &all
}

// joined returns the nodes that have stored entries or voted.
func (s *state) joined() map[string]bool {
	all := map[string]bool{}
	s.each(key(tableJoined), func(k, _ []byte) { all[string(k[1:])] = true })
	return all
}

// policy finds a policy.
func (s *state) policy(id granary.PolicyID) (granary.Policy, bool) {
	if r := one[policyRecord](s, keyPolicy(id)); r != nil {
		return r.Policy, true
	}
	return granary.Policy{}, false
}

// rootUser finds the S3 root user; false before initCluster.
func (s *state) rootUser() (u granary.User, ok bool) {
	s.each(key(tableUser), func(k, b []byte) {
		r, err := unmarshal[userRecord](b)
		must(err)
		if r.Root && !ok {
			r.AccessKey = string(k[1:])
			u, ok = r.User, true
		}
	})
	return u, ok
}

// policies returns all policies.
func (s *state) policies() map[granary.PolicyID]granary.Policy {
	all := map[granary.PolicyID]granary.Policy{}
	s.each(key(tablePolicy), func(k, b []byte) {
		r, err := unmarshal[policyRecord](b)
		must(err)
		all[granary.PolicyID(keyID(k, 0))] = r.Policy
	})
	return all
}

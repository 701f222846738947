package master

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// liveTable is what a node knows from heartbeats. The leader's begins empty with each leadership, and
// each node has one for as long as it runs, for the queries that it answers as a follower. For one
// ServerDownAfter a server that has not been heard of is taken to be up by readers, who find out
// soon enough, but not by placement, which waits (settled).
type liveTable struct {
	downAfter time.Duration
	began     time.Time
	now       func() time.Time

	mu         sync.RWMutex
	heard      map[granary.ServerID]time.Time
	usages     map[granary.DiskID]granary.DiskUsage
	registered map[granary.ServerID]granary.Server // as the state has them
	complaints map[granary.ServerID]complaints
	changed    chan struct{} // closed at the next heartbeat of a server not heard of before

	registering sync.Mutex // one registration at a time
}

// complaints is what a server said last of its shards.
type complaints struct {
	at     time.Time
	shards []granary.ShardInfo // damaged, or not to be appended to
}

func newLiveTable(began time.Time, downAfter time.Duration, now func() time.Time) *liveTable {
	return &liveTable{
		downAfter: downAfter, began: began, now: now,
		heard:      make(map[granary.ServerID]time.Time),
		usages:     make(map[granary.DiskID]granary.DiskUsage),
		registered: make(map[granary.ServerID]granary.Server),
		complaints: make(map[granary.ServerID]complaints),
		changed:    make(chan struct{}),
	}
}

func (t *liveTable) setRegistered(servers []granary.Server) {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.registered)
	for _, s := range servers {
		slices.Sort(s.Disks)
		t.registered[s.ID] = s
	}
}

// hear records a heartbeat of a server that is registered with these disks.
func (t *liveTable) hear(hb *granary.Heartbeat, disks []granary.DiskID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.heard[hb.Server]; !ok {
		close(t.changed)
		t.changed = make(chan struct{})
	}
	t.heard[hb.Server] = t.now()
	if delete(t.complaints, hb.Server); len(hb.Damaged)+len(hb.Poisoned) > 0 {
		t.complaints[hb.Server] = complaints{t.now(), slices.Concat(hb.Damaged, hb.Poisoned)}
	}
	for _, d := range disks {
		delete(t.usages, d) // a disk that it no longer shows is not there
	}
	for _, u := range hb.Disks {
		t.usages[u.Disk] = u
	}
}

// disksOf returns the disks that a server is registered with.
func (t *liveTable) disksOf(id granary.ServerID) []granary.DiskID {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.registered[id].Disks
}

// isRegistered reports whether the state knows the server as the heartbeat shows it.
func (t *liveTable) isRegistered(hb *granary.Heartbeat) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s, ok := t.registered[hb.Server]
	return ok && s.Addr == hb.Addr && s.Zone == hb.Zone && s.Rack == hb.Rack && hasAll(s.Disks, disksOf(hb))
}

// hasAll reports whether the disks of a server, sorted, are among those that it is registered with. Those
// that it no longer shows stay its own: a volume may have shards on them.
func hasAll(registered, shown []granary.DiskID) bool {
	for _, d := range shown {
		if _, ok := slices.BinarySearch(registered, d); !ok {
			return false
		}
	}
	return true
}

// disksOf returns the ids of the disks, sorted, each once.
func disksOf(hb *granary.Heartbeat) []granary.DiskID {
	ids := make([]granary.DiskID, len(hb.Disks))
	for i, u := range hb.Disks {
		ids[i] = u.Disk
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// up reports whether the server was heard lately.
func (t *liveTable) up(id granary.ServerID) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	h, ok := t.heard[id]
	return ok && t.now().Sub(h) <= t.downAfter
}

// shows reports whether the server was heard lately, and has the disk.
func (t *liveTable) shows(id granary.ServerID, disk granary.DiskID) bool {
	_, ok := t.usage(disk)
	return ok && t.up(id)
}

// silentSince returns when the server was heard last: if it was not, when this table began.
func (t *liveTable) silentSince(id granary.ServerID) time.Time {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if h, ok := t.heard[id]; ok {
		return h
	}
	return t.began
}

// hasHeard reports whether the server was heard since this table began.
func (t *liveTable) hasHeard(id granary.ServerID) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, ok := t.heard[id]
	return ok
}

// complained returns what servers said last of their shards.
func (t *liveTable) complained() []complaints {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Values(t.complaints))
}

// serverUp implements liveness.
func (t *liveTable) serverUp(id granary.ServerID) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	h, ok := t.heard[id]
	if !ok {
		return t.now().Sub(t.began) <= t.downAfter
	}
	return t.now().Sub(h) <= t.downAfter
}

// usage implements liveness.
func (t *liveTable) usage(id granary.DiskID) (granary.DiskUsage, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	u, ok := t.usages[id]
	return u, ok
}

// settled waits until every registered server has been heard or has had the time for it: a new
// leader that knew of half the servers would place volumes with half the redundancy.
func (t *liveTable) settled(ctx context.Context) error {
	for {
		t.mu.Lock()
		missing := 0
		for id := range t.registered {
			if _, ok := t.heard[id]; !ok {
				missing++
			}
		}
		changed, left := t.changed, t.downAfter-t.now().Sub(t.began)
		t.mu.Unlock()
		if missing == 0 || left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
}

// candidates returns the disks that are up and take new volumes, with what placement has to know. What was decided about
// disks, at says.
func (t *liveTable) candidates(at *places) []candidate { return t.disks(at, true) }

// away returns the disks that would take new volumes if their servers were up, as those had them last.
func (t *liveTable) away(at *places) []candidate { return t.disks(at, false) }

// disks returns the disks of the servers that are up, or of the others. Of one that was not heard since this master runs it is not known how
// full it is: it counts as one with room.
func (t *liveTable) disks(at *places, up bool) []candidate {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var cs []candidate
	for id, s := range t.registered {
		h, ok := t.heard[id]
		if (ok && t.now().Sub(h) <= t.downAfter) != up {
			continue
		}
		for _, d := range s.Disks {
			u, ok := t.usages[d]
			r := at.disk(d)
			if !ok && up || r.State != granary.DiskActive {
				continue
			}
			if !ok {
				u.Free = placementFreeMin
			}
			cs = append(cs, candidate{
				disk: d, server: id, name: s.Addr, zone: s.Zone, rack: s.Rack, free: u.Free, writable: u.ReadOnly == "",
				class: cmp.Or(r.Class, u.Class),
			})
		}
	}
	slices.SortFunc(cs, func(a, b candidate) int { return cmp.Compare(a.disk, b.disk) })
	return cs
}

// Heartbeat implements wire.Master. Every master answers and takes note; the leader also registers. A server whose
// disks belong to no cluster yet is told which to join, and is registered once it has.
func (s *Server) Heartbeat(ctx context.Context, hb *granary.Heartbeat) (*granary.HeartbeatReply, error) {
	ctx, done, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if hb.Server == "" || hb.Addr == "" {
		return nil, granary.Errorf(granary.KindInvalid, "heartbeat", hb.Addr, "server id or address is empty")
	}
	if len(hb.Disks) > 0 {
		s.awaitLeader(ctx, heartbeatPatience)
	}
	st := s.states.acquire()
	cluster, _ := st.cluster()
	disks := st.disksOf(hb.Server)
	st.release()
	if hb.Cluster != "" && cluster != "" && hb.Cluster != cluster {
		return nil, granary.Errorf(granary.KindInvalid, "heartbeat", hb.Addr,
			"the disks of server %s belong to cluster %s, and this is a master of cluster %s", hb.Server, hb.Cluster, cluster)
	}
	if hb.Cluster != "" {
		s.heard.hear(hb, disks)
	}
	reply := &granary.HeartbeatReply{Cluster: cluster}
	if cluster != "" {
		reply.Masters = s.masterAddrs()
	}
	l := s.leading.Load()
	if l == nil {
		return reply, nil
	}
	reply.Leader = true
	if hb.Cluster == "" {
		return reply, nil
	}
	if err := l.register(ctx, hb); err != nil {
		return nil, err
	}
	l.live.hear(hb, l.live.disksOf(hb.Server))
	return reply, nil
}

const (
	heartbeatPatience = time.Second
	leaderPoll        = 10 * time.Millisecond
)

// awaitLeader waits a while for anybody to lead. The heartbeat that comes before the election would
// be lost otherwise, and everything that needs disks would wait for the next one.
func (s *Server) awaitLeader(ctx context.Context, most time.Duration) {
	end := s.now().Add(most)
	for s.leading.Load() == nil && s.leaderAddr() == "" && s.now().Before(end) {
		if !pause(ctx, leaderPoll) {
			return
		}
	}
}

// isRegistered reports whether the state knows the server and its disks, which may have been forgotten, and as the heartbeat shows it.
func (l *leadership) isRegistered(hb *granary.Heartbeat) bool {
	st := l.s.states.acquire()
	disks := st.disksOf(hb.Server)
	_, known := st.places.Load().servers[hb.Server]
	st.release()
	return known && hasAll(disks, disksOf(hb)) && l.live.isRegistered(hb)
}

// register records the server in the state if it is new there or looks different.
func (l *leadership) register(ctx context.Context, hb *granary.Heartbeat) error {
	if l.isRegistered(hb) {
		return nil
	}
	l.live.registering.Lock()
	defer l.live.registering.Unlock()
	if l.isRegistered(hb) {
		return nil
	}
	results, err := l.prop.propose(ctx, &registerServer{Server: granary.Server{
		ID: hb.Server, Addr: hb.Addr, Zone: hb.Zone, Rack: hb.Rack, Disks: disksOf(hb),
	}})
	if err := failure(err, results); err != nil {
		return err
	}
	st := l.s.states.acquire()
	servers := st.servers()
	st.release()
	l.live.setRegistered(servers)
	l.s.log.Info("server registered", "server", hb.Server, "addr", hb.Addr, "zone", hb.Zone, "rack", hb.Rack, "disks", len(hb.Disks))
	return nil
}

package master

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire"
)

// benchGroup runs n nodes that reach each other as they do in a cluster, by TCP and gRPC, and returns the
// leader.
func benchGroup(b *testing.B, n int) (leader *Server, nodes []*Server) {
	b.Helper()
	peers := make([]Peer, n)
	rafts, rpcs := make([]net.Listener, n), make([]net.Listener, n)
	for i := range n {
		rafts[i], rpcs[i] = listen(b, "127.0.0.1:0"), listen(b, "127.0.0.1:0")
		peers[i] = Peer{ID: fmt.Sprintf("n%d", i), GRPCAddr: rpcs[i].Addr().String(), RaftAddr: rafts[i].Addr().String()}
	}
	for i, p := range peers {
		s, err := Open(Options{
			Dir: filepath.Join(b.TempDir(), p.ID), ID: p.ID, GRPCAddr: p.GRPCAddr, RaftAddr: p.RaftAddr, Listener: rafts[i], Peers: peers,
			HeartbeatTimeout: 2 * time.Second, foundingReach: 10 * time.Millisecond,
			Dial: func(addr string) (wire.Master, func() error, error) { return wire.DialMaster(addr) },
		})
		if err != nil {
			b.Fatal(err)
		}
		rpc := grpc.NewServer(wire.ServerOptions()...)
		wire.ServeMaster(rpc, s)
		var serving sync.WaitGroup
		serving.Go(func() { _ = rpc.Serve(rpcs[i]) })
		b.Cleanup(func() {
			if err := s.stop(); err != nil {
				b.Error(err)
			}
			rpc.Stop()
			serving.Wait()
		})
		nodes = append(nodes, s)
	}
	eventually(b, "a leader", func() error {
		for _, s := range nodes {
			if s.leading.Load() != nil {
				leader = s
				return nil
			}
		}
		return fmt.Errorf("there is none")
	})
	return leader, nodes
}

// calls runs op b.N times by a number of callers, and reports the rate and the CPU time of the process.
func calls(b *testing.B, callers int, op func(caller, n int) error) {
	b.Helper()
	var (
		next atomic.Int64
		wg   sync.WaitGroup
	)
	b.ResetTimer()
	start, cpu := time.Now(), cpuTime()
	for c := range callers {
		wg.Go(func() {
			for n := 0; next.Add(1) <= int64(b.N); n++ {
				if err := op(c, n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "ops/s")
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkQuery reads at the leader of three, confirmed by the terms of a majority, or, for comparison, by Raft's
// VerifyLeader, which proves less; and at a follower.
func BenchmarkQuery(b *testing.B) {
	leader, nodes := benchGroup(b, 3)
	l := leader.leading.Load()
	strict := l.check.ask
	weak := func(ctx context.Context, _ int) (struct{}, error) {
		return struct{}{}, leader.awaitRaft(ctx, leader.raft.VerifyLeader())
	}
	follower := nodes[0]
	if follower == leader {
		follower = nodes[1]
	}
	for _, v := range []struct {
		name string
		s    *Server
		ask  func(context.Context, int) (struct{}, error)
	}{{"terms", leader, strict}, {"verify", leader, weak}, {"follower", follower, strict}} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", v.name, callers), func(b *testing.B) {
				if _, err := l.check.wait(b.Context()); err != nil { // no round is under way, nor begins
					b.Fatal(err)
				}
				l.check.ask = v.ask
				calls(b, callers, func(int, int) error {
					_, _, err := v.s.Query(b.Context(), &granary.QueryRequest{Follower: true, Query: &granary.Lookup{Base: granary.RootInode}})
					return err
				})
			})
		}
	}
}

// BenchmarkCreate makes files, each caller in a directory of its own or all in one.
func BenchmarkCreate(b *testing.B) {
	for _, masters := range []int{1, 3} {
		s, _ := benchGroup(b, masters)
		for _, dirs := range []string{"many", "one"} {
			for _, callers := range []int{1, 256} {
				b.Run(fmt.Sprintf("masters=%d/dirs=%s/callers=%d", masters, dirs, callers), func(b *testing.B) {
					benchCreate(b, s, callers, dirs == "one")
				})
			}
		}
	}
}

func benchCreate(b *testing.B, s *Server, callers int, one bool) {
	clients, parents := make([]*testClient, callers), make([]granary.InodeID, callers)
	for i := range clients {
		clients[i] = newClient(b, s)
		if i > 0 && one {
			parents[i] = parents[0]
			continue
		}
		parents[i] = clients[i].do(s, &granary.Create{Parent: granary.RootInode, Name: fmt.Sprintf("d%d-%d", clients[i].session, i),
			Type: granary.TypeDirectory, Mode: 0o755}).Attr.Inode
	}
	calls(b, callers, func(c, n int) error {
		k := clients[c]
		k.seq++
		op := createOp(fmt.Sprintf("file-%06d-%06d", c, n))
		op.Parent = parents[c]
		results, err := s.Mutate(b.Context(), &granary.MutateRequest{Session: k.session, LowestUnacked: k.seq,
			Requests: []granary.Request{{Seq: k.seq, Op: op}}})
		if err == nil && results[0].Err != nil {
			err = results[0].Err
		}
		return err
	})
}

// BenchmarkBareRaft is what BenchmarkCreate is measured by: the same Raft with the same log, and a state that only
// puts as many bytes under four keys for each entry into a Pebble batch.
func BenchmarkBareRaft(b *testing.B) {
	for _, n := range []int{1, 3} {
		r := bareGroup(b, n)
		for _, callers := range []int{1, 256} {
			b.Run(fmt.Sprintf("masters=%d/callers=%d", n, callers), func(b *testing.B) {
				calls(b, callers, func(c, i int) error {
					data := make([]byte, bareEntrySize)
					binary.BigEndian.PutUint64(data, uint64(c)<<32|uint64(i))
					return r.Apply(data, 0).Error()
				})
			})
		}
	}
}

const (
	bareEntrySize = 80  // bytes of a create in the log, alone
	bareValueSize = 110 // of a value that it writes
)

func bareGroup(b *testing.B, n int) *raft.Raft {
	b.Helper()
	o := Options{HeartbeatTimeout: 2 * time.Second, GRPCAddr: "x", RaftAddr: "x", Dir: "x"}
	if err := o.Validate(); err != nil {
		b.Fatal(err)
	}
	var conf raft.Configuration
	transports := make([]raft.Transport, n)
	for i := range n {
		l := listen(b, "127.0.0.1:0")
		p := o
		p.Listener, p.RaftAddr = l, l.Addr().String()
		t, err := newTransport(&p, nil)
		if err != nil {
			b.Fatal(err)
		}
		transports[i] = t
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(fmt.Sprint(i)), Address: raft.ServerAddress(l.Addr().String())})
	}
	nodes := make([]*raft.Raft, n)
	for i := range n {
		nodes[i] = bareNode(b, fmt.Sprint(i), &o, transports[i], conf)
	}
	var leader *raft.Raft
	eventually(b, "a leader", func() error {
		for _, r := range nodes {
			if r.State() == raft.Leader {
				leader = r
				return nil
			}
		}
		return fmt.Errorf("there is none")
	})
	return leader
}

func bareNode(b *testing.B, id string, o *Options, t raft.Transport, conf raft.Configuration) *raft.Raft {
	b.Helper()
	dir := b.TempDir()
	own := *o
	own.Dir = dir
	stores, err := openStores(&own, func() (uint64, error) { return 0, nil })
	if err != nil {
		b.Fatal(err)
	}
	db, err := pebble.Open(filepath.Join(dir, "state"), pebbleOptions(stateOptions{Log: o.Log}))
	if err != nil {
		b.Fatal(err)
	}
	c := raftConfig(id, o, nil)
	c.MaxAppendEntries = 512 // callers are not packed into entries here
	snaps := raft.NewDiscardSnapshotStore()
	if err := raft.BootstrapCluster(c, stores.logs, stores.stable, snaps, t, conf); err != nil {
		b.Fatal(err)
	}
	r, err := raft.NewRaft(c, &bareFSM{db: db}, stores.logs, stores.stable, snaps, t)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		for _, err := range []error{r.Shutdown().Error(), t.(raft.WithClose).Close(), stores.close(), db.Close()} {
			if err != nil {
				b.Error(err)
			}
		}
	})
	return r
}

// bareFSM writes four keys for each entry, and the index.
type bareFSM struct{ db *pebble.DB }

func (f *bareFSM) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

func (f *bareFSM) ApplyBatch(logs []*raft.Log) []any {
	batch := f.db.NewBatch()
	value := make([]byte, bareValueSize)
	for _, l := range logs {
		for table := range byte(4) {
			copy(value, l.Data)
			must(batch.Set(key(table, binary.BigEndian.Uint64(append(make([]byte, 8), l.Data...)), l.Index), value, nil))
		}
	}
	must(batch.Set(keyHead(), binary.BigEndian.AppendUint64(nil, logs[len(logs)-1].Index), nil))
	must(batch.Commit(pebble.NoSync))
	return make([]any, len(logs))
}

func (f *bareFSM) Snapshot() (raft.FSMSnapshot, error) { return nil, raft.ErrNothingNewToSnapshot }
func (f *bareFSM) Restore(io.ReadCloser) error         { return nil }

package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/dsorchard/granary"
)

// fakeMaster answers with what its fields say.
type fakeMaster struct {
	err    error
	block  chan struct{} // if not nil, calls report here and then wait for their context
	answer granary.Answer
	got    any // the last request
}

func (m *fakeMaster) call(ctx context.Context, req any) error {
	if m.block != nil {
		m.block <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	m.got = req
	return m.err
}

func (m *fakeMaster) OpenSession(ctx context.Context, req *granary.OpenSession) (*granary.SessionInfo, error) {
	return &granary.SessionInfo{Session: 9, Cluster: "c", TTL: 30}, m.call(ctx, req)
}

func (m *fakeMaster) KeepAlive(ctx context.Context, req *granary.KeepAlive) (*granary.KeepAliveReply, error) {
	return &granary.KeepAliveReply{Term: 7, Masters: []string{"a", "b"}}, m.call(ctx, req)
}

func (m *fakeMaster) Mutate(ctx context.Context, req *granary.MutateRequest) ([]granary.Result, error) {
	results := make([]granary.Result, len(req.Requests))
	for i := range results {
		results[i].Index = granary.Index(req.Requests[i].Seq)
	}
	return results, m.call(ctx, req)
}

func (m *fakeMaster) Query(ctx context.Context, req *granary.QueryRequest) (granary.Answer, granary.Index, error) {
	return m.answer, 12, m.call(ctx, req)
}

func (m *fakeMaster) Heartbeat(ctx context.Context, hb *granary.Heartbeat) (*granary.HeartbeatReply, error) {
	return &granary.HeartbeatReply{Cluster: "c", Leader: true, Masters: []string{"a"}}, m.call(ctx, hb)
}

func (m *fakeMaster) Identify(ctx context.Context) (*granary.MasterIdentity, error) {
	return &granary.MasterIdentity{ID: "i", GRPCAddr: "g", RaftAddr: "r", Cluster: "c", Term: 3, Empty: true}, m.call(ctx, "identify")
}

func (m *fakeMaster) ReadIndex(ctx context.Context) (granary.Index, error) {
	return 11, m.call(ctx, "read index")
}

func (m *fakeMaster) ChangeMember(ctx context.Context, req *granary.MemberChange) error {
	return m.call(ctx, req)
}

func (m *fakeMaster) Work(ctx context.Context, req *granary.WorkRequest) (*granary.WorkReply, error) {
	return &granary.WorkReply{Tasks: []granary.Task{{ID: 3, Kind: granary.TaskMove, Volume: 4}}, Drop: []granary.TaskID{5}}, m.call(ctx, req)
}

func (m *fakeMaster) ReadBackup(ctx context.Context, req *granary.ReadBackup) (*granary.BackupPiece, error) {
	return &granary.BackupPiece{ID: "b", Cluster: "c", Index: 5, Size: 9, Data: []byte("d")}, m.call(ctx, req)
}

func (m *fakeMaster) AwaitLock(ctx context.Context, req *granary.AwaitLock) (granary.LockOutcome, error) {
	return granary.LockOutcome{State: granary.LockHeld, Token: 6}, m.call(ctx, req)
}

func (m *fakeMaster) Attend(ctx context.Context, req *granary.Attend) (*granary.Notices, error) {
	return notices(), m.call(ctx, req)
}

func notices() *granary.Notices {
	return &granary.Notices{Attendance: 3, Number: 4, Lease: 5, Opens: true, Recalls: []granary.InodeID{6},
		Changes: []granary.Change{{Inode: 7, Name: "n\xff", Index: 8}, {Inode: 9, Index: 10}}}
}

// serve puts a master on a loopback port and connects to it.
func serve(t *testing.T, m Master) (Master, *grpc.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(ServerOptions()...)
	ServeMaster(s, m)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dial(t, l.Addr().String()), s
}

func dial(t *testing.T, addr string) Master {
	t.Helper()
	c, closeConn, err := DialMaster(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closeConn(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func mutation() *granary.MutateRequest {
	return &granary.MutateRequest{Session: 9, LowestUnacked: 1, Attendance: 6, Opened: []granary.InodeID{5}, Requests: []granary.Request{
		{Seq: 1, Cred: granary.Cred{UID: 5}, Op: &granary.Rmdir{Parent: 3, Name: "d\xff"}},
		{Seq: 2, Op: &granary.CloseSession{}},
	}}
}

// calls has every call of a Master; only "mutate" changes something.
func calls(c Master) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"open session": func(ctx context.Context) error {
			_, err := c.OpenSession(ctx, &granary.OpenSession{Client: "test", Nonce: 4})
			return err
		},
		"keep alive": func(ctx context.Context) error {
			_, err := c.KeepAlive(ctx, &granary.KeepAlive{Session: 9})
			return err
		},
		"identify": func(ctx context.Context) error {
			_, err := c.Identify(ctx)
			return err
		},
		"read index": func(ctx context.Context) error {
			_, err := c.ReadIndex(ctx)
			return err
		},
		"read backup": func(ctx context.Context) error {
			_, err := c.ReadBackup(ctx, &granary.ReadBackup{ID: "b"})
			return err
		},
		"await lock": func(ctx context.Context) error {
			_, err := c.AwaitLock(ctx, &granary.AwaitLock{Session: 9})
			return err
		},
		"attend": func(ctx context.Context) error {
			_, err := c.Attend(ctx, &granary.Attend{Session: 9})
			return err
		},
		"mutate": func(ctx context.Context) error {
			_, err := c.Mutate(ctx, mutation())
			return err
		},
		"query": func(ctx context.Context) error {
			_, _, err := c.Query(ctx, &granary.QueryRequest{Query: &granary.StatFS{}})
			return err
		},
		"heartbeat": func(ctx context.Context) error {
			_, err := c.Heartbeat(ctx, &granary.Heartbeat{Server: "s"})
			return err
		},
	}
}

func TestCallsArrive(t *testing.T) {
	ctx := t.Context()
	m := &fakeMaster{answer: &granary.FSStats{Bytes: 5}}
	c, _ := serve(t, m)
	received := func(want any) {
		t.Helper()
		if !reflect.DeepEqual(m.got, want) {
			t.Errorf("sent %#v, received %#v", want, m.got)
		}
	}

	info, err := c.OpenSession(ctx, &granary.OpenSession{Client: "test", Nonce: 4})
	if err != nil || *info != (granary.SessionInfo{Session: 9, Cluster: "c", TTL: 30}) {
		t.Errorf("open session: %v, %v", info, err)
	}
	received(&granary.OpenSession{Client: "test", Nonce: 4})

	keepAlive := &granary.KeepAlive{Session: 9, Report: 8, Term: 2, All: true, Opened: []granary.InodeID{1, 2}, Closed: []granary.InodeID{3}, Attendance: 4}
	if r, err := c.KeepAlive(ctx, keepAlive); err != nil || !reflect.DeepEqual(r, &granary.KeepAliveReply{Term: 7, Masters: []string{"a", "b"}}) {
		t.Errorf("keep alive: %v, %v", r, err)
	}
	received(keepAlive)

	results, err := c.Mutate(ctx, mutation())
	if err != nil || !reflect.DeepEqual(results, []granary.Result{{Index: 1}, {Index: 2}}) {
		t.Errorf("mutate: %v, %v", results, err)
	}
	received(mutation())

	query := &granary.QueryRequest{MinIndex: 8, Session: 9, Cred: &granary.Cred{UID: 3, Groups: []uint32{4}}, Follower: true, Keep: true,
		Query: &granary.Lookup{Base: 1, Path: "a/b", Layout: &granary.Range{}, Access: granary.AccessRead, Open: true}}
	answer, index, err := c.Query(ctx, query)
	if err != nil || index != 12 || !reflect.DeepEqual(answer, m.answer) {
		t.Errorf("query: %v, %v, %v", answer, index, err)
	}
	received(query)

	hb := &granary.Heartbeat{Server: "s", Disks: []granary.DiskUsage{{Disk: "d", Path: "/p"}}}
	reply, err := c.Heartbeat(ctx, hb)
	if err != nil || !reflect.DeepEqual(reply, &granary.HeartbeatReply{Cluster: "c", Leader: true, Masters: []string{"a"}}) {
		t.Errorf("heartbeat: %v, %v", reply, err)
	}
	received(hb)
	adminCallsArrive(t, c, received)
}

func adminCallsArrive(t *testing.T, c Master, received func(any)) {
	ctx := t.Context()
	if m, err := c.Identify(ctx); err != nil || *m != (granary.MasterIdentity{ID: "i", GRPCAddr: "g", RaftAddr: "r", Cluster: "c", Term: 3, Empty: true}) {
		t.Errorf("identify: %v, %v", m, err)
	}
	if index, err := c.ReadIndex(ctx); err != nil || index != 11 {
		t.Errorf("read index: %v, %v", index, err)
	}
	change := &granary.MemberChange{Action: granary.MemberAdd, ID: "i", GRPCAddr: "g"}
	if err := c.ChangeMember(ctx, change); err != nil {
		t.Error(err)
	}
	received(change)
	work := &granary.WorkRequest{Worker: "w", Server: "s", Room: 2, Reports: []granary.TaskReport{{Task: granary.Task{ID: 1}, Ended: true, Error: "e"}}}
	if r, err := c.Work(ctx, work); err != nil || len(r.Tasks) != 1 || r.Tasks[0].Volume != 4 || len(r.Drop) != 1 || r.Drop[0] != 5 {
		t.Errorf("work: %v, %v", r, err)
	}
	received(work)
	wait := &granary.AwaitLock{Session: 2, Key: granary.LockKey{Inode: 3, Space: granary.LockWhole, Owner: 1 << 63}, Token: 5}
	if s, err := c.AwaitLock(ctx, wait); err != nil || s != (granary.LockOutcome{State: granary.LockHeld, Token: 6}) {
		t.Errorf("await lock: %v, %v", s, err)
	}
	received(wait)
	attend := &granary.Attend{Session: 2, Attendance: 3, Taken: 4, Opens: true, Opened: []granary.InodeID{7}}
	if n, err := c.Attend(ctx, attend); err != nil || !reflect.DeepEqual(n, notices()) {
		t.Errorf("attend: %v, %v", n, err)
	}
	received(attend)
	read := &granary.ReadBackup{ID: "b", Offset: 4}
	if b, err := c.ReadBackup(ctx, read); err != nil || !reflect.DeepEqual(b, &granary.BackupPiece{ID: "b", Cluster: "c", Index: 5, Size: 9, Data: []byte("d")}) {
		t.Errorf("read backup: %v, %v", b, err)
	}
	received(read)
}

func TestBigMessages(t *testing.T) {
	m := &fakeMaster{answer: &granary.Found{Rest: strings.Repeat("x", 6<<20)}}
	c, _ := serve(t, m)
	answer, _, err := c.Query(t.Context(), &granary.QueryRequest{Query: &granary.StatFS{}})
	if err != nil || !reflect.DeepEqual(answer, m.answer) {
		t.Errorf("an answer of 6 MiB: %v", err)
	}
	req := mutation()
	req.Requests[0].Op = &granary.SetXattr{Xattr: granary.Xattr{Value: make([]byte, messageSizeMax+1)}}
	if _, err := c.Mutate(t.Context(), req); !granary.IsKind(err, granary.KindTooLarge) {
		t.Errorf("a request of 64 MiB: %v", err)
	}
}

func TestErrorsCross(t *testing.T) {
	notLeader := granary.Errorf(granary.KindUnavailable, "mutate", "", "%w", &granary.NotLeader{Leader: "h:7400"})
	cases := []struct {
		name string
		sent error
		want *granary.Error // Err compared by its text
	}{
		{"whole", granary.Errorf(granary.KindExists, "create", "a\xffb", "it is \xff there"),
			granary.Errorf(granary.KindExists, "create", "a\xffb", "it is \xff there")},
		{"no cause", granary.Errorf(granary.KindExpired, "mutate", "9", ""),
			granary.Errorf(granary.KindExpired, "mutate", "9", "")},
		{"wrapped", fmt.Errorf("outer: %w", granary.Errorf(granary.KindQuota, "commit", "7", "full")),
			granary.Errorf(granary.KindQuota, "commit", "7", "full")},
		{"foreign", errors.New("boom"), granary.Errorf(granary.KindInternal, "", "", "boom")},
		{"huge", granary.Errorf(granary.KindBusy, "x", "y", "%s", strings.Repeat("z", 1<<20)),
			granary.Errorf(granary.KindBusy, "x", "y", "%s", strings.Repeat("z", errorTextMax))},
		{"not leader", notLeader, notLeader},
		{"no leader", granary.Errorf(granary.KindUnavailable, "query", "", "deep: %w", &granary.NotLeader{}),
			granary.Errorf(granary.KindUnavailable, "query", "", "%w", &granary.NotLeader{})},
	}
	m := new(fakeMaster)
	c, _ := serve(t, m)
	for _, tc := range cases {
		m.err = tc.sent
		for call, do := range calls(c) {
			var got *granary.Error
			err := do(t.Context())
			if !errors.As(err, &got) || got.Error() != tc.want.Error() || got.Op != tc.want.Op ||
				got.Subject != tc.want.Subject || got.Kind != tc.want.Kind || (got.Err == nil) != (tc.want.Err == nil) {
				t.Errorf("%s, %s: %#v instead of %#v", tc.name, call, err, tc.want)
			}
			var sent, received *granary.NotLeader
			if errors.As(tc.want, &sent) && (!errors.As(err, &received) || *sent != *received) {
				t.Errorf("%s, %s: the leader is %v", tc.name, call, received)
			}
		}
	}
}

func TestEveryKindCrosses(t *testing.T) {
	m := new(fakeMaster)
	c, _ := serve(t, m)
	for k := range granary.Kind(255) {
		if k.String() == fmt.Sprintf("kind %d", k) {
			if int(k) != len(kindCodes) {
				t.Errorf("%d kinds are in the table, %d exist", len(kindCodes), k)
			}
			break
		}
		if kindCodes[k] == codes.OK {
			t.Errorf("%v has no code", k)
		}
		m.err = granary.Errorf(k, "op", "subject", "")
		if _, err := c.KeepAlive(t.Context(), &granary.KeepAlive{Session: 1}); err == nil || granary.KindOf(err) != k {
			t.Errorf("%v became %v", k, err)
		}
	}
	// One that only a newer master knows.
	m.err = granary.Errorf(200, "op", "subject", "")
	if _, err := c.KeepAlive(t.Context(), &granary.KeepAlive{Session: 1}); granary.KindOf(err) != 200 {
		t.Errorf("kind 200 became %v", err)
	}
}

// afterFailure checks the kind of an error of a call that nobody answered.
func afterFailure(t *testing.T, call string, err error, otherwise granary.Kind) {
	t.Helper()
	want := otherwise
	if call == "mutate" {
		want = granary.KindIndeterminate
	}
	if !granary.IsKind(err, want) {
		t.Errorf("%s: %v, not %v", call, err, want)
	}
}

func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for call, do := range calls(dial(t, addr)) {
		afterFailure(t, call, do(t.Context()), granary.KindUnavailable)
	}
}

func TestServerDiesInCall(t *testing.T) {
	m := &fakeMaster{block: make(chan struct{})}
	for call := range calls(nil) {
		c, s := serve(t, m)
		done := make(chan error, 1)
		go func() { done <- calls(c)[call](t.Context()) }()
		<-m.block
		s.Stop()
		afterFailure(t, call, <-done, granary.KindUnavailable)
	}
}

func TestCallerGivesUp(t *testing.T) {
	m := &fakeMaster{block: make(chan struct{})}
	c, _ := serve(t, m)
	for call, do := range calls(c) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- do(ctx) }()
		<-m.block
		cancel()
		err := <-done
		afterFailure(t, call, err, granary.KindCanceled)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestDeadlinePasses(t *testing.T) {
	m := &fakeMaster{block: make(chan struct{}, len(calls(nil)))}
	c, _ := serve(t, m)
	for call, do := range calls(c) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		afterFailure(t, call, do(ctx), granary.KindCanceled)
		cancel()
	}
}

// A client finds a master that comes back without being told.
func TestReconnects(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	c := dial(t, addr)
	for range 2 {
		if l == nil {
			if l, err = net.Listen("tcp", addr); err != nil {
				t.Fatal(err)
			}
		}
		s := grpc.NewServer(ServerOptions()...)
		ServeMaster(s, new(fakeMaster))
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		for _, err = c.KeepAlive(ctx, &granary.KeepAlive{Session: 1}); granary.IsKind(err, granary.KindUnavailable); {
			_, err = c.KeepAlive(ctx, &granary.KeepAlive{Session: 1})
		}
		cancel()
		if err != nil {
			t.Error(err)
		}
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		l = nil
		if _, err := c.KeepAlive(t.Context(), &granary.KeepAlive{Session: 1}); !granary.IsKind(err, granary.KindUnavailable) {
			t.Errorf("with nobody there: %v", err)
		}
	}
}

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/dsorchard/granary/internal/disk"
	"github.com/dsorchard/granary/internal/raftlog"
	"github.com/dsorchard/granary/tests/measure"
)

const (
	raftNodes = 3
	raftEntry = 300 // bytes of an entry: about those of a create
	raftKept  = 256 // results that are kept of those that were written last
)

// bareRaft is node 0, which leads and calls, with the others in processes of their own; or one of those.
func bareRaft(ctx context.Context, s settings) error {
	if s.dir == "" {
		return errors.New("--dir is missing")
	}
	n, err := openBare(s)
	if err != nil {
		return err
	}
	if s.node > 0 {
		<-ctx.Done()
		return n.close()
	}
	var others []*exec.Cmd
	for i := 1; i < raftNodes; i++ {
		cmd := exec.Command(os.Args[0], "raft", "--node", fmt.Sprint(i), "--base", fmt.Sprint(s.base), "--dir", s.dir)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return err
		}
		others = append(others, cmd)
	}
	err = n.bench(ctx, s)
	for _, cmd := range others {
		err = errors.Join(err, cmd.Process.Signal(os.Interrupt), cmd.Wait())
	}
	return errors.Join(err, n.close())
}

type bareNode struct {
	raft   *raft.Raft
	stable *raftboltdb.BoltStore
	logs   *raftlog.Log
	db     *pebble.DB
	elect  chan bool
}

func openBare(s settings) (*bareNode, error) {
	dir := filepath.Join(s.dir, fmt.Sprint(s.node))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	db, err := pebble.Open(filepath.Join(dir, "state"), &pebble.Options{MemTableSize: 32 << 20, CacheSize: 128 << 20})
	if err != nil {
		return nil, err
	}
	n := &bareNode{db: db, elect: make(chan bool, 16)}
	if err := n.openStores(dir); err != nil {
		return nil, err
	}
	addr := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", s.base+i) }
	trans, err := raft.NewTCPTransport(addr(s.node), nil, 3, 10*time.Second, io.Discard)
	if err != nil {
		return nil, err
	}
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(fmt.Sprint(s.node))
	conf.MaxAppendEntries, conf.BatchApplyCh, conf.NoSnapshotRestoreOnStart = 512, true, true
	conf.SnapshotThreshold, conf.NotifyCh = 1<<40, n.elect
	conf.Logger = hclog.NewNullLogger()
	if s.node > 0 { // the one that calls shall lead
		conf.HeartbeatTimeout, conf.ElectionTimeout = 10*time.Second, 10*time.Second
	}
	var servers []raft.Server
	for i := range raftNodes {
		servers = append(servers, raft.Server{ID: raft.ServerID(fmt.Sprint(i)), Address: raft.ServerAddress(addr(i))})
	}
	snaps := raft.NewInmemSnapshotStore()
	if err := raft.BootstrapCluster(conf, n.logs, n.stable, snaps, trans, raft.Configuration{Servers: servers}); err != nil {
		return nil, err
	}
	n.raft, err = raft.NewRaft(conf, &bareMachine{db: db}, n.logs, n.stable, snaps, trans)
	return n, err
}

// openStores opens the stores that a master has.
func (n *bareNode) openStores(dir string) (err error) {
	if n.stable, err = raftboltdb.New(raftboltdb.Options{Path: filepath.Join(dir, "raft.db")}); err != nil {
		return err
	}
	logDir := filepath.Join(dir, "log")
	if err := os.MkdirAll(logDir, 0o700); err != nil {
		return err
	}
	d, err := disk.OS(logDir)
	if err != nil {
		return err
	}
	n.logs, err = raftlog.Open(d, raftlog.Options{})
	return err
}

func (n *bareNode) close() error {
	return errors.Join(n.raft.Shutdown().Error(), n.logs.Close(), n.stable.Close(), n.db.Close())
}

func (n *bareNode) bench(ctx context.Context, s settings) error {
	select {
	case <-n.elect:
	case <-ctx.Done():
		return ctx.Err()
	}
	heading()
	s.pids = measure.Processes{os.Getpid()} // callers and leader are one process: both are charged
	for _, callers := range s.callers {
		for op, name := range bareOps {
			data := make([]byte, raftEntry)
			data[0] = byte(op)
			_, err := bench(ctx, s, "bare raft", "keys of "+name, callers, opsMax, func(context.Context, int) error {
				return n.raft.Apply(data, 0).Error()
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// The operations whose keys are written; the first byte of an entry is an index.
var bareOps = [...]string{"create", "chmod", "rename", "unlink"}

// bareMachine writes for each entry the keys that an operation of the master's writes, with values as long: the result, and
// it deletes an old one; and besides
//
//	create  the inode, the name in one of the directories, the directory's inode
//	chmod   the directory's inode
//	rename  the old name and the new one, both directories' inodes, the inode
//	unlink  the name, the directory's inode, the inode, and the mark that it has no name; later both of these again
//
// It reads nothing.
type bareMachine struct {
	db   *pebble.DB
	next uint64
}

// Apply implements raft.FSM.
func (m *bareMachine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM.
func (m *bareMachine) ApplyBatch(logs []*raft.Log) []any {
	b := m.db.NewBatch()
	for _, l := range logs {
		if l.Type != raft.LogCommand {
			continue
		}
		m.next++
		err := errors.Join(m.write(b, l.Data), b.Set(bareKey('r', m.next), l.Data[:110], nil))
		if m.next > raftKept {
			err = errors.Join(err, b.Delete(bareKey('r', m.next-raftKept), nil))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		panic(err)
	}
	return make([]any, len(logs))
}

// write writes the keys of one operation.
func (m *bareMachine) write(b *pebble.Batch, data []byte) error {
	dir, other := m.next%spread, (m.next+1)%spread
	attr, name := data[:90], func(dir uint64, suffix string) []byte {
		return fmt.Appendf(bareKey('d', dir), "file-%08d%s", m.next, suffix)
	}
	inode, mark := bareKey('i', spread+m.next), binary.BigEndian.AppendUint64(bareKey('z', m.next), spread+m.next)
	switch bareOps[data[0]] {
	case "create":
		return errors.Join(b.Set(inode, attr, nil), b.Set(name(dir, ""), data[:12], nil), b.Set(bareKey('i', dir), attr, nil))
	case "chmod":
		return b.Set(bareKey('i', dir), attr, nil)
	case "rename":
		return errors.Join(b.Delete(name(dir, ""), nil), b.Set(name(other, ".r"), data[:12], nil),
			b.Set(bareKey('i', dir), attr, nil), b.Set(bareKey('i', other), attr, nil), b.Set(inode, attr, nil))
	default:
		return errors.Join(b.Delete(name(dir, ""), nil), b.Set(bareKey('i', dir), attr, nil), b.Set(inode, attr, nil), b.Set(mark, nil, nil),
			b.Delete(inode, nil), b.Delete(mark, nil))
	}
}

func bareKey(table byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{table}, id)
}

// Snapshot implements raft.FSM.
func (m *bareMachine) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("not used") }

// Restore implements raft.FSM.
func (m *bareMachine) Restore(io.ReadCloser) error { return errors.New("not used") }

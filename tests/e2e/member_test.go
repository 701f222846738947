//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dsorchard/granary/tests/cluster"
)

// electionTimeout is Raft's in a real cluster.
const electionTimeout = time.Second

// lines appends numbered lines to a file in a mount, one after the other, and each must succeed once.
type lines struct {
	mu      sync.Mutex
	count   int
	longest time.Duration
}

func (l *lines) written() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// slowest returns the longest time that a line took since it was last asked.
func (l *lines) slowest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.longest
	l.longest = 0
	return d
}

func (l *lines) run(ctx context.Context, t *testing.T, file string) {
	for ctx.Err() == nil {
		start := time.Now()
		if err := appendLine(file, l.written()); err != nil {
			t.Errorf("append: %v", err)
			return
		}
		l.mu.Lock()
		l.count++
		l.longest = max(l.longest, time.Since(start))
		l.mu.Unlock()
	}
}

// TestChaosMemberReplaced loses the directory of a master, and replaces the master under the same id and address while
// clients write; then the new one leads, and ends by SIGTERM without anybody waiting for an election.
func TestChaosMemberReplaced(t *testing.T) {
	d := cluster.StartDev(t, 3, 3)
	mnt := d.Mount(t)
	log := filepath.Join(mnt, "log")
	ctx, cancel := context.WithCancel(t.Context())
	var (
		writer sync.WaitGroup
		l      lines
	)
	writer.Go(func() { l.run(ctx, t, log) })
	goOn(t, l.written, 20)

	lost := d.LeaderName(t)
	p := d.Process(t, lost)
	d.Kill(t, lost)
	if err := os.RemoveAll(p.Data); err != nil {
		t.Fatal(err)
	}
	goOn(t, l.written, 20)
	var others []string
	for _, name := range []string{"m1", "m2", "m3"} {
		if name != lost {
			others = append(others, d.Process(t, name).Addr["grpc"])
		}
	}
	join := strings.Join(others, ",")
	early := startMaster(t, d, lost, p, join)
	if err := early.Wait(); err == nil {
		t.Error("an emptied master started in its old place before it was removed")
	}
	d.Granary("cluster", "member", "remove", lost).Run(t)
	if err := os.RemoveAll(p.Data); err != nil {
		t.Fatal(err)
	}
	fresh := startMaster(t, d, lost, p, join)
	cluster.WaitFor(t, cluster.ReadyWithin, "the addition", func() error {
		_, err := d.Granary("cluster", "member", "add", p.Addr["grpc"]).Try(t.Context())
		return err
	})
	d.Granary("cluster", "member", "add", p.Addr["grpc"]).Run(t) // repeated
	if voters := votersOf(t, d); len(voters) != 3 {
		t.Errorf("%v vote", voters)
	}
	goOn(t, l.written, 20)

	l.slowest() // so far: a leader was killed
	d.Granary("cluster", "lead", lost).Run(t)
	if leader := d.LeaderName(t); leader != lost {
		t.Errorf("%s leads, not %s", leader, lost)
	}
	goOn(t, l.written, 20)
	usual := l.slowest()
	if err := errors.Join(fresh.Process.Signal(syscall.SIGTERM), fresh.Wait()); err != nil {
		t.Errorf("the end of the leader: %v", err)
	}
	goOn(t, l.written, 20)
	pause := l.slowest()
	t.Logf("a line took %v at most, when it moved, and %v when the leader ended", usual, pause)
	if pause > usual+electionTimeout {
		t.Errorf("a line took %v while the leader ended", pause)
	}
	cancel()
	writer.Wait()
	var want strings.Builder
	for i := range l.written() {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	got, err := os.ReadFile(log)
	if err != nil || string(got) != want.String() {
		t.Errorf("%d lines were appended once each; the file has %d: %v", l.written(), bytes.Count(got, []byte("\n")), err)
	}
}

// startMaster starts a master of its own in the place of a process of the cluster.
func startMaster(t *testing.T, d *cluster.Dev, id string, p cluster.Process, join string) *exec.Cmd {
	t.Helper()
	host, port, ok := strings.Cut(p.Addr["grpc"], ":")
	if !ok {
		t.Fatal(p.Addr)
	}
	log, err := os.OpenFile(p.Log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(d.Binary, "serve", "master", "--id", id, "--listen", host, "--listen-base", port, "--data", p.Data, "--join", join)
	cmd.Stdout, cmd.Stderr = log, log
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return cmd
}

// votersOf lists the masters that vote.
func votersOf(t *testing.T, d *cluster.Dev) []string {
	t.Helper()
	var list []struct {
		ID    string
		Voter bool
	}
	if err := json.Unmarshal([]byte(d.Granary("cluster", "member", "ls", "--output", "json").Run(t)), &list); err != nil {
		t.Fatal(err)
	}
	var voters []string
	for _, m := range list {
		if m.Voter {
			voters = append(voters, m.ID)
		}
	}
	return voters
}

package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mastersBase is the --listen-base of masters that have a host of their own.
const mastersBase = 7400

// Masters is a group of metadata masters, each on a host of its own, and nothing else.
type Masters struct {
	Access
	Net   *Network
	nodes []*masterProcess
}

type masterProcess struct {
	host  int
	data  string
	log   string
	skew  time.Duration
	cmd   *exec.Cmd
	ended chan struct{}
}

// StartMasters starts n masters and waits for a leader.
func StartMasters(t testing.TB, n int) *Masters {
	t.Helper()
	net, dir := NewNetwork(t, n), t.TempDir()
	g := &Masters{Net: net, Access: Access{Binary: Binary(t), Dir: dir}}
	for i := 1; i <= n; i++ {
		g.nodes = append(g.nodes, &masterProcess{
			host: i, data: filepath.Join(dir, fmt.Sprintf("m%d", i)), log: filepath.Join(dir, fmt.Sprintf("m%d.log", i))})
	}
	g.Cluster = strings.Join(g.Addrs(), ",")
	t.Cleanup(func() { g.stop(t) })
	for i := 1; i <= n; i++ {
		g.Start(t, i)
	}
	WaitFor(t, ReadyWithin, "a leading master", func() error {
		_, err := g.Status(contextOf(ReadyWithin))
		return err
	})
	return g
}

// Addrs are the gRPC addresses of the masters, 1 to n.
func (g *Masters) Addrs() []string {
	var addrs []string
	for _, m := range g.nodes {
		addrs = append(addrs, fmt.Sprintf("%s:%d", g.Net.Addr(m.host), mastersBase))
	}
	return addrs
}

// Skew puts the clock of master i off, from its next start on.
func (g *Masters) Skew(i int, d time.Duration) { g.nodes[i-1].skew = d }

// Start starts master i, 1 to n, which does not run.
func (g *Masters) Start(t testing.TB, i int) {
	t.Helper()
	m := g.nodes[i-1]
	var peers []string
	for j, addr := range g.Addrs() {
		peers = append(peers, fmt.Sprintf("m%d@%s", j+1, addr))
	}
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	m.cmd = g.Net.Command(m.host, g.Binary, "serve", "master", "--id", fmt.Sprintf("m%d", i), "--data", m.data,
		"--listen", g.Net.Addr(m.host), "--listen-base", fmt.Sprint(mastersBase), "--insecure", "--peers", strings.Join(peers, ","), "--clock-skew", m.skew.String())
	m.cmd.Env = append(os.Environ(), "GRANARY_LOG_LEVEL=info")
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := errors.Join(m.cmd.Start(), log.Close()); err != nil {
		t.Fatal(err)
	}
	m.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait() // Ended tells; how it ended is in its log
	}(m.cmd, m.ended)
}

// Ended reports whether master i does not run.
func (g *Masters) Ended(i int) bool {
	select {
	case <-g.nodes[i-1].ended:
		return true
	default:
		return false
	}
}

// Kill is kill -9 of master i; it returns when it is dead.
func (g *Masters) Kill(t testing.TB, i int) {
	t.Helper()
	g.Signal(t, i, syscall.SIGKILL)
	<-g.nodes[i-1].ended
}

// Signal sends a signal to master i, such as SIGSTOP and SIGCONT.
func (g *Masters) Signal(t testing.TB, i int, s syscall.Signal) {
	t.Helper()
	// "ip netns exec" becomes the program: its process id is the program's.
	if err := g.nodes[i-1].cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %v to master %d: %v", s, i, err)
	}
}

// Leader returns which master leads, 1 to n, or 0 if none can be found.
func (g *Masters) Leader() int {
	st, err := g.Status(contextOf(ReadyWithin))
	if err != nil {
		return 0
	}
	for i, addr := range g.Addrs() {
		if addr == st.Leader {
			return i + 1
		}
	}
	return 0
}

// stop ends all masters, and fails the test if one had ended by itself.
func (g *Masters) stop(t testing.TB) {
	for i, m := range g.nodes {
		if m.cmd == nil {
			continue
		}
		if g.Ended(i + 1) {
			t.Errorf("master %d ended by itself: %s", i+1, m.cmd.ProcessState)
		} else if err := errors.Join(m.cmd.Process.Signal(syscall.SIGCONT), m.cmd.Process.Kill()); err != nil {
			t.Errorf("stop of master %d: %v", i+1, err)
		}
		<-m.ended
		if t.Failed() {
			if text, err := os.ReadFile(m.log); err == nil {
				err := os.WriteFile(filepath.Join(t.ArtifactDir(), filepath.Base(m.log)), text, 0o600)
				if err != nil {
					t.Error(err)
				}
				t.Logf("log of master %d:\n%s", i+1, tail(string(text)))
			}
		}
	}
}

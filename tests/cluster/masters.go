package cluster

import (
	"fmt"
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
	process
	data string
	skew time.Duration
}

// StartMasters starts n masters and waits for a leader.
func StartMasters(t testing.TB, n int) *Masters {
	t.Helper()
	return startMasters(t, NewNetwork(t, n), n)
}

// startMasters starts masters on the first n hosts.
func startMasters(t testing.TB, net *Network, n int) *Masters {
	t.Helper()
	dir := t.TempDir()
	g := &Masters{Net: net, Access: Access{Binary: Binary(t), Dir: dir, AccessKey: "TESTACCESSKEY", SecretKey: "test-secret-key-0123456789"}}
	env := []string{"GRANARY_ROOT_ACCESS_KEY=" + g.AccessKey, "GRANARY_ROOT_SECRET_KEY=" + g.SecretKey}
	for i := 1; i <= n; i++ {
		p := process{name: fmt.Sprintf("master %d", i), host: i, log: filepath.Join(dir, fmt.Sprintf("m%d.log", i)), env: env}
		g.nodes = append(g.nodes, &masterProcess{process: p, data: filepath.Join(dir, fmt.Sprintf("m%d", i))})
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
	m.start(t, g.Net, g.Binary, "serve", "master", "--id", fmt.Sprintf("m%d", i), "--data", m.data, "--listen", g.Net.Addr(m.host),
		"--listen-base", fmt.Sprint(mastersBase), "--insecure", "--peers", strings.Join(peers, ","), "--clock-skew", m.skew.String())
}

// Ended reports whether master i does not run.
func (g *Masters) Ended(i int) bool { return g.nodes[i-1].hasEnded() }

// Kill is kill -9 of master i; it returns when it is dead.
func (g *Masters) Kill(t testing.TB, i int) {
	t.Helper()
	g.nodes[i-1].kill(t)
}

// Signal sends a signal to master i, such as SIGSTOP and SIGCONT.
func (g *Masters) Signal(t testing.TB, i int, s syscall.Signal) {
	t.Helper()
	g.nodes[i-1].signal(t, s)
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
	for _, m := range g.nodes {
		m.finish(t)
	}
}

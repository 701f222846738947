package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Network is a set of hosts on one machine: a network namespace each, joined by a bridge that the test's own
// namespace is on, too. Links between hosts can be cut, in either direction alone. It takes root, and iproute2.
type Network struct {
	prefix string // of the names of interfaces and namespaces
	subnet string // the first three numbers of the addresses
	hosts  int
}

// NewNetwork makes hosts 1 to n; it skips the test where that is not allowed.
func NewNetwork(t testing.TB, n int) *Network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces take root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("network namespaces take ip, of iproute2")
	}
	pid := os.Getpid()
	w := &Network{prefix: fmt.Sprintf("gr%d", pid%100000), subnet: fmt.Sprintf("10.%d.%d", 100+pid/250%100, pid%250), hosts: n}
	if out, err := exec.Command("ip", "link", "add", w.prefix, "type", "bridge").CombinedOutput(); err != nil {
		t.Skipf("network namespaces are not allowed here: %s", out)
	}
	t.Cleanup(func() {
		if err := w.remove(); err != nil {
			t.Errorf("removing the network: %v", err)
		}
	})
	w.ip(t, "addr", "add", w.subnet+".254/24", "dev", w.prefix)
	w.ip(t, "link", "set", w.prefix, "up")
	for i := 1; i <= n; i++ {
		w.addHost(t, i)
	}
	return w
}

func (w *Network) addHost(t testing.TB, i int) {
	t.Helper()
	name, out, in := w.name(i), w.name(i)+"o", w.name(i)+"i"
	w.ip(t, "netns", "add", name)
	w.ip(t, "link", "add", out, "type", "veth", "peer", "name", in)
	w.ip(t, "link", "set", in, "netns", name)
	w.ip(t, "link", "set", out, "master", w.prefix)
	w.ip(t, "link", "set", out, "up")
	w.ip(t, "-n", name, "addr", "add", w.Addr(i)+"/24", "dev", in)
	w.ip(t, "-n", name, "link", "set", in, "up")
	w.ip(t, "-n", name, "link", "set", "lo", "up")
}

func (w *Network) name(i int) string { return fmt.Sprintf("%s-%d", w.prefix, i) }

// Addr is the address of a host.
func (w *Network) Addr(i int) string { return fmt.Sprintf("%s.%d", w.subnet, i) }

// Command is a command line to be run on a host.
func (w *Network) Command(i int, name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", w.name(i), name}, args...)...)
}

// Cut drops everything that host i sends to host j; what j sends still arrives at i.
func (w *Network) Cut(t testing.TB, i, j int) {
	t.Helper()
	w.ip(t, "-n", w.name(i), "route", "replace", "blackhole", w.Addr(j)+"/32")
}

// CutFromTest drops everything that host i sends to the test itself.
func (w *Network) CutFromTest(t testing.TB, i int) {
	t.Helper()
	w.ip(t, "-n", w.name(i), "route", "replace", "blackhole", w.subnet+".254/32")
}

// Isolate cuts a host off from all other hosts, but not from the test.
func (w *Network) Isolate(t testing.TB, i int) {
	t.Helper()
	for j := 1; j <= w.hosts; j++ {
		if j != i {
			w.Cut(t, i, j)
			w.Cut(t, j, i)
		}
	}
}

// Heal takes all cuts back.
func (w *Network) Heal(t testing.TB) {
	t.Helper()
	for i := 1; i <= w.hosts; i++ {
		out, err := exec.Command("ip", "-n", w.name(i), "route", "show", "type", "blackhole").CombinedOutput()
		if err != nil {
			t.Fatalf("routes of host %d: %v: %s", i, err, out)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
			if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "blackhole" {
				w.ip(t, "-n", w.name(i), "route", "del", "blackhole", fields[1])
			}
		}
	}
}

func (w *Network) ip(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func (w *Network) remove() error {
	var errs []error
	for i := 1; i <= w.hosts; i++ {
		errs = append(errs, exec.Command("ip", "netns", "del", w.name(i)).Run())
	}
	return errors.Join(append(errs, exec.Command("ip", "link", "del", w.prefix).Run())...)
}

//go:build e2e

package chaos

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// mountProcess is a mount that can be killed and made again.
type mountProcess struct {
	a     *cluster.Access
	point string
	log   string // file
	cmd   *exec.Cmd
	ended chan struct{}
}

// newMount mounts the cluster's root.
func newMount(t testing.TB, a *cluster.Access) *mountProcess {
	t.Helper()
	m := &mountProcess{a: a, point: filepath.Join(a.Dir, "mnt"), log: filepath.Join(a.Dir, "mount.log")}
	if err := os.Mkdir(m.point, 0o755); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	t.Cleanup(func() {
		m.kill(t)
		if !t.Failed() {
			return
		}
		text, err := os.ReadFile(m.log)
		if err == nil {
			err = os.WriteFile(filepath.Join(t.ArtifactDir(), "mount.log"), text, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return m
}

// start mounts, and waits until the mount is there.
func (m *mountProcess) start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	m.cmd = exec.Command(m.a.Binary, "mount", "--foreground", "--patience", patience.String(), m.point)
	m.cmd.Env = append(os.Environ(), "GRANARY_CLUSTER="+m.a.Cluster, "GRANARY_LOG_LEVEL=info")
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := errors.Join(m.cmd.Start(), log.Close()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	m.ended = ended
	go func(cmd *exec.Cmd) {
		defer close(ended)
		_ = cmd.Wait() // its log tells
	}(m.cmd)
	cluster.WaitFor(t, cluster.ReadyWithin, "the mount", func() error {
		if m.hasEnded() {
			t.Fatalf("the mount ended: %s", m.cmd.ProcessState)
		}
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err == nil && !strings.Contains(string(mounts), " "+m.point+" ") {
			err = errors.New("it is not there")
		}
		return err
	})
}

func (m *mountProcess) hasEnded() bool {
	select {
	case <-m.ended:
		return true
	default:
		return false
	}
}

// kill is kill -9 of the mount's process; what is left of the mount is taken away.
func (m *mountProcess) kill(t testing.TB) {
	t.Helper()
	if m.hasEnded() {
		t.Errorf("the mount ended by itself: %s", m.cmd.ProcessState)
	} else if err := m.cmd.Process.Kill(); err != nil {
		t.Errorf("kill of the mount: %v", err)
	}
	<-m.ended
	if out, err := exec.Command("umount", "-l", m.point).CombinedOutput(); err != nil {
		t.Errorf("umount: %v: %s", err, out)
	}
}

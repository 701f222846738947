package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Dev is a "granary serve dev-cluster".
type Dev struct {
	Access
	Dir string
	cmd *exec.Cmd
}

// Process is an entry of cluster.json.
type Process struct {
	Role, Name string
	Pid        int
	Addr       map[string]string
	Data, Log  string
}

// StartDev starts a cluster of processes and waits until it is ready.
func StartDev(t testing.TB, masters, volumes int, args ...string) *Dev {
	t.Helper()
	dir := t.TempDir()
	d := &Dev{Dir: filepath.Join(dir, "cluster"), Access: Access{
		Binary: Binary(t), AccessKey: "TESTACCESSKEY", SecretKey: "test-secret-key-0123456789", Dir: dir,
	}}
	args = append([]string{"serve", "dev-cluster", "--masters", fmt.Sprint(masters), "--volumes", fmt.Sprint(volumes),
		"--data", d.Dir, "--listen-base", fmt.Sprint(FreeBase(t))}, args...)
	d.cmd = exec.Command(d.Binary, args...)
	d.cmd.Env = append(os.Environ(), "GRANARY_ROOT_ACCESS_KEY="+d.AccessKey, "GRANARY_ROOT_SECRET_KEY="+d.SecretKey)
	out, err := os.Create(filepath.Join(dir, "dev-cluster.log"))
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stdout, d.cmd.Stderr = out, out
	if err := errors.Join(d.cmd.Start(), out.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.stop(t) })
	WaitFor(t, ReadyWithin, "the dev-cluster", d.ready)
	return d
}

// ready waits for cluster.json, a filer's answer and all servers.
func (d *Dev) ready() error {
	list, err := d.Processes()
	if err != nil {
		return err
	}
	servers := 0
	for _, p := range list {
		switch {
		case p.Role == "volume":
			servers++
		case p.Role == "filer" && d.HTTP == "":
			d.HTTP, d.S3 = "http://"+p.Addr["http"], "http://"+p.Addr["s3"]
		}
	}
	probe := &Server{Access: d.Access, ended: make(chan struct{})}
	if err := probe.Healthy(); err != nil {
		return err
	}
	st, err := d.Status(contextOf(10 * time.Second))
	if err == nil && st.ServersUp != servers {
		err = fmt.Errorf("%d of %d volume servers are up", st.ServersUp, servers)
	}
	return err
}

// Processes reads cluster.json.
func (d *Dev) Processes() ([]Process, error) {
	text, err := os.ReadFile(filepath.Join(d.Dir, "cluster.json"))
	if err != nil {
		return nil, err
	}
	var f struct {
		Cluster   string
		Processes []Process
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, err
	}
	d.Cluster = f.Cluster
	return f.Processes, nil
}

// Process returns the named process.
func (d *Dev) Process(t testing.TB, name string) Process {
	t.Helper()
	list, err := d.Processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no process %s", name)
	return Process{}
}

// Kill is kill -9 of the named process; it returns when cluster.json says that it is dead.
func (d *Dev) Kill(t testing.TB, name string) {
	t.Helper()
	p := d.Process(t, name)
	if p.Pid == 0 {
		t.Fatalf("%s is dead already", name)
	}
	if err := syscall.Kill(p.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	WaitFor(t, ReadyWithin, "the end of "+name, func() error {
		if d.Process(t, name).Pid != 0 {
			return errors.New("cluster.json still has its pid")
		}
		return nil
	})
}

// StartRole starts a killed process again.
func (d *Dev) StartRole(t testing.TB, name string) {
	t.Helper()
	Command{Name: d.Binary, Args: []string{"serve", "dev-cluster", "start", name, "--data", d.Dir}}.Run(t)
}

// LeaderName returns the name of the master that leads.
func (d *Dev) LeaderName(t testing.TB) string {
	t.Helper()
	st, err := d.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.Processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.Addr["grpc"] == st.Leader {
			return p.Name
		}
	}
	t.Fatalf("no process has the leader's address %q", st.Leader)
	return ""
}

func (d *Dev) stop(t testing.TB) {
	if t.Failed() {
		if list, err := d.Processes(); err == nil {
			for _, p := range list {
				if text, err := os.ReadFile(p.Log); err == nil {
					t.Logf("log of %s:\n%s", p.Name, tail(string(text)))
				}
			}
		}
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("stop of the dev-cluster: %v", err)
		return
	}
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("the dev-cluster ended with %v", err)
	}
}

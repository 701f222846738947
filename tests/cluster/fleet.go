package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Fleet is masters and volume servers, each on a host of its own: all that stores. Clients are the test itself, and whatever
// uses the doors of a filer, which runs if it is started.
type Fleet struct {
	*Masters
	servers []*volumeProcess
	filer   process
}

type volumeProcess struct {
	process
	disks []string
	args  []string
}

// StartFleet starts masters and volume servers with so many disks each, and waits until all are up. Args are further
// arguments of the volume servers. The directory of a disk may be prepared beforehand: see DiskDir.
func StartFleet(t testing.TB, masters, servers, disks int, prepare func(f *Fleet), args ...string) *Fleet {
	t.Helper()
	f := &Fleet{Masters: startMasters(t, NewNetwork(t, masters+servers+1), masters)}
	f.filer = process{name: "filer", host: masters + servers + 1, log: filepath.Join(f.Dir, "filer.log")}
	for i := 1; i <= servers; i++ {
		p := process{name: fmt.Sprintf("volume server %d", i), host: masters + i, log: filepath.Join(f.Dir, fmt.Sprintf("v%d.log", i))}
		v := &volumeProcess{process: p, args: args}
		for d := 1; d <= disks; d++ {
			v.disks = append(v.disks, filepath.Join(f.Dir, fmt.Sprintf("v%d", i), fmt.Sprintf("disk%d", d)))
		}
		f.servers = append(f.servers, v)
	}
	for i := 1; i <= servers; i++ {
		for d := 1; d <= disks; d++ {
			if err := os.MkdirAll(f.DiskDir(i, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	if prepare != nil {
		prepare(f)
	}
	t.Cleanup(func() {
		for _, v := range f.servers {
			v.finish(t)
		}
	})
	for i := 1; i <= servers; i++ {
		f.StartServer(t, i)
	}
	f.AwaitServers(t)
	return f
}

// filerBase is the --listen-base of the filer.
const filerBase = 7400

// StartFiler starts the filer, which does not run, and waits until it answers.
func (f *Fleet) StartFiler(t testing.TB) {
	t.Helper()
	if f.filer.cmd == nil {
		t.Cleanup(func() { f.filer.finish(t) })
	}
	addr := f.Net.Addr(f.filer.host)
	f.HTTP, f.S3 = fmt.Sprintf("http://%s:%d", addr, filerBase+200), fmt.Sprintf("http://%s:%d", addr, filerBase+300)
	f.filer.start(t, f.Net, f.Binary, "serve", "filer", "--listen", addr, "--listen-base", fmt.Sprint(filerBase), "--insecure",
		"--cluster", strings.Join(f.Addrs(), ","))
	probe := &Server{Access: f.Access, cmd: f.filer.cmd, ended: f.filer.ended}
	WaitFor(t, ReadyWithin, "the filer", probe.Healthy)
}

// KillFiler is kill -9 of the filer; it returns when it is dead.
func (f *Fleet) KillFiler(t testing.TB) {
	t.Helper()
	f.filer.kill(t)
}

// AwaitServers waits until all volume servers are up.
func (f *Fleet) AwaitServers(t testing.TB) {
	t.Helper()
	WaitFor(t, ReadyWithin, "all volume servers", func() error {
		st, err := f.Status(contextOf(ReadyWithin))
		if err == nil && st.ServersUp < len(f.servers) {
			err = fmt.Errorf("%d of %d are up", st.ServersUp, len(f.servers))
		}
		return err
	})
}

// Servers is how many volume servers there are.
func (f *Fleet) Servers() int { return len(f.servers) }

// DiskDir is the directory of disk d of server i, both from 1 on.
func (f *Fleet) DiskDir(i, d int) string { return f.servers[i-1].disks[d-1] }

// ServerAddr is where the block service of server i answers.
func (f *Fleet) ServerAddr(i int) string {
	return fmt.Sprintf("%s:%d", f.Net.Addr(f.servers[i-1].host), mastersBase+volumePortOffset)
}

// volumePortOffset is where the port of a block service is, from --listen-base on.
const volumePortOffset = 100

// ServerHost is the host of server i in the network.
func (f *Fleet) ServerHost(i int) int { return f.servers[i-1].host }

// StartServer starts server i, which does not run. Directories named in format may be made new disks.
func (f *Fleet) StartServer(t testing.TB, i int, format ...string) {
	t.Helper()
	v := f.servers[i-1]
	args := []string{"serve", "volume", "--listen", f.Net.Addr(v.host), "--listen-base", fmt.Sprint(mastersBase), "--insecure",
		"--cluster", strings.Join(f.Addrs(), ","), "--dir", strings.Join(v.disks, ",")}
	if len(format) > 0 {
		args = append(args, "--format", strings.Join(format, ","))
	}
	v.start(t, f.Net, f.Binary, append(args, v.args...)...)
}

// ServerEnded reports whether server i does not run.
func (f *Fleet) ServerEnded(i int) bool { return f.servers[i-1].hasEnded() }

// KillServer is kill -9 of server i; it returns when it is dead.
func (f *Fleet) KillServer(t testing.TB, i int) {
	t.Helper()
	f.servers[i-1].kill(t)
}

// SignalServer sends a signal to server i.
func (f *Fleet) SignalServer(t testing.TB, i int, s syscall.Signal) {
	t.Helper()
	f.servers[i-1].signal(t, s)
}

// EmptyDisk removes all that is in the directory of a disk, which stays: it may be where something is mounted.
func (f *Fleet) EmptyDisk(i, d int) error {
	dir := f.DiskDir(i, d)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}

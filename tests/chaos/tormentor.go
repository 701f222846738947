//go:build e2e

package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/tests/cluster"
)

const (
	mastersN = 3
	serversN = 6
	disksN   = 2 // of each server
	parityN  = 2 // so many servers may be damaged at a time
)

// tormentor makes trouble in rounds. After each the cluster mends itself, and everything is read.
type tormentor struct {
	t    *testing.T
	f    *cluster.Fleet
	l    *load
	d    *door // that verifies
	n    *inspector
	rand *rand.Rand
	full string // directory of a small file system, "" if there is none
}

// trouble is what is done to one server, or to many (all). Undo ends it, and by hands only what is not the cluster's to mend:
// processes are started again, broken disks replaced by empty ones.
type trouble struct {
	name string
	all  bool
	make func(server int) (undo func())
}

func (m *tormentor) troubles() []trouble {
	list := []trouble{
		{name: "kill", make: m.kill},
		{name: "flipped bits", make: m.silently(m.flip)},
		{name: "disk deleted while its server is down", make: m.diskGoneDown},
		{name: "truncated shards", make: m.silently(m.truncate)},
		{name: "pause", make: m.pause},
		{name: "disk deleted under its server", make: m.diskGone},
		{name: "restart of all", all: true, make: m.restartAll},
		{name: "deleted shards", make: m.silently(os.Remove)},
		{name: "isolation", make: m.isolate},
		{name: "kill of all masters", all: true, make: m.killMasters},
		{name: "server away for long", make: m.away},
	}
	if m.full != "" {
		list = append(list, trouble{name: "full disk", all: true, make: m.fill})
	}
	if only := os.Getenv("GRANARY_CHAOS_ONLY"); only != "" {
		list = slices.DeleteFunc(list, func(x trouble) bool { return !strings.Contains(x.name, only) })
	}
	return list
}

// run makes rounds until the time is over.
func (m *tormentor) run(d time.Duration) {
	until := time.Now().Add(d)
	list := m.troubles()
	m.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	for at := 0; time.Now().Before(until) && !m.t.Failed(); at++ {
		m.round(list[at%len(list)])
	}
}

// round damages one server, or two, and waits until the cluster is whole.
func (m *tormentor) round(first trouble) {
	victims := m.rand.Perm(m.f.Servers())[:parityN]
	name := first.name
	undo := []func(){first.make(victims[0] + 1)}
	if !first.all {
		name = fmt.Sprintf("%s of server %d", name, victims[0]+1)
		list := m.troubles()
		if second := list[m.rand.IntN(len(list))]; !second.all {
			name += fmt.Sprintf(", %s of server %d", second.name, victims[1]+1)
			undo = append(undo, second.make(victims[1]+1))
		}
	}
	m.t.Logf("%s", name)
	ops := m.l.ops.Load()
	m.hold(time.Second)
	for _, f := range undo {
		f()
	}
	m.f.AwaitServers(m.t)
	took := m.n.awaitWhole(m.t)
	began := time.Now()
	m.l.verifyAll(m.t, m.d)
	m.t.Logf("%s: whole after %s; %d files are right (%s); %d operations meanwhile, the slowest took %s; %d of unknown outcome so far", name,
		took.Round(time.Millisecond), len(m.l.truth.all()), time.Since(began).Round(time.Millisecond), m.l.ops.Load()-ops,
		time.Duration(m.l.slow.Swap(0)).Round(time.Millisecond), m.l.lost.Load())
}

// hold keeps the trouble up for a while.
func (m *tormentor) hold(least time.Duration) {
	rest(m.t.Context(), least+time.Duration(m.rand.IntN(2000))*time.Millisecond)
}

func (m *tormentor) kill(server int) func() {
	m.f.KillServer(m.t, server)
	return func() { m.f.StartServer(m.t, server) }
}

// away keeps a server down for so long that its shards are made elsewhere; then it comes back with them.
func (m *tormentor) away(server int) func() {
	m.f.KillServer(m.t, server)
	m.hold(repairGrace + 6*time.Second)
	return func() { m.f.StartServer(m.t, server) }
}

func (m *tormentor) pause(server int) func() {
	m.f.SignalServer(m.t, server, syscall.SIGSTOP)
	return func() { m.f.SignalServer(m.t, server, syscall.SIGCONT) }
}

func (m *tormentor) isolate(server int) func() {
	m.f.Net.Isolate(m.t, m.f.ServerHost(server))
	m.f.Net.CutFromTest(m.t, m.f.ServerHost(server))
	return func() { m.f.Net.Heal(m.t) }
}

// disk chooses a disk of a server, other than the small one.
func (m *tormentor) disk(server int) int {
	for {
		if d := 1 + m.rand.IntN(disksN); m.f.DiskDir(server, d) != m.full {
			return d
		}
	}
}

// diskGone deletes the directory of a disk under its server. Later the server gets an empty one.
func (m *tormentor) diskGone(server int) func() {
	dir := m.f.DiskDir(server, m.disk(server))
	m.must(os.RemoveAll(dir))
	return func() {
		m.f.KillServer(m.t, server)
		m.must(os.RemoveAll(dir)) // it may have made something there since
		m.must(os.Mkdir(dir, 0o700))
		m.f.StartServer(m.t, server, dir)
	}
}

func (m *tormentor) diskGoneDown(server int) func() {
	d := m.disk(server)
	m.f.KillServer(m.t, server)
	m.must(m.f.EmptyDisk(server, d))
	return func() { m.f.StartServer(m.t, server, m.f.DiskDir(server, d)) }
}

func (m *tormentor) restartAll(int) func() {
	for i := 1; i <= serversN; i++ {
		m.f.KillServer(m.t, i)
	}
	undo := m.killMasters(0)
	return func() {
		undo()
		for i := 1; i <= serversN; i++ {
			m.f.StartServer(m.t, i)
		}
	}
}

func (m *tormentor) killMasters(int) func() {
	for i := 1; i <= mastersN; i++ {
		m.f.Kill(m.t, i)
	}
	return func() {
		for i := 1; i <= mastersN; i++ {
			m.f.Start(m.t, i)
		}
	}
}

// fill takes all the space of the small file system away.
func (m *tormentor) fill(int) func() {
	name := filepath.Join(m.full, "filler")
	f, err := os.Create(name)
	m.must(err)
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(block)
	}
	m.must(f.Close())
	if !errors.Is(err, syscall.ENOSPC) {
		m.t.Fatal(err)
	}
	return func() { m.must(os.Remove(name)) }
}

// silently damages some sealed shards of a server while it runs. The server finds out when it verifies its disks next: it is
// made to do so now.
func (m *tormentor) silently(damage func(file string) error) func(server int) func() {
	return func(server int) func() {
		for _, file := range m.sealed(server) {
			if err := damage(file); err != nil && !errors.Is(err, os.ErrNotExist) { // it may be dropped at any time
				m.t.Fatal(err)
			}
		}
		return func() { m.n.scrub(m.t, server) }
	}
}

// sealed returns the files of some sealed shards of a server.
func (m *tormentor) sealed(server int) []string {
	var files []string
	usages, err := m.n.shards.Usage(m.t.Context(), m.f.ServerAddr(server))
	m.must(err)
	for _, u := range usages {
		infos, err := m.n.shards.List(m.t.Context(), m.f.ServerAddr(server), u.Disk)
		m.must(err)
		for _, info := range infos {
			if info.Sealed && info.Allocated > 0 && m.rand.IntN(3) == 0 && len(files) < 8 {
				files = append(files, filepath.Join(u.Path, "shards", fmt.Sprintf("%d.%d", info.Ref.Volume, info.Ref.Shard)))
			}
		}
	}
	return files
}

// flip flips a bit somewhere in what a file holds.
func (m *tormentor) flip(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	for range 1 + m.rand.IntN(3) {
		at := m.rand.Int64N(info.Size())
		if m.rand.IntN(4) == 0 {
			at = m.rand.Int64N(16 << 10) // its head
		}
		var b [1]byte
		if _, err := f.ReadAt(b[:], at); err != nil {
			return err
		}
		b[0] ^= 1 << m.rand.IntN(8)
		if _, err := f.WriteAt(b[:], at); err != nil {
			return err
		}
	}
	return nil
}

func (m *tormentor) truncate(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	return os.Truncate(name, m.rand.Int64N(info.Size()))
}

func (m *tormentor) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// repairGrace is how long a server may be away in these clusters.
const repairGrace = 3 * time.Second

// upkeep has the cluster maintain itself as quickly as it can.
func upkeep(t testing.TB, d *door) {
	t.Helper()
	u := granary.DefaultUpkeep()
	u.RepairGrace, u.YoungAge, u.ReclaimGrace, u.MoveRate = granary.Time(repairGrace), granary.Time(time.Second), granary.Time(time.Second), 0
	if _, err := d.c.Do(t.Context(), granary.Cred{}, &granary.SetUpkeep{Upkeep: u}); err != nil {
		t.Fatal(err)
	}
}

// mountSmall mounts a small file system at a directory, if that is allowed; "" if not.
func mountSmall(t testing.TB, dir string, size int) string {
	err := syscall.Mount("granary-chaos", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size))
	if err != nil {
		t.Logf("no disk is filled: %v", err)
		return ""
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount of %s: %v", strings.TrimSpace(dir), err)
		}
	})
	return dir
}

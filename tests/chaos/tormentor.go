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
	"github.com/dsorchard/granary/tests/faultdisk"
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

	broken map[string]*faultdisk.Disk // disks that break when they are told to, by their directories
	mount  *mountProcess              // nil: there are no doors
	mortal *remote                    // a client that is killed now and then

	rounds int
	counts map[string]int // of troubles, by name
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
		{name: "flipped bits", make: m.silently(true, m.flip)},
		{name: "flipped bits in open shards", make: m.silently(false, m.flip)},
		{name: "disk deleted while its server is down", make: m.diskGoneDown},
		{name: "truncated shards", make: m.silently(true, m.truncate)},
		{name: "truncated open shards", make: m.silently(false, m.truncate)},
		{name: "pause", make: m.pause},
		{name: "disk deleted under its server", make: m.diskGone},
		{name: "restart of all", all: true, make: m.restartAll},
		{name: "deleted shards", make: m.silently(true, os.Remove)},
		{name: "deleted open shards", make: m.silently(false, os.Remove)},
		{name: "isolation", make: m.isolate},
		{name: "kill of all masters", all: true, make: m.killMasters},
		{name: "server away for long", make: m.away},
	}
	if m.full != "" {
		list = append(list, trouble{name: "full disk", all: true, make: m.fill})
	}
	if len(m.broken) > 0 {
		list = append(list, m.diskTroubles()...)
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
	for ; time.Now().Before(until) && !m.t.Failed(); m.rounds++ {
		m.round(list[m.rounds%len(list)])
	}
}

// round damages one server, or two, and perhaps a door, and waits until the cluster is whole.
func (m *tormentor) round(first trouble) {
	victims := m.rand.Perm(m.f.Servers())[:parityN]
	name := first.name
	m.count(first)
	undo := []func(){first.make(victims[0] + 1)}
	if !first.all {
		name = fmt.Sprintf("%s of server %d", name, victims[0]+1)
		list := m.troubles()
		if second := list[m.rand.IntN(len(list))]; !second.all {
			name += fmt.Sprintf(", %s of server %d", second.name, victims[1]+1)
			m.count(second)
			undo = append(undo, second.make(victims[1]+1))
		}
	}
	if m.mount != nil && m.rand.IntN(3) == 0 {
		third := m.doorTroubles()[m.rand.IntN(2)]
		name += ", " + third.name
		m.count(third)
		if back := third.make(0); first.all {
			undo = append(undo, back) // the masters first
		} else {
			undo = append([]func(){back}, undo...) // who uses it does not wait for what else is waited for
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
	m.n.parities(m.t)
	m.t.Logf("%s: whole after %s; %d files are right (%s); %d operations meanwhile, the slowest took %s; %d of unknown outcome so far", name,
		took.Round(time.Millisecond), len(m.l.truth.all()), time.Since(began).Round(time.Millisecond), m.l.ops.Load()-ops,
		time.Duration(m.l.slow.Swap(0)).Round(time.Millisecond), m.l.lost.Load())
}

func (m *tormentor) count(x trouble) {
	if m.counts == nil {
		m.counts = map[string]int{}
	}
	m.counts[x.name]++
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
	m.empty(dir)
	return func() {
		m.f.KillServer(m.t, server)
		m.empty(dir) // it may have made something there since
		m.must(os.MkdirAll(dir, 0o700))
		m.f.StartServer(m.t, server, dir)
	}
}

// empty removes the directory of a disk; of one where something is mounted, what is in it.
func (m *tormentor) empty(dir string) {
	d := m.broken[dir]
	if d == nil {
		m.must(os.RemoveAll(dir))
		return
	}
	entries, err := os.ReadDir(d.Lower)
	m.must(err)
	for _, e := range entries {
		m.must(os.RemoveAll(filepath.Join(d.Lower, e.Name())))
	}
}

func (m *tormentor) diskGoneDown(server int) func() {
	dir := m.f.DiskDir(server, m.disk(server))
	m.f.KillServer(m.t, server)
	m.empty(dir)
	m.must(os.MkdirAll(dir, 0o700))
	return func() { m.f.StartServer(m.t, server, dir) }
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

// silently damages some shards of a server while it runs: sealed ones, or such as are still written. The server finds out when it
// verifies its disks next: it is made to do so now.
func (m *tormentor) silently(sealed bool, damage func(file string) error) func(server int) func() {
	return func(server int) func() {
		for _, file := range m.shards(server, sealed) {
			if err := damage(file); err != nil && !errors.Is(err, os.ErrNotExist) { // it may be dropped at any time
				m.t.Fatal(err)
			}
		}
		return func() { m.n.scrub(m.t, server) }
	}
}

// shards returns the files of some shards of a server.
func (m *tormentor) shards(server int, sealed bool) []string {
	var files []string
	usages, err := m.n.shards.Usage(m.t.Context(), m.f.ServerAddr(server))
	m.must(err)
	for _, u := range usages {
		infos, err := m.n.shards.List(m.t.Context(), m.f.ServerAddr(server), u.Disk)
		m.must(err)
		dir := u.Path
		if d := m.broken[dir]; d != nil {
			dir = d.Lower
		}
		for _, info := range infos {
			if info.Sealed == sealed && info.Allocated > 0 && info.Length > 0 && m.rand.IntN(3) == 0 && len(files) < 8 {
				files = append(files, filepath.Join(dir, "shards", fmt.Sprintf("%d.%d", info.Ref.Volume, info.Ref.Shard)))
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

// fork makes another source of chance.
func (m *tormentor) fork() *rand.Rand { return rand.New(rand.NewPCG(m.rand.Uint64(), m.rand.Uint64())) }

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

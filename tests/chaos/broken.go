//go:build e2e

package chaos

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/tests/cluster"
	"github.com/dsorchard/granary/tests/faultdisk"
)

// breakable is the disk of each server that breaks when it is told to.
const breakable = 1

// breakables mounts such disks, if that is allowed. The directories must be there, and empty.
func breakables(t testing.TB, f *cluster.Fleet) map[string]*faultdisk.Disk {
	t.Helper()
	disks := map[string]*faultdisk.Disk{}
	for i := 1; i <= f.Servers(); i++ {
		point := f.DiskDir(i, breakable)
		lower := point + ".lower"
		if err := os.Mkdir(lower, 0o700); err != nil {
			t.Fatal(err)
		}
		d, err := faultdisk.Mount(lower, point)
		if err != nil {
			t.Logf("no disk is broken: %v", err)
			break
		}
		t.Cleanup(func() {
			if err := d.Unmount(); err != nil {
				t.Errorf("unmount of %s: %v", point, err)
			}
		})
		disks[point] = d
	}
	return disks
}

// diskTroubles are what happens to one disk of a server that goes on.
func (m *tormentor) diskTroubles() []trouble {
	return []trouble{
		{name: "failing syncs", make: m.breaks(faultdisk.Faults{Sync: syscall.EIO}, true)},
		{name: "some failing syncs", make: m.breaks(faultdisk.Faults{Sync: syscall.EIO, Every: 7}, true)},
		{name: "failing writes, torn", make: m.breaks(faultdisk.Faults{Write: syscall.EIO, Torn: true}, true)},
		{name: "failing reads", make: m.breaks(faultdisk.Faults{Read: syscall.EIO}, true)},
		{name: "some failing reads", make: m.breaks(faultdisk.Faults{Read: syscall.EIO, Every: 20}, true)},
		{name: "no space, torn", make: m.breaks(faultdisk.Faults{Write: syscall.ENOSPC, Torn: true}, false)},
		{name: "slow disk", make: m.breaks(faultdisk.Faults{Delay: 200 * time.Millisecond}, false)},
		{name: "hanging disk", make: m.hang},
	}
}

// breaks breaks a disk. One that fails is emptied by the cluster, which is waited for now and then, and replaced by a new one.
func (m *tormentor) breaks(faults faultdisk.Faults, replace bool) func(server int) func() {
	return func(server int) func() {
		dir := m.f.DiskDir(server, breakable)
		m.broken[dir].Set(faults)
		return func() {
			if !replace {
				m.broken[dir].Set(faultdisk.Faults{})
				return
			}
			if m.rand.IntN(2) == 0 && os.Getenv("GRANARY_CHAOS") != "" { // it takes a while
				m.awaitEmptied(dir)
			}
			m.f.KillServer(m.t, server)
			m.broken[dir].Set(faultdisk.Faults{})
			m.empty(dir)
			m.f.StartServer(m.t, server, dir)
		}
	}
}

// hang makes a disk hang, for longer than others do with bearing.
func (m *tormentor) hang(server int) func() {
	dir := m.f.DiskDir(server, breakable)
	m.broken[dir].Set(faultdisk.Faults{Hang: true})
	m.hold(5 * time.Second)
	return func() { m.broken[dir].Set(faultdisk.Faults{}) }
}

// awaitEmptied waits until nothing lies on a disk any more, if the cluster has found that it fails.
func (m *tormentor) awaitEmptied(dir string) {
	began := time.Now()
	suspect := true
	cluster.WaitFor(m.t, healWithin, "a failing disk is emptied", func() error {
		ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
		defer cancel()
		a, err := client.Ask[*granary.Disks](ctx, m.d.c, &granary.ListDisks{})
		if err != nil {
			return err
		}
		for _, d := range a.Disks {
			if d.Usage.Path != dir || d.State == granary.DiskLost || d.State == granary.DiskRetired {
				continue
			}
			if suspect = d.State != granary.DiskActive; suspect && d.Volumes > 0 {
				rest(ctx, 200*time.Millisecond)
				return fmt.Errorf("%d volumes have a shard on disk %s, which is %s\n%s", d.Volumes, d.ID, d.State, m.n.doing(ctx))
			}
		}
		return nil
	})
	m.t.Logf("the failing disk was found: %t; waited %s for it to be emptied", suspect, time.Since(began).Round(time.Millisecond))
}

// doorTroubles are what happens to doors; they have no domain.
func (m *tormentor) doorTroubles() []trouble {
	return []trouble{
		{name: "kill of the filer", make: func(int) func() {
			m.f.KillFiler(m.t)
			return func() { m.f.StartFiler(m.t) }
		}},
		{name: "kill of the mount", make: func(int) func() {
			m.mount.kill(m.t)
			return func() { m.mount.start(m.t) }
		}},
	}
}

// doors opens all ways into the cluster but the Go client's, and a writer for each.
func (m *tormentor) doors(t *testing.T) {
	m.f.StartFiler(t)
	bucket, err := openObjects(t.Context(), &m.f.Access, "torment")
	m.must(err)
	m.mount = newMount(t, &m.f.Access)
	through := &remote{spec: "mount " + m.mount.point, log: m.f.Dir + "/hands.log"}
	m.mortal = &remote{spec: "client " + m.f.Cluster, log: m.f.Dir + "/hands.log", mortal: m.fork()}
	for _, r := range []*remote{through, m.mortal} {
		t.Cleanup(func() { m.must(r.end(true)) })
	}
	const changeMax = 64 << 10 // one write of a mount
	m.l.others = []*writer{
		{name: "S3 writer", h: bucket, dir: bucket.dir(), own: true},
		{name: "HTTP writer", h: &pages{url: m.f.HTTP}, dir: "load/http/", everyone: true},
		{name: "writer on a mount", h: through, dir: "load/mount/", changeMax: changeMax, everyone: true},
		{name: "mortal writer", h: m.mortal, dir: "load/mortal/", changeMax: changeMax},
	}
	for _, w := range m.l.others {
		w.l, w.rand = m.l, m.fork()
	}
}

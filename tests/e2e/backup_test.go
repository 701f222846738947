//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestBackupRestore loses all masters with their directories, and goes on from a backup: what is in it reads back right,
// what came after it is not there, and new files can be written. The volume servers, and a filer, run on.
func TestBackupRestore(t *testing.T) {
	d := cluster.StartDev(t, 3, 4, "--filers", "2")
	u := &uploads{url: d.HTTP, dir: "kept", list: map[string][]byte{}}
	u.put(t, 12)
	file := filepath.Join(t.TempDir(), "backup")
	d.Granary("cluster", "backup", file).Run(t)
	d.Granary("cluster", "backup", "--verify", file).Run(t)

	// The future that is lost goes on in volumes that are open in the backup, and seals them.
	later := &uploads{url: d.HTTP, dir: "later", list: map[string][]byte{}}
	later.put(t, 8)
	for path := range u.list {
		if strings.HasSuffix(path, "7") {
			d.Granary("fs", "rm", "/"+path).Run(t)
		}
	}
	f2 := d.Process(t, "f2").Addr["http"]
	if _, err := httpGet("http://" + f2 + "/" + u.dir + "/file000"); err != nil {
		t.Fatal(err)
	}
	d.Kill(t, "f1") // which has written; its session ends, and its volumes are sealed
	waitSealed(t, d)
	for _, name := range []string{"m1", "m2", "m3"} {
		d.Kill(t, name)
		if err := os.RemoveAll(d.Process(t, name).Data); err != nil {
			t.Fatal(err)
		}
	}
	m1 := d.Process(t, "m1")
	host, port, ok := strings.Cut(m1.Addr["grpc"], ":")
	if !ok {
		t.Fatal(m1.Addr)
	}
	d.Granary("cluster", "restore", file, "--data", m1.Data, "--id", "m1", "--listen", host, "--listen-base", port).Run(t)
	d.StartRole(t, "m1")
	d.Cluster = m1.Addr["grpc"]
	waitHealth(t, d, "ok")

	waitSealed(t, d) // though their servers have sealed some of them at a greater length
	d.StartRole(t, "f1")
	for _, url := range []string{d.HTTP, "http://" + f2} { // the second has known the future that was lost
		u.url = url
		cluster.WaitFor(t, cluster.ReadyWithin, url, func() error {
			_, err := httpGet(url + "/" + u.dir + "/file000")
			return err
		})
		u.verify(t)
	}
	for path := range later.list {
		if _, err := httpGet(u.url + "/" + path); err == nil {
			t.Errorf("%s came after the backup, and is there", path)
		}
	}
	u.put(t, 6)
	u.verify(t)
	again := &uploads{url: d.HTTP, dir: "later", list: map[string][]byte{}}
	for path, content := range later.list { // the very content that was lost
		if err := again.try(t.Context(), path, content); err != nil {
			t.Fatal(err)
		}
	}
	again.verify(t)
	if !maps.EqualFunc(again.list, later.list, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Error("not all of it was written again")
	}

	// It is a cluster like any other: it is backed up, and that is in order.
	file += "2"
	d.Granary("cluster", "backup", file).Run(t)
	d.Granary("cluster", "backup", "--verify", file).Run(t)
	damaged, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(file+"-damaged", damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	verify := exec.CommandContext(t.Context(), d.Binary, "cluster", "backup", "--verify", file+"-damaged")
	if out, err := verify.CombinedOutput(); !errors.As(err, &exit) || !strings.Contains(string(out), "damaged") {
		t.Errorf("a damaged backup: %v, %s", err, out)
	}
	if _, err := os.Stat(file + ".part"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a part is left: %v", err)
	}
}

// waitSealed waits until all volumes are sealed, but for those of the next incarnation.
func waitSealed(t *testing.T, d *cluster.Dev) {
	t.Helper()
	cluster.WaitFor(t, cluster.ReadyWithin, "the end of all volumes", func() error {
		var list []struct {
			ID    uint64
			State string
		}
		out := d.Granary("volume", "ls", "--output", "json").Run(t)
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			return err
		}
		for _, v := range list {
			if v.State != "sealed" && v.ID < 1<<40 {
				return fmt.Errorf("volume %d is %s", v.ID, v.State)
			}
		}
		return nil
	})
}

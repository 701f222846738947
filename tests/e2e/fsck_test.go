//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// streamStart is where the stream begins in a shard's file.
const streamStart = 16 << 10

// checked is what "fsck --output json" prints.
type checked struct {
	Clean                          bool
	Volumes, Shards, Blocks, Files int
	ShardFaults                    []shardFault
	LostBlocks                     []struct{ Volume, Shard int }
	DamagedFiles                   []struct {
		Path   string
		Size   uint64
		Ranges []struct{ Offset, Length uint64 }
	}
	ReferenceFaults []struct{ Block, Counted, References int }
}

type shardFault struct {
	Volume, Shard   int
	Problem, Detail string
	Mended          bool
}

// fsck runs a check, which must exit as it says.
func fsck(t *testing.T, d *cluster.Dev, args ...string) *checked {
	t.Helper()
	out, err := d.Granary(append([]string{"fsck", "--output", "json"}, args...)...).Try(t.Context())
	var r checked
	if jerr := json.Unmarshal(out, &r); jerr != nil {
		t.Fatalf("fsck %v: %v: %s: %v", args, jerr, out, err)
	}
	if r.Clean != (err == nil) {
		t.Fatalf("fsck %v: clean is %v, and it ended with %v", args, r.Clean, err)
	}
	return &r
}

func (r *checked) mustBeClean(t *testing.T) {
	t.Helper()
	if !r.Clean || len(r.ShardFaults)+len(r.LostBlocks)+len(r.DamagedFiles)+len(r.ReferenceFaults) > 0 {
		t.Fatalf("a clean cluster is not: %+v", r)
	}
}

// volumeShown is a line of "volume ls".
type volumeShown struct {
	ID        int
	State     string
	Code      string
	Watermark uint64
	LiveBytes uint64
	DeadBytes uint64
	Shards    []struct{ Addr string }
}

func volumes(t *testing.T, d *cluster.Dev) []volumeShown {
	t.Helper()
	out, err := d.Granary("volume", "ls", "--output", "json").Try(t.Context())
	var list []volumeShown
	if err := errors.Join(err, json.Unmarshal(out, &list)); err != nil {
		t.Fatal(err)
	}
	return list
}

// sealAll seals all volumes.
func sealAll(t *testing.T, d *cluster.Dev) {
	t.Helper()
	for _, v := range volumes(t, d) {
		if v.State == "open" {
			d.Granary("volume", "seal", fmt.Sprint(v.ID)).Run(t)
		}
	}
	cluster.WaitFor(t, cluster.ReadyWithin, "sealed volumes", func() error {
		for _, v := range volumes(t, d) {
			if v.State != "sealed" {
				return fmt.Errorf("volume %d is %s", v.ID, v.State)
			}
		}
		return nil
	})
}

// shardFile returns the file of a shard, and fails if there is not exactly one.
func shardFile(t *testing.T, d *cluster.Dev, volume, shard int) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(d.Dir, "*", "*", "shards", fmt.Sprintf("%d.%d", volume, shard)))
	if more, merr := filepath.Glob(filepath.Join(d.Dir, "*", "shards", fmt.Sprintf("%d.%d", volume, shard))); err == nil {
		files, err = append(files, more...), merr
	}
	if err != nil || len(files) != 1 {
		t.Fatalf("shard %d.%d has files %v: %v", volume, shard, files, err)
	}
	return files[0]
}

// flip changes one byte of a shard's stream, or with every one in every so many.
func flip(t *testing.T, name string, at, every int64) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	for off := streamStart + at; off < st.Size(); off += every {
		if _, err := f.ReadAt(b, off); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 0x40
		if _, err := f.WriteAt(b, off); err != nil {
			t.Fatal(err)
		}
		if every == 0 {
			return
		}
	}
}

// TestFsck damages shards one after the other: each damage is found, and mended. Then more shards of a volume are damaged than
// it can lose, and exactly the files are named that cannot be read.
func TestFsck(t *testing.T) {
	d := cluster.StartDev(t, 1, 6)
	var all []*uploads
	for dir, code := range map[string]string{"wide": "4+2", "narrow": "2+1"} {
		d.Granary("fs", "mkdir", "/"+dir).Run(t)
		d.Granary("policy", "set", "/"+dir, "--ec", code).Run(t)
		u := &uploads{url: d.HTTP, dir: dir, list: map[string][]byte{}}
		u.put(t, 15)
		all = append(all, u)
	}
	r := fsck(t, d, "--data") // with open volumes
	r.mustBeClean(t)
	if r.Files < 30 || r.Blocks == 0 {
		t.Errorf("it has looked at %+v only", r)
	}
	sealAll(t, d)
	fsck(t, d, "--data").mustBeClean(t)

	list := volumes(t, d)
	wide := list[slices.IndexFunc(list, func(v volumeShown) bool { return v.Code == "4+2" && v.Watermark > 1<<20 })]
	damages := []struct {
		name    string
		shard   int
		problem string
		do      func(file string)
	}{
		{"a flipped byte of a data shard", 1, "damaged", func(file string) { flip(t, file, 5000, 0) }},
		{"a flipped byte of a parity shard", 5, "damaged", func(file string) { flip(t, file, 500_000, 0) }},
		{"a truncated shard", 0, "damaged", func(file string) {
			if err := os.Truncate(file, streamStart+100_000); err != nil {
				t.Fatal(err)
			}
		}},
		{"a deleted shard", 4, "damaged", func(file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, x := range damages {
		x.do(shardFile(t, d, wide.ID, x.shard))
		r := fsck(t, d, "--data")
		if len(r.ShardFaults) != 1 || r.ShardFaults[0].Volume != wide.ID || r.ShardFaults[0].Shard != x.shard || len(r.DamagedFiles) > 0 {
			t.Fatalf("%s: %+v", x.name, r)
		}
		if p := r.ShardFaults[0].Problem; p != x.problem && p != "lost" { // the leader may have heard of it
			t.Errorf("%s is said to be %s", x.name, p)
		}
		r = fsck(t, d, "--data", "--repair", "--wait", "--timeout", "2m")
		if !r.Clean || len(r.LostBlocks) > 0 {
			t.Fatalf("%s was not mended: %+v", x.name, r)
		}
		fsck(t, d, "--data").mustBeClean(t)
	}

	for shard := range 3 {
		flip(t, shardFile(t, d, wide.ID, shard), 100, 3000)
	}
	r = fsck(t, d, "--data")
	if r.Clean || len(r.LostBlocks) == 0 {
		t.Fatalf("three shards of 4+2 are damaged: %+v", r)
	}
	named := map[string]bool{}
	for _, f := range r.DamagedFiles {
		named[f.Path] = true
		if len(f.Ranges) == 0 {
			t.Errorf("%s: nothing says where it is damaged", f.Path)
		}
	}
	readable := 0
	for _, u := range all {
		for path, want := range u.list {
			out, err := d.Granary("fs", "cat", "/"+path).Try(t.Context()) // no cache helps it
			if whole := err == nil && string(out) == string(want); whole == named["/"+path] {
				t.Errorf("%s is readable: %v, named as damaged: %v (%v)", path, whole, named["/"+path], err)
			} else if whole {
				readable++
			}
			delete(named, "/"+path)
		}
	}
	if len(named) > 0 || readable < 15 {
		t.Errorf("%v are named too; %d files are readable", named, readable)
	}
}

// TestFsckRebuild moves everything after a backup, loses all that the masters have, and goes on from the backup: the blocks are
// found again where they were moved to.
func TestFsckRebuild(t *testing.T) {
	d := cluster.StartDev(t, 1, 6)
	u := &uploads{url: d.HTTP, dir: "kept", list: map[string][]byte{}}
	u.put(t, 15)
	sealAll(t, d)
	file := filepath.Join(t.TempDir(), "backup")
	d.Granary("cluster", "backup", file).Run(t)
	before := map[int]bool{}
	d.Granary("cluster", "upkeep", "--reclaim-grace", "1s", "--young-age", "1s", "--move-rate", "0").Run(t)
	for _, v := range volumes(t, d) {
		before[v.ID] = true
		d.Granary("volume", "move", fmt.Sprint(v.ID)).Run(t)
	}
	cluster.WaitFor(t, 2*cluster.ReadyWithin, "the old volumes to go", func() error {
		for _, v := range volumes(t, d) {
			if before[v.ID] || v.State != "sealed" {
				return fmt.Errorf("volume %d is %s", v.ID, v.State)
			}
		}
		return nil
	})

	d.Kill(t, "m1")
	m1 := d.Process(t, "m1")
	if err := os.RemoveAll(m1.Data); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(m1.Addr["grpc"], ":")
	d.Granary("cluster", "restore", file, "--data", m1.Data, "--id", "m1", "--listen", host, "--listen-base", port).Run(t)
	d.StartRole(t, "m1")
	d.Cluster = m1.Addr["grpc"]
	cluster.WaitFor(t, cluster.ReadyWithin, "the volume servers", func() error {
		st, err := d.Status(t.Context())
		if err == nil && st.ServersUp != 6 {
			err = fmt.Errorf("%d are up", st.ServersUp)
		}
		return err
	})
	r := fsck(t, d)
	if len(r.LostBlocks) == 0 || len(r.DamagedFiles) < 10 {
		t.Fatalf("everything has moved: %+v", r)
	}
	if r := fsck(t, d, "--rebuild"); len(r.LostBlocks)+len(r.DamagedFiles) > 0 {
		t.Fatalf("not all was found again: %+v", r)
	}
	for path, want := range u.list {
		if out := d.Granary("fs", "cat", "/"+path).Run(t); out != string(want) {
			t.Errorf("%s reads back wrong", path)
		}
	}
	waitHealth(t, d, "ok")
	if r := fsck(t, d, "--data"); !r.Clean {
		t.Errorf("afterwards: %+v", r)
	}
}

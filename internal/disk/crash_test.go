package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// tb is what a *testing.T and a *rapid.T have in common.
type tb interface {
	Helper()
	Fatal(...any)
}

func must(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bytesOf(t tb, d FS, name string) []byte {
	f, err := d.Open(name)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	b, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	must(t, err)
	must(t, f.Close())
	return b
}

// TestCrashKeepsWhatWasSynced writes at random, syncs now and then, and takes the power away: what was
// synced and not touched since is there, and every other sector is an old one, a newer one or zeros.
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := NewMem(MemOptions{})
		f, err := d.Create("a")
		must(t, err)
		must(t, d.SyncDir("."))
		const length = 64 << 10
		var now, synced []byte
		touched := make([]bool, length/sectorSize)
		for i := range rapid.IntRange(1, 30).Draw(t, "writes") {
			off := rapid.IntRange(0, length-1).Draw(t, "off")
			p := bytes.Repeat([]byte{byte(i + 1)}, rapid.IntRange(1, min(9000, length-off)).Draw(t, "n"))
			_, err := f.WriteAt(p, int64(off))
			must(t, err)
			now = append(now, make([]byte, max(0, off+len(p)-len(now)))...)
			copy(now[off:], p)
			for s := off / sectorSize; s <= (off+len(p)-1)/sectorSize; s++ {
				touched[s] = true
			}
			if rapid.IntRange(0, 3).Draw(t, "sync") == 0 {
				must(t, f.Sync())
				synced = bytes.Clone(now)
				clear(touched)
			}
		}
		after := d.Crash(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		got := bytesOf(t, after, "a")
		if len(got) < len(synced) || len(got) > len(now) {
			t.Fatalf("%d bytes are left; %d were synced, %d written", len(got), len(synced), len(now))
		}
		for i, b := range synced {
			if !touched[i/sectorSize] && got[i] != b {
				t.Fatalf("byte %d was synced as %d and is %d", i, b, got[i])
			}
		}
	})
}

// TestCrashOfTruncate shortens and grows a file without a sync: each has happened whole or not at all, and what is
// past an end that was cut never comes back.
func TestCrashOfTruncate(t *testing.T) {
	d := NewMem(MemOptions{})
	f, err := d.Create("a")
	must(t, err)
	must(t, d.SyncDir("."))
	old := bytes.Repeat([]byte("x"), 3*pageSize)
	_, err = f.WriteAt(old, 0)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Truncate(100))
	must(t, f.Truncate(5000))
	zeros := make([]byte, 5000)
	outcomes := map[string]bool{string(old): false, string(old[:100]): false, string(old[:5000]): false, string(old[:100]) + string(zeros[100:]): false}
	for seed := range uint64(100) {
		after := d.CrashClone(rand.New(rand.NewPCG(seed, 1)))
		got := string(bytesOf(t, after, "a"))
		if _, ok := outcomes[got]; !ok {
			t.Fatalf("%d bytes are left", len(got))
		}
		outcomes[got] = true
	}
	for outcome, seen := range outcomes {
		if !seen {
			t.Errorf("%d bytes never came about", len(outcome))
		}
	}
	must(t, f.Sync())
	if got := bytesOf(t, d.Crash(rand.New(rand.NewPCG(1, 1))), "a"); len(got) != 5000 || got[100] != 0 {
		t.Fatalf("%d bytes were synced", len(got))
	}
}

// TestCrashOutcomes checks that over many crashes an unsynced write is seen kept, lost and torn, and that
// the same chance gives the same outcome.
func TestCrashOutcomes(t *testing.T) {
	d := NewMem(MemOptions{})
	f, err := d.Create("a")
	must(t, err)
	must(t, d.SyncDir("."))
	_, err = f.WriteAt(bytes.Repeat([]byte{1}, 4*sectorSize), 0)
	must(t, err)
	must(t, f.Sync())
	_, err = f.WriteAt(bytes.Repeat([]byte{2}, 4*sectorSize), 0)
	must(t, err)
	seen := make(map[string]int)
	outcomeOf := func(seed uint64) string {
		g, err := d.CrashClone(rand.New(rand.NewPCG(seed, 0))).Open("a")
		must(t, err)
		var s []byte
		for i := range 4 {
			b := make([]byte, sectorSize)
			_, err := g.ReadAt(b, int64(i)*sectorSize)
			must(t, err)
			if !bytes.Equal(b, bytes.Repeat(b[:1], sectorSize)) {
				t.Fatal("a sector is torn")
			}
			s = append(s, '0'+b[0])
		}
		return string(s)
	}
	for seed := range uint64(200) {
		outcome := outcomeOf(seed)
		seen[outcome]++
		if again := outcomeOf(seed); again != outcome {
			t.Fatalf("seed %d gave %s, then %s", seed, outcome, again)
		}
	}
	if seen["1111"] == 0 || seen["2222"] == 0 || len(seen) < 8 {
		t.Fatalf("outcomes are %v", seen)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err != nil {
		t.Fatalf("a look at a crash stopped the disk: %v", err)
	}
}

func TestCrashedDiskIsDead(t *testing.T) {
	d := NewMem(MemOptions{})
	f, err := d.Create("a")
	must(t, err)
	must(t, d.SyncDir("."))
	lock, err := d.Lock("lock")
	must(t, err)
	must(t, d.SyncDir("."))
	after := d.Crash(rand.New(rand.NewPCG(1, 1)))
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	if _, err := d.Open("a"); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	must(t, f.Close())
	if _, err := after.Lock("lock"); err != nil {
		t.Fatalf("a lock outlived the power: %v", err)
	}
	must(t, lock.Close())
	g, err := after.Open("a")
	must(t, err)
	must(t, g.Sync())
}

// TestCrashOfNames replaces files by the idiom (write, sync, rename, sync the directory) and takes the power
// away at any step: the name always holds one whole version, and the newest whose directory was synced or
// a later one.
func TestCrashOfNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := NewMem(MemOptions{})
		must(t, d.MkdirAll("dir"))
		must(t, d.SyncDir("."))
		durable := 0
		stop := rapid.IntRange(1, 24).Draw(t, "steps")
		for step := range stop {
			version := step/4 + 1
			switch step % 4 {
			case 0:
				f, err := d.Create(fmt.Sprintf("dir/tmp%d", version))
				must(t, err)
				_, err = f.WriteAt(bytes.Repeat([]byte{byte(version)}, 1000), 0)
				must(t, err)
				must(t, f.Close())
			case 1:
				f, err := d.Open(fmt.Sprintf("dir/tmp%d", version))
				must(t, err)
				must(t, f.Sync())
			case 2:
				must(t, d.Rename(fmt.Sprintf("dir/tmp%d", version), "dir/name"))
			case 3:
				if version%2 == 0 { // every other one is left to the next
					must(t, d.SyncDir("dir"))
					durable = version
				}
			}
		}
		after := d.Crash(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		names, err := after.ReadDir("dir")
		must(t, err)
		if !slices.Contains(names, "name") {
			if durable > 0 {
				t.Fatalf("version %d is gone: %q", durable, names)
			}
			return
		}
		got := bytesOf(t, after, "dir/name")
		if len(got) != 1000 || int(got[0]) < durable || !bytes.Equal(got, bytes.Repeat(got[:1], 1000)) {
			t.Fatalf("version %d was durable; %d bytes of %v are left", durable, len(got), got[:min(1, len(got))])
		}
	})
}

// TestCrashIsATree makes, moves and removes files and directories at random and checks that after any
// crash each file has one name at most, that what a SyncDir of everything covered is there exactly, and that a
// synced state survives the next crash.
func TestCrashIsATree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := NewMem(MemOptions{})
		dirs := []string{".", "x", "y", "x/z"}
		must(t, d.MkdirAll("x/z"))
		must(t, d.MkdirAll("y"))
		for _, dir := range dirs {
			must(t, d.SyncDir(dir))
		}
		name := rapid.Custom(func(t *rapid.T) string {
			return rapid.SampledFrom(dirs).Draw(t, "dir") + "/" + rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "base")
		}).Filter(func(s string) bool { return s[0] != '.' })
		content := byte(0)
		for range rapid.IntRange(1, 40).Draw(t, "calls") {
			switch rapid.IntRange(0, 3).Draw(t, "call") {
			case 0:
				if f, err := d.Create(name.Draw(t, "name")); err == nil {
					content++
					_, err := f.WriteAt([]byte{content}, 0)
					must(t, err)
					must(t, f.Sync())
				}
			case 1: // may fail: the name may not be there
				_ = d.Remove(name.Draw(t, "name"))
			case 2:
				_ = d.Rename(name.Draw(t, "old"), name.Draw(t, "new"))
			case 3:
				must(t, d.SyncDir(rapid.SampledFrom(dirs).Draw(t, "dir")))
			}
		}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		seen := make(map[string]string)
		for path, text := range tree(t, d.CrashClone(r), dirs) {
			if other, ok := seen[text]; ok {
				t.Fatalf("the file %x is both %s and %s", text, path, other)
			}
			seen[text] = path
		}
		for _, dir := range dirs {
			must(t, d.SyncDir(dir))
		}
		want := tree(t, d, dirs)
		after := d.Crash(r)
		if got := tree(t, after, dirs); !maps.Equal(got, want) {
			t.Fatalf("synced %v, found %v", want, got)
		}
		if got := tree(t, after.Crash(r), dirs); !maps.Equal(got, want) {
			t.Fatalf("a second crash left %v of %v", got, want)
		}
	})
}

// tree returns the content of every file in the directories.
func tree(t *rapid.T, d FS, dirs []string) map[string]string {
	files := make(map[string]string)
	for _, dir := range dirs {
		names, err := d.ReadDir(dir)
		must(t, err)
		for _, name := range names {
			if name = path.Join(dir, name); !slices.Contains(dirs, name) {
				files[name] = string(bytesOf(t, d, name))
			}
		}
	}
	return files
}

package volume

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// paths returns the directories that a store serves.
func paths(s *Store) string {
	var dirs []string
	for _, u := range s.Usage() {
		dirs = append(dirs, filepath.Base(u.Path))
	}
	return strings.Join(dirs, " ")
}

// threeDisks makes directories a, b and c, and disks of them.
func threeDisks(t *testing.T) (Options, *Store) {
	root := t.TempDir()
	o := testOptions(t, filepath.Join(root, "a"), filepath.Join(root, "b"), filepath.Join(root, "c"))
	return o, open(t, o)
}

// A mount point on which nothing is mounted does not become a new disk, and does not keep the others from being served.
func TestEmptyDirectoryOfKnownDisk(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"empty":        func(dir string) error { return os.Mkdir(dir, 0o700) },
		"missing":      func(string) error { return nil },
		"other things": func(dir string) error { return os.MkdirAll(filepath.Join(dir, "backup"), 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			o, s := threeDisks(t)
			b := o.Dirs[1]
			id := s.Usage()[1].Disk
			closeStore(t, s)
			if err := os.Rename(b, b+".away"); err != nil {
				t.Fatal(err)
			}
			if err := spoil(b); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				s = open(t, o)
				if got := paths(s); got != "a c" {
					t.Fatalf("served: %s", got)
				}
				wantKind(t, s.Append(context.Background(), appendOf(granary.ShardRef{Disk: id, Volume: 1}, 0, 0, fill(1, 1))), granary.KindNotFound)
				closeStore(t, s)
			}
			// It comes back.
			if err := os.RemoveAll(b); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(b+".away", b); err != nil {
				t.Fatal(err)
			}
			s = open(t, o)
			if got := paths(s); got != "a b c" || s.Usage()[1].Disk != id {
				t.Fatalf("served: %+v", s.Usage())
			}
			closeStore(t, s)
			// It does not, and somebody says that there is another.
			if err := os.RemoveAll(b); err != nil {
				t.Fatal(err)
			}
			if name == "empty" {
				if err := spoil(b); err != nil {
					t.Fatal(err)
				}
			}
			formatted := o
			formatted.Format = []string{b + "/"}
			s = open(t, formatted)
			if got := paths(s); got != "a b c" || s.Usage()[1].Disk == id {
				t.Fatalf("served: %+v", s.Usage())
			}
			closeStore(t, s)
			s = open(t, o)
			if got := paths(s); got != "a b c" {
				t.Fatalf("served: %s", got)
			}
		})
	}
}

// A disk may move to another mount point, and a new one take its place.
func TestDisksChangePlaces(t *testing.T) {
	o, s := threeDisks(t)
	closeStore(t, s)
	for _, move := range [][2]int{{1, 3}, {2, 1}, {3, 2}} {
		dir := func(i int) string { return filepath.Join(filepath.Dir(o.Dirs[0]), string(rune('a'+i))) }
		if err := os.Rename(dir(move[0]), dir(move[1])); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, open(t, o))
	o.Dirs = append(o.Dirs, filepath.Join(filepath.Dir(o.Dirs[0]), "d"))
	if err := os.Rename(o.Dirs[0], o.Dirs[3]); err != nil {
		t.Fatal(err)
	}
	s = open(t, o) // a is made anew: the disk that it had is d
	if got := paths(s); got != "a b c d" {
		t.Fatalf("served: %s", got)
	}
}

// A disk that cannot be read, or whose identity is damaged, is left out; a server that would be another without it does not start.
func TestDeadDirectories(t *testing.T) {
	for _, op := range []disk.Op{disk.OpReadDir, disk.OpOpen, disk.OpLock, disk.OpReadAt} {
		t.Run(string(op), func(t *testing.T) {
			mems := map[string]*disk.Mem{"a": disk.NewMem(disk.MemOptions{}), "b": disk.NewMem(disk.MemOptions{})}
			dead := ""
			o := testOptions(t, "a", "b")
			o.OpenFS = func(dir string) (disk.FS, error) {
				return disk.NewFaulty(mems[dir], func(c disk.Call) disk.Fault {
					if dir == dead && c.Op == op {
						return disk.Fault{Err: syscall.EIO}
					}
					return disk.Fault{}
				}), nil
			}
			s := open(t, o)
			server := s.ServerID()
			closeStore(t, s)
			for _, dead = range []string{"a", "b"} {
				s = open(t, o)
				if got := paths(s); got == "a b" || got == dead || s.ServerID() != server {
					t.Fatalf("%s is dead; served: %s", dead, got)
				}
				mustAppend(t, s, appendOf(firstRef(s, 1), 0, 0, fill(1, 1)))
				closeStore(t, s)
			}
			mems["a"] = disk.NewMem(disk.MemOptions{})
			refused(t, granary.KindUnavailable, nil, o)
		})
	}
	o, s := threeDisks(t)
	closeStore(t, s)
	flip(t, filepath.Join(o.Dirs[0], identityName), 20)
	if err := os.Remove(filepath.Join(o.Dirs[1], shardsName)); err != nil {
		t.Fatal(err)
	}
	if got := paths(open(t, o)); got != "c" {
		t.Fatalf("served: %s", got)
	}
}

// A directory that somebody deletes is not served any more; what else goes wrong with it is no reason.
func TestDeletedDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := disk.NewFaulty(disk.NewMem(disk.MemOptions{}), nil)
		o := testOptions(t, "bad", "good")
		good := disk.NewMem(disk.MemOptions{})
		o.OpenFS = func(dir string) (disk.FS, error) {
			if dir == "bad" {
				return bad, nil
			}
			return good, nil
		}
		s := open(t, o)
		ref := firstRef(s, 1)
		mustAppend(t, s, appendOf(ref, 0, 0, fill(1, 1)))
		news := s.alarm.listen()
		bad.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpOpen && c.Name == identityName {
				return disk.Fault{Err: syscall.ENOENT}
			}
			return disk.Fault{}
		})
		time.Sleep(sampleEvery + missedPause*3/2) // one miss is not enough
		if got := paths(s); got != "bad good" {
			t.Fatalf("served: %s", got)
		}
		<-news
		if hb := s.heartbeat("", "", ""); len(hb.Disks) != 1 || hb.Disks[0].Path != "good" {
			t.Fatalf("heartbeat says %+v", hb)
		}
		_, _, err := s.ReadAt(t.Context(), ref, make([]byte, 1), 0)
		wantKind(t, err, granary.KindNotFound)
		_, err = s.List(ref.Disk)
		wantKind(t, err, granary.KindNotFound)
	})
}

// A full disk is read-only until there is room again, and not failing.
func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := disk.NewMem(disk.MemOptions{Capacity: 1 << 20})
		o := testOptions(t, "d")
		o.ReserveBytes = 256 << 10
		o.OpenFS = func(string) (disk.FS, error) { return mem, nil }
		s := open(t, o)
		big, small := firstRef(s, 1), firstRef(s, 2)
		mustAppend(t, s, appendOf(big, 0, 0, fill(700<<10, 1)))
		wantKind(t, s.Append(t.Context(), appendOf(small, 0, 0, fill(64<<10, 1))), granary.KindNoSpace)
		f, err := mem.Create("of somebody else")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(fill(100<<10, 1), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * sampleEvery)
		if u := s.Usage()[0]; u.ReadOnly == "" || u.Failing != "" || u.Free != 0 {
			t.Fatalf("usage %+v", u)
		}
		if err := s.Drop(t.Context(), big, 1, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * sampleEvery)
		if u := s.Usage()[0]; u.ReadOnly != "" || u.Free == 0 {
			t.Fatalf("usage %+v", u)
		}
		mustAppend(t, s, appendOf(small, 0, 0, fill(64<<10, 1)))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

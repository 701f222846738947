//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary/tests/cluster"
)

// seen is a change made in one mount, and what another must see once the call has returned.
type seen struct {
	name   string
	before func(dir string, i int) error // in the mount that changes
	look   func(dir string, i int) error // in the other, so that it has kept what was before; any error will do
	change func(dir string, i int) error
	check  func(dir string, i int) error // in the other
}

func file(dir string, i int) string { return filepath.Join(dir, "f"+strconv.Itoa(i)) }

func statIt(dir string, i int) error { _, err := os.Lstat(file(dir, i)); return err }

func makeIt(dir string, i int) error { return os.WriteFile(file(dir, i), []byte("before"), 0o644) }

func gone(dir string, i int) error {
	if _, err := os.Lstat(file(dir, i)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it is there: %v", err)
	}
	return nil
}

func lists(dir string, name string) (bool, error) {
	entries, err := os.ReadDir(dir)
	return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name }), err
}

func contentIs(path, want string) error {
	b, err := os.ReadFile(path)
	if err == nil && string(b) != want {
		err = fmt.Errorf("it holds %q, not %q", b, want)
	}
	return err
}

var kinds = []seen{
	{name: "create", look: statIt, change: makeIt, check: func(dir string, i int) error {
		if err := statIt(dir, i); err != nil {
			return err
		}
		return contentIs(file(dir, i), "before")
	}},
	{name: "unlink", before: makeIt, look: statIt, change: func(dir string, i int) error { return os.Remove(file(dir, i)) }, check: gone},
	{name: "rename", before: makeIt, look: statIt,
		change: func(dir string, i int) error { return os.Rename(file(dir, i), file(dir, i)+"new") },
		check: func(dir string, i int) error {
			_, err := os.Lstat(file(dir, i) + "new")
			return errors.Join(err, gone(dir, i))
		}},
	{name: "rename over", before: func(dir string, i int) error {
		return errors.Join(makeIt(dir, i), os.WriteFile(file(dir, i)+"o", []byte("over"), 0o644))
	}, look: func(dir string, i int) error { return contentIs(file(dir, i), "before") },
		change: func(dir string, i int) error { return os.Rename(file(dir, i)+"o", file(dir, i)) },
		check:  func(dir string, i int) error { return contentIs(file(dir, i), "over") }},
	{name: "chmod", before: makeIt, look: statIt, change: func(dir string, i int) error { return os.Chmod(file(dir, i), 0o600) },
		check: func(dir string, i int) error {
			info, err := os.Lstat(file(dir, i))
			if err == nil && info.Mode().Perm() != 0o600 {
				err = fmt.Errorf("mode %v", info.Mode())
			}
			return err
		}},
	{name: "write", before: makeIt, look: func(dir string, i int) error { return contentIs(file(dir, i), "before") },
		change: func(dir string, i int) error { return os.WriteFile(file(dir, i), []byte("after"), 0o644) },
		check:  func(dir string, i int) error { return contentIs(file(dir, i), "after") }},
	{name: "truncate", before: makeIt, look: statIt, change: func(dir string, i int) error { return os.Truncate(file(dir, i), 3) },
		check: func(dir string, i int) error {
			info, err := os.Lstat(file(dir, i))
			if err == nil && info.Size() != 3 {
				err = fmt.Errorf("%d bytes", info.Size())
			}
			return errors.Join(err, contentIs(file(dir, i), "bef"))
		}},
	{name: "xattr", before: makeIt, look: func(dir string, i int) error {
		_, err := unix.Getxattr(file(dir, i), "user.k", make([]byte, 10))
		return err
	}, change: func(dir string, i int) error { return unix.Setxattr(file(dir, i), "user.k", []byte("v"), 0) },
		check: func(dir string, i int) error {
			b := make([]byte, 10)
			n, err := unix.Getxattr(file(dir, i), "user.k", b)
			if err == nil && string(b[:n]) != "v" {
				err = fmt.Errorf("it is %q", b[:n])
			}
			return err
		}},
	{name: "mkdir", look: statIt, change: func(dir string, i int) error { return os.Mkdir(file(dir, i), 0o755) }, check: statIt},
	{name: "rmdir", before: func(dir string, i int) error { return os.Mkdir(file(dir, i), 0o755) }, look: statIt,
		change: func(dir string, i int) error { return os.Remove(file(dir, i)) }, check: gone},
	{name: "readdir", look: func(dir string, _ int) error { _, err := os.ReadDir(dir); return err }, change: makeIt,
		check: func(dir string, i int) error {
			if ok, err := lists(dir, "f"+strconv.Itoa(i)); err != nil || !ok {
				return fmt.Errorf("listed %v, %v", ok, err)
			}
			return os.Remove(file(dir, i))
		}},
	{name: "symlink and link", before: makeIt, look: statIt, change: func(dir string, i int) error {
		return errors.Join(os.Symlink("target", file(dir, i)+"s"), os.Link(file(dir, i), file(dir, i)+"l"))
	}, check: func(dir string, i int) error {
		target, err := os.Readlink(file(dir, i) + "s")
		info, err2 := os.Lstat(file(dir, i))
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if n := info.Sys().(*syscall.Stat_t).Nlink; target != "target" || n != 2 {
			return fmt.Errorf("target %q, %d links", target, n)
		}
		return nil
	}},
}

// TestE2ECoherence makes changes of every kind in one mount, of what another has just looked at: when the call has returned the
// other sees it, at once.
func TestE2ECoherence(t *testing.T) {
	s := cluster.StartServer(t)
	one, two := s.Mount(t), s.Mount(t)
	const rounds = 100 // of each kind
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			dir := "dir" + strconv.Itoa(slices.IndexFunc(kinds, func(o seen) bool { return o.name == k.name }))
			here, there := filepath.Join(one, dir), filepath.Join(two, dir)
			if err := os.Mkdir(here, 0o755); err != nil {
				t.Fatal(err)
			}
			var took []time.Duration
			for i := range rounds {
				if k.before != nil {
					if err := k.before(here, i); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 {
					k.look(there, i) // what it finds does not matter
				}
				began := time.Now()
				if err := k.change(here, i); err != nil {
					t.Fatal(err)
				}
				took = append(took, time.Since(began))
				if err := k.check(there, i); err != nil {
					t.Fatalf("round %d: %v", i, err)
				}
				if i%2 == 1 { // the other way round next time
					here, there = there, here
				}
			}
			slices.Sort(took)
			t.Logf("a change of what the other has kept takes %v (median), %v at most", took[rounds/2], took[rounds-1])
		})
	}
}

// TestE2ECoherenceMapped changes attributes of files that a mount knows well, which numbers users otherwise: it asks with the rights of each
// caller, and keeps no answer. Its kernel must not either: not for who looks at the path, nor for who has a descriptor.
func TestE2ECoherenceMapped(t *testing.T) {
	s := cluster.StartServer(t)
	one, two := s.Mount(t), s.Mount(t, "--uid-map", "0:0:100000", "--gid-map", "0:0:100000")
	const files, rounds = 10, 20
	for i := range files {
		if err := makeIt(one, i); err != nil {
			t.Fatal(err)
		}
	}
	for began := time.Now(); time.Since(began) < 1500*time.Millisecond; { // until they have been known for a while
		for i := range files {
			if err := statIt(two, i); err != nil {
				t.Fatal(err)
			}
		}
	}
	var open [files]int
	for i := range open {
		var err error
		if open[i], err = unix.Open(file(two, i), unix.O_PATH, 0); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(open[i])
	}
	for round := range rounds {
		for i := range files {
			mode := fs.FileMode(0o600 + round%2)
			if err := statIt(two, i); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file(one, i), mode); err != nil {
				t.Fatal(err)
			}
			var st unix.Stat_t
			changed, err := time.Now(), unix.Fstat(open[i], &st)
			for ; err == nil && fs.FileMode(st.Mode)&fs.ModePerm != mode && time.Since(changed) < 50*time.Millisecond; err = unix.Fstat(open[i], &st) {
				runtime.Gosched() // what was looked up for one call serves it for a millisecond
			}
			if err != nil || fs.FileMode(st.Mode)&fs.ModePerm != mode {
				t.Fatalf("round %d: file %d, by a descriptor, has mode %o, %v; want %v", round, i, st.Mode, err, mode)
			}
			info, err := os.Lstat(file(two, i))
			if err != nil || info.Mode().Perm() != mode {
				t.Fatalf("round %d: file %d has mode %v, %v; want %v", round, i, info.Mode(), err, mode)
			}
		}
	}
}

// TestE2ECoherenceOpen writes to a file that another mount has open and has read: it sees the new content, and the new size,
// through the descriptor that it has.
func TestE2ECoherenceOpen(t *testing.T) {
	s := cluster.StartServer(t)
	one, two := s.Mount(t), s.Mount(t)
	path := filepath.Join(one, "open")
	if err := os.WriteFile(path, []byte("first"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(two, "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 200 {
		want := bytes.Repeat([]byte{byte('a' + i%26)}, 10+i)
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil || info.Size() != int64(len(want)) {
			t.Fatalf("round %d: %v, %v; want %d bytes", i, info.Size(), err, len(want))
		}
		got := make([]byte, len(want))
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("round %d: %q, %v; want %q", i, got, err, want)
		}
	}
}

// mountProcess returns the process that serves a mount.
func mountProcess(t *testing.T, point string) int {
	t.Helper()
	pid, ok := cluster.MountProcess(point)
	if !ok {
		t.Fatalf("nobody serves %s", point)
	}
	return pid
}

// TestE2ECoherencePaused stops the process of a mount that has kept what another changes: the other waits no longer than the
// lease lasts, and only once. When it goes on, the mount shows what there is.
func TestE2ECoherencePaused(t *testing.T) {
	s := cluster.StartServer(t)
	one, two := s.Mount(t), s.Mount(t)
	for i := range 10 {
		if err := makeIt(one, i); err != nil {
			t.Fatal(err)
		}
	}
	pid := mountProcess(t, two)
	for round := range 5 {
		for i := range 10 {
			if err := statIt(two, i); err != nil {
				t.Fatal(err)
			}
		}
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		var longest time.Duration
		total := time.Now()
		for i := range 10 {
			began := time.Now()
			if err := os.WriteFile(file(one, i), []byte(strconv.Itoa(round)), 0o644); err != nil {
				t.Error(err)
			}
			longest = max(longest, time.Since(began))
		}
		if all := time.Since(total); all > 2*time.Second {
			t.Errorf("10 files took %v, the longest %v", all, longest)
		}
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		t.Logf("the longest of 10 changes took %v", longest)
		for i := range 10 {
			if err := contentIs(file(two, i), strconv.Itoa(round)); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestE2ECoherenceCrowd has both mounts make, look at, rename and remove files in one directory as fast as they can: nobody waits
// for ever, and in the end both see the same.
func TestE2ECoherenceCrowd(t *testing.T) {
	s := cluster.StartServer(t)
	one, two := s.Mount(t), s.Mount(t)
	if err := os.Mkdir(filepath.Join(one, "crowd"), 0o755); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var slowest time.Duration
	for w := range 8 {
		dir := filepath.Join([]string{one, two}[w%2], "crowd")
		wg.Go(func() {
			for i := range 100 {
				began := time.Now()
				name := filepath.Join(dir, fmt.Sprintf("w%d-%d", w, i))
				err := os.WriteFile(name, []byte("x"), 0o644)
				if i%3 == 0 {
					err = errors.Join(err, os.Rename(name, name+"r"))
				} else if i%3 == 1 {
					err = errors.Join(err, os.Remove(name))
				}
				if i%10 == 0 {
					_, e := os.ReadDir(dir)
					err = errors.Join(err, e)
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				slowest = max(slowest, time.Since(began))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("the slowest round took %v", slowest)
	var lists [2][]fs.DirEntry
	for i, point := range []string{one, two} {
		var err error
		if lists[i], err = os.ReadDir(filepath.Join(point, "crowd")); err != nil {
			t.Fatal(err)
		}
	}
	same := slices.EqualFunc(lists[0], lists[1], func(a, b fs.DirEntry) bool { return a.Name() == b.Name() })
	if len(lists[0]) != 8*67 || !same {
		t.Errorf("%d and %d names, the same: %v; want %d", len(lists[0]), len(lists[1]), same, 8*67)
	}
}

//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2ELocks takes locks in two mounts of one cluster: each keeps the other out, and what is done under them is seen.
func TestE2ELocks(t *testing.T) {
	s := cluster.StartServer(t)
	m := twoMounts{s.Mount(t), s.Mount(t)}
	t.Run("listed", func(t *testing.T) { m.listed(t, s) })
	t.Run("flock", m.flock)
	t.Run("ranges", m.ranges)
	t.Run("deadlock", m.deadlock)
	t.Run("ends", m.ends)
	t.Run("counter", m.counter)
	t.Run("sqlite", m.sqlite)
}

type twoMounts [2]string

// open opens a file in both mounts.
func (m twoMounts) open(t *testing.T, name string) (files [2]*os.File) {
	t.Helper()
	for i, dir := range m {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		files[i] = f
	}
	return files
}

// whole calls flock(2), again when a signal of Go's own interrupts it.
func whole(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// part calls fcntl(2) for some bytes.
func part(f *os.File, cmd int, typ int16, start, length int64) (unix.Flock_t, error) {
	lk := unix.Flock_t{Type: typ, Whence: io.SeekStart, Start: start, Len: length}
	for {
		if err := unix.FcntlFlock(f.Fd(), cmd, &lk); !errors.Is(err, syscall.EINTR) {
			return lk, err
		}
	}
}

// waiting calls f in another goroutine, and sees that it waits.
func waiting(t *testing.T, s string, f func() error) chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		t.Fatalf("%s did not wait: %v", s, err)
	case <-time.After(200 * time.Millisecond):
	}
	return done
}

func got(t *testing.T, what string, done chan error) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s is still waiting", what)
	}
}

// listed has a lock and a wait listed.
func (m twoMounts) listed(t *testing.T, s *cluster.Server) {
	f := m.open(t, "listed")
	if err := whole(f[0], unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	done := waiting(t, "flock", func() error { return whole(f[1], unix.LOCK_SH) })
	var list []struct {
		Kind               string
		Exclusive, Waiting bool
		PID                int
	}
	if err := json.Unmarshal([]byte(s.Granary("lock", "ls", "/listed", "--output", "json").Run(t)), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || !list[0].Exclusive || list[0].Waiting || list[1].Exclusive || !list[1].Waiting || list[0].PID != os.Getpid() {
		t.Errorf("%+v", list)
	}
	t.Log(s.Granary("lock", "ls").Run(t))
	if err := whole(f[0], unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	got(t, "flock", done)
	if err := whole(f[1], unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
}

func (m twoMounts) flock(t *testing.T) {
	f := m.open(t, "flock")
	for _, step := range []struct {
		file, how int
		want      error
	}{
		{0, unix.LOCK_SH, nil},
		{1, unix.LOCK_SH, nil},
		{1, unix.LOCK_EX | unix.LOCK_NB, syscall.EWOULDBLOCK},
		{0, unix.LOCK_UN, nil},
		{1, unix.LOCK_EX | unix.LOCK_NB, nil},
		{0, unix.LOCK_SH | unix.LOCK_NB, syscall.EWOULDBLOCK},
	} {
		if err := whole(f[step.file], step.how); !errors.Is(err, step.want) {
			t.Fatalf("%+v: %v", step, err)
		}
	}
	done := waiting(t, "flock", func() error { return whole(f[0], unix.LOCK_EX) })
	if _, err := f[1].WriteString("seen under the lock"); err != nil {
		t.Fatal(err)
	}
	if err := whole(f[1], unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	got(t, "flock", done)
	text := make([]byte, 100)
	if n, err := f[0].ReadAt(text, 0); string(text[:n]) != "seen under the lock" || !errors.Is(err, io.EOF) {
		t.Errorf("read %q, %v", text[:n], err)
	}
}

func (m twoMounts) ranges(t *testing.T) {
	f := m.open(t, "ranges")
	if _, err := part(f[0], unix.F_SETLK, unix.F_WRLCK, 100, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := part(f[1], unix.F_SETLK, unix.F_WRLCK, 0, 100); err != nil {
		t.Errorf("the bytes before: %v", err)
	}
	if _, err := part(f[1], unix.F_SETLK, unix.F_RDLCK, 199, 0); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("the last byte: %v", err)
	}
	if lk, err := part(f[1], unix.F_GETLK, unix.F_RDLCK, 0, 0); err != nil || lk.Type != unix.F_WRLCK || lk.Start != 100 || lk.Len != 100 {
		t.Errorf("F_GETLK: %+v, %v", lk, err)
	}
	done := waiting(t, "fcntl", func() error { _, err := part(f[1], unix.F_SETLKW, unix.F_WRLCK, 150, 10); return err })
	if _, err := part(f[0], unix.F_SETLK, unix.F_UNLCK, 150, 10); err != nil {
		t.Fatal(err)
	}
	got(t, "fcntl", done)
	if lk, err := part(f[0], unix.F_GETLK, unix.F_RDLCK, 155, 1); err != nil || lk.Type != unix.F_WRLCK || lk.Start != 150 || lk.Len != 10 {
		t.Errorf("F_GETLK: %+v, %v", lk, err)
	}
}

// deadlock has two owners wait for each other: one is told so, and the other gets what it waits for.
func (m twoMounts) deadlock(t *testing.T) {
	f := m.open(t, "deadlock")
	for i, file := range f {
		if _, err := part(file, unix.F_SETLK, unix.F_WRLCK, int64(i), 1); err != nil {
			t.Fatal(err)
		}
	}
	done := waiting(t, "fcntl", func() error { _, err := part(f[0], unix.F_SETLKW, unix.F_WRLCK, 1, 1); return err })
	if _, err := part(f[1], unix.F_SETLKW, unix.F_WRLCK, 0, 1); !errors.Is(err, syscall.EDEADLK) {
		t.Errorf("a circle: %v", err)
	}
	if _, err := part(f[1], unix.F_SETLK, unix.F_UNLCK, 0, 0); err != nil {
		t.Fatal(err)
	}
	got(t, "fcntl", done)
}

// ends takes locks whose holders end: by close, by kill -9; and a wait ends with a signal.
func (m twoMounts) ends(t *testing.T) {
	f := m.open(t, "ends")
	again, err := os.OpenFile(f[0].Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part(f[0], unix.F_SETLK, unix.F_WRLCK, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil { // any descriptor of the process
		t.Fatal(err)
	}
	if _, err := part(f[1], unix.F_SETLK, unix.F_WRLCK, 0, 0); err != nil {
		t.Errorf("after a close: %v", err)
	}
	if _, err := part(f[1], unix.F_SETLK, unix.F_UNLCK, 0, 0); err != nil {
		t.Fatal(err)
	}
	own, err := os.OpenFile(f[0].Name(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part(own, unix.F_OFD_SETLK, unix.F_WRLCK, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := part(f[1], unix.F_OFD_SETLK, unix.F_WRLCK, 0, 0); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("what an open file has locked: %v", err)
	}
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	cluster.WaitFor(t, cluster.ReadyWithin, "the end of an open file's lock", func() error { // the kernel does not wait for the last close
		_, err := part(f[1], unix.F_OFD_SETLK, unix.F_WRLCK, 0, 0)
		return err
	})
	if _, err := part(f[1], unix.F_OFD_SETLK, unix.F_UNLCK, 0, 0); err != nil {
		t.Fatal(err)
	}
	ready := filepath.Join(m[0], "ready")
	holder := exec.Command("flock", f[0].Name(), "sh", "-c", `touch "$0" && exec sleep 1000`, ready)
	holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	cluster.WaitFor(t, cluster.ReadyWithin, "the holder", func() error { _, err := os.Stat(ready); return err })
	if out, err := exec.Command("timeout", "1", "flock", f[1].Name(), "true").CombinedOutput(); err == nil {
		t.Errorf("a lock that is held was given to another: %s", out)
	}
	if err := syscall.Kill(-holder.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	done := make(chan error, 1)
	go func() { done <- whole(f[1], unix.LOCK_EX) }()
	got(t, "flock after the holder was killed", done)
}

// counter has two processes in each mount count in one file.
func (m twoMounts) counter(t *testing.T) {
	const rounds = 25
	sh(t, m[0], `echo 0 > count; touch count.lock`)
	var wg sync.WaitGroup
	for _, dir := range append(m[:], m[:]...) {
		wg.Go(func() {
			cmd := exec.Command("sh", "-ec", fmt.Sprintf(
				`for i in $(seq %d); do flock count.lock sh -ec 'n=$(cat count); echo $((n+1)) > count'; done`, rounds))
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	for _, dir := range m {
		if text, err := os.ReadFile(filepath.Join(dir, "count")); err != nil || strings.TrimSpace(string(text)) != fmt.Sprint(4*rounds) {
			t.Errorf("%s: %s counted, of %d; %v", dir, text, 4*rounds, err)
		}
	}
}

// sqlite has a process in each mount write to one database.
func (m twoMounts) sqlite(t *testing.T) {
	const rows = 30
	sh(t, m[0], `sqlite3 db "create table t (who text, n integer)"`)
	var wg sync.WaitGroup
	for i, dir := range m {
		wg.Go(func() {
			cmd := exec.Command("sh", "-ec", fmt.Sprintf(
				`for n in $(seq %d); do sqlite3 -cmd ".timeout 60000" db "insert into t values ('%d', $n)"; done`, rows, i))
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	for _, dir := range m {
		cmd := exec.Command("sqlite3", "db", "select count(*) from t; pragma integrity_check")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != fmt.Sprintf("%d\nok\n", 2*rows) {
			t.Errorf("%s: %s, %v", dir, out, err)
		}
	}
}

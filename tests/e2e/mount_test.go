//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary/tests/cluster"
)

// mountLine is an element of granary mount ls --output json, as far as tests look at it.
type mountLine struct {
	MountPoint, Source, State, Options string
	Mount                              *struct {
		PID     int
		Version string
		Since   time.Time
	}
}

// mountAt returns what mount ls says of a mount point; an empty State if it is not there.
func mountAt(t *testing.T, a *cluster.Access, point string) (found mountLine) {
	t.Helper()
	var list []mountLine
	if err := json.Unmarshal([]byte(a.Granary("mount", "ls", "--output", "json").Run(t)), &list); err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.MountPoint == point {
			found = m
		}
	}
	return found
}

// statsOf returns what granary stats says of a mount.
func statsOf(t *testing.T, a *cluster.Access, point string) (s struct {
	Operations map[string]struct{ Count uint64 }
	BytesRead  uint64
	Dirty      struct{ Files, Failing int }
	Stalled    int
	Changes    struct{ Count uint64 }
	Client     struct {
		Local struct{ Hits, Added, BytesRead uint64 }
		Reads struct{ Count uint64 }
	}
	Nodes, NodesMax, Forgotten int
	Memory                     struct{ Resident int64 }
}) {
	t.Helper()
	text := a.Granary("stats", "--count", "1", "--output", "json", point).Run(t)
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err, text)
	}
	return s
}

// TestE2EMountLife: a mount says why it cannot be, is listed while it is, is cleared away when its process has died, and is gone with all
// of its process when it is unmounted.
func TestE2EMountLife(t *testing.T) {
	s := cluster.StartServer(t)
	point := filepath.Join(t.TempDir(), "mnt")
	for want, args := range map[string][]string{
		"mount point":          {point},
		"nowhere: not found":   {"/nowhere", t.TempDir()},
		"--memory":             {"--memory", "1MiB", t.TempDir()},
		"--squash":             {"--squash", "some", t.TempDir()},
		"not a directory":      {"/dev/null"},
		"no master answers":    {"--cluster", "127.0.0.1:1", t.TempDir()},
		"others may write":     {"--cache-dir", sharedDir(t), t.TempDir()},
		"HOST:CLUSTER":         {"--uid-map", "1", t.TempDir()},
		"is none of debug, in": {"--log-level", "loud", t.TempDir()},
	} {
		out, err := s.Granary(append([]string{"mount"}, args...)...).Try(t.Context())
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(want)) {
			t.Errorf("mount %v: %s, %v; want %q", args, out, err, want)
		}
	}
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	s.Granary("mount", point).Run(t)
	m := mountAt(t, &s.Access, point)
	if m.State != "up" || m.Mount == nil || m.Mount.Version == "" || !strings.Contains(m.Options, "nosuid") || !strings.Contains(m.Options, "nodev") {
		t.Fatalf("%+v", m)
	}
	sh(t, point, `echo kept > file && dd if=/dev/zero of=big bs=1M count=8 status=none && cat big > /dev/null`)
	if st := statsOf(t, &s.Access, point); st.Operations["create"].Count != 2 || st.Operations["write"].Count == 0 || st.Dirty.Files != 0 {
		t.Errorf("%+v", st)
	}

	if err := syscall.Kill(m.Mount.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cluster.WaitFor(t, cluster.ReadyWithin, "the death of the mount", func() error {
		if state := mountAt(t, &s.Access, point).State; state != "dead" {
			return fmt.Errorf("it is %s", state)
		}
		return nil
	})
	s.Granary("mount", "--read-only", "--no-exec", point).Run(t)
	if m = mountAt(t, &s.Access, point); m.State != "up" || !strings.Contains(m.Options, "ro,") || !strings.Contains(m.Options, "noexec") {
		t.Errorf("%+v", m)
	}
	if got := sh(t, point, `cat file; ! touch other 2>/dev/null`); got != "kept\n" {
		t.Errorf("file has %q", got)
	}
	s.Granary("umount", point).Run(t)
	if mountAt(t, &s.Access, point).State != "" {
		t.Error("it is still mounted")
	}
	if err := syscall.Kill(m.Mount.PID, 0); err == nil && !isZombie(m.Mount.PID) {
		t.Error("its process is still there")
	}
}

// isZombie reports whether a process has ended: its parent may not have looked yet.
func isZombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(text, []byte(") Z "))
}

// sharedDir is a directory in which everybody may write.
func sharedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestE2EMountHelper mounts a directory as mount(8) does.
func TestE2EMountHelper(t *testing.T) {
	s := cluster.StartServer(t)
	sh(t, s.Mount(t), `mkdir -p a/b && echo deep > a/b/file`)
	helper, point := filepath.Join(t.TempDir(), "mount.granary"), t.TempDir()
	if err := os.Symlink(s.Binary, helper); err != nil {
		t.Fatal(err)
	}
	mount := func(args ...string) ([]byte, error) {
		return cluster.Command{Name: helper, Args: args}.Try(t.Context())
	}
	if _, err := mount(s.Cluster+":/a", point, "-o", "rw,unheard_of"); err == nil {
		t.Error("an option that nobody knows was taken")
	}
	if out, err := mount(s.Cluster+":/a", point, "-f", "-o", "rw"); err != nil || mountAt(t, &s.Access, point).State != "" {
		t.Errorf("-f: %s %v", out, err)
	}
	if out, err := mount(s.Cluster+":/a", point, "-n", "-o", "rw,subdir=b,_netdev,noexec,x-systemd.requires=network,memory=256MiB"); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if got := sh(t, point, "cat file"); got != "deep\n" {
		t.Errorf("file has %q", got)
	}
	if m := mountAt(t, &s.Access, point); m.Source != s.Cluster+":/a/b" || !strings.Contains(m.Options, "noexec") {
		t.Errorf("%+v", m)
	}
	sh(t, point, "seq 1000 > numbers")
	umount := filepath.Join(filepath.Dir(helper), "umount.fuse.granary")
	if err := os.Symlink(s.Binary, umount); err != nil {
		t.Fatal(err)
	}
	if out, err := (cluster.Command{Name: umount, Args: []string{point, "-n", "-t", "fuse.granary"}}).Try(t.Context()); err != nil {
		t.Fatalf("umount: %s %v", out, err)
	}
	if m := mountAt(t, &s.Access, point); m.State != "" {
		t.Errorf("after umount: %+v", m)
	}
	if got := sh(t, s.Mount(t), "tail -1 a/b/numbers"); got != "1000\n" {
		t.Errorf("after umount the file ends with %q", got)
	}
}

// TestE2ESquash: who the users of a mount are is for its flags to say.
func TestE2ESquash(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root is another user at will")
	}
	s := cluster.StartServer(t)
	plain := s.Mount(t)
	sh(t, plain, `chmod 777 . && mkdir private && chmod 700 private && echo secret > private/file && echo mine > mine && chown 5001:900 mine`)
	squashed := s.Mount(t, "--squash", "root", "--anon-uid", "7", "--anon-gid", "8")
	mapped := s.Mount(t, "--uid-map", "1000:5000:100", "--uid-map", "0:0", "--gid-map", "100:900", "--gid-map", "0:0")
	if got := sh(t, squashed, `touch new && stat -c %u:%g new; ! cat private/file 2>/dev/null; ! chmod 0 mine 2>/dev/null`); got != "7:8\n" {
		t.Errorf("root, squashed, made a file of %q", got)
	}
	if got := sh(t, mapped, `stat -c %u:%g mine new; chown 1002:100 mine; ! chown 3 mine 2>/dev/null`); got != "1001:100\n65534:65534\n" {
		t.Errorf("owners are %q", got)
	}
	if got := sh(t, plain, `stat -c %u:%g mine`); got != "5002:900\n" {
		t.Errorf("chown through a map gave it to %q", got)
	}
}

// TestE2ECacheDir: what is in the cache on the local disk is read without volume servers, by another mount too.
func TestE2ECacheDir(t *testing.T) {
	d := cluster.StartDev(t, 1, 1)
	cache := t.TempDir()
	writer := d.Mount(t)
	sh(t, writer, `mkdir tree`) // by another mount: the kernel may keep what is written by this one
	for i := range 20 {
		randomFile(t, filepath.Join(writer, "tree", fmt.Sprint(i)), 100_000*(i+1))
	}
	want := sh(t, writer, `cat tree/* | sha256sum`)
	cluster.WaitFor(t, cluster.ReadyWithin, "a mount that finds all in the cache", func() error { // which a slow disk may not take at once
		one := d.Mount(t, "--cache-dir", cache, "--cache-size", "1GiB")
		if got := sh(t, one, `cat tree/* | sha256sum`); got != want {
			return fmt.Errorf("a mount read something else: %s", got)
		}
		if n := statsOf(t, &d.Access, one).Client.Reads.Count; n > 0 {
			return fmt.Errorf("%d reads of the volume server", n)
		}
		return nil
	})
	d.Kill(t, "v1")
	two := d.Mount(t, "--cache-dir", cache, "--cache-size", "1GiB", "--patience", "5s")
	if got := sh(t, two, `cat tree/* | sha256sum`); got != want {
		t.Errorf("another mount read something else")
	}
	if st := statsOf(t, &d.Access, two); st.Client.Reads.Count != 0 || st.Client.Local.Hits == 0 {
		t.Errorf("%+v", st.Client)
	}
	d.StartRole(t, "v1")
}

// TestE2EStall: while the volume server is away, programs wait and notice nothing; a mount with little patience gives them errors,
// keeps what was written, and says at umount what it is. Who is killed while it waits dies.
func TestE2EStall(t *testing.T) {
	d := cluster.StartDev(t, 1, 1)
	patient, hasty := d.Mount(t), d.Mount(t, "--patience", "2s")
	source := randomFile(t, filepath.Join(t.TempDir(), "file"), 3<<20)
	want := sh(t, hasty, `cp "$1" file && sha256sum < "$1"`, source) // the other mount has nothing of it in its caches
	d.Kill(t, "v1")

	waiting := func(dir, script string) (*exec.Cmd, *bytes.Buffer) {
		cmd, out := exec.Command("bash", "-euo", "pipefail", "-c", script), &bytes.Buffer{}
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, out
	}
	reader, read := waiting(patient, `sha256sum < file`)
	writer, wrote := waiting(patient, `dd if=/dev/urandom of=new bs=100k count=3 conv=fsync status=none && echo synced`)
	victim, _ := waiting(patient, `exec dd if=/dev/urandom of=victim bs=100k count=3 conv=fsync status=none`)
	cluster.WaitFor(t, cluster.ReadyWithin, "programs to wait", func() error {
		if st := statsOf(t, &d.Access, patient); st.Stalled < 3 {
			return fmt.Errorf("%d wait", st.Stalled)
		}
		return nil
	})
	began := time.Now()
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	died := make(chan error, 1)
	go func() { died <- victim.Wait() }()
	select {
	case <-died:
	case <-time.After(time.Minute):
		t.Error("a program that was killed while it waited is still there")
	}
	t.Logf("it took %v to kill a program that waits", time.Since(began).Round(time.Millisecond))

	if _, err := (cluster.Command{Name: "dd", Args: []string{"if=/dev/urandom", "of=" + filepath.Join(hasty, "late"), "bs=100k", "count=3", "conv=fsync"}}).Try(t.Context()); err == nil {
		t.Error("fsync succeeded without a volume server")
	}
	out, err := d.Granary("umount", hasty).Try(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1 files with 300.0 KiB cannot be written") {
		t.Errorf("umount: %s, %v", out, err)
	}

	d.StartRole(t, "v1")
	for _, p := range []struct {
		cmd  *exec.Cmd
		out  *bytes.Buffer
		want string
	}{{reader, read, want}, {writer, wrote, "synced\n"}} {
		if err := p.cmd.Wait(); err != nil || p.out.String() != p.want {
			t.Errorf("%v: %v, %s", p.cmd.Args, err, p.out)
		}
	}
	cluster.WaitFor(t, cluster.ReadyWithin, "what could not be written", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := d.Granary("fs", "cat", "/late").Try(ctx)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(patient, "late"), &st); err != nil || st.Size != 300<<10 {
			return fmt.Errorf("it has %d bytes: %v", st.Size, err)
		}
		return nil
	})
}

// TestE2EMountEnds: the process of a mount that was taken away while masters do not answer ends when it has tried for long enough, however
// patient calls are.
func TestE2EMountEnds(t *testing.T) {
	d := cluster.StartDev(t, 1, 1)
	mnt := d.Mount(t, "--close-within", "1s")
	sh(t, mnt, `mkdir dir && cd dir && for i in 1 2 3; do head -c 100000 /dev/urandom > $i; done; sync .`)
	sh(t, mnt, `head -c 100000 /dev/urandom > dir/late`) // it is committed a while later
	d.Kill(t, "m1")
	pid, ok := cluster.MountProcess(mnt)
	if !ok {
		t.Fatal("nobody serves the mount")
	}
	if out, err := exec.Command("fusermount3", "-u", mnt).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	cluster.WaitFor(t, cluster.ReadyWithin, "the process to end", func() error {
		if now, still := cluster.MountProcess(mnt); still && now == pid {
			return errors.New("it is there")
		}
		return nil
	})
	d.StartRole(t, "m1")
	mountAgain(t, &d.Access, mnt)
	sh(t, mnt, `[ "$(ls dir | wc -l)" -ge 3 ]`)
}

// mountAgain mounts at a directory that was one before; the test unmounts it at its end.
func mountAgain(t *testing.T, a *cluster.Access, point string) {
	t.Helper()
	cluster.WaitFor(t, cluster.ReadyWithin, "a mount", func() error {
		_, err := a.Granary("mount", point).Try(t.Context())
		return err
	})
}

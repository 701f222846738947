//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EQuickstart runs the README's first command from a copy of the repository.
func TestE2EQuickstart(t *testing.T) {
	base := cluster.FreeBase(t)
	out := cluster.Command{
		Name: "bash", Args: []string{"../../deploy/quickstart.sh", "--check"},
		Env: []string{"GRANARY_DATA=" + filepath.Join(t.TempDir(), "data"), fmt.Sprintf("GRANARY_BASE=%d", base)},
	}.Run(t)
	if !strings.Contains(out, "It works") {
		t.Errorf("quickstart printed:\n%s", out)
	}
}

// refused runs a command that must fail, and checks its exit code and what it says.
func refused(t *testing.T, c cluster.Command, code int, says ...string) {
	t.Helper()
	_, err := c.Try(t.Context())
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Errorf("%v: %v, not a failure", c.Args, err)
		return
	}
	if exit.ExitCode() != code {
		t.Errorf("%v: exit code %d, not %d", c.Args, exit.ExitCode(), code)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%v: does not say %q: %v", c.Args, s, err)
		}
	}
	if strings.Contains(err.Error(), "goroutine ") {
		t.Errorf("%v: printed a stack: %v", c.Args, err)
	}
}

// TestE2EBadInput gives wrong input to a running server and to the commands.
func TestE2EBadInput(t *testing.T) {
	s := cluster.StartServer(t)
	fresh := func(args ...string) cluster.Command {
		return s.Granary(append([]string{"serve", "--listen-base", fmt.Sprint(cluster.FreeBase(t))}, args...)...)
	}
	t.Run("command lines", func(t *testing.T) {
		refused(t, s.Granary("serve", "--no-such-flag"), 2, "no-such-flag")
		refused(t, s.Granary("no-such-command"), 2, "no-such-command")
		refused(t, s.Granary("cluster", "no-such-command"), 2, "no-such-command")
		refused(t, s.Granary("cluster", "status", "--output", "yaml"), 2, "yaml")
		refused(t, s.Granary("serve", "--listen", "0.0.0.0"), 2, "0.0.0.0")
		refused(t, s.Granary("serve", "--listen", "192.0.2.1"), 2, "192.0.2.1", "--insecure")
		refused(t, s.Granary("policy", "set", "/", "--ec", "4-2"), 2, "4-2")
		refused(t, s.Granary("policy", "set", "/", "--ec", "40+2"), 1, "40")
		refused(t, s.Granary("fs", "cat", "/no/such/file"), 1, "/no/such/file")
		refused(t, s.Granary("mount", "/", "/no/such/dir"), 1, "/no/such/dir")
		refused(t, s.Granary("mount", "/no/such", t.TempDir()), 1, "/no/such")
	})
	t.Run("port in use", func(t *testing.T) {
		c := s.Granary("serve", "--data", filepath.Join(t.TempDir(), "d"), "--listen-base", fmt.Sprint(s.Base))
		refused(t, c, 1, "in use", fmt.Sprint(s.Base))
	})
	t.Run("data in use", func(t *testing.T) {
		refused(t, fresh("--data", s.Data), 1, s.Data)
	})
	t.Run("foreign directory", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "precious"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		refused(t, fresh("--data", filepath.Join(t.TempDir(), "d"), "--dir", dir), 1, dir)
	})
	t.Run("S3", func(t *testing.T) {
		wrong := s.Access
		wrong.SecretKey = "not-the-secret-key"
		refused(t, wrong.AWS("s3", "ls"), 254, "SignatureDoesNotMatch")
		wrong.AccessKey = "NOTTHEKEY"
		refused(t, wrong.AWS("s3", "ls"), 254, "InvalidAccessKeyId")
		refused(t, s.AWS("s3", "ls", "s3://no-such-bucket"), 254, "NoSuchBucket")
	})
	t.Run("HTTP", func(t *testing.T) {
		code := func(args ...string) string {
			return cluster.Command{Name: "curl", Args: append([]string{"-s", "-o", "/dev/null", "-w", "%{http_code}"}, args...)}.Run(t)
		}
		if got := code(s.HTTP + "/no/such/file"); got != "404" {
			t.Errorf("a missing file is answered with %s", got)
		}
		if got := code("--path-as-is", s.HTTP+"/../../etc/passwd"); got != "404" && got != "400" {
			t.Errorf("a path with .. is answered with %s", got)
		}
		if got := code("-X", "DELETE", s.HTTP+"/no/such/file"); got != "404" {
			t.Errorf("DELETE of a missing file is answered with %s", got)
		}
	})
}

// TestE2EForeignData starts servers on directories that are another cluster's, newer or damaged.
func TestE2EForeignData(t *testing.T) {
	one, two := cluster.StartServer(t), cluster.StartServer(t)
	for _, s := range []*cluster.Server{one, two} {
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	serve := func(args ...string) cluster.Command {
		return one.Granary(append([]string{"serve", "--listen-base", fmt.Sprint(cluster.FreeBase(t))}, args...)...)
	}
	refused(t, serve("--data", one.Data, "--dir", filepath.Join(two.Data, "volume")), 1, filepath.Join(two.Data, "volume"), "cluster")

	identity := filepath.Join(one.Data, "volume", "identity.json")
	text, err := os.ReadFile(identity)
	if err != nil {
		t.Fatal(err)
	}
	for what, content := range map[string]string{
		"newer":   strings.Replace(string(text), `"format": 1`, `"format": 99`, 1),
		"damaged": string(text[:len(text)/2]),
	} {
		if content == string(text) {
			t.Fatalf("the identity file has no format to change: %s", text)
		}
		if err := os.WriteFile(identity, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, serve("--data", one.Data), 1, filepath.Join(one.Data, "volume"))
		t.Log(what, "refused")
	}
	if err := os.WriteFile(identity, text, 0o600); err != nil {
		t.Fatal(err)
	}
	one.Start(t)
}

// TestE2EFullDisk fills the only disk, as its reserve says: writes are refused with the reason,
// what was there stays, and small files and removals still work.
func TestE2EFullDisk(t *testing.T) {
	s := cluster.StartServer(t)
	work := t.TempDir()
	kept := randomFile(t, filepath.Join(work, "kept"), 5<<20)
	sh(t, work, `curl -fsS -T "$1" "$2/kept"`, kept, s.HTTP)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	s.Args = []string{"--reserve", fmt.Sprint(uint64(1) << 60)}
	s.Start(t)
	big := randomFile(t, filepath.Join(work, "big"), 5<<20)
	out := sh(t, work, `curl -s -w '%{http_code}' -T "$1" "$2/refused"`, big, s.HTTP)
	if !strings.Contains(out, "507") {
		t.Errorf("a write to a full disk is answered with %q", out)
	}
	sh(t, work, `curl -fsS "$2/kept" | cmp - "$1" && [ "$(curl -s -o /dev/null -w '%{http_code}' "$2/refused")" = 404 ]`, kept, s.HTTP)
	mnt := s.Mount(t)
	sh(t, mnt, `echo small > small && [ "$(cat small)" = small ] && ! cp "$1" big 2>/dev/null; rm -f big small kept; [ -z "$(ls -A | grep -v buckets)" ]`, big)
}

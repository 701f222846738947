//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EPathLocks locks paths by all doors of one cluster.
func TestE2EPathLocks(t *testing.T) {
	s := cluster.StartServer(t)
	p := pathLocks{s, s.Mount(t)}
	t.Run("mandatory", p.mandatory)
	t.Run("contended", p.contended)
	t.Run("run", p.commands)
	t.Run("election", p.election)
	t.Run("stopped", p.stopped)
}

type pathLocks struct {
	*cluster.Server
	mount string
}

// lock takes a lock by HTTP: its token, 0 if another holds it.
func (p pathLocks) lock(t *testing.T, document string) granary.FencingToken {
	t.Helper()
	r, err := http.Post(p.HTTP+"/-/v1/locks", "application/json", strings.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var got struct{ Token granary.FencingToken }
	b, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		t.Fatal(err)
	case r.StatusCode == http.StatusLocked:
		return 0
	case r.StatusCode != http.StatusCreated:
		t.Fatalf("%s: %s", r.Status, b)
	}
	if err := json.Unmarshal(b, &got); err != nil || got.Token == 0 {
		t.Fatalf("%s: %v", b, err)
	}
	return got.Token
}

// unlock gives it up.
func (p pathLocks) unlock(t *testing.T, token granary.FencingToken) {
	t.Helper()
	r, err := http.NewRequest(http.MethodDelete, fmt.Sprint(p.HTTP, "/-/v1/locks/", token), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode != http.StatusNoContent {
		t.Errorf("unlock: %s", a.Status)
	}
}

// put stores a file by HTTP.
func (p pathLocks) put(t *testing.T, name, text string, token granary.FencingToken) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodPut, p.HTTP+name, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if token != 0 {
		r.Header.Set("Granary-Fence", fmt.Sprint(token))
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	return a.StatusCode
}

// mandatory: a mandatory lock refuses what does not carry its token, by every door, and lets the holder's changes through.
func (p pathLocks) mandatory(t *testing.T) {
	p.Granary("fs", "mkdir", "/buckets/locked/dir").Run(t)
	local := filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(local, bytes.Repeat([]byte("x"), 10_000), 0o644); err != nil {
		t.Fatal(err)
	}
	open, err := os.Create(filepath.Join(p.mount, "buckets/locked/dir/open"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	token := p.lock(t, `{"path":"/buckets/locked/dir","subtree":true,"mandatory":true,"ttl":"5m","owner":"e2e"}`)
	if out, err := p.AWS("s3", "cp", local, "s3://locked/dir/aws").Try(t.Context()); err == nil || !strings.Contains(err.Error()+string(out), "ResourceLocked") {
		t.Errorf("aws s3 cp: %s %v", out, err)
	}
	if status := p.put(t, "/buckets/locked/dir/curl", "x", 0); status != http.StatusLocked {
		t.Errorf("PUT: %d", status)
	}
	if err := os.WriteFile(filepath.Join(p.mount, "buckets/locked/dir/mount"), nil, 0o644); !errors.Is(err, syscall.EACCES) {
		t.Errorf("a mount creates a file: %v", err)
	}
	_, err = open.WriteString("in vain")
	if err = errors.Join(err, open.Sync()); !errors.Is(err, syscall.EACCES) {
		t.Errorf("a mount writes: %v", err)
	}
	if _, err := p.Granary("fs", "rm", "-r", "/buckets/locked/dir").Try(t.Context()); err == nil {
		t.Error("the directory was removed")
	}
	if _, err := os.ReadDir(filepath.Join(p.mount, "buckets/locked/dir")); err != nil {
		t.Errorf("reading: %v", err)
	}
	if status := p.put(t, "/buckets/locked/dir/curl", "x", token); status != http.StatusCreated {
		t.Errorf("the holder's PUT: %d", status)
	}
	p.Granary("fs", "put", local, "/buckets/locked/dir/cli", "--fence", fmt.Sprint(token)).Run(t)
	p.unlock(t, token)
	if status := p.put(t, "/buckets/locked/dir/curl", "x", token); status != http.StatusPreconditionFailed {
		t.Errorf("a late PUT: %d", status)
	}
	p.AWS("s3", "cp", local, "s3://locked/dir/aws").Run(t)
}

// contended: a mount by flock, lock run, HTTP and the Go API take turns: never two at once, and nothing is lost.
func (p pathLocks) contended(t *testing.T) {
	const rounds = 5
	counter := filepath.Join(p.mount, "counter")
	if err := os.WriteFile(counter, []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	tally := filepath.Join(t.TempDir(), "tally") // outside of the cluster: whoever sees it taken has company
	add := func(who string) {
		f, err := os.OpenFile(tally, os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			t.Errorf("%s is not alone: %v", who, err)
			return
		}
		f.Close()
		b, err := os.ReadFile(counter)
		n, aerr := strconv.Atoi(strings.TrimSpace(string(b)))
		if err := errors.Join(err, aerr, os.WriteFile(counter, []byte(strconv.Itoa(n+1)), 0o644)); err != nil {
			t.Errorf("%s: %v", who, err)
		}
		if err := os.Remove(tally); err != nil {
			t.Error(err)
		}
	}
	c, err := client.Open(t.Context(), client.Options{Masters: []string{p.Cluster}, Name: "e2e"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var wg sync.WaitGroup
	for range rounds {
		wg.Go(func() { // flock
			f, err := os.OpenFile(counter, os.O_RDWR, 0)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if err := whole(f, unix.LOCK_EX); err != nil {
				t.Error(err)
				return
			}
			add("flock")
			if err := whole(f, unix.LOCK_UN); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { // HTTP
			token := p.lock(t, `{"path":"/counter","ttl":"1m","timeout":"60s"}`)
			if token == 0 {
				t.Error("not granted by HTTP")
				return
			}
			add("HTTP")
			p.unlock(t, token)
		})
		wg.Go(func() { // Go
			l, err := c.LockPaths(t.Context(), granary.Cred{}, granary.AcquirePaths{
				Paths: []granary.LockPath{{Base: granary.RootInode, Path: "counter"}}, Exclusive: true, Wait: true})
			if err != nil {
				t.Error(err)
				return
			}
			add("Go")
			if err := l.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { // lock run
			script := `set -C; : > "$0" || exit 3; set +C; n=$(cat "$1"); echo $((n+1)) > "$1"; rm "$0"`
			out, err := p.Granary("lock", "run", "--timeout", "60s", "/counter", "--", "sh", "-c", script, tally, counter).Try(t.Context())
			if err != nil {
				t.Errorf("lock run: %s %v", out, err)
			}
		})
	}
	wg.Wait()
	if b, err := os.ReadFile(counter); err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(4*rounds) {
		t.Errorf("the counter is %q, not %d: %v", b, 4*rounds, err)
	}
}

// commands: the exit code of one, its token, and that it ends when the lock is broken.
func (p pathLocks) commands(t *testing.T) {
	var exit *exec.ExitError
	if out, err := p.Granary("lock", "run", "/r", "--", "sh", "-c", "exit 42").Try(t.Context()); !errors.As(err, &exit) || exit.ExitCode() != 42 {
		t.Errorf("%s %v", out, err)
	}
	if out := p.Granary("lock", "run", "/r", "--", "sh", "-c", "echo $GRANARY_FENCE").Run(t); strings.Trim(out, "0123456789\n") != "" || len(out) < 2 {
		t.Errorf("token %q", out)
	}
	// The counter of the README.
	count := `n=$("$0" fs cat /number); echo $((n+1)) | "$0" fs put - /number`
	if status := p.put(t, "/number", "0\n", 0); status != http.StatusCreated {
		t.Fatal(status)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if out, err := p.Granary("lock", "run", "--timeout", "60s", "/number", "--", "sh", "-c", count, p.Binary).Try(t.Context()); err != nil {
				t.Errorf("%s %v", out, err)
			}
		})
	}
	wg.Wait()
	if got := strings.TrimSpace(p.Granary("fs", "cat", "/number").Run(t)); got != "4" {
		t.Errorf("counted to %s", got)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := p.Granary("lock", "run", "--ttl", "2s", "/r", "--", "sleep", "100").Try(t.Context())
		ended <- err
	}()
	cluster.WaitFor(t, 10*time.Second, "the lock is held", func() error {
		_, err := p.Granary("lock", "break", "/r").Try(t.Context())
		return err
	})
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the command outlived its lock")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the command is still running")
	}
}

// election: of two candidates one leads; when it is killed the other does within the lease, and what the first still writes is refused.
func (p pathLocks) election(t *testing.T) {
	candidate := func(name string) *exec.Cmd {
		c := exec.Command(p.Binary, "lock", "run", "--ttl", "3s", "--timeout", "60s", "/leader", "--", "sh", "-c",
			`echo "$0 $GRANARY_FENCE"; exec sleep 100`, name)
		c.Env = append(os.Environ(), "GRANARY_CLUSTER="+p.Cluster)
		return c
	}
	lead := func(c *exec.Cmd) func() (string, granary.FencingToken) {
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		said := make(chan string, 1)
		go func() {
			b := make([]byte, 100)
			n, _ := out.Read(b) // nothing, if it was killed
			said <- string(b[:n])
		}()
		return func() (name string, token granary.FencingToken) {
			select {
			case line := <-said:
				if _, err := fmt.Sscan(line, &name, &token); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("nobody leads")
			}
			return name, token
		}
	}
	a, b := candidate("a"), candidate("b")
	aLeads := lead(a)
	if name, _ := aLeads(); name != "a" {
		t.Fatal(name)
	}
	bLeads := lead(b)
	var old granary.FencingToken
	var list []struct {
		Token   granary.FencingToken
		Waiting bool
	}
	cluster.WaitFor(t, 20*time.Second, "the second waits", func() error {
		if err := json.Unmarshal([]byte(p.Granary("lock", "ls", "/leader", "--output", "json").Run(t)), &list); err != nil || len(list) != 2 {
			return fmt.Errorf("%d locks, %v", len(list), err)
		}
		return nil
	})
	old = list[0].Token
	if status := p.put(t, "/state", "a", old); status != http.StatusCreated {
		t.Errorf("the leader's write: %d", status)
	}
	killed := time.Now()
	if err := a.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = a.Wait() // killed
	name, token := bLeads()
	if name != "b" || token <= old {
		t.Errorf("%s leads with token %d after %d", name, token, old)
	}
	t.Logf("the other leads after %s", time.Since(killed).Round(time.Millisecond))
	if status := p.put(t, "/state", "a", old); status != http.StatusPreconditionFailed {
		t.Errorf("the late write of the old leader: %d", status)
	}
	if status := p.put(t, "/state", "b", token); status != http.StatusOK {
		t.Errorf("the leader's write: %d", status)
	}
	if err := b.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = b.Wait()
	if got := p.lock(t, `{"path":"/leader","ttl":"10s","timeout":"5s"}`); got <= token {
		t.Errorf("token %d after %d", got, token)
	}
}

// stopped: a holder that is stopped for longer than its lease finds, when it goes on, that another has the lock: what it writes then is
// refused, and its command is ended.
func (p pathLocks) stopped(t *testing.T) {
	go1, said := filepath.Join(t.TempDir(), "go"), filepath.Join(t.TempDir(), "said")
	// The command waits to be told to write. The holder is all of its process group.
	holder := exec.Command(p.Binary, "lock", "run", "--ttl", "2s", "/stopped", "--", "sh", "-c",
		`echo "$GRANARY_FENCE" > "$2.tmp"; mv "$2.tmp" "$2"; while ! [ -e "$1" ]; do sleep 0.05; done; echo late | "$0" fs put - /stopped; sleep 100`,
		p.Binary, go1, said)
	holder.Env = append(os.Environ(), "GRANARY_CLUSTER="+p.Cluster)
	holder.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- holder.Wait() }()
	group := func(s syscall.Signal) {
		if err := syscall.Kill(-holder.Process.Pid, s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	t.Cleanup(func() { _ = syscall.Kill(-holder.Process.Pid, syscall.SIGKILL) }) // if it has not ended
	var old granary.FencingToken
	cluster.WaitFor(t, 20*time.Second, "the command runs", func() error {
		b, err := os.ReadFile(said)
		if err == nil {
			_, err = fmt.Sscan(string(b), &old)
		}
		return err
	})
	if status := p.put(t, "/stopped", "first", old); status != http.StatusCreated {
		t.Fatalf("the holder's write: %d", status)
	}
	group(syscall.SIGSTOP)
	token := p.lock(t, `{"path":"/stopped","ttl":"60s","timeout":"30s"}`)
	if token <= old {
		t.Fatalf("token %d after %d", token, old)
	}
	if err := os.WriteFile(go1, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	group(syscall.SIGCONT)
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the command ended as if nothing had happened")
		}
	case <-time.After(20 * time.Second):
		t.Error("the command outlives its lock")
	}
	if status := p.put(t, "/stopped", "late", old); status != http.StatusPreconditionFailed {
		t.Errorf("a late write: %d", status)
	}
	if got := p.Granary("fs", "cat", "/stopped").Run(t); got != "first" {
		t.Errorf("the file has %q", got)
	}
	p.unlock(t, token)
}

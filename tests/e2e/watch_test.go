//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/tests/cluster"
)

// watched is a change as watchers print it.
type watched struct {
	At      granary.Position `json:"at"`
	Kind    string           `json:"kind"`
	Path    string           `json:"path"`
	OldPath string           `json:"oldPath"`
}

// follower gathers what a watcher has told so far.
type follower struct {
	mu  sync.Mutex
	all []watched
}

func (f *follower) add(c watched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, c)
}

func (f *follower) told() []watched {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}

// await waits until a change was told.
func (f *follower) await(t *testing.T, kind, path string) {
	t.Helper()
	cluster.WaitFor(t, 30*time.Second, kind+" "+path, func() error {
		if all := f.told(); !slices.ContainsFunc(all, func(c watched) bool { return c.Kind == kind && c.Path == path }) {
			return fmt.Errorf("of %d changes none is it", len(all))
		}
		return nil
	})
}

// watchCommand runs "granary watch" until the test ends.
func watchCommand(t *testing.T, a *cluster.Access, args ...string) *follower {
	t.Helper()
	c := a.Granary(append([]string{"watch", "-o", "json"}, args...)...)
	cmd := exec.Command(c.Name, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	f, done := &follower{}, make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var c watched
			if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
				t.Errorf("%s: %v", lines.Bytes(), err)
			}
			f.add(c)
		}
	}()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		<-done
		if err := cmd.Wait(); err != nil {
			t.Errorf("interrupted, the watch ended with %v", err)
		}
	})
	return f
}

// watchEvents reads the stream of HTTP until ctx ends; one that breaks is asked for again, as browsers do.
func watchEvents(ctx context.Context, t *testing.T, base, path string) (*follower, *sync.WaitGroup) {
	f, reading, ready := &follower{}, &sync.WaitGroup{}, make(chan struct{})
	reading.Go(func() {
		last, once := "", sync.Once{}
		for ctx.Err() == nil {
			req, err := http.NewRequestWithContext(ctx, "GET", base+"/-/v1/watch?path="+url.QueryEscape(path), nil)
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Last-Event-ID", last)
			r, err := http.DefaultClient.Do(req)
			if err != nil {
				continue
			}
			event := ""
			for lines := bufio.NewScanner(r.Body); lines.Scan(); {
				switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
				case "id":
					last = value
				case "event":
					if event = value; event == "ready" {
						once.Do(func() { close(ready) })
					}
				case "data":
					var c watched
					if err := json.Unmarshal([]byte(value), &c); err != nil {
						t.Errorf("%s: %v", value, err)
					}
					if event == "change" {
						f.add(c)
					}
				}
			}
			r.Body.Close()
		}
	})
	select {
	case <-ready:
	case <-time.After(30 * time.Second):
		t.Error("the stream does not begin")
	}
	return f, reading
}

// TestE2EWatch has a mount, S3 and HTTP change things while leaders are killed, and two watch: what each changer did comes in the order in
// which he did it, all of it and once, and both watchers hear the same.
func TestE2EWatch(t *testing.T) {
	d := cluster.StartDev(t, 3, 6)
	mnt := d.Mount(t)
	d.AWS("s3", "mb", "s3://photos").Run(t)
	d.Granary("fs", "mkdir", "/h").Run(t)
	lines := watchCommand(t, &d.Access, "/", "--from", "oldest")
	lines.await(t, "create", "/buckets/photos")
	ctx, cancel := context.WithCancel(t.Context())
	events, reading := watchEvents(ctx, t, d.HTTP, "/")
	t.Cleanup(func() { cancel(); reading.Wait() })
	const files = 40
	var changing sync.WaitGroup
	changing.Go(func() {
		dir := filepath.Join(mnt, "m")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Error(err)
		}
		for i := range files {
			name := filepath.Join(dir, fmt.Sprint(i))
			err := os.WriteFile(name, []byte("mount"), 0o644)
			if err == nil {
				err = os.Rename(name, name+".done")
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	changing.Go(func() {
		for i := range files {
			target := fmt.Sprintf("%s/h/%d", d.HTTP, i)
			for _, method := range []string{"PUT", "DELETE"} {
				req, err := http.NewRequest(method, target, strings.NewReader("http"))
				if err != nil {
					t.Error(err)
					return
				}
				r, err := http.DefaultClient.Do(req)
				if err != nil || r.StatusCode >= 300 {
					t.Errorf("%s %s: %+v, %v", method, target, r, err)
					return
				}
				r.Body.Close()
			}
		}
	})
	changing.Go(func() {
		name := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(name, []byte("s3"), 0o644); err != nil {
			t.Error(err)
		}
		for i := range 5 {
			if _, err := d.AWS("s3", "cp", name, fmt.Sprintf("s3://photos/in/%d", i)).Try(ctx); err != nil {
				t.Error(err)
			}
		}
	})
	leader := d.LeaderName(t)
	d.Kill(t, leader)
	d.StartRole(t, leader)
	changing.Wait()
	if err := os.Remove(filepath.Join(mnt, "m", "0.done")); err != nil {
		t.Fatal(err)
	}
	d.Granary("fs", "mkdir", "/end").Run(t)
	for _, f := range []*follower{lines, events} {
		f.await(t, "unlink", "/m/0.done")
		f.await(t, "create", "/end")
	}
	all := lines.told()
	if !slices.IsSortedFunc(all, func(a, b watched) int {
		if a.At.Before(b.At) {
			return -1
		}
		return 1
	}) {
		t.Error("the changes are not in the order of their positions, or one came twice")
	}
	var want []string
	for i := range files {
		want = append(want, fmt.Sprintf("create /h/%d", i), fmt.Sprintf("unlink /h/%d", i))
	}
	of := func(prefix string, kinds ...string) (told []string) {
		for _, c := range all {
			if strings.HasPrefix(c.Path, prefix) && slices.Contains(kinds, c.Kind) {
				told = append(told, c.Kind+" "+c.Path)
			}
		}
		return told
	}
	if got := of("/h/", "create", "unlink"); !slices.Equal(got, want) {
		t.Errorf("by HTTP: %d changes: %v", len(got), got)
	}
	want = nil
	for i := range files {
		want = append(want, fmt.Sprintf("rename /m/%d.done", i))
	}
	if got := of("/m/", "rename"); !slices.Equal(got, want) {
		t.Errorf("by the mount: %d changes: %v", len(got), got)
	}
	if got := of("/m/", "create"); len(got) != files {
		t.Errorf("by the mount: %d files: %v", len(got), got)
	}
	if got := of("/buckets/photos/in/", "create"); len(got) != 5 {
		t.Errorf("by S3: %v", got)
	}
	heard := events.told()
	same := func(a, b watched) bool { return a.At == b.At && a.Kind == b.Kind } // a file may have been renamed before one of them looked
	first := slices.IndexFunc(all, func(c watched) bool { return len(heard) > 0 && same(c, heard[0]) })
	if n := min(len(all), first+len(heard)); first < 0 || !slices.EqualFunc(all[first:n], heard[:n-first], same) {
		t.Errorf("by HTTP %d changes are told, by the command %d, and not the same", len(heard), len(all))
	}
	if out := d.Granary("watch", "/h", "--from", "oldest", "--once", "-o", "json").Run(t); strings.Count(out, "\n") < 2*files {
		t.Errorf("a watch of what was: %s", out)
	}
}

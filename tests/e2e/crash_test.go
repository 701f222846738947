//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dsorchard/granary/tests/cluster"
)

// startWithin is how long the store may take to start after a crash.
const startWithin = 5 * time.Second

// TestChaosKillServer kills the all-in-one server twenty times in the middle of a copy. Whatever was
// acknowledged, by a close or fsync in the mount or by a response of HTTP, must be there and right.
func TestChaosKillServer(t *testing.T) {
	s := cluster.StartServer(t)
	mnt := s.Mount(t)
	files := someFiles(t, filepath.Join(sourceTree(t)), 6000)
	if err := os.MkdirAll(filepath.Join(mnt, "copy"), 0o755); err != nil {
		t.Fatal(err)
	}
	acked := &ackList{}
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	writers.Go(func() { copyThroughMount(ctx, t, mnt, files, acked) })
	writers.Go(func() { putThroughHTTP(ctx, s, files, acked) })

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	var slowest time.Duration
	for range 20 {
		<-time.After(time.Duration(50+r.IntN(1500)) * time.Millisecond) // a random moment, not a wait for anything
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		s.Start(t)
		slowest = max(slowest, time.Since(start))
	}
	if slowest > startWithin {
		t.Errorf("the slowest start took %s, more than %s", slowest, startWithin)
	}
	// Something must still be written after the last crash, then all ends.
	before := acked.len()
	cluster.WaitFor(t, cluster.ReadyWithin, "writes after the last crash", func() error {
		if acked.len() < before+5 {
			return errors.New("too few")
		}
		return nil
	})
	cancel()
	writers.Wait()
	t.Logf("%d files acknowledged, slowest start %s", acked.len(), slowest)
	if acked.len() < 50 {
		t.Errorf("only %d files were acknowledged: the test shows little", acked.len())
	}
	acked.verify(t, mnt, s.HTTP)
}

// ackList is what was acknowledged: path below the root, and the local file it must equal.
type ackList struct {
	mu    sync.Mutex
	files map[string]string
}

func (a *ackList) add(path, local string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.files == nil {
		a.files = map[string]string{}
	}
	a.files[path] = local
}

func (a *ackList) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.files)
}

// verify reads every file through the mount, and every tenth through HTTP too.
func (a *ackList) verify(t *testing.T, mnt, url string) {
	t.Helper()
	n := 0
	for path, local := range a.files {
		want, err := os.ReadFile(local)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(mnt, path))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s was acknowledged and is not right: %d of %d bytes, %v", path, len(got), len(want), err)
		}
		if n++; n%10 == 0 {
			got, err := httpGet(url + "/" + path)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s was acknowledged and is not right through HTTP: %d of %d bytes, %v", path, len(got), len(want), err)
			}
		}
	}
}

// someFiles lists regular files of a tree.
func someFiles(t *testing.T, root string, most int) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() {
			list = append(list, name)
		}
		if len(list) == most {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// copyThroughMount runs copier in a process of its own, until ctx ends. The mount outlives the
// server, so no step may fail: it waits until the server is back.
//
// It must not be this process: starting the server again forks, and the child's copies of open files
// in the mount are flushed when it executes, which would wait for the server.
func copyThroughMount(ctx context.Context, t *testing.T, mnt string, files []string, acked *ackList) {
	list := filepath.Join(t.TempDir(), "files")
	if err := os.WriteFile(list, []byte(strings.Join(files, "\n")), 0o600); err != nil {
		t.Error(err)
		return
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), copierList+"="+list, copierTo+"="+filepath.Join(mnt, "copy"))
	cmd.Stderr = os.Stderr
	stop, err := cmd.StdinPipe()
	if err != nil {
		t.Error(err)
		return
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return
	}
	defer context.AfterFunc(ctx, func() { _ = stop.Close() })() // the copier ends when it sees this
	for lines := bufio.NewScanner(out); lines.Scan(); {
		i, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Errorf("the copier says %q", lines.Text())
			return
		}
		acked.add(filepath.Join("copy", copyName(i)), files[i%len(files)])
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("copy through the mount: %v", err)
	}
}

// Environment of the copier.
const (
	copierList = "GRANARY_TEST_COPIER_LIST"
	copierTo   = "GRANARY_TEST_COPIER_TO"
)

func copyName(i int) string { return fmt.Sprintf("%05d", i) }

// TestMain is the copier if the environment says so.
func TestMain(m *testing.M) {
	list := os.Getenv(copierList)
	if list == "" {
		os.Exit(m.Run())
	}
	if err := copier(list, os.Getenv(copierTo)); err != nil {
		fmt.Fprintln(os.Stderr, "copier:", err)
		os.Exit(1)
	}
}

// copier copies the files that list names, one after the other and again from the start, and prints the number of each copy when
// its close has returned, until its standard input ends.
func copier(list, to string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is all that matters
	}()
	for i, files := 0, strings.Split(string(text), "\n"); ; i++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := copyFile(filepath.Join(to, copyName(i)), files[i%len(files)], i%3 == 0); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

func copyFile(to, from string, sync bool) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if sync {
		err = errors.Join(err, f.Sync())
	}
	return errors.Join(err, f.Close())
}

// putThroughHTTP uploads files; one that the server did not answer is tried again under the same name.
func putThroughHTTP(ctx context.Context, s *cluster.Server, files []string, acked *ackList) {
	for i := 0; ctx.Err() == nil; { // again from the start when all are there, under further names
		local := files[len(files)-1-i%len(files)]
		path := fmt.Sprintf("put/%05d", i)
		if httpPut(ctx, s.HTTP+"/"+path, local) == nil {
			acked.add(path, local)
			i++
			continue
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func httpPut(ctx context.Context, url, local string) error {
	content, err := os.ReadFile(local)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, bytes.NewReader(content))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("PUT %s: %s", url, resp.Status)
	}
	return nil
}

func httpGet(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s: %s", url, resp.Status, b.String())
	}
	return b.Bytes(), nil
}

//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
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

// notified is what of an event is compared.
type notified struct {
	key, name string
	at        granary.Position
	sequencer string
}

// parseNotified reads an event's document; false for a test event.
func parseNotified(document []byte) (notified, bool, error) {
	var d struct {
		Event   string
		Records []struct {
			EventName        string
			ResponseElements map[string]string
			S3               struct {
				Object struct{ Key, Sequencer string }
			}
		}
	}
	if err := json.Unmarshal(document, &d); err != nil || d.Event == "s3:TestEvent" {
		return notified{}, false, err
	}
	if len(d.Records) != 1 {
		return notified{}, false, fmt.Errorf("%d records", len(d.Records))
	}
	r := &d.Records[0]
	n := notified{name: r.EventName, sequencer: r.S3.Object.Sequencer}
	var err error
	if n.key, err = url.QueryUnescape(r.S3.Object.Key); err == nil {
		n.at, err = granary.ParsePosition(r.ResponseElements["x-granary-position"])
	}
	return n, true, err
}

// hook is a webhook that can be killed: its connections break, some after it has taken what they brought.
type hook struct {
	t    *testing.T
	addr string
	mu   sync.Mutex
	got  []notified
	dead bool
	srv  *http.Server
}

func startHook(t *testing.T) *hook {
	h := &hook{t: t, addr: "127.0.0.1:0"}
	h.start()
	t.Cleanup(h.kill)
	return h
}

func (h *hook) start() {
	var ln net.Listener
	cluster.WaitFor(h.t, 10*time.Second, "the hook's port", func() (err error) {
		ln, err = net.Listen("tcp", h.addr)
		return err
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addr, h.dead, h.srv = ln.Addr().String(), false, &http.Server{Handler: http.HandlerFunc(h.serve)}
	srv := h.srv
	go srv.Serve(ln) // ends with kill
}

func (h *hook) kill() {
	h.mu.Lock()
	h.dead = true
	srv := h.srv
	h.mu.Unlock()
	srv.Close()
}

func (h *hook) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // cut off
	}
	n, is, err := parseNotified(body)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil:
		h.t.Errorf("%s: %v", body, err)
	case is && !h.dead:
		h.got = append(h.got, n)
	}
	if h.dead || rand.IntN(50) == 0 {
		panic(http.ErrAbortHandler)
	}
}

func (h *hook) arrived() []notified {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// redisServer is a server that keeps what it has acknowledged, and can be killed.
type redisServer struct {
	t         *testing.T
	dir, port string
	cmd       *exec.Cmd
}

func startRedis(t *testing.T) *redisServer {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	r := &redisServer{t: t, dir: t.TempDir(), port: port}
	r.start()
	t.Cleanup(r.kill)
	return r
}

func (r *redisServer) start() {
	r.cmd = exec.Command("redis-server", "--port", r.port, "--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	cluster.WaitFor(r.t, 10*time.Second, "redis-server", func() error {
		_, err := r.list(0, 0)
		return err
	})
}

func (r *redisServer) kill() {
	if err := r.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		r.t.Error(err)
	}
	_ = r.cmd.Wait() // it was killed
}

// list returns a part of the list of events.
func (r *redisServer) list(from, to int) ([][]byte, error) {
	out, err := exec.Command("redis-cli", "-p", r.port, "--raw", "LRANGE", "events", fmt.Sprint(from), fmt.Sprint(to)).Output()
	if err == nil && (bytes.HasPrefix(out, []byte("LOADING")) || bytes.HasPrefix(out, []byte("ERR"))) {
		err = errors.New(string(out))
	}
	return bytes.Split(bytes.TrimSpace(out), []byte("\n")), err
}

func (r *redisServer) arrived() (all []notified, err error) {
	lines, err := r.list(0, -1)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		if len(line) == 0 {
			continue
		}
		n, is, err := parseNotified(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
		if is {
			all = append(all, n)
		}
	}
	return all, nil
}

// TestE2ENotifications has S3, HTTP and a mount change objects while filers, the leader and the receivers are killed: what the change log
// has reaches the webhook and the list, all of it, and of each key in order.
func TestE2ENotifications(t *testing.T) {
	d := cluster.StartDev(t, 3, 3, "--filers", "2")
	redis, hook := startRedis(t), startHook(t)
	mnt := d.Mount(t)
	d.AWS("s3", "mb", "s3://box").Run(t)
	d.Granary("notify", "target", "add", "hook", "http://"+hook.addr+"/x").Run(t)
	d.Granary("notify", "target", "add", "list", "redis://127.0.0.1:"+redis.port+"/events").Run(t)
	rule := func(arn string) string {
		return `{"QueueArn": "` + arn + `", "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}`
	}
	d.AWS("s3api", "put-bucket-notification-configuration", "--bucket", "box", "--notification-configuration",
		`{"QueueConfigurations": [`+rule("arn:granary:sqs::hook:webhook")+`,`+rule("arn:granary:sqs::list:redis")+`]}`).Run(t)
	changes := watchCommand(t, &d.Access, "/buckets/box", "--from", "oldest")
	if err := os.WriteFile(filepath.Join(mnt, "buckets/box/first"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	changes.await(t, "create", "/buckets/box/first")

	var changing sync.WaitGroup
	over := make(chan struct{})
	every := func(pause time.Duration, do func(i int) error) {
		changing.Go(func() {
			ticker := time.NewTicker(pause)
			defer ticker.Stop()
			for i := 0; ; i++ {
				if err := do(i); err != nil {
					t.Log(err)
				}
				select {
				case <-over:
					return
				case <-ticker.C:
				}
			}
		})
	}
	every(5*time.Millisecond, func(i int) error {
		name := filepath.Join(mnt, "buckets/box", fmt.Sprint("m", i%5))
		if i%2 == 0 {
			return os.WriteFile(name, []byte("mount"), 0o644)
		}
		return os.Remove(filepath.Join(mnt, "buckets/box", fmt.Sprint("m", (i-1)%5)))
	})
	every(10*time.Millisecond, func(i int) error { // through a filer that may be dead
		method := []string{"PUT", "DELETE"}[i/4%2]
		req, err := http.NewRequest(method, fmt.Sprintf("%s/buckets/box/in/h%d", d.HTTP, i%4), strings.NewReader("http"))
		if err != nil {
			return err
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil
		}
		return r.Body.Close()
	})
	pause := func() { // what is killed has something to do before, and is missed for a while
		n := len(changes.told())
		cluster.WaitFor(t, 3*time.Minute, "changes", func() error {
			if len(changes.told()) < n+100 {
				return errors.New("too few")
			}
			return nil
		})
	}
	for round, name := range []string{"f1", "f2", ""} {
		if name == "" {
			name = d.LeaderName(t)
		}
		pause()
		hook.kill()
		pause()
		redis.kill()
		d.Kill(t, name)
		pause()
		hook.start()
		redis.start()
		pause()
		d.StartRole(t, name)
		t.Logf("round %d: %d changes", round, len(changes.told()))
	}
	pause()
	close(over)
	changing.Wait()
	if err := os.WriteFile(filepath.Join(mnt, "buckets/box/last"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	changes.await(t, "create", "/buckets/box/last")
	var want []notified
	for _, c := range changes.told() {
		if c.Kind == "create" && c.Path != "/buckets/box" && c.Path != "/buckets/box/in" || c.Kind == "unlink" {
			want = append(want, notified{key: strings.TrimPrefix(c.Path, "/buckets/box/"), at: c.At,
				name: map[string]string{"create": "ObjectCreated:Put", "unlink": "ObjectRemoved:Delete"}[c.Kind]})
		}
	}
	for name, arrived := range map[string]func() ([]notified, error){"webhook": func() ([]notified, error) { return hook.arrived(), nil }, "redis": redis.arrived} {
		var got []notified
		cluster.WaitFor(t, 2*time.Minute, "all events at "+name, func() (err error) {
			if got, err = arrived(); err != nil {
				return err
			}
			there := map[notified]bool{}
			for _, n := range got {
				n.sequencer = ""
				there[n] = true
			}
			for _, w := range want {
				if !there[w] {
					return fmt.Errorf("%s of %s at %s has not arrived, among %d events, of %d changes", w.name, w.key, w.at, len(got), len(want))
				}
			}
			return nil
		})
		ordered(t, name, got)
		t.Logf("%s: %d changes, %d events with those of writes and repetitions", name, len(want), len(got))
	}
	cluster.WaitFor(t, time.Minute, "a good state", func() error {
		_, err := d.Granary("notify", "status").Try(t.Context())
		return err
	})
}

// ordered checks that of each key the events arrived in order, when repetitions are left out.
func ordered(t *testing.T, name string, got []notified) {
	byKey := map[string][]notified{}
	for _, n := range got {
		if !slices.ContainsFunc(byKey[n.key], func(o notified) bool { return o.at == n.at }) {
			byKey[n.key] = append(byKey[n.key], n)
		}
	}
	for key, all := range byKey {
		if !slices.IsSortedFunc(all, func(a, b notified) int { return strings.Compare(a.sequencer, b.sequencer) }) {
			t.Errorf("%s: the events of %s are not in order", name, key)
		}
	}
}

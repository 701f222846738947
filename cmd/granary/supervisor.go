package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/volume"
)

// supervisor owns the children of a dev-cluster and its cluster.json. It starts a child only when
// told to: one that dies stays dead.
type supervisor struct {
	dir string
	exe string
	env []string

	mu       sync.Mutex
	file     *clusterFile
	children map[string]*child
	stopping bool
}

// child is a running process; done is closed when it has ended and cluster.json says so.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func newSupervisor(dir string, f *clusterFile) (*supervisor, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	env := append(os.Environ(), "GRANARY_ROOT_ACCESS_KEY="+f.AccessKey, "GRANARY_ROOT_SECRET_KEY="+f.SecretKey)
	return &supervisor{dir: dir, exe: exe, env: env, file: f, children: map[string]*child{}}, nil
}

func (s *supervisor) startAll() error {
	for i := range s.file.Processes {
		if err := s.start(s.file.Processes[i].Name); err != nil {
			return err
		}
	}
	return nil
}

// start starts the named role, which must not be running.
func (s *supervisor) start(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.find(name)
	switch {
	case p == nil:
		return fmt.Errorf("no role is named %q in %s", name, clusterFileName(s.dir))
	case s.stopping:
		return errors.New("the dev-cluster is stopping")
	case s.children[name] != nil:
		return fmt.Errorf("%s already runs with pid %d", name, p.Pid)
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(s.exe, p.args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, s.env
	// The children must outlive nobody: not the supervisor, and not by a signal of the terminal
	// before it has told them itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	if err := log.Close(); err != nil {
		return err
	}
	c := &child{cmd: cmd, done: make(chan struct{})}
	s.children[name] = c
	p.Pid = cmd.Process.Pid
	go s.reap(name, c)
	return s.save()
}

// reap waits for a child and notes its end.
func (s *supervisor) reap(name string, c *child) {
	defer close(c.done)
	err := c.cmd.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find(name).Pid = 0
	delete(s.children, name)
	if !s.stopping {
		fmt.Fprintf(os.Stderr, "granary: %s ended: %s\n", name, endText(err))
	}
	if err := s.save(); err != nil {
		fmt.Fprintln(os.Stderr, "granary:", err)
	}
}

func endText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// find returns the entry of a role; the caller holds mu or is alone.
func (s *supervisor) find(name string) *devProcess {
	for i := range s.file.Processes {
		if s.file.Processes[i].Name == name {
			return &s.file.Processes[i]
		}
	}
	return nil
}

// save writes cluster.json; the caller holds mu.
func (s *supervisor) save() error {
	text, err := json.MarshalIndent(s.file, "", "  ")
	if err != nil {
		return err
	}
	return writeFileAtomic(clusterFileName(s.dir), append(text, '\n'), 0o600)
}

// snapshot copies the state of the processes.
func (s *supervisor) snapshot() *clusterFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := *s.file
	f.Processes = append([]devProcess(nil), s.file.Processes...)
	return &f
}

// waitReady waits until a leader leads, every volume server is up and every filer answers.
func (s *supervisor) waitReady(ctx context.Context, within time.Duration, servers int) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	check := time.NewTicker(50 * time.Millisecond)
	defer check.Stop()
	last := errors.New("no leader yet")
	for {
		if err := s.dead(); err != nil {
			return err
		}
		if err := s.ready(ctx, servers); err == nil {
			return nil
		} else if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the dev-cluster is not ready after %s: %w", within, last)
		case <-check.C:
		}
	}
}

// dead names a child that ended by itself during the start.
func (s *supervisor) dead() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.file.Processes {
		if p.Pid == 0 {
			return fmt.Errorf("%s ended during the start; see %s", p.Name, p.Log)
		}
	}
	return nil
}

func (s *supervisor) ready(ctx context.Context, servers int) (err error) {
	f := s.snapshot()
	env := &environment{cluster: f.Cluster}
	masters, err := env.masters()
	if err != nil {
		return err
	}
	c, err := client.Open(ctx, client.Options{Masters: masters, Shards: volume.NewClient(), Name: sessionName("dev-cluster"), RetryFor: 2 * time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	st, err := client.Ask[*granary.Status](ctx, c, &granary.GetStatus{})
	if err != nil {
		return err
	}
	if st.ServersUp < servers {
		return fmt.Errorf("%d of %d volume servers are up", st.ServersUp, servers)
	}
	for _, p := range f.Processes {
		if p.Role != "filer" {
			continue
		}
		conn, err := net.DialTimeout("tcp", p.Addr["s3"], time.Second)
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
	}
	return nil
}

// controlHandler serves POST /start/NAME to whoever knows the secret key.
func (s *supervisor) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /start/{name}", func(w http.ResponseWriter, r *http.Request) {
		want := "Bearer " + s.file.SecretKey
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(want)) != 1 {
			http.Error(w, "wrong key", http.StatusForbidden)
			return
		}
		if err := s.start(r.PathValue("name")); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		fmt.Fprintf(w, "%s started with pid %d\n", r.PathValue("name"), s.pid(r.PathValue("name")))
	})
	return mux
}

func (s *supervisor) pid(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(name).Pid
}

// stop ends every child: filers first, then volume servers, then masters, so that nobody loses the
// one it still needs. What does not end in time is killed.
func (s *supervisor) stop() error {
	s.mu.Lock()
	s.stopping = true
	s.mu.Unlock()
	var errs []error
	for _, role := range []string{"filer", "volume", "master"} {
		errs = append(errs, s.stopRole(role))
	}
	return errors.Join(errs...)
}

func (s *supervisor) stopRole(role string) error {
	s.mu.Lock()
	running := map[string]*child{}
	for _, p := range s.file.Processes {
		if c := s.children[p.Name]; c != nil && p.Role == role {
			running[p.Name] = c
		}
	}
	s.mu.Unlock()
	var errs []error
	for name, c := range running {
		if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	deadline := time.NewTimer(2 * shutdownWithin)
	defer deadline.Stop()
	for name, c := range running {
		select {
		case <-c.done:
		case <-deadline.C:
			errs = append(errs, fmt.Errorf("%s did not stop in time and was killed", name))
			for _, c := range running {
				errs = append(errs, c.cmd.Process.Kill())
			}
			return errors.Join(errs...)
		}
	}
	return errors.Join(errs...)
}

package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Server is an all-in-one "granary serve".
type Server struct {
	Access              // how to reach it
	Base   int          // --listen-base
	Data   string       // --data
	Args   []string     // further arguments
	Log    string       // file that gathers what it prints
	Ready  time.Time    // when it last answered first after a start
	client *http.Client // of Healthy; nil: http.DefaultClient
	cmd    *exec.Cmd
	ended  chan struct{}
}

// Access says how to reach a cluster through its doors.
type Access struct {
	Binary    string
	Cluster   string // value of --cluster
	HTTP, S3  string // URLs without a trailing slash
	AccessKey string
	SecretKey string
	CA        string              // file with the authority of the doors' certificate; "": they speak plain HTTP
	As        *syscall.Credential // who runs servers and clients; nil: this process's user
	Dir       string              // of that user; for configuration files of clients
}

// NewServer plans a server with its data in a directory of the test; Start starts it.
func NewServer(t testing.TB, args ...string) *Server {
	t.Helper()
	return newServer(t, Access{Binary: Binary(t), Dir: t.TempDir()}, args)
}

// NewServerOf plans a server of an ordinary user, who also runs the clients: of uid and gid 1000 if the test is root, and
// else of the user of the test.
func NewServerOf(t testing.TB, args ...string) *Server {
	t.Helper()
	if os.Geteuid() != 0 {
		return NewServer(t, args...)
	}
	dir, err := os.MkdirTemp("", "granary-user-") // in t.TempDir only its own user finds anything
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("the directory of the user: %v", err)
		}
	})
	a := Access{Binary: filepath.Join(dir, "granary"), Dir: dir, As: &syscall.Credential{Uid: 1000, Gid: 1000}}
	binary, err := os.ReadFile(Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(a.Binary, binary, 0o755), os.Chown(dir, int(a.As.Uid), int(a.As.Gid))); err != nil {
		t.Fatal(err)
	}
	return newServer(t, a, args)
}

func newServer(t testing.TB, a Access, args []string) *Server {
	t.Helper()
	base := FreeBase(t)
	s := &Server{
		Access: Access{
			Binary: a.Binary, As: a.As, Dir: a.Dir,
			Cluster:   fmt.Sprintf("127.0.0.1:%d", base),
			HTTP:      fmt.Sprintf("http://127.0.0.1:%d", base+200),
			S3:        fmt.Sprintf("http://127.0.0.1:%d", base+300),
			AccessKey: "TESTACCESSKEY", SecretKey: "test-secret-key-0123456789",
		},
		Base: base, Data: filepath.Join(a.Dir, "data"), Args: args, Log: filepath.Join(a.Dir, "server.log"),
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Errorf("stop of the server: %v", err)
		}
		if t.Failed() {
			s.showLog(t)
		}
	})
	return s
}

// StartServer starts an all-in-one server and waits until it is ready.
func StartServer(t testing.TB, args ...string) *Server {
	t.Helper()
	s := NewServer(t, args...)
	s.Start(t)
	return s
}

// Start starts the process and waits until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.Launch(); err != nil {
		t.Fatal(err)
	}
	WaitFor(t, ReadyWithin, "the server", s.Healthy)
	s.Ready = time.Now()
}

// Launch starts the process without waiting for it.
func (s *Server) Launch() error {
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	args := append([]string{"serve", "--data", s.Data, "--listen-base", fmt.Sprint(s.Base)}, s.Args...)
	cmd := exec.Command(s.Binary, args...)
	cmd.Env = append(os.Environ(), "GRANARY_ROOT_ACCESS_KEY="+s.AccessKey, "GRANARY_ROOT_SECRET_KEY="+s.SecretKey)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: s.As}
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // how it ended is what the tests are about: they look at the log and the state
	}()
	s.cmd, s.ended = cmd, ended
	return nil
}

// Healthy asks the server whether it works, and notices when it has died.
func (s *Server) Healthy() error {
	select {
	case <-s.ended:
		return fmt.Errorf("the server ended by itself: %s", s.cmd.ProcessState)
	default:
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.HTTP+"/-/health", nil)
	if err != nil {
		return err
	}
	resp, err := cmp.Or(s.client, http.DefaultClient).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("health: %s", resp.Status)
	}
	return nil
}

// Kill is kill -9, and waits for the end of the process.
func (s *Server) Kill() error {
	if s.cmd == nil {
		return nil
	}
	err := s.cmd.Process.Kill()
	<-s.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Stop is SIGTERM, and waits for the end of the process; after 30 s it kills.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	select {
	case <-s.ended:
		return nil
	case <-late.C:
		return errors.Join(errors.New("it did not stop within 30 s of SIGTERM"), s.Kill())
	}
}

func (s *Server) showLog(t testing.TB) {
	if text, err := os.ReadFile(s.Log); err == nil {
		t.Logf("log of the server:\n%s", tail(string(text)))
	}
}

// Granary is a command line of the binary under test, against this cluster.
func (a *Access) Granary(args ...string) Command {
	return Command{Name: a.Binary, Args: args, As: a.As, Env: []string{"GRANARY_CLUSTER=" + a.Cluster}}
}

// Status is what "cluster status --output json" prints.
type Status struct {
	Leader       string   `json:"leader"`
	Volumes      int      `json:"volumes"`
	Files        uint64   `json:"files"`
	LogicalBytes uint64   `json:"logicalBytes"`
	UniqueBytes  uint64   `json:"uniqueBytes"`
	StoredBytes  uint64   `json:"storedBytes"`
	ServersUp    int      `json:"volumeServersUp"`
	Health       string   `json:"health"`
	Reasons      []string `json:"reasons"`
	Effective    string   `json:"effectivePolicy"`
}

// Status asks the cluster how it does.
func (a *Access) Status(ctx context.Context) (*Status, error) {
	out, err := a.Granary("cluster", "status", "--output", "json").Try(ctx)
	if err != nil {
		return nil, err
	}
	var st Status
	if err := json.Unmarshal(out, &st); err != nil {
		return nil, fmt.Errorf("cluster status printed no JSON: %w: %s", err, out)
	}
	return &st, nil
}

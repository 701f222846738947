package web

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/filer"
	"github.com/dsorchard/granary/internal/wire"
	"github.com/dsorchard/granary/master"
	"github.com/dsorchard/granary/volume"
)

// stack is a whole cluster in this process, with the door before it.
type stack struct {
	t  *testing.T
	fs *filer.FS
	h  *Handler
}

// newStack starts a master and a volume server with one disk.
func newStack(t *testing.T) *stack {
	t.Helper()
	dir := t.TempDir()
	disks, err := volume.Open(volume.Options{Dirs: []string{filepath.Join(dir, "disk")}, ReserveBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	blocks := volume.NewClient()
	blocks.Attach("volume:1", disks)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m, err := master.Open(master.Options{
		Dir: filepath.Join(dir, "master"), GRPCAddr: "master:1", Listener: listener, Shards: blocks, ServerDownAfter: time.Minute,
		RootUser: granary.User{AccessKey: "key", SecretKey: "secret", Name: "root", Root: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	beating := make(chan error, 1)
	go func() {
		beating <- disks.Heartbeats(ctx, "volume:1", "", "", []string{"master:1"}, func(string) (volume.Master, func() error, error) {
			return m, func() error { return nil }, nil
		})
	}()
	c, err := client.Open(ctx, client.Options{
		Masters: []string{"master:1"}, Shards: blocks, Name: "test",
		Dial: func(string) (wire.Master, func() error, error) { return m, func() error { return nil }, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, fs: filer.New(filer.Options{Client: c, Owner: &granary.Cred{UID: 1000, GID: 1000}})}
	t.Cleanup(func() {
		for _, end := range []func() error{
			func() error { return s.fs.Close(ctx) }, c.Close, func() error { stop(); return <-beating }, m.Close, blocks.Close, disks.Close,
		} {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
	})
	s.open()
	return s
}

// open makes a new handler, as a filer that is started again has one.
func (s *stack) open() {
	s.t.Helper()
	h, err := NewHandler(Options{FS: s.fs})
	if err != nil {
		s.t.Fatal(err)
	}
	s.h = h
	s.t.Cleanup(func() { // before the file system ends
		if err := h.Close(); err != nil {
			s.t.Error(err)
		}
	})
}

// send sends a request; headers are "Name: value".
func (s *stack) send(method, target string, body io.Reader, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, target, body)
	for _, header := range headers {
		name, value, ok := strings.Cut(header, ": ")
		if !ok {
			s.t.Fatalf("header %q", header)
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	s.h.ServeHTTP(w, r)
	return w
}

func (s *stack) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	return s.send(method, target, strings.NewReader(body), headers...)
}

// want sends a request, and fails the test unless the answer has the status.
func (s *stack) want(status int, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	w := s.do(method, target, body, headers...)
	if w.Code != status {
		s.t.Fatalf("%s %s: status %d, and not %d: %s", method, target, w.Code, status, w.Body)
	}
	return w
}

// content returns what a file has.
func (s *stack) content(target string) string {
	s.t.Helper()
	return s.want(http.StatusOK, "GET", target, "").Body.String()
}

// hidden returns what is among the uploads in progress.
func (s *stack) hidden() (names []string) {
	s.t.Helper()
	err := s.fs.ReadDir(s.t.Context(), granary.RootDataset.System(), func(e granary.Entry) bool {
		names = append(names, e.Name)
		return true
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return names
}

// stageAt are the options of a tree that is to be at a path.
func stageAt(p string) filer.StageOptions {
	return filer.StageOptions{Root: granary.RootInode, Path: p, Mode: directoryMode, Cred: self()}
}

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ReadyWithin bounds how long anything may take to be ready on a loaded machine.
const ReadyWithin = 60 * time.Second

// Binary returns the granary binary under test: the one that GRANARY_BINARY names, or the
// repository's bin/granary.
func Binary(t testing.TB) string {
	t.Helper()
	if name := os.Getenv("GRANARY_BINARY"); name != "" {
		return name
	}
	_, here, _, _ := runtime.Caller(0)
	name := filepath.Join(filepath.Dir(here), "..", "..", "bin", "granary")
	if _, err := os.Stat(name); err != nil {
		t.Fatalf("no binary to test: set GRANARY_BINARY or run 'make build' (%v)", err)
	}
	return name
}

// FreeBase returns a --listen-base all of whose ports, for up to 20 roles of each kind, are free.
func FreeBase(t testing.TB) int {
	t.Helper()
	for range 200 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		base := ln.Addr().(*net.TCPAddr).Port
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		// Below the ephemeral range, so that no outgoing connection takes a port meanwhile.
		base = 10000 + base%20000
		if portsFree(base) {
			return base
		}
	}
	t.Fatal("no free range of ports")
	return 0
}

func portsFree(base int) bool {
	for _, offset := range []int{0, 100, 200, 300} {
		for i := range 20 {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base+offset+i))
			if err != nil {
				return false
			}
			if ln.Close() != nil {
				return false
			}
		}
	}
	return true
}

// WaitFor polls a condition until it holds, and fails the test with its last error otherwise.
func WaitFor(t testing.TB, within time.Duration, what string, condition func() error) {
	t.Helper()
	if err := Poll(within, condition); err != nil {
		t.Fatalf("%s: not within %s: %v", what, within, err)
	}
}

// Poll asks a condition every 20 ms until it holds; it returns the last error if it never does.
func Poll(within time.Duration, condition func() error) error {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-tick.C
	}
}

// Command is a command line to run to its end.
type Command struct {
	Name string
	Args []string
	Dir  string
	Env  []string // added to this process's
	In   []byte
	As   *syscall.Credential // nil: this process's user
}

// Try runs the command and returns its standard output; the error has its standard error.
func (c Command) Try(ctx context.Context) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.Name, c.Args...)
	cmd.Dir, cmd.Env = c.Dir, append(environment(), c.Env...)
	cmd.Stdin = bytes.NewReader(c.In)
	if c.As != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.As}
	}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%s %s: %w\n%s%s", c.Name, strings.Join(c.Args, " "), err, tail(out.String()), tail(errOut.String()))
	}
	return out.Bytes(), nil
}

// environment is this process's, but for what makes some S3 clients load certificates that plain HTTP
// has no use for, and fail at it.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
}

// Run is Try; a failure ends the test.
func (c Command) Run(t testing.TB) string {
	t.Helper()
	out, err := c.Try(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func tail(s string) string {
	const most = 4000
	if len(s) > most {
		return "…" + s[len(s)-most:]
	}
	return s
}

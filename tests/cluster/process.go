package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// process is a granary process on a host of a Network, which may be killed and started again.
type process struct {
	name  string // for people, such as "master 1"
	host  int
	log   string // file that gathers what it prints
	env   []string
	cmd   *exec.Cmd
	ended chan struct{}
}

// start starts the process, which must not run.
func (p *process) start(t testing.TB, net *Network, binary string, args ...string) {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = net.Command(p.host, binary, args...)
	p.cmd.Env = append(append(os.Environ(), "GRANARY_LOG_LEVEL=info"), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := errors.Join(p.cmd.Start(), log.Close()); err != nil {
		t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait() // hasEnded tells; how it ended is in its log
	}(p.cmd, p.ended)
}

// hasEnded reports whether the process does not run.
func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// signal sends a signal to the process.
func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	// "ip netns exec" becomes the program: its process id is the program's.
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("signal %v to %s: %v", s, p.name, err)
	}
}

// kill is kill -9; it returns when the process is dead.
func (p *process) kill(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	<-p.ended
}

// finish ends the process for good, and fails the test if it had ended by itself. The log of a failed test is kept.
func (p *process) finish(t testing.TB) {
	if p.cmd == nil {
		return
	}
	if p.hasEnded() {
		t.Errorf("%s ended by itself: %s", p.name, p.cmd.ProcessState)
	} else if err := errors.Join(p.cmd.Process.Signal(syscall.SIGCONT), p.cmd.Process.Kill()); err != nil {
		t.Errorf("stop of %s: %v", p.name, err)
	}
	<-p.ended
	if !t.Failed() {
		return
	}
	text, err := os.ReadFile(p.log)
	if err != nil {
		t.Error(err)
		return
	}
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), filepath.Base(p.log)), text, 0o600); err != nil {
		t.Error(err)
	}
	t.Log(fmt.Sprintf("log of %s:\n", p.name) + tail(string(text)))
}

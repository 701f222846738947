//go:build e2e

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dsorchard/granary"
)

// handEnv makes this program a process that does what it is told by another: see remote. It is "mount DIRECTORY", or
// "client MASTERS".
const handEnv = "GRANARY_CHAOS_HAND"

// order is one thing to do.
type order struct {
	Do      string // put, change, remove, check
	Path    string
	Off     int
	AtEnd   bool
	Content content
	Allowed []content
}

// report is how it went.
type report struct {
	Error string
	Kind  granary.Kind
	Wrong string
	Bytes int
}

// serveHand does what it is told until its input ends.
func serveHand(spec string) error {
	ctx := context.Background()
	what, where, _ := strings.Cut(spec, " ")
	var h hand = &directory{root: where}
	if what == "client" {
		d, err := newDoor(ctx, strings.Split(where, ","), "mortal client", 0, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		if err != nil {
			return err
		}
		h = d
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var r report
		err := o.carryOut(ctx, h, &r)
		var not *wrong
		if errors.As(err, &not) {
			r.Wrong = not.text
		} else if err != nil {
			r.Error, r.Kind = err.Error(), granary.KindOf(err)
		}
		if err := out.Encode(&r); err != nil {
			return err
		}
	}
}

func (o *order) carryOut(ctx context.Context, h hand, r *report) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch o.Do {
	case "put":
		return h.put(ctx, o.Path, o.Content)
	case "change":
		return h.change(ctx, o.Path, o.Off, o.AtEnd, o.Content)
	case "remove":
		return h.remove(ctx, o.Path)
	case "check":
		r.Bytes, err = check(ctx, h, o.Path, o.Allowed)
		return err
	}
	return fmt.Errorf("cannot %q", o.Do)
}

// remote is a hand in a process of its own: what works on a mount must not be the process that may have to end the mount's
// trouble; and a client can be killed in the middle of what it does.
type remote struct {
	spec   string
	log    string     // file
	mortal *rand.Rand // nil: it is not killed
	kills  atomic.Int64

	mu  sync.Mutex
	cmd *exec.Cmd // nil: none runs
	in  io.WriteCloser
	out *json.Decoder
}

// The odds by which a mortal process is killed in the middle of an operation, and right after its end; and when in the middle.
const (
	mortality     = 6
	mortalityIdle = 20
	mortalWithin  = 300 * time.Millisecond
)

func (m *remote) start() error {
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), handEnv+"="+m.spec)
	m.cmd.Stderr = log
	in, err := m.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	m.in, m.out = in, json.NewDecoder(out)
	return m.cmd.Start()
}

// end waits for the end of the process.
func (m *remote) end(kill bool) error {
	if m.cmd == nil {
		return nil
	}
	var err error
	if kill {
		err = m.cmd.Process.Kill()
	}
	err = errors.Join(err, m.in.Close())
	_ = m.cmd.Wait() // how it ended is known
	m.cmd = nil
	if errors.Is(err, os.ErrProcessDone) || errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// tell has the process do something.
func (m *remote) tell(ctx context.Context, o *order) (report, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cmd == nil {
		if err := m.start(); err != nil {
			return report{}, err
		}
	}
	var killed atomic.Bool
	process := m.cmd.Process
	kill := func() {
		if killed.CompareAndSwap(false, true) {
			m.kills.Add(1)
			_ = process.Kill() // it may have ended
		}
	}
	spare := context.AfterFunc(ctx, kill) // it returns false if it is too late
	if m.mortal != nil && m.mortal.IntN(mortality) == 0 && o.Do != "check" {
		late, timer := spare, time.AfterFunc(time.Duration(m.mortal.Int64N(int64(mortalWithin))), kill)
		spare = func() bool { return timer.Stop() && late() }
	}
	var r report
	err := json.NewEncoder(m.in).Encode(o)
	if err == nil {
		err = m.out.Decode(&r)
	}
	if m.mortal != nil && m.mortal.IntN(mortalityIdle) == 0 {
		kill()
	}
	if died := !spare() || killed.Load(); died || err != nil {
		if eerr := m.end(true); eerr != nil { // after it has answered or before
			return report{}, eerr
		}
		if !died {
			return report{}, fmt.Errorf("the process of %q ended by itself: %w", m.spec, err)
		}
	}
	if err != nil {
		return report{}, unknown(o.Path, errors.New("the client was killed"))
	}
	switch {
	case r.Wrong != "":
		return r, &wrong{r.Wrong}
	case r.Error != "":
		return r, granary.Errorf(r.Kind, "chaos", o.Path, "%s", r.Error)
	}
	return r, nil
}

func (m *remote) put(ctx context.Context, path string, c content) error {
	_, err := m.tell(ctx, &order{Do: "put", Path: path, Content: c})
	return err
}

func (m *remote) change(ctx context.Context, path string, off int, atEnd bool, c content) error {
	_, err := m.tell(ctx, &order{Do: "change", Path: path, Off: off, AtEnd: atEnd, Content: c})
	return err
}

func (m *remote) remove(ctx context.Context, path string) error {
	_, err := m.tell(ctx, &order{Do: "remove", Path: path})
	return err
}

func (m *remote) read(context.Context, string) ([]byte, error) {
	return nil, errors.New("another process's bytes are not had: it checks them")
}

func (m *remote) check(ctx context.Context, path string, allowed []content) (int, error) {
	r, err := m.tell(ctx, &order{Do: "check", Path: path, Allowed: allowed})
	return r.Bytes, err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

const (
	failoverMasters = 3
	failoverCallers = 8
	failoverSettle  = time.Second     // of undisturbed work before each trouble
	failoverHold    = 4 * time.Second // from the trouble to its end: the time in which the clients have to go on
	failoverWithin  = time.Minute     // for anything
)

// failover makes leaders fail under a stream of creates, and prints how long nobody got an answer each time.
func failover(ctx context.Context, s settings) (err error) {
	trouble, ok := map[string]trouble{
		"kill": {syscall.SIGKILL, true, 0}, "term": {syscall.SIGTERM, true, 0}, "stop": {syscall.SIGSTOP, false, syscall.SIGCONT},
	}[s.how]
	if !ok {
		return fmt.Errorf("%q is none of kill, term, stop", s.how)
	}
	if s.dir == "" {
		return errors.New("--dir is missing")
	}
	g := newGroup(s)
	for i := range g.masters {
		if err := g.start(i); err != nil {
			return errors.Join(err, g.stop())
		}
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	s.cluster = strings.Join(g.addrs, ",")
	return withClient(func(ctx context.Context, s settings, c *client.Client) error {
		return g.suffer(ctx, s, c, trouble)
	})(ctx, s)
}

// trouble is a signal to the leader, whether it ends the process, and the signal that undoes it if not.
type trouble struct {
	signal syscall.Signal
	ends   bool
	undo   syscall.Signal
}

// suffer makes trouble s.times, and prints what it did to those who call.
func (g *group) suffer(ctx context.Context, s settings, c *client.Client, t trouble) error {
	root, err := mkdir(ctx, c, granary.RootInode, unique("failover"))
	if err != nil {
		return err
	}
	callers, stop := context.WithCancel(ctx)
	w := &work{c: c, root: root}
	for n := range failoverCallers {
		w.running.Go(func() { w.run(callers, n) })
	}
	outages := make([]time.Duration, 0, s.times)
	for n := 0; n < s.times && err == nil; n++ {
		var outage time.Duration
		if outage, err = g.once(ctx, c, w, t); err == nil {
			outages = append(outages, outage)
			fmt.Printf("failover: %s %2d: %s\n", s.how, n+1, w.last)
		}
	}
	stop()
	w.running.Wait()
	if err = errors.Join(err, w.failed()); err != nil {
		return err
	}
	slices.Sort(outages)
	fmt.Printf("failover: %s of the leader %d times, %d creates by %d callers, none lost, none twice: outage median %v, worst %v\n",
		s.how, len(outages), w.done.Load(), failoverCallers, outages[len(outages)/2].Round(time.Millisecond), outages[len(outages)-1].Round(time.Millisecond))
	return w.verify(ctx)
}

// once makes trouble for the leader, and takes it back when it has lasted.
func (g *group) once(ctx context.Context, c *client.Client, w *work, t trouble) (time.Duration, error) {
	lead, err := g.ready(ctx, c)
	if err != nil {
		return 0, err
	}
	if err := rest(ctx, failoverSettle); err != nil {
		return 0, err
	}
	w.reset()
	if err := g.masters[lead].Process.Signal(t.signal); err != nil {
		return 0, err
	}
	if err := rest(ctx, failoverHold); err != nil {
		return 0, err
	}
	gap := w.report()
	if !t.ends {
		return gap, g.masters[lead].Process.Signal(t.undo)
	}
	_ = g.masters[lead].Wait() // it was told to end
	return gap, g.start(lead)
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// group is the masters.
type group struct {
	binary  string
	dir     string
	base    int
	addrs   []string
	masters []*exec.Cmd
}

func newGroup(s settings) *group {
	g := &group{binary: s.binary, dir: s.dir, base: s.base, masters: make([]*exec.Cmd, failoverMasters)}
	for i := range g.masters {
		g.addrs = append(g.addrs, fmt.Sprintf("127.0.0.1:%d", g.base+10*i))
	}
	return g
}

// start starts a master.
func (g *group) start(i int) error {
	peers := make([]string, len(g.addrs))
	for j, addr := range g.addrs {
		peers[j] = fmt.Sprintf("m%d@%s", j, addr)
	}
	log, err := os.OpenFile(filepath.Join(g.dir, fmt.Sprintf("m%d.log", i)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(g.binary, "serve", "master", "--id", fmt.Sprintf("m%d", i), "--data", filepath.Join(g.dir, fmt.Sprintf("m%d", i)),
		"--listen-base", fmt.Sprint(g.base+10*i), "--peers", strings.Join(peers, ","))
	cmd.Stdout, cmd.Stderr = log, log
	g.masters[i] = cmd
	return errors.Join(cmd.Start(), log.Close())
}

// stop ends all masters.
func (g *group) stop() error {
	var errs []error
	for _, cmd := range g.masters {
		if cmd == nil || cmd.Process == nil {
			continue
		}
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
		_ = cmd.Wait() // it was killed
	}
	return errors.Join(errs...)
}

// ready waits until all masters are up and have the whole log, nearly, and returns which one leads.
func (g *group) ready(ctx context.Context, c *client.Client) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, failoverWithin)
	defer cancel()
	for {
		st, err := client.Ask[*granary.Status](ctx, c, &granary.GetStatus{})
		if err != nil {
			return 0, err
		}
		abreast := 0
		for _, m := range st.Masters {
			if m.Up && m.Applied+1000 > st.AppliedIndex {
				abreast++
			}
		}
		if lead := slices.Index(g.addrs, st.Leader); abreast == len(g.masters) && lead >= 0 {
			return lead, nil
		}
		if err := rest(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// work is a stream of creates by several callers, each of them under a name of its own, exclusively: one that happened
// twice fails.
type work struct {
	c       *client.Client
	root    granary.InodeID
	running sync.WaitGroup
	done    atomic.Int64
	last    string // what the last trouble did

	mu      sync.Mutex
	began   time.Time     // of the trouble
	latest  time.Time     // when the last create was done
	gap     time.Duration // longest time between two of all callers
	slowest time.Duration
	errs    []error
}

func (w *work) run(ctx context.Context, caller int) {
	for n := 0; ctx.Err() == nil; n++ {
		start := time.Now()
		_, err := w.c.Do(context.WithoutCancel(ctx), granary.Cred{}, &granary.Create{
			Parent: w.root, Name: fmt.Sprintf("%d-%08d", caller, n), Type: granary.TypeRegular, Mode: 0o644, Exclusive: true})
		w.note(start, err)
	}
}

func (w *work) note(start time.Time, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if err != nil {
		w.errs = append(w.errs, err)
		return
	}
	w.done.Add(1)
	w.gap, w.slowest, w.latest = max(w.gap, now.Sub(w.latest)), max(w.slowest, now.Sub(start)), now
}

func (w *work) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.began, w.gap, w.slowest = time.Now(), 0, 0
}

// report says what happened since reset. If nobody has been answered since, the outage still lasts.
func (w *work) report() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	gap := max(w.gap, time.Since(w.latest))
	w.last = fmt.Sprintf("%s no operation for %v, the slowest took %v",
		w.began.UTC().Format("15:04:05.000"), gap.Round(time.Millisecond), w.slowest.Round(time.Millisecond))
	return gap
}

func (w *work) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.errs...)
}

// verify counts the files: one for each create that was answered.
func (w *work) verify(ctx context.Context) error {
	n, after := int64(0), ""
	for more := true; more; {
		l, err := client.Ask[*granary.Listing](ctx, w.c, &granary.List{Root: w.root, StartAfter: after})
		if err != nil {
			return err
		}
		n += int64(len(l.Items))
		more, after = l.Truncated, l.Next
	}
	if n != w.done.Load() {
		return fmt.Errorf("%d creates were answered, and there are %d files", w.done.Load(), n)
	}
	return nil
}

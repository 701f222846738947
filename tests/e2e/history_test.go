//go:build e2e

package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
)

// history is what clients saw of a few objects that they all worked on: for each object a list of operations with
// the times of call and return. Objects are left for new ones after some hundred operations, registers after some
// seconds, so that each history stays short enough to be checked. That happens as soon as nobody works on an object any
// more; then its history is dropped, so that memory does not grow with the time that the test lasts.
type history struct {
	began time.Time
	dir   granary.InodeID
	left  chan *object // that nobody works on any more

	mu        sync.Mutex
	objects   map[string]*object // in use
	done      int                // operations whose outcome is known …
	unknown   int                // … and those whose outcome is not
	slowest   time.Duration      // since it was last asked for
	gap       time.Duration      // longest time without an outcome since then
	latest    time.Time          // outcome
	locks     lockCounts
	checked   int      // objects …
	undecided int      // … of which it could not be said in time whether their history is right
	wrong     []string // what is wrong with others
}

// lockCounts is what came of work with locks.
type lockCounts struct{ granted, written, refused int }

func (c *lockCounts) count(s step, out outcome) {
	switch done := out.Kind == granary.KindNone; {
	case s.Kind != "lock":
	case s.Do == "take" && done:
		c.granted++
	case s.Do == "write" && done:
		c.written++
	case s.Do == "write":
		c.refused++
	}
}

// object is a register, a counter, a pair of names or a lock.
type object struct {
	name    string
	kind    string
	epoch   int
	flying  int // operations on it that are under way
	ops     []porcupine.Operation
	written []stamp // of a register
}

// stamp is where in the log a change was, and the time that it has.
type stamp struct {
	index granary.Index
	ctime granary.Time
}

const (
	// objectOps is how many operations counters and names get.
	objectOps = 150
	// registerFor is how long a register is used: longer than most troubles, so that who slept through one finds it as
	// it was, or not.
	registerFor = 10 * time.Second
	// registerOps is how many operations a register gets from those who are busy.
	registerOps = 1000
	// checkWithin bounds the check of one object.
	checkWithin = time.Minute
)

// newHistory makes the directory that all objects are in.
func newHistory(t *testing.T, c *client.Client) *history {
	t.Helper()
	r, err := c.Do(t.Context(), granary.Cred{}, &granary.Create{
		Parent: granary.RootInode, Name: "history", Type: granary.TypeDirectory, Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	return &history{began: now, latest: now, dir: r.Attr.Inode, left: make(chan *object, 100), objects: map[string]*object{}}
}

// begin returns the object that a step is on, and notes that it is under way. A register that has had enough from
// those who are busy is left to those who only observe; the step is then another.
func (h *history) begin(s *step, observes bool) *object {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.current(s.Kind)
	if s.Kind == "register" && !observes && len(o.ops) >= registerOps {
		*s = step{Kind: "counter", Do: "append"}
		o = h.current(s.Kind)
	}
	o.flying++
	return o
}

// current returns the object of a kind that is in use now.
func (h *history) current(kind string) *object {
	epoch := h.epoch(kind)
	name := fmt.Sprintf("%s-%d", kind, epoch)
	o := h.objects[name]
	if o == nil {
		o = &object{name: name, kind: kind, epoch: epoch}
		h.objects[name] = o
	}
	return o
}

func (h *history) epoch(kind string) int {
	if kind == "register" {
		return int(time.Since(h.began) / registerFor)
	}
	return (h.done + h.unknown) / (2 * objectOps)
}

// end says that an operation is no longer under way, and sends to be checked what nobody works on any more. It waits
// if the check does not keep up.
func (h *history) end(o *object) {
	var left []*object
	h.mu.Lock()
	o.flying--
	for name, o := range h.objects {
		if o.flying == 0 && o.epoch < h.epoch(o.kind) {
			delete(h.objects, name)
			left = append(left, o)
		}
	}
	h.mu.Unlock()
	for _, o := range left {
		h.left <- o
	}
}

func (h *history) record(worker int, o *object, s step, out outcome, st stamp, call time.Duration) {
	defer h.end(o)
	end := time.Since(h.began)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slowest = max(h.slowest, end-call)
	op := porcupine.Operation{ClientId: worker, Input: s, Output: out, Call: int64(call), Return: int64(end)}
	if out.Known {
		h.done++
		h.locks.count(s, out)
		h.gap, h.latest = max(h.gap, time.Since(h.latest)), time.Now()
	} else {
		h.unknown++
		op.Return = math.MaxInt64
	}
	if st.index > 0 {
		o.written = append(o.written, st)
	}
	o.ops = append(o.ops, op)
}

// count returns how many outcomes are known.
func (h *history) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.done
}

// takeWorst returns the longest time that an operation took since the last call, and the longest that passed without
// the end of one.
func (h *history) takeWorst() (slowest, gap time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	slowest, gap = h.slowest, max(h.gap, time.Since(h.latest))
	h.slowest, h.gap = 0, 0
	return slowest, gap
}

// check holds the history of each object against what a single copy of it would have answered, until left is closed.
func (h *history) check() {
	for o := range h.left {
		result := porcupine.CheckOperationsTimeout(objectModel(), o.ops, checkWithin)
		backwards := o.backwards()
		h.mu.Lock()
		h.checked++
		switch {
		case result == porcupine.Illegal:
			h.wrong = append(h.wrong, fmt.Sprintf("%s: its %d operations are not linearizable:\n%s", o.name, len(o.ops), describe(o.ops)))
		case result == porcupine.Unknown:
			h.undecided++
		}
		if backwards != "" {
			h.wrong = append(h.wrong, o.name+": "+backwards)
		}
		h.mu.Unlock()
	}
}

// backwards says which change of an object has an earlier time than one before it; "" if none has.
func (o *object) backwards() string {
	slices.SortFunc(o.written, func(a, b stamp) int { return cmp.Compare(a.index, b.index) })
	for i := 1; i < len(o.written); i++ {
		if a, b := o.written[i-1], o.written[i]; a.index < b.index && a.ctime >= b.ctime {
			return fmt.Sprintf("entry %d is of %d, entry %d of %d", a.index, a.ctime, b.index, b.ctime)
		}
	}
	return ""
}

// failed reports whether something has been found wrong so far.
func (h *history) failed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.wrong) > 0
}

// finish sends the last objects to be checked. Nobody works on any.
func (h *history) finish() {
	h.mu.Lock()
	last := slices.Collect(maps.Values(h.objects))
	clear(h.objects)
	h.mu.Unlock()
	for _, o := range last {
		h.left <- o
	}
	close(h.left)
}

// report fails the test if something was wrong. Nothing is being checked any more.
func (h *history) report(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, text := range h.wrong {
		t.Error(text)
	}
	t.Logf("%d operations on %d objects, %d more of unknown outcome; %d histories could not be decided", h.done, h.checked, h.unknown, h.undecided)
	t.Logf("locks: %+v", h.locks)
	if h.locks.granted == 0 || h.locks.written == 0 || h.locks.refused == 0 {
		t.Errorf("too little was done with locks: %+v", h.locks)
	}
	if h.undecided > h.checked/20 {
		t.Errorf("%d of %d histories took too long to be checked", h.undecided, h.checked)
	}
}

func describe(ops []porcupine.Operation) string {
	text := ""
	for _, op := range ops {
		text += fmt.Sprintf("%2d %12d %20d %+v -> %+v\n", op.ClientId, op.Call, op.Return, op.Input, op.Output)
	}
	return text
}

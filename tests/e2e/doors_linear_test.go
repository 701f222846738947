//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/dsorchard/granary/tests/cluster"
)

// objectStep is an operation on an object: "put" a value, "new" if there is none, "swap" if it has the ETag of the value from, "get" or "delete".
type objectStep struct {
	Do          string
	Value, From int
}

// objectOutcome is what it was answered: the value, 0 for none, or whether a condition held, or what a "delete" was told of the object, if
// anything. If it is not known nobody can say whether it happened.
type objectOutcome struct {
	Unknown bool
	Value   int
	Held    bool
}

// What a "delete" may be told.
const (
	wasThere = 1 + iota
	wasNotThere
)

// oneObject is one copy of an object: its value, or 0. What may have happened is taken in as if it had, at a time that may be after all others.
var oneObject = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, output any) (bool, any) {
		at, in, out := state.(int), input.(objectStep), output.(objectOutcome)
		holds, then := true, in.Value
		switch in.Do {
		case "get":
			return out.Value == at, at
		case "new":
			holds = at == 0
		case "swap":
			holds = at == in.From
		case "delete":
			return out.Unknown || out.Value != wasThere && at == 0 || out.Value != wasNotThere && at != 0, 0
		}
		if !holds {
			then = at
		}
		return out.Unknown || out.Held == holds, then
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// contentOf is what an object of a value holds: kept with the metadata, as one block, or as several.
func contentOf(value int) []byte {
	return bytes.Repeat([]byte(strconv.Itoa(value)+" "), []int{1, 2000, 60_000}[value%3])
}

// valueOf is the value of an object that holds b, every byte of which is looked at.
func valueOf(b []byte) (int, error) {
	first, _, _ := bytes.Cut(b, []byte(" "))
	value, err := strconv.Atoi(string(first))
	if err != nil || !bytes.Equal(b, contentOf(value)) {
		return 0, fmt.Errorf("%d bytes that nobody wrote, which begin with %.40q", len(b), b)
	}
	return value, nil
}

// door is a way to an object. An error means that it should not have answered so.
type door func(ctx context.Context, name string, in objectStep, etags *sync.Map) (objectOutcome, error)

// throughGateway is the door of a URL below which objects are.
func throughGateway(b *balanced, url string) door {
	return func(ctx context.Context, name string, in objectStep, etags *sync.Map) (objectOutcome, error) {
		method, header, body := http.MethodPut, []string(nil), []byte(nil)
		switch in.Do {
		case "get":
			method = http.MethodGet
		case "delete":
			method = http.MethodDelete
		case "new":
			header = []string{"If-None-Match", "*"}
		case "swap":
			etag, _ := etags.Load(in.From)
			header = []string{"If-Match", etag.(string)}
		}
		if method == http.MethodPut {
			body = contentOf(in.Value)
		}
		r, err := b.do(ctx, method, url+"/"+name, body, header...)
		switch {
		case err != nil || r.status >= 500: // cut off, or told that it may not have happened
			return objectOutcome{Unknown: true}, nil
		case in.Do == "get" && r.status == http.StatusOK:
			value, err := valueOf(r.body)
			etags.Store(value, r.etag)
			return objectOutcome{Value: value}, err
		case in.Do == "get" && r.status == http.StatusNotFound:
			return objectOutcome{}, nil
		case in.Do == "delete" && r.status == http.StatusNotFound:
			return objectOutcome{Value: wasNotThere}, nil
		case in.Do == "delete" && r.status/100 == 2 && !strings.HasPrefix(url, b.s3): // S3 does not tell
			return objectOutcome{Value: wasThere}, nil
		case r.status == http.StatusPreconditionFailed && (in.Do == "new" || in.Do == "swap"):
			return objectOutcome{}, nil
		case r.status/100 == 2 && in.Do != "get":
			return objectOutcome{Held: true}, nil
		}
		// AWS, too, answers a condition on what is not there so.
		if in.Do == "swap" && r.status == http.StatusNotFound {
			return objectOutcome{}, nil
		}
		return objectOutcome{}, fmt.Errorf("%d: %s", r.status, r.body)
	}
}

// throughDirectory is the door of a mount, which waits until it can answer: all is known. But the kernel walks a path twice at most: who opens a
// file that others replace both times, as can happen while leaders change, is told so (ESTALE), and asks again.
func throughDirectory(dir string, stale *atomic.Int64) door {
	return func(_ context.Context, name string, in objectStep, _ *sync.Map) (objectOutcome, error) {
		path := filepath.Join(dir, name)
		switch in.Do {
		case "get":
			b, err := os.ReadFile(path)
			if errors.Is(err, syscall.ESTALE) {
				stale.Add(1)
				return objectOutcome{Unknown: true}, nil
			}
			if errors.Is(err, fs.ErrNotExist) {
				return objectOutcome{}, nil
			}
			if err != nil {
				return objectOutcome{}, err
			}
			value, err := valueOf(b)
			return objectOutcome{Value: value}, err
		case "delete":
			err := os.Remove(path)
			if errors.Is(err, fs.ErrNotExist) {
				return objectOutcome{Value: wasNotThere}, nil
			}
			return objectOutcome{Value: wasThere}, err
		}
		tmp := path + "." + strconv.Itoa(in.Value)
		if err := os.WriteFile(tmp, contentOf(in.Value), 0o644); err != nil {
			return objectOutcome{}, err
		}
		if in.Do == "put" {
			return objectOutcome{Held: true}, os.Rename(tmp, path)
		}
		err := os.Link(tmp, path)
		held := err == nil
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
		return objectOutcome{Held: held}, errors.Join(err, os.Remove(tmp))
	}
}

// manyDoors is what callers at several doors see of the same objects, one after the other.
type manyDoors struct {
	t      *testing.T
	began  time.Time
	etags  sync.Map // of values that were seen
	values atomic.Int64
	stale  atomic.Int64 // opens that missed the file twice

	mu       sync.Mutex
	at       int // number of the object that all work on
	ops      map[int][]porcupine.Operation
	known    map[string]int // operations by door
	unknown  int
	latest   int // value that was seen last
	problems []string
}

// objectLasts is how many operations an object gets before all go on to the next, so that its history can be checked.
const objectLasts = 120

// work has a caller do one thing after the other until ctx ends.
func (m *manyDoors) work(ctx context.Context, caller int, name string, through door) {
	r := rand.New(rand.NewPCG(rand.Uint64(), uint64(caller)))
	for ctx.Err() == nil {
		in := objectStep{Do: []string{"put", "put", "new", "new", "get", "get", "get", "delete", "swap"}[r.IntN(9)]}
		m.mu.Lock()
		at := m.at
		in.From = m.latest
		m.mu.Unlock()
		if _, seen := m.etags.Load(in.From); in.Do == "swap" && (!seen || strings.HasPrefix(name, "mount")) {
			in.Do = "get"
		}
		if in.Do != "swap" {
			in.From = 0
		}
		if in.Do == "put" || in.Do == "new" || in.Do == "swap" {
			in.Value = int(m.values.Add(1))
		}
		call := time.Since(m.began)
		// Not of ctx: what is cut off by the end of the test tells nothing.
		out, err := through(context.Background(), "object"+strconv.Itoa(at), in, &m.etags)
		m.note(caller, name, at, in, out, call, err)
	}
}

func (m *manyDoors) note(caller int, name string, at int, in objectStep, out objectOutcome, call time.Duration, err error) {
	end := int64(time.Since(m.began))
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.problems = append(m.problems, fmt.Sprintf("%s: %+v of object %d, from %v to %v: %v", name, in, at, call, time.Duration(end), err))
		return
	}
	if out.Unknown {
		m.unknown++
		if in.Do == "get" {
			return // it tells nothing
		}
		end = math.MaxInt64
	} else {
		m.known[name]++
	}
	if in.Do == "get" && out.Value != 0 {
		m.latest = out.Value
	}
	m.ops[at] = append(m.ops[at], porcupine.Operation{ClientId: caller, Input: in, Output: out, Call: int64(call), Return: end})
	if len(m.ops[m.at]) >= objectLasts {
		m.at++
	}
}

// progress returns how many operations have been done by the door that did the fewest.
func (m *manyDoors) progress(doors int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) < doors {
		return 0
	}
	least := math.MaxInt
	for _, n := range m.known {
		least = min(least, n)
	}
	return least
}

// check holds each object's history against what one copy of it would have answered.
func (m *manyDoors) check() {
	undecided, total := 0, 0
	for at, ops := range m.ops {
		total += len(ops)
		switch porcupine.CheckOperationsTimeout(oneObject, ops, checkWithin) {
		case porcupine.Illegal:
			m.t.Errorf("object %d: its %d operations are not linearizable:\n%s", at, len(ops), describe(ops))
		case porcupine.Unknown:
			undecided++
		}
	}
	for _, p := range m.problems {
		m.t.Error(p)
	}
	m.t.Logf("%d operations on %d objects, of which %d are of unknown outcome; %v", total, len(m.ops), m.unknown, m.known)
	if n := int(m.stale.Load()); n > 1+total/10_000 {
		m.t.Errorf("%d opens in mounts missed the file twice", n)
	}
	if undecided > len(m.ops)/20 {
		m.t.Errorf("%d of %d histories took too long to be checked", undecided, len(m.ops))
	}
}

// TestChaosDoors: callers by S3 and HTTP, through two filers behind one address, and in two mounts work on the same object, while masters, filers and
// volume servers are killed and stopped. What they saw is what one copy of the object would have shown them.
func TestChaosDoors(t *testing.T) {
	d := cluster.StartDev(t, 3, 5, "--filers", "2")
	b := balance(t, d)
	b.client.Timeout = 20 * time.Second
	one, two := d.Mount(t), d.Mount(t)
	if r, err := b.do(t.Context(), http.MethodPut, b.s3+"/doors", nil); err != nil || r.status != http.StatusOK {
		t.Fatalf("%d, %v: %s", r.status, err, r.body)
	}
	s3, web := throughGateway(b, b.s3+"/doors"), throughGateway(b, b.http+"/buckets/doors")
	m := &manyDoors{t: t, began: time.Now(), ops: map[int][]porcupine.Operation{}, known: map[string]int{}}
	callers := []struct {
		name    string
		through door
	}{
		{"S3", s3}, {"S3", s3}, {"S3", s3}, {"HTTP", web}, {"HTTP", web},
		{"mount one", throughDirectory(filepath.Join(one, "buckets/doors"), &m.stale)}, {"mount two", throughDirectory(filepath.Join(two, "buckets/doors"), &m.stale)},
	}
	const doors = 4
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i, c := range callers {
		running.Go(func() { m.work(ctx, i, c.name, c.through) })
	}
	until := time.Now().Add(chaosFor(t) / 2)
	for round := 0; time.Now().Before(until) && !t.Failed(); round++ {
		name := []string{"", "f1", "v1", "f2", "v3", "", "v5"}[round%7]
		if name == "" {
			name = d.LeaderName(t)
		}
		before, began := m.progress(doors), time.Since(m.began)
		stopped := round%3 == 2
		if stopped { // it comes back, and does not know that time has passed
			if err := syscall.Kill(d.Process(t, name).Pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		} else {
			d.Kill(t, name)
		}
		hold := time.NewTimer(time.Duration(200+rand.IntN(1500)) * time.Millisecond)
		<-hold.C
		if stopped {
			if err := syscall.Kill(d.Process(t, name).Pid, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		} else {
			d.StartRole(t, name)
		}
		during := m.progress(doors) - before
		cluster.WaitFor(t, cluster.ReadyWithin, "progress of all after the loss of "+name, func() error {
			if done := m.progress(doors) - before - during; done < 5 {
				return fmt.Errorf("somebody has done %d operations", done)
			}
			return nil
		})
		t.Logf("%s (stopped: %t), from %v to %v: at least %d operations at each door meanwhile", name, stopped,
			began.Round(time.Millisecond), time.Since(m.began).Round(time.Millisecond), during)
	}
	cancel()
	running.Wait()
	m.check()
}

// TestE2EOneObject shows the model of an object a history that is right, and others of which one answer is wrong.
func TestE2EOneObject(t *testing.T) {
	type did struct {
		objectStep
		objectOutcome
	}
	right := []did{
		{objectStep{Do: "get"}, objectOutcome{}}, {objectStep{Do: "new", Value: 1}, objectOutcome{Held: true}}, {objectStep{Do: "new", Value: 2}, objectOutcome{}},
		{objectStep{Do: "swap", Value: 3, From: 1}, objectOutcome{Held: true}}, {objectStep{Do: "get"}, objectOutcome{Value: 3}},
		{objectStep{Do: "swap", Value: 4, From: 1}, objectOutcome{}}, {objectStep{Do: "delete"}, objectOutcome{Value: wasThere}},
		{objectStep{Do: "delete"}, objectOutcome{Value: wasNotThere}}, {objectStep{Do: "put", Value: 5}, objectOutcome{Held: true}}, {objectStep{Do: "get"}, objectOutcome{Value: 5}},
	}
	check := func(list []did) bool {
		var ops []porcupine.Operation
		for i, d := range list {
			ops = append(ops, porcupine.Operation{Input: d.objectStep, Output: d.objectOutcome, Call: int64(2 * i), Return: int64(2*i + 1)})
		}
		return porcupine.CheckOperations(oneObject, ops)
	}
	if !check(right) {
		t.Error("what is right is found wrong")
	}
	for i, d := range right {
		wrong := slices.Clone(right)
		switch d.Do {
		case "get":
			wrong[i].objectOutcome.Value++
		case "delete":
			wrong[i].objectOutcome.Value ^= wasThere ^ wasNotThere
		default:
			wrong[i].objectOutcome.Held = !d.Held
		}
		if check(wrong) {
			t.Errorf("%+v is not found wrong", wrong[i])
		}
	}
}

package master

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// TestSweeps: an inode whose policy was changed is swept once.
func TestSweeps(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	c.do(d.s, &granary.SetPolicy{Inode: granary.RootInode, Policy: granary.Policy{DataShards: 1, ParityShards: 1}})
	d.clock.pass(granary.WorkTTL)
	task := d.task("w")
	if task.Kind != granary.TaskSweep || task.Root != granary.RootInode {
		t.Fatalf("%+v", task)
	}
	d.work("w", 1, granary.TaskReport{Task: task, Done: 1, Total: 0})
	d.work("w", 1, granary.TaskReport{Task: task, Done: 2, Total: 2, Ended: true})
	d.clock.pass(time.Minute)
	d.live("no more sweeps", func() error {
		if a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListTasks{}}); err != nil || len(a.(*granary.Tasks).Tasks) != 0 {
			return fmt.Errorf("%+v, %w", a, err)
		}
		return nil
	})
}

// TestSweepGoesOnWithOthers: where a sweep was when its worker died another goes on, under another leader too; and from the front
// when the policy was changed again.
func TestSweepGoesOnWithOthers(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	change := func(k int) {
		c.do(d.s, &granary.SetPolicy{Inode: granary.RootInode, Policy: granary.Policy{DataShards: k, ParityShards: 1}})
		d.clock.pass(granary.WorkTTL)
	}
	change(1)
	task := d.task("w1")
	d.work("w1", 1, granary.TaskReport{Task: task, Done: 1, After: "a/b"})
	d.clock.pass(granary.WorkTTL + time.Second) // it is silent
	if task = d.task("w2"); task.After != "a/b" {
		t.Fatalf("the next goes on after %q", task.After)
	}
	d.clock.pass(sweptEvery)
	d.work("w2", 1, granary.TaskReport{Task: task, Done: 1, After: "a/c", Ended: true, Error: "no more"})
	d.clock.pass(tryWaitMax)
	d.newLeader()
	if task = d.task("w3"); task.After != "a/c" {
		t.Fatalf("under another leader it goes on after %q", task.After)
	}
	change(2)
	d.clock.pass(granary.WorkTTL)
	if task = d.task("w4"); task.After != "" {
		t.Fatalf("after another change of the policy it goes on after %q", task.After)
	}
}

// TestFilesAreRewritten: a file that is cut too finely is given to a worker when it has been left alone, and again when it is changed,
// but not while it is changed, and not when that has left it as it was.
func TestFilesAreRewritten(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	d.clock.pass(granary.WorkTTL)
	d.beat()
	young := time.Duration(granary.DefaultUpkeep().YoungAge)
	first := d.cutFinely(c, "first")
	rewrites := func() (tasks []granary.TaskStatus) {
		a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListTasks{}})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range a.(*granary.Tasks).Tasks {
			if s.Task.Kind == granary.TaskRewrite {
				tasks = append(tasks, s)
			}
		}
		return tasks
	}
	look := func() { // the curator plans anew
		curator := d.s.leading.Load().curator
		curator.mu.Lock()
		defer curator.mu.Unlock()
		curator.look(d.clock.now(), true)
	}
	d.clock.pass(young - time.Minute)
	d.beat()
	second := d.cutFinely(c, "second")
	d.live("a plan", func() error { look(); return nil })
	if tasks := rewrites(); len(tasks) != 0 {
		t.Fatalf("of young files: %+v", tasks)
	}
	d.clock.pass(2 * time.Minute)
	var task granary.Task
	d.live("the rewrite of the first", func() error {
		for _, got := range d.work("w", 4).Tasks {
			if got.Kind == granary.TaskRewrite {
				task = got
				return nil
			}
		}
		return fmt.Errorf("%+v", rewrites())
	})
	if task.Root != first || !slices.Equal(task.Windows, []uint64{0}) {
		t.Fatalf("%+v", task)
	}
	d.work("w", 0, granary.TaskReport{Task: task, Ended: true})
	d.clock.pass(time.Minute)
	d.beat()
	look()
	if tasks := rewrites(); len(tasks) != 0 {
		t.Fatalf("of one that is no better for it: %+v", tasks)
	}
	d.clock.pass(young)
	d.beat()
	look()
	if tasks := rewrites(); len(tasks) != 1 || tasks[0].Task.Root != second {
		t.Fatalf("of the second, it is %+v", tasks)
	}
	c.do(d.s, &granary.SetAttr{Inode: second, Mode: ptr(uint32(0o600))})
	c.do(d.s, &granary.SetAttr{Inode: first, Mode: ptr(uint32(0o600))})
	d.clock.pass(young + time.Minute)
	d.beat()
	look()
	if tasks := rewrites(); len(tasks) != 2 {
		t.Fatalf("of both, as they were changed: %+v", tasks)
	}
}

package master

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dsorchard/granary"
)

// TestTaskIsTakenOver: a leader that did not give a task out learns of it from its worker.
func TestTaskIsTakenOver(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 5)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	d.setDown(string(v.Shards[0].Server), true)
	d.clock.pass(16 * time.Minute)
	task := d.task("w1")
	// As a leader that is new: it has forgotten, and hears of nothing but what is there.
	l := d.s.leading.Load()
	curator := l.curator
	l.live.mu.Lock()
	l.live.began = d.clock.now()
	delete(l.live.heard, v.Shards[0].Server)
	l.live.mu.Unlock()
	curator.mu.Lock()
	curator.leases, curator.byVolume = map[granary.TaskID]*lease{}, map[granary.VolumeID]*lease{}
	curator.began = d.clock.now()
	curator.mu.Unlock()
	if r := d.work("w2", 1); len(r.Tasks) != 0 {
		t.Fatalf("given to another before its worker was heard: %+v", r.Tasks)
	}
	if r := d.work("w1", 1, granary.TaskReport{Task: task, Done: 7, Total: 9}); len(r.Drop)+len(r.Tasks) != 0 {
		t.Fatalf("its worker is told %+v", r)
	}
	other := task
	other.ID, other.Shard = 99, 1
	if r := d.work("w3", 1, granary.TaskReport{Task: other}); !slices.Equal(r.Drop, []granary.TaskID{99}) || len(r.Tasks) != 0 {
		t.Fatalf("a task that nobody wants: %+v", r)
	}
	d.clock.pass(granary.WorkTTL - time.Second)
	a, _, err := d.s.Query(t.Context(), &granary.QueryRequest{Query: &granary.ListTasks{}})
	if tasks := a.(*granary.Tasks).Tasks; err != nil || len(tasks) != 1 || tasks[0].Worker != "w1" || tasks[0].Task.ID != task.ID || tasks[0].Done != 7 {
		t.Fatalf("%+v, %v", a, err)
	}
}

// TestAbsenceOutlivesLeaders: however often leaders change, a server that is away is replaced when it has been for the grace; and it begins
// anew when it has been there in between.
func TestAbsenceOutlivesLeaders(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 5)
	c := newClient(t, d.s)
	v := d.sealed(c, d.fill(c, "f"))
	away := string(v.Shards[1].Server)
	recorded := func(least time.Duration) func() error {
		return func() error {
			st := d.s.states.acquire()
			defer st.release()
			if a := st.absences(); len(a) != 1 || string(a[0].Server) != away || time.Duration(a[0].For) < least {
				return fmt.Errorf("%+v", a)
			}
			return nil
		}
	}
	d.setDown(away, true)
	for i := range 5 {
		d.clock.pass(170 * time.Second)
		d.live("the absence", recorded(time.Duration(i+1)*170*time.Second))
		if i < 4 {
			if r := d.work("w", 4); len(r.Tasks) != 0 {
				t.Fatalf("too early: %+v", r.Tasks)
			}
		}
		d.newLeader()
	}
	d.clock.pass(time.Minute)
	if task := d.task("w"); task.Kind != granary.TaskRepair || task.Shard != 1 {
		t.Fatalf("%+v", task)
	}
	d.setDown(away, false)
	d.live("its return", func() error {
		st := d.s.states.acquire()
		defer st.release()
		if a := st.absences(); len(a) != 0 {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	d.setDown(away, true)
	d.clock.pass(14 * time.Minute)
	d.live("another absence", recorded(14*time.Minute))
	d.work("w", 0)
	if a := d.durability(); len(a) != 1 || !strings.Contains(a[0].Doing, "its shards are made anew") {
		t.Fatalf("%+v", a)
	}
}

// TestNewLeaderIsSoonSure: when it has heard the worker beside each server that is up, it knows all tasks that there are.
func TestNewLeaderIsSoonSure(t *testing.T) {
	t.Parallel()
	d := openUpkept(t, 3)
	c := newClient(t, d.s)
	c.do(d.s, &granary.SetPolicy{Inode: granary.RootInode, Policy: granary.Policy{DataShards: 1, ParityShards: 1}})
	d.newLeader()
	d.clock.pass(time.Second)
	poll := func(server string, room int) []granary.Task {
		r, err := d.s.Work(t.Context(), &granary.WorkRequest{Worker: "w" + server, Server: granary.ServerID(server), Room: room})
		if err != nil {
			t.Fatal(err)
		}
		return r.Tasks
	}
	began := d.clock.now()
	poll("s1", 1)
	poll("s2", 1)
	if tasks := poll("s1", 1); len(tasks) != 0 {
		t.Fatalf("before all have been heard: %+v", tasks)
	}
	if tasks := poll("s3", 1); len(tasks) != 1 || tasks[0].Kind != granary.TaskSweep || d.clock.now().Sub(began) > time.Second {
		t.Fatalf("%+v", tasks)
	}
}

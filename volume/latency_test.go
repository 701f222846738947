package volume

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

func TestLatencyBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "duration"))
		b := bucketOf(d)
		if upperBound(b)+latencyUnit < d || b > 0 && upperBound(b-1) > d+latencyUnit {
			t.Fatalf("%s is in bucket %d, from %s to %s", d, b, upperBound(b-1), upperBound(b))
		}
	})
	var l latency
	for i := range 1000 {
		l.add(30, time.Duration(i+1)*time.Millisecond)
	}
	if d, n := l.quantile(0, 0); n != 1000 || d < 950*time.Millisecond || d > 1100*time.Millisecond {
		t.Fatalf("%s of %d", d, n)
	}
	if d, n := l.quantile(1, 5); n != 0 || d != 0 {
		t.Fatalf("%s of %d, later", d, n)
	}
}

// openSlow opens a store of disks whose accesses to shards take as long as they say.
func openSlow(t *testing.T, delays ...*time.Duration) *Store {
	var dirs []string
	fs := make(map[string]disk.FS)
	for i, delay := range delays {
		dir := string(rune('a' + i))
		dirs = append(dirs, dir)
		fs[dir] = disk.NewFaulty(disk.NewMem(disk.MemOptions{}), func(c disk.Call) disk.Fault {
			if c.Op != disk.OpReadAt || !strings.HasPrefix(c.Name, shardsName) {
				return disk.Fault{}
			}
			return disk.Fault{Wait: func() { time.Sleep(*delay) }}
		})
	}
	o := testOptions(t, dirs...)
	o.OpenFS = func(dir string) (disk.FS, error) { return fs[dir], nil }
	s := open(t, o)
	for _, d := range s.disks {
		mustAppend(t, s, appendOf(granary.ShardRef{Disk: d.id(), Volume: 1}, 0, 0, fill(100, 1)))
	}
	return s
}

// load reads from all disks, from several places at once, for a while.
func load(t *testing.T, s *Store, during time.Duration) {
	end := time.Now().Add(during)
	done := make(chan error)
	const readers = 4
	for _, d := range s.disks {
		for range readers {
			go func() {
				for time.Now().Before(end) {
					time.Sleep(time.Second)
					if _, _, err := s.ReadAt(t.Context(), granary.ShardRef{Disk: d.id(), Volume: 1}, make([]byte, 10), 0); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
	}
	for range readers * len(s.disks) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that is slow for long, and alone in that, should be emptied; all at once, for a moment, or without peers, nothing is said.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast, slow := 5*time.Millisecond, 2*time.Second
		a, b, c := fast, fast, fast
		s := openSlow(t, &a, &b, &c)
		step := func(what string, failing string, delays [3]time.Duration, during time.Duration) {
			t.Helper()
			a, b, c = delays[0], delays[1], delays[2]
			load(t, s, during)
			var got []string
			for _, u := range s.Usage() {
				if u.Failing != "" {
					got = append(got, u.Path)
				}
				if u.ReadOnly != "" {
					t.Errorf("%s: %s is read-only: %s", what, u.Path, u.ReadOnly)
				}
			}
			if strings.Join(got, " ") != failing {
				t.Fatalf("%s: failing are %v", what, got)
			}
		}
		step("as usual", "", [3]time.Duration{fast, fast, fast}, 10*time.Minute)
		step("a burst", "", [3]time.Duration{fast, slow, fast}, 2*time.Minute)
		step("after it", "", [3]time.Duration{fast, fast, fast}, 10*time.Minute)
		step("all of them", "", [3]time.Duration{slow, slow, slow}, 20*time.Minute)
		step("after that", "", [3]time.Duration{fast, fast, fast}, 10*time.Minute)
		step("a little slow", "", [3]time.Duration{fast, 400 * time.Millisecond, fast}, 20*time.Minute)
		step("one alone", "b", [3]time.Duration{fast, slow, fast}, 15*time.Minute)
		step("two", "b", [3]time.Duration{fast, slow, slow}, 15*time.Minute)
	})
	synctest.Test(t, func(t *testing.T) {
		fast, slow := 5*time.Millisecond, 2*time.Second
		s := openSlow(t, &fast, &slow)
		load(t, s, 20*time.Minute)
		for _, u := range s.Usage() {
			if u.Failing != "" {
				t.Fatalf("%s is failing without two peers: %s", u.Path, u.Failing)
			}
		}
	})
}

// An access that does not come back tells that the disk hangs, even if its file system answers.
func TestStuckAccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long, short := 5*time.Minute, time.Millisecond
		s := openSlow(t, &long, &short)
		done := make(chan error)
		go func() {
			_, _, err := s.ReadAt(t.Context(), firstRef(s, 1), make([]byte, 10), 0)
			done <- err
		}()
		for _, step := range []struct {
			sleep             time.Duration
			readOnly, failing bool
		}{{20 * time.Second, false, false}, {20 * time.Second, true, false}, {100 * time.Second, true, true}} {
			time.Sleep(step.sleep)
			if u := s.Usage(); (u[0].ReadOnly != "") != step.readOnly || (u[0].Failing != "") != step.failing || u[1].ReadOnly != "" {
				t.Fatalf("usage %+v", u)
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if u := s.Usage()[0]; u.ReadOnly != "" || u.Failing != "" {
			t.Fatalf("usage %+v", u)
		}
	})
}

func TestMetrics(t *testing.T) {
	s := openTemp(t)
	mustBuild(t, s, 1, 10000)
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(s.Metrics()); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil || len(families) != 11 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	for _, f := range families {
		if f.GetName() == "granary_disk_shards" && f.Metric[0].GetGauge().GetValue() != 1 {
			t.Fatalf("%v", f)
		}
	}
}

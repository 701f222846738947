package notify

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// setUp has the fake's bucket notify one target of everything.
func setUp(t *testing.T, f *fakeCluster, to *fakeTarget) *Service {
	t.Helper()
	s := newService(f.open(), nil)
	s.dial = to.dial
	if err := s.AddTarget(t.Context(), Target{Name: "hook", URL: "http://127.0.0.1:1/x"}, false); err != nil {
		t.Fatal(err)
	}
	c := &Configuration{Bucket: fakeName, Rules: []Rule{{ID: "1", ARN: "arn:granary:sqs::hook:webhook", Target: "hook", Events: []Type{"s3:ObjectCreated:*", "s3:ObjectRemoved:*"}}}}
	if err := s.Configure(t.Context(), bucketRoot(), c, "request", false); err != nil {
		t.Fatal(err)
	}
	return s
}

// checkArrived compares what arrived with the log from a position on: of every key everything, and when what was repeated is left out, in order;
// and the last that arrived of it is what was last.
func checkArrived(t *testing.T, f *fakeCluster, from int, got []arrived) {
	t.Helper()
	want := map[string][]string{}
	for _, e := range f.log[from:] {
		_, key := placeOf(e.Path, e.Name)
		want[encodeKey(key)] = append(want[encodeKey(key)], sequencer(e.At))
	}
	first, last := map[string][]string{}, map[string]string{}
	for _, a := range got {
		if !slices.Contains(first[a.key], a.sequencer) {
			first[a.key] = append(first[a.key], a.sequencer)
		}
		last[a.key] = a.sequencer
	}
	for key, all := range want {
		if !slices.Equal(first[key], all) || last[key] != all[len(all)-1] {
			t.Errorf("of %s arrived %v, the last %s, and not %v", key, first[key], last[key], all)
		}
	}
	if len(first) != len(want) {
		t.Errorf("%d keys, want %d", len(first), len(want))
	}
}

// await waits until everything has arrived, and of every key the last last: who goes on for another repeats some of it first. It waits for an
// hour of the bubble's clock at most.
func (f *fakeCluster) await(to *fakeTarget) {
	for range 3600 {
		if f.all(to.arrived()) {
			return
		}
		time.Sleep(time.Second)
	}
}

func (f *fakeCluster) all(got []arrived) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, last := map[string]bool{}, map[string]string{}
	for _, a := range got {
		seen[a.sequencer] = true
		last[a.key] = a.sequencer
	}
	newest := map[string]string{}
	for _, e := range f.log {
		if !seen[sequencer(e.At)] {
			return false
		}
		_, key := placeOf(e.Path, e.Name)
		newest[encodeKey(key)] = sequencer(e.At)
	}
	return maps.Equal(last, newest)
}

// TestEveryChangeArrives: whatever fails, and whoever ends in whatever moment, every change arrives, and those of a key in order.
func TestEveryChangeArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFake(), &fakeTarget{}
		setUp(t, f, to)
		to.fails = func() bool { return rand.IntN(4) == 0 }
		f.fail = func() error {
			if rand.IntN(10) == 0 {
				return granary.Errorf(granary.KindUnavailable, "set", "", "no leader")
			}
			return nil
		}
		var runners [2]*Runner
		var sessions [2]*fakeSession
		start := func(i int) {
			sessions[i] = f.open()
			runners[i] = newRunner(sessions[i], RunnerOptions{}, to.dial)
		}
		start(0)
		start(1)
		kinds := []granary.ChangeKind{granary.ChangeCreate, granary.ChangeUnlink}
		for i := range 400 {
			var keys []string
			for range 1 + rand.IntN(3) {
				keys = append(keys, fmt.Sprint("dir/k", rand.IntN(9)))
			}
			f.tell(kinds[i%2], keys...)
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond) // of the bubble's clock
			switch n := rand.IntN(2); rand.IntN(20) {
			case 0:
				sessions[n].expire()
			case 1:
				runners[n].Close()
				start(n)
			}
		}
		f.mu.Lock()
		f.fail = nil
		f.mu.Unlock()
		f.await(to)
		for _, r := range runners {
			r.Close()
		}
		checkArrived(t, f, 0, to.arrived())
	})
}

// TestTargetThatIsDown: what happens while a target is down waits, and that it does is seen; another target is not kept waiting.
func TestTargetThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFake(), &fakeTarget{}
		s := setUp(t, f, to)
		to.fails = func() bool { return true }
		r := newRunner(f.open(), RunnerOptions{}, func(Target) (Sender, error) {
			return nil, errors.New("nobody is there")
		})
		for range 300 {
			f.tell(granary.ChangeCreate, "k")
		}
		time.Sleep(time.Minute)
		st, err := s.Status(t.Context())
		if err != nil || len(st) != 1 || st[0].Error != "nobody is there" || st[0].Pending != 300 || st[0].Failing.IsZero() || st[0].Delivered != 0 {
			t.Fatalf("%+v, %v", st, err)
		}
		r.Close()
		to.fails = nil
		r = newRunner(f.open(), RunnerOptions{}, to.dial)
		f.await(to)
		time.Sleep(time.Minute)
		if st, err = s.Status(t.Context()); err != nil || st[0].Error != "" || st[0].Pending != 0 || st[0].Delivered != 300 {
			t.Fatalf("%+v, %v", st, err)
		}
		r.Close()
		checkArrived(t, f, 0, to.arrived())
	})
}

// TestMissedChangesAreTold: who falls behind the log is told what is lost, and goes on with what there is.
func TestMissedChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, to := newFake(), &fakeTarget{}
		s := setUp(t, f, to)
		for i := range 20 {
			f.tell(granary.ChangeCreate, fmt.Sprint("k", i))
		}
		f.oldest = granary.Position{Index: 11}
		if st, err := s.Status(t.Context()); err != nil || !st[0].Behind {
			t.Fatalf("%+v, %v", st, err)
		}
		r := newRunner(f.open(), RunnerOptions{}, to.dial)
		time.Sleep(time.Minute)
		r.Close()
		checkArrived(t, f, 10, to.arrived())
		st, err := s.Status(t.Context())
		if err != nil || st[0].Missed != 1 || st[0].MissedTo != f.oldest || st[0].Behind {
			t.Fatalf("%+v, %v", st, err)
		}
	})
}

// TestConfigure: a target that is named first begins with what comes then; others go on where they are; and those that are named no more are
// forgotten. Changes are kept long enough.
func TestConfigure(t *testing.T) {
	f, to := newFake(), &fakeTarget{}
	f.tell(granary.ChangeCreate, "before")
	s := setUp(t, f, to)
	if to.tests != 1 || f.kept.Keep != changesKept || f.kept.Validate() != nil {
		t.Errorf("%d test events, %+v", to.tests, f.kept)
	}
	cursor := func(target string) *Cursor {
		c, err := readCursor(t.Context(), f, bucketRoot(), target)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := cursor("hook"); c == nil || c.At != (granary.Position{Index: 2}) {
		t.Fatalf("it begins at %+v", c)
	}
	f.tell(granary.ChangeCreate, "between")
	if err := s.AddTarget(t.Context(), Target{Name: "two", URL: "redis://127.0.0.1/k"}, false); err != nil {
		t.Fatal(err)
	}
	c, err := s.Configuration(t.Context(), bucketRoot())
	if err != nil {
		t.Fatal(err)
	}
	c.Rules = append(c.Rules, Rule{ID: "2", ARN: "arn:minio:sqs:eu:two:redis", Target: "two", Events: []Type{CreatedPut}, Prefix: "a"})
	f.kept = granary.ChangeLog{Keep: 60e9, MaxBytes: 1 << 30} // somebody has decided
	if err := s.Configure(t.Context(), bucketRoot(), c, "", true); err != nil {
		t.Fatal(err)
	}
	if to.tests != 1 || f.kept.Keep != 60e9 {
		t.Errorf("%d test events, %+v", to.tests, f.kept)
	}
	if cursor("hook").At.Index != 2 || cursor("two").At.Index != 3 {
		t.Errorf("%+v, %+v", cursor("hook"), cursor("two"))
	}
	if err := s.RemoveTarget(t.Context(), "hook"); !granary.IsKind(err, granary.KindNotEmpty) {
		t.Errorf("a target in use is removed: %v", err)
	}
	c.Rules = c.Rules[1:]
	if err := s.Configure(t.Context(), bucketRoot(), c, "", true); err != nil || cursor("hook") != nil {
		t.Errorf("%v, %+v", err, cursor("hook"))
	}
	if err := s.RemoveTarget(t.Context(), "hook"); err != nil {
		t.Error(err)
	}
	if err := s.Configure(t.Context(), bucketRoot(), &Configuration{Bucket: fakeName}, "", false); err != nil || cursor("two") != nil || len(f.xattrs[home()]) != 1 {
		t.Errorf("%v, %v", err, f.xattrs)
	}
}

// TestOverlap: two rules overlap exactly if some event of some key is wanted by both.
func TestOverlap(t *testing.T) {
	word := rapid.StringOfN(rapid.SampledFrom([]rune("ab")), 0, 2, -1)
	events := rapid.SliceOfN(rapid.SampledFrom([]Type{"s3:ObjectCreated:*", CreatedPut, Removed, "s3:ObjectRemoved:*", CreatedCopy}), 1, 2)
	rapid.Check(t, func(t *rapid.T) {
		one := Rule{Events: events.Draw(t, "events"), Prefix: word.Draw(t, "prefix"), Suffix: word.Draw(t, "suffix")}
		two := Rule{Events: events.Draw(t, "events"), Prefix: word.Draw(t, "prefix"), Suffix: word.Draw(t, "suffix")}
		both := false
		for _, e := range Types() {
			for n := range 1 << 7 { // words of up to six letters
				key := ""
				for m := n; m > 1; m >>= 1 {
					key += string('a' + rune(m&1))
				}
				both = both || one.wants(e, key) && two.wants(e, key)
			}
		}
		if both != one.overlaps(&two) || both != two.overlaps(&one) {
			t.Fatalf("%+v and %+v: %v", one, two, one.overlaps(&two))
		}
	})
}

// TestTargetURLs: what cannot be a target is refused, and no password is shown.
func TestTargetURLs(t *testing.T) {
	for url, kind := range map[string]string{
		"http://h/x": TypeWebhook, "https://u:p@h:8/x?y=z": TypeWebhook, "nats://h/a.b": TypeNATS, "nats+tls://u:p@h:1/a?jetstream": TypeNATS,
		"redis://:p@h/k": TypeRedis, "rediss://h:1/a/b?pubsub&db=3": TypeRedis, "redis://h/k?stream": TypeRedis, "kafka://h:1/t?broker=i:1&broker=j": TypeKafka,
		"": "", "ftp://h/x": "", "http:///x": "", "nats://h": "", "nats://h/a.*": "", "nats://h/a?list": "", "redis://h/": "", "redis://h/k?list&stream": "",
		"kafka://h/": "", "kafka://h/a/b": "", "redis://h/k?lisst": "", "http://h/#x": "", "http://h:x/": "",
	} {
		target := Target{Name: "n", URL: url}
		err := target.Validate()
		if kind == "" && err == nil || kind != "" && (err != nil || target.Type() != kind) {
			t.Errorf("%q: %v, %s", url, err, target.Type())
		}
	}
	if shown := (&Target{URL: "redis://u:secret@h/k"}).Shown(); shown != "redis://u:xxxxx@h/k" {
		t.Error(shown)
	}
	for _, name := range []string{"", "a:b", "a b", "ä"} {
		if err := (&Target{Name: name, URL: "http://h/"}).Validate(); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	name, kind, err := ParseARN((&Target{Name: "n-1", URL: "nats://h/s"}).ARN())
	if name != "n-1" || kind != TypeNATS || err != nil {
		t.Error(name, kind, err)
	}
}

// TestEscapes: keys are told as they are, whatever paths make of them.
func TestEscapes(t *testing.T) {
	for path, want := range map[string]string{
		"/buckets/b/k": "k", "/buckets/b/%dir:../%file:": "../", "/buckets/b/%dir:/a": "/a", "/buckets/b/%dir:%25file:x/%00": "%file:x/%00", "/buckets/b": "",
		"/elsewhere/b/k": "",
	} {
		if _, key := placeOf(path, ""); key != want {
			t.Errorf("%s is %q, want %q", path, key, want)
		}
	}
}

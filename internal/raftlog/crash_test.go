package raftlog

import (
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// machine runs a log beside its model, and looks at moments of the run at what a loss of power would leave.
type machine struct {
	t       *rapid.T
	d       *disk.Mem
	f       *disk.Faulty
	l       *Log
	r       *rand.Rand
	now     model   // what was acknowledged
	maybe   []model // what may be found instead: of a call that runs or failed
	looks   int     // how many of a hundred calls of the disk are looked at
	noSpace int     // writes that will find the disk full
	dieIn   int     // calls of the disk until the process dies; 0: it does not
	seen    int

	hooking sync.Mutex // what is stored ahead is written while the test reads
}

func (m *machine) hook(c disk.Call) disk.Fault {
	m.hooking.Lock()
	defer m.hooking.Unlock()
	if m.r.IntN(100) < m.looks {
		m.look()
	}
	if m.dieIn > 1 {
		m.dieIn--
	}
	if m.dieIn == 1 && c.Op != disk.OpReadAt { // by which the test looks on
		return disk.Fault{Err: syscall.EIO}
	}
	if c.Op == disk.OpWriteAt && m.noSpace > 0 {
		m.noSpace--
		return disk.Fault{Err: syscall.ENOSPC, Short: m.r.IntN(c.Length + 1)}
	}
	return disk.Fault{}
}

// look opens what a loss of power would leave now.
func (m *machine) look() {
	m.seen++
	clone := m.d.CrashClone(m.r)
	l, err := Open(clone, small())
	if err != nil {
		m.t.Fatalf("after a crash: %v", err)
	}
	found := m.check(l)
	next := found.last() + 1
	must(m.t, l.StoreLogs(entries(next, next+2, 99)))
	again := open(m.t, clone.CrashClone(m.r), small())
	check(m.t, again, found.store(entries(next, next+2, 99)))
	must(m.t, l.Close())
	must(m.t, again.Close())
}

// check finds out which of the models a log is.
func (m *machine) check(l *Log) model {
	m.t.Helper()
	reason := m.now.differs(l)
	if reason == "" {
		return m.now
	}
	for _, other := range m.maybe {
		if other.differs(l) == "" {
			return other
		}
	}
	m.t.Fatalf("%s; nor is it any of %d others", reason, len(m.maybe))
	return nil
}

// do makes a call that brings the model to next. A call that failed may be found done after a crash, until another
// has written.
func (m *machine) do(next model, call func() error) {
	m.t.Helper()
	if len(next) == len(m.now) && next.last() == m.now.last() { // there is nothing to delete
		if err := call(); err != nil && m.dieIn == 1 {
			m.kill()
		} else {
			must(m.t, err)
		}
		return
	}
	m.maybe = append(m.maybe, next)
	err := call()
	switch {
	case err == nil:
		m.now, m.maybe = next, nil
	case m.dieIn == 1:
		m.kill()
	case !granary.IsKind(err, granary.KindNoSpace):
		m.t.Fatal(err)
	}
	check(m.t, m.l, m.now)
}

// ahead stores entries ahead in several calls, which are durable in the order of the calls, and waits for that in one of three
// ways. A crash may find any number of the calls done.
func (m *machine) ahead(calls int, term uint64, end int) {
	m.noSpace = 0 // what is ahead needs none: see TestAheadNeedsNoSpace
	all := []model{m.now}
	for i := range calls {
		from := all[i].last() + 1
		all = append(all, all[i].store(entries(from, from+uint64(i), term)))
	}
	m.maybe = append(m.maybe, all[1:]...)
	next := all[calls]
	var err error
	for i := range calls {
		if err = m.l.StoreAhead(next[len(all[i]):len(all[i+1])]); err != nil {
			break
		}
	}
	if err == nil {
		check(m.t, m.l, next)
		switch end {
		case 0:
			err = m.l.AwaitDurable(next.last(), nil)
		case 1:
			err = m.l.Sync()
		case 2:
			err = m.l.DeleteRange(0, 0) // nothing, behind all that is ahead
		}
	}
	m.l.writers.Wait()
	switch {
	case err == nil:
		m.now, m.maybe = next, nil
		check(m.t, m.l, m.now)
	case m.dieIn == 1:
		m.kill()
	default:
		m.t.Fatal(err)
	}
}

// kill ends the process, which closes nothing, and starts another. The disk keeps its power.
func (m *machine) kill() {
	m.dieIn, m.noSpace = 0, 0
	m.f = disk.NewFaulty(m.d, m.hook)
	m.reopen()
}

func (m *machine) reopen() {
	m.l = open(m.t, m.f, small())
	m.now, m.maybe = m.check(m.l), nil
}

// TestCrash stores, deletes, fills the disk, opens again and takes the power away at random. What was acknowledged
// is there, and of what was not, all or nothing.
func TestCrash(t *testing.T) {
	seen := 0
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{t: t, d: disk.NewMem(disk.MemOptions{}), r: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))}
		m.f = disk.NewFaulty(m.d, m.hook)
		m.l = open(t, m.f, small())
		m.looks = 4
		term := uint64(1)
		t.Repeat(map[string]func(*rapid.T){
			"store": func(t *rapid.T) {
				from := m.now.last() + 1
				if rapid.IntRange(0, 19).Draw(t, "gap") == 0 {
					from += 50
				}
				logs := entries(from, from+rapid.Uint64Range(0, 40).Draw(t, "more"), term)
				m.do(m.now.store(logs), func() error { return m.l.StoreLogs(logs) })
			},
			"store ahead": func(t *rapid.T) {
				m.ahead(rapid.IntRange(1, 6).Draw(t, "calls"), term, rapid.IntRange(0, 2).Draw(t, "end"))
			},
			"compact": func(t *rapid.T) {
				hi := m.now.first() + rapid.Uint64Range(0, 60).Draw(t, "count")
				m.do(m.now.delete(0, hi), func() error { return m.l.DeleteRange(m.now.first(), hi) })
			},
			"conflict": func(t *rapid.T) {
				term++
				last := m.now.last()
				lo := last - min(last, rapid.Uint64Range(0, 30).Draw(t, "count"))
				m.do(m.now.delete(lo, last), func() error { return m.l.DeleteRange(lo, last) })
			},
			"die":  func(t *rapid.T) { m.dieIn = 1 + rapid.IntRange(1, 12).Draw(t, "calls") },
			"full": func(t *rapid.T) { m.noSpace = rapid.IntRange(1, 3).Draw(t, "writes") },
			"close": func(t *rapid.T) {
				m.noSpace, m.dieIn = 0, 0
				must(t, m.l.Close())
				m.reopen()
			},
			"crash": func(t *rapid.T) {
				m.noSpace, m.dieIn = 0, 0
				m.d = m.d.Crash(m.r)
				_ = m.l.Close() // of a disk that is dead
				m.f = disk.NewFaulty(m.d, m.hook)
				m.reopen()
			},
		})
		m.looks, m.noSpace, m.dieIn = 0, 0, 0
		must(t, m.l.Close())
		seen += m.seen
	})
	if seen < 100 {
		t.Errorf("only %d crashes", seen)
	}
}

// image is the content of the last segment.
func image(t tb, d disk.FS, name string) []byte {
	f, err := d.Open(name)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	b, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	must(t, err)
	must(t, f.Close())
	return b
}

// withImage is a disk that holds one segment.
func withImage(t tb, name string, b []byte) disk.FS {
	d := disk.NewMem(disk.MemOptions{})
	f, err := d.Create(name)
	must(t, err)
	_, err = f.WriteAt(b, 0)
	must(t, err)
	must(t, f.Close())
	return d
}

// three stores three batches, and returns what the segment then holds, before the log is closed and after, and where
// each batch begins and the last ends.
func three(t tb, o Options) (crashed, closed []byte, at []int64) {
	d := disk.NewMem(disk.MemOptions{})
	l := open(t, d, o)
	for i := range uint64(3) {
		at = append(at, l.index.active().end)
		must(t, l.StoreLogs(entries(1+4*i, 4+4*i, 1)))
	}
	at = append(at, l.index.active().end)
	crashed = image(t, d, segmentName(1))
	must(t, l.Close())
	return crashed, image(t, d, segmentName(1)), at
}

// TestTornAtEveryByte ends the last write at every byte: before zeros, before the end of the file, and before what
// an earlier life of the segment left. The last batch is gone then, and no other.
func TestTornAtEveryByte(t *testing.T) {
	whole, _, at := three(t, small())
	stale, _, _ := three(t, small())
	for cut := at[2]; cut < at[3]; cut++ {
		zeros := append(append([]byte(nil), whole[:cut]...), make([]byte, int64(len(whole))-cut)...)
		old := append(append([]byte(nil), whole[:cut]...), stale[cut:]...)
		for name, b := range map[string][]byte{"zeros": zeros, "end": whole[:cut], "stale": old} {
			l, err := Open(withImage(t, segmentName(1), b), small())
			if err != nil {
				t.Fatalf("%s at %d: %v", name, cut, err)
			}
			want := model(entries(1, 8, 1))
			if d := want.differs(l); d != "" && string(whole[cut:at[3]]) != string(b[min(cut, int64(len(b))):min(at[3], int64(len(b)))]) {
				t.Fatalf("%s at %d: %s", name, cut, d)
			}
			must(t, l.Close())
		}
	}
}

// TestRotIsNotATornWrite flips every bit of a segment, after a crash and after a clean end. What was acknowledged is there,
// or the log is not opened. Only of the last batch before a crash nobody can tell whether it was torn.
func TestRotIsNotATornWrite(t *testing.T) {
	crashed, closed, at := three(t, small())
	d := withImage(t, segmentName(1), crashed)
	open(t, d, small())
	opened := image(t, d, segmentName(1))
	for name, tt := range map[string]struct {
		b    []byte
		last int64 // where the batch begins that may be gone
	}{"after a crash": {crashed, at[2]}, "after a clean end": {closed, at[3]}, "after a start": {opened, at[3]}} {
		refused, lost := 0, 0
		for bit := int64(0); bit < (at[3]+2*headerBytes)*8; bit += 13 {
			b := append([]byte(nil), tt.b...)
			b[bit/8] ^= 1 << (bit % 8)
			l, err := Open(withImage(t, segmentName(1), b), small())
			if err != nil {
				wantKind(t, name, err, granary.KindCorrupt)
				refused++
				continue
			}
			want := model(entries(1, 12, 1))
			if d := want.differs(l); d != "" {
				lost++
				if bit/8 < tt.last || bit/8 >= at[3] || model(entries(1, 8, 1)).differs(l) != "" {
					t.Fatalf("%s: with byte %d flipped: %s", name, bit/8, d)
				}
			}
			must(t, l.Close())
		}
		if refused == 0 || (lost > 0) != (name == "after a crash") {
			t.Errorf("%s: %d times refused, %d times the last batch was cut off", name, refused, lost)
		}
	}
}

// TestFailedWriteIsNotMixedIn: a write failed on a full disk and left entries behind; another, of as many bytes, was written over it
// and torn. No entry of the first is taken for one of the second.
func TestFailedWriteIsNotMixedIn(t *testing.T) {
	d := disk.NewMem(disk.MemOptions{})
	f := disk.NewFaulty(d, nil)
	l := open(t, f, small())
	must(t, l.StoreLogs(entries(1, 8, 1)))
	from := l.index.active().end
	f.SetHook(func(c disk.Call) disk.Fault { return disk.Fault{Err: syscall.ENOSPC, Short: c.Length} })
	wantKind(t, "a full disk", l.StoreLogs(entries(9, 12, 1)), granary.KindNoSpace)
	f.SetHook(nil)
	left := image(t, d, segmentName(1))
	must(t, l.StoreLogs(entries(9, 12, 2)))
	to := l.index.active().end
	whole := image(t, d, segmentName(1))
	for cut := from; cut < to; cut += recordAlign {
		l, err := Open(withImage(t, segmentName(1), append(append([]byte(nil), whole[:cut]...), left[cut:]...)), small())
		must(t, err)
		want := model(entries(1, 8, 1))
		if cut == from { // the first write may have been whole
			want = model(entries(1, 12, 1))
		}
		if d := want.differs(l); d != "" {
			t.Fatalf("torn at %d: %s", cut, d)
		}
		must(t, l.Close())
	}
}

// TestRotInAnOlderSegment: a segment that another follows must be whole.
func TestRotInAnOlderSegment(t *testing.T) {
	d := disk.NewMem(disk.MemOptions{})
	l := open(t, d, small())
	for i := uint64(1); i <= 100; i += 10 {
		must(t, l.StoreLogs(entries(i, i+9, 1)))
	}
	end := l.index.segments[0].end
	must(t, l.Close())
	f, err := d.Open(segmentName(1))
	must(t, err)
	for off := int64(dataStart); off < end; off += 97 {
		b := make([]byte, 1)
		_, err := f.ReadAt(b, off)
		must(t, err)
		_, err = f.WriteAt([]byte{b[0] ^ 4}, off)
		must(t, err)
		_, err = Open(d, small())
		wantKind(t, fmt.Sprintf("byte %d", off), err, granary.KindCorrupt)
		_, err = f.WriteAt(b, off)
		must(t, err)
	}
	must(t, open(t, d, small()).Close())
}

// TestRotWhileRunning: an entry that does not verify is an error, not an entry.
func TestRotWhileRunning(t *testing.T) {
	f := disk.NewFaulty(disk.NewMem(disk.MemOptions{}), nil)
	l := open(t, f, small())
	must(t, l.StoreLogs(entries(1, 60, 1)))
	f.SetHook(func(c disk.Call) disk.Fault { return disk.Fault{Flip: []int{8 * 70}} })
	wantKind(t, "a flipped bit", l.GetLog(2, new(raft.Log)), granary.KindCorrupt)
	f.SetHook(nil)
	must(t, l.GetLog(2, new(raft.Log)))
	must(t, l.Close())
}

// TestFailedSyncPoisons: after a sync failed, nothing is stored or deleted until the log is opened again, and the
// sync is not tried again.
func TestFailedSyncPoisons(t *testing.T) {
	for _, delete := range []bool{false, true} {
		d := disk.NewMem(disk.MemOptions{})
		f := disk.NewFaulty(d, nil)
		l := open(t, f, small())
		must(t, l.StoreLogs(entries(1, 10, 1)))
		fail := true
		f.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpSync && fail {
				fail = false
				return disk.Fault{Err: syscall.EIO}
			}
			if !fail && (c.Op == disk.OpSync || c.Op == disk.OpWriteAt) {
				t.Errorf("%s after a failed sync", c)
			}
			return disk.Fault{}
		})
		if delete {
			wantKind(t, "a failed sync", l.DeleteRange(5, 10), granary.KindInternal)
		} else {
			wantKind(t, "a failed sync", l.StoreLog(entry(11, 1)), granary.KindInternal)
		}
		wantKind(t, "a poisoned log", l.StoreLog(entry(11, 1)), granary.KindInternal)
		wantKind(t, "a poisoned log", l.DeleteRange(1, 5), granary.KindInternal)
		check(t, l, model(entries(1, 10, 1)))
		must(t, l.Close())
		f.SetHook(nil)
		l = open(t, f, small())
		if last, err := l.LastIndex(); err != nil || !delete && last < 10 {
			t.Errorf("the log ends at %d, %v", last, err)
		}
		must(t, l.Close())
	}
}

// TestOpenSyncsTheEnd: a batch whose sync failed, and which is found when the log is opened again, is durable from then on.
func TestOpenSyncsTheEnd(t *testing.T) {
	for seed := range uint64(10) {
		d := disk.NewMem(disk.MemOptions{})
		f := disk.NewFaulty(d, nil)
		l := open(t, f, small())
		f.SetHook(func(c disk.Call) disk.Fault {
			if c.Op == disk.OpSync {
				return disk.Fault{Err: syscall.EIO}
			}
			return disk.Fault{}
		})
		wantKind(t, "a failed sync", l.StoreLogs(entries(1, 10, 1)), granary.KindInternal)
		must(t, l.Close())
		// A loss of power while it is opened may take the batch, but leaves a log that can be opened.
		r := rand.New(rand.NewPCG(seed, 1))
		f.SetHook(func(c disk.Call) disk.Fault {
			for range 2 {
				must(t, open(t, d.CrashClone(r), small()).Close())
			}
			return disk.Fault{}
		})
		l = open(t, f, small())
		check(t, l, model(entries(1, 10, 1)))
		after := open(t, d.Crash(rand.New(rand.NewPCG(seed, 0))), small())
		check(t, after, model(entries(1, 10, 1)))
		must(t, after.Close())
	}
}

// TestFullDisk: on a disk that is full nothing is stored, entries can still be deleted, which makes room, and then
// the log goes on.
func TestFullDisk(t *testing.T) {
	d := disk.NewMem(disk.MemOptions{Capacity: 64 << 10})
	l := open(t, d, small())
	var m model
	for {
		next := entries(m.last()+1, m.last()+7, 1)
		err := l.StoreLogs(next)
		if err != nil {
			wantKind(t, "a full disk", err, granary.KindNoSpace)
			break
		}
		m = m.store(next)
	}
	for range 3 {
		wantKind(t, "a full disk", l.StoreLogs(entries(m.last()+1, m.last()+200, 1)), granary.KindNoSpace)
	}
	check(t, l, m)
	must(t, l.DeleteRange(m.last(), m.last()))
	m = m.delete(m.last(), m.last())
	must(t, l.DeleteRange(0, m.last()-10))
	m = m.delete(0, m.last()-10)
	must(t, l.StoreLogs(entries(m.last()+1, m.last()+7, 2)))
	m = m.store(entries(m.last()+1, m.last()+7, 2))
	check(t, l, m)
	must(t, l.Close())
	l = open(t, d, small())
	check(t, l, m)
	must(t, l.Close())
}

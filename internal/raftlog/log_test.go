package raftlog

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// tb is what a *testing.T and a *rapid.T have in common.
type tb interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
}

func must(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t tb, what string, err error, kind granary.Kind) {
	t.Helper()
	if !granary.IsKind(err, kind) {
		t.Fatalf("%s: %v, want kind %v", what, err, kind)
	}
}

// small are options under which segments fill soon. Any gap is allowed.
func small() Options {
	return Options{
		SegmentBytes: 12 << 10, FillBytes: 1 << 10, TailBytes: 2 << 10, TailEntries: 8, SparesMax: 1,
		Covered: func() (uint64, error) { return 1 << 60, nil },
	}
}

func open(t tb, d disk.FS, o Options) *Log {
	t.Helper()
	l, err := Open(d, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// entry makes an entry that its index and term tell everything of.
func entry(index, term uint64) *raft.Log {
	e := &raft.Log{Index: index, Term: term, Type: raft.LogType(index % 6)}
	if index%3 != 0 {
		e.Data = bytes.Repeat([]byte{byte(index), byte(term)}, int(index*37%400))
	}
	if index%5 == 0 {
		e.Extensions = fmt.Appendf(nil, "extensions of %d", index)
	}
	if index%7 != 0 {
		e.AppendedAt = time.Unix(int64(index)*1000, int64(term)).UTC()
	}
	return e
}

func entries(from, to, term uint64) []*raft.Log {
	var out []*raft.Log
	for i := from; i <= to; i++ {
		out = append(out, entry(i, term))
	}
	return out
}

// differ says how two entries differ, "" if they do not.
func differ(a, b *raft.Log) string {
	if a.Index != b.Index || a.Term != b.Term || a.Type != b.Type || !bytes.Equal(a.Data, b.Data) ||
		!bytes.Equal(a.Extensions, b.Extensions) || !a.AppendedAt.Equal(b.AppendedAt) {
		return fmt.Sprintf("%+v, want %+v", a, b)
	}
	return ""
}

// model is what a log should hold.
type model []*raft.Log

func (m model) first() uint64 {
	if len(m) == 0 {
		return 0
	}
	return m[0].Index
}

func (m model) last() uint64 {
	if len(m) == 0 {
		return 0
	}
	return m[len(m)-1].Index
}

func (m model) store(logs []*raft.Log) model {
	if len(m) > 0 && logs[0].Index != m.last()+1 {
		m = nil
	}
	return append(m[:len(m):len(m)], logs...)
}

func (m model) delete(lo, hi uint64) model {
	var out model
	for _, e := range m {
		if e.Index < lo || e.Index > hi {
			out = append(out, e)
		}
	}
	return out
}

// differs says how a log differs from the model, "" if it does not.
func (m model) differs(l raft.LogStore) string {
	first, err := l.FirstIndex()
	if err != nil {
		return err.Error()
	}
	last, err := l.LastIndex()
	if err != nil {
		return err.Error()
	}
	if first != m.first() || last != m.last() {
		return fmt.Sprintf("the log is from %d to %d, want %d to %d", first, last, m.first(), m.last())
	}
	for _, want := range m {
		var got raft.Log
		if err := l.GetLog(want.Index, &got); err != nil {
			return fmt.Sprintf("entry %d: %v", want.Index, err)
		}
		if d := differ(&got, want); d != "" {
			return d
		}
	}
	for _, index := range []uint64{0, first - 1, last + 1} {
		if err := l.GetLog(index, new(raft.Log)); err != raft.ErrLogNotFound {
			return fmt.Sprintf("entry %d of %d to %d: %v", index, first, last, err)
		}
	}
	return ""
}

func check(t tb, l *Log, m model) {
	t.Helper()
	if d := m.differs(l); d != "" {
		t.Fatal(d)
	}
}

// TestLog stores, deletes and opens again over several segments, on the disks there are.
func TestLog(t *testing.T) {
	real, err := disk.OS(t.TempDir())
	must(t, err)
	for name, d := range map[string]disk.FS{"os": real, "mem": disk.NewMem(disk.MemOptions{})} {
		t.Run(name, func(t *testing.T) {
			l := open(t, d, small())
			var m model
			check(t, l, m)
			reopen := func() {
				must(t, l.Close())
				l = open(t, d, small())
				check(t, l, m)
			}
			for i := uint64(1); i <= 200; i += 10 {
				must(t, l.StoreLogs(entries(i, i+9, 1)))
				m = m.store(entries(i, i+9, 1))
			}
			check(t, l, m)
			if n := len(l.index.segments); n < 4 {
				t.Errorf("%d segments", n)
			}
			reopen()
			for _, r := range [][2]uint64{{1, 80}, {150, 200}, {0, 90}, {140, 900}, {300, 400}, {5, 4}, {1, 20}} {
				must(t, l.DeleteRange(r[0], r[1]))
				m = m.delete(r[0], r[1])
				check(t, l, m)
			}
			wantKind(t, "a hole", l.DeleteRange(100, 110), granary.KindInvalid)
			reopen()
			must(t, l.StoreLogs(entries(140, 170, 2)))
			m = m.store(entries(140, 170, 2))
			reopen()
			must(t, l.StoreLog(entry(171, 3)))
			m = m.store(entries(171, 171, 3))
			must(t, l.DeleteRange(1, 171))
			m = nil
			check(t, l, m)
			reopen()
			must(t, l.StoreLogs(entries(500, 520, 4)))
			m = m.store(entries(500, 520, 4))
			reopen()
			must(t, l.Close())
			must(t, l.Close())
			wantKind(t, "a closed log", l.StoreLog(entry(521, 4)), granary.KindUnavailable)
		})
	}
}

// TestGap: entries follow each other; the log begins anew only behind a snapshot.
func TestGap(t *testing.T) {
	covered := uint64(0)
	o := small()
	o.Covered = func() (uint64, error) { return covered, nil }
	d := disk.NewMem(disk.MemOptions{})
	l := open(t, d, o)
	wantKind(t, "a first entry of 2", l.StoreLog(entry(2, 1)), granary.KindInvalid)
	must(t, l.StoreLogs(entries(1, 10, 1)))
	wantKind(t, "an entry that is there", l.StoreLog(entry(10, 1)), granary.KindInvalid)
	wantKind(t, "entry 0", l.StoreLog(entry(0, 1)), granary.KindInvalid)
	wantKind(t, "a gap in a batch", l.StoreLogs([]*raft.Log{entry(11, 1), entry(13, 1)}), granary.KindInvalid)
	wantKind(t, "a gap", l.StoreLogs(entries(51, 60, 2)), granary.KindInvalid)
	covered = 49
	wantKind(t, "a gap behind the snapshot", l.StoreLogs(entries(51, 60, 2)), granary.KindInvalid)
	check(t, l, model(entries(1, 10, 1)))
	covered = 50
	must(t, l.StoreLogs(entries(51, 60, 2)))
	check(t, l, model(entries(51, 60, 2)))
	must(t, l.Close())
	l = open(t, d, o)
	check(t, l, model(entries(51, 60, 2)))
	must(t, l.Close())
}

// TestRecycledSegment: the log takes a bounded number of files, whatever passes through it, and what a file held in
// an earlier life does not come back.
func TestRecycledSegment(t *testing.T) {
	d := disk.NewMem(disk.MemOptions{})
	renamed := 0
	f := disk.NewFaulty(d, func(c disk.Call) disk.Fault {
		if _, ok := parseName(c.Name, spareSuffix); ok && c.Op == disk.OpRename {
			renamed++
		}
		return disk.Fault{}
	})
	l := open(t, f, small())
	var m model
	for i := uint64(1); i <= 2000; i += 10 {
		must(t, l.StoreLogs(entries(i, i+9, 1)))
		m = m.store(entries(i, i+9, 1))
		if i > 100 {
			must(t, l.DeleteRange(m.first(), i-100))
			m = m.delete(0, i-100)
		}
		if i%200 == 1 {
			must(t, l.Close())
			l = open(t, f, small())
		}
	}
	check(t, l, m)
	names, err := d.ReadDir(".")
	must(t, err)
	if len(names) > 8 || renamed < 20 {
		t.Errorf("%d files after %d were used again", len(names), renamed)
	}
	must(t, l.Close())
	l = open(t, f, small())
	check(t, l, m)
	must(t, l.Close())
}

// TestOneSync: a batch that needs no new segment is one write and one sync, and replication does not read the disk.
func TestOneSync(t *testing.T) {
	var calls []disk.Op
	f := disk.NewFaulty(disk.NewMem(disk.MemOptions{}), func(c disk.Call) disk.Fault {
		calls = append(calls, c.Op)
		return disk.Fault{}
	})
	l := open(t, f, Options{})
	for i := range uint64(5) {
		calls = nil
		must(t, l.StoreLogs(entries(1+20*i, 20+20*i, 1)))
		var got raft.Log
		must(t, l.GetLog(20*i+1, &got))
		if fmt.Sprint(calls) != "[writeat sync]" {
			t.Fatalf("the disk saw %v", calls)
		}
	}
	must(t, l.Close())
}

// TestReadersBesideAWriter reads all the time while the log is written, cut at both ends, and recycled.
func TestReadersBesideAWriter(t *testing.T) {
	d, err := disk.OS(t.TempDir())
	must(t, err)
	l := open(t, d, small())
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				first, _ := l.FirstIndex()
				last, _ := l.LastIndex()
				for i := first; i <= last && i > 0; i += 3 {
					var got raft.Log
					if err := l.GetLog(i, &got); err != nil && err != raft.ErrLogNotFound {
						t.Error(err)
					} else if err == nil && got.Index != i {
						t.Errorf("entry %d is %d", i, got.Index)
					}
				}
			}
		})
	}
	for i := uint64(1); i <= 200; i += 10 {
		must(t, l.StoreLogs(entries(i, i+9, 1)))
		must(t, l.DeleteRange(i+8, i+9))
		must(t, l.StoreLogs(entries(i+8, i+9, 2)))
		if i > 60 {
			must(t, l.DeleteRange(0, i-60))
		}
	}
	close(done)
	readers.Wait()
	must(t, l.Close())
}

func TestMustExist(t *testing.T) {
	d := disk.NewMem(disk.MemOptions{})
	o := small()
	o.MustExist = true
	_, err := Open(d, o)
	wantKind(t, "a log that is gone", err, granary.KindCorrupt)
	must(t, open(t, d, small()).Close())
	must(t, open(t, d, o).Close())
}

// TestLostSegment: without a segment that it needs, a log is not opened.
func TestLostSegment(t *testing.T) {
	for _, lost := range []uint64{1, 2, 3} {
		d := disk.NewMem(disk.MemOptions{})
		l := open(t, d, small())
		for i := uint64(1); i <= 200; i += 10 {
			must(t, l.StoreLogs(entries(i, i+9, 1)))
		}
		must(t, l.Close())
		must(t, d.Remove(segmentName(lost)))
		_, err := Open(d, small())
		wantKind(t, fmt.Sprintf("without segment %d", lost), err, granary.KindCorrupt)
	}
}

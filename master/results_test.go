package master

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// TestAnsweredRequests: what is remembered of results agrees with a list of them, in whatever order they come.
func TestAnsweredRequests(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := &answered{holes: map[uint64]struct{}{}}
		stored := map[uint64]bool{}
		at := uint64(0)
		for range 50 {
			at += uint64(rapid.SampledFrom([]int{1, 1, 2, 9, holesMax}).Draw(rt, "step"))
			seq := at - uint64(rapid.IntRange(0, int(min(at-1, 8))).Draw(rt, "back"))
			stored[seq] = true
			a.note(seq)
			for s := range stored {
				if _, hole := a.holes[s]; hole || s > a.last {
					rt.Fatalf("request %d is said to have no result", s)
				}
			}
			if len(a.holes) > holesMax {
				rt.Fatalf("%d holes", len(a.holes))
			}
		}
	})
}

// TestResultsOfAnEntry: the results of an entry lie in one record, each is found by its request, also in the same entry,
// and the record goes when all of its requests are acknowledged.
func TestResultsOfAnEntry(t *testing.T) {
	m := newMachine(t)
	defer func() { m.close() }()
	apply := func(lowest uint64, seqs ...uint64) []granary.Result {
		t.Helper()
		m.time++
		c := command{Time: m.time}
		for _, seq := range seqs {
			c.Items = append(c.Items, &mutation{Session: m.session, LowestUnacked: lowest, Request: granary.Request{Seq: seq, Op: &granary.Create{
				Parent: granary.RootInode, Name: string(rune('a' + seq)), Type: granary.TypeRegular, Exclusive: true}}})
		}
		data, err := c.marshal()
		if err != nil {
			t.Fatal(err)
		}
		e := entry{Index: uint64(len(m.log) + 1), Term: 1, Data: data}
		m.log = append(m.log, e)
		return m.s.apply([]entry{e})[0]
	}
	records := func() (seqs []uint64) {
		m.s.each(key(tableResult), func(k, _ []byte) { seqs = append(seqs, keyID(k, 1)) })
		return seqs
	}
	first := apply(1, 1, 2, 9, 9, 10)
	if first[2].Err != nil || first[3].Err != nil || first[2].Attr.Inode != first[3].Attr.Inode {
		t.Errorf("a request twice in an entry: %+v, then %+v", first[2], first[3])
	}
	second := apply(1, 3, 4, 8)
	if want := []uint64{8, 10}; !slices.Equal(records(), want) {
		t.Errorf("records %v, want %v", records(), want)
	}
	for range 2 {
		for i, r := range append(apply(1, 1, 2, 9, 10), apply(1, 3, 4, 8)...) {
			want := []granary.Result{first[0], first[1], first[2], first[4], second[0], second[1], second[2]}[i]
			if r.Err != nil || r.Attr.Inode != want.Attr.Inode || r.Index != want.Index {
				t.Errorf("repetition %d gave %+v, want %+v", i, r, want)
			}
		}
		m.close()
		m.open() // nothing is remembered now
	}
	apply(9, 11)
	if want := []uint64{10, 11}; !slices.Equal(records(), want) {
		t.Errorf("records %v, want %v", records(), want)
	}
	if r := apply(9, 10, 5, 8); r[0].Attr.Inode != first[4].Attr.Inode || kindOf(r[1]) != granary.KindStale || kindOf(r[2]) != granary.KindStale {
		t.Errorf("%+v", r)
	}
	if r := apply(12, 12); r[0].Err != nil || !slices.Equal(records(), []uint64{12}) {
		t.Errorf("%+v, records %v", r, records())
	}
	m.check()
}

// TestResultsOfFormat2: a record of one result, as it was stored before format 3, answers a retry.
func TestResultsOfFormat2(t *testing.T) {
	e := encoder{}
	e.u8(2)
	e.u64(7)
	e.blob([]byte("result"))
	r, err := unmarshal[resultsRecord](e.b)
	if err != nil || len(r.Results) != 1 || string(r.Results[0].Bytes) != "result" || r.Results[0].Seq != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

package master

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// TestYoung: the more of a volume is dead, the sooner it is moved.
func TestYoung(t *testing.T) {
	for _, tt := range []struct {
		live, dead uint64
		after      time.Duration
	}{
		{800 << 20, 200 << 20, 30 * time.Minute},
		{500 << 20, 500 << 20, 30 * time.Minute},
		{200 << 20, 800 << 20, 7*time.Minute + 30*time.Second},
		{100 << 20, 1000 << 20, 3 * time.Minute},
		{10 << 20, 900 << 20, 20 * time.Second},
	} {
		s := sixServers()
		r := s.volume(4, 2).record
		r.LiveBytes, r.DeadBytes = tt.live, tt.dead
		r.SealedAt = testNow - granary.Time(tt.after) + 1
		if p := planWork(s); len(p.needs) != 0 {
			t.Errorf("%d MiB of %d alive: %s a moment before %s", tt.live>>20, (tt.live+tt.dead)>>20, p.show(), tt.after)
		}
		r.SealedAt--
		if p := planWork(s); p.show() != "move 1" {
			t.Errorf("%d MiB of %d alive: %q after %s", tt.live>>20, (tt.live+tt.dead)>>20, p.show(), tt.after)
		}
	}
}

// TestHaste: what is moved however young it is, is mostly dead, no volume that is left is deader, and it is enough, and no volume more
// than enough, to have no more than so many bytes dead beyond those alive; or nothing is left of which more is dead than alive.
func TestHaste(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sixServers()
		states := []granary.VolumeState{granary.VolumeOpen, granary.VolumeSealing, granary.VolumeSealed, granary.VolumeSealed, granary.VolumeSealed, granary.VolumeDropping}
		for range rapid.IntRange(0, 12).Draw(t, "volumes") {
			r := s.volume(4, 2).record
			r.State = rapid.SampledFrom(states).Draw(t, "state")
			r.LiveBytes = rapid.Uint64Range(0, 1<<30).Draw(t, "live")
			r.DeadBytes = 1<<30 - r.LiveBytes
			r.SealedAt = testNow
		}
		s.hasten()
		checkHaste(t, s)
	})
}

func checkHaste(t *rapid.T, s *scene) {
	var live, dead, taken uint64
	var last, next *volumeFacts // the least dead of those taken, and the deadest of those left
	for _, v := range s.volumes {
		r := v.record
		if r.State != granary.VolumeDropping {
			live += r.LiveBytes
		}
		mostly := r.State == granary.VolumeSealed && r.LiveBytes > 0 && r.DeadBytes > r.LiveBytes
		if r.State == granary.VolumeSealed && r.LiveBytes > 0 {
			dead += r.DeadBytes
		}
		switch {
		case s.hurried[v.id]:
			if !mostly {
				t.Fatalf("volume %d is hurried: %+v", v.id, r)
			}
			taken += r.DeadBytes
			if last == nil || v.liveShare() > last.liveShare() {
				last = v
			}
		case mostly && (next == nil || v.liveShare() < next.liveShare()):
			next = v
		}
	}
	most := live + hurriedFrom
	switch {
	case last != nil && next != nil && next.liveShare() < last.liveShare():
		t.Fatalf("a volume of which %.2f are alive is taken, and one of which %.2f are is not", last.liveShare(), next.liveShare())
	case next != nil && dead-taken > most:
		t.Fatalf("%d bytes stay dead, of %d at most, and volume %d is left", dead-taken, most, next.id)
	case last != nil && dead-taken+last.record.DeadBytes <= most:
		t.Fatalf("without volume %d too, no more than %d bytes would stay dead", last.id, most)
	}
}

// overwriting is a store in which pages of one file are overwritten at random, in units of pages.
type overwriting struct {
	s       *scene
	at      []*volumeFacts // of each page
	open    *volumeFacts
	moved   *volumeFacts // takes what is moved
	written int
	moves   int
}

const (
	overwrittenPage   = 1 << 20
	overwrittenVolume = 1 << 30
)

// put writes a page to an open volume, and returns the one for the next.
func (o *overwriting) put(page int, into *volumeFacts) *volumeFacts {
	if from := o.at[page]; from != nil {
		from.record.LiveBytes -= overwrittenPage
		from.record.DeadBytes += overwrittenPage
	}
	if into == nil {
		into = o.s.volume(1, 0)
		*into.record = volumeRecord{Epoch: 2, State: granary.VolumeOpen, DataShards: 1, Policy: 1, Auto: true, Disks: into.record.Disks, OpenedAt: o.s.now}
		into.grown = o.s.now.Std()
	}
	r := into.record
	r.LiveBytes += overwrittenPage
	r.Watermark += overwrittenPage
	into.grown = o.s.now.Std()
	o.at[page] = into
	if r.Watermark < overwrittenVolume {
		return into
	}
	r.State, r.SealedAt, r.Sealed = granary.VolumeSealed, o.s.now, 1
	return nil
}

// upkeep does what a plan says, of moves as many pages as the rate allows.
func (o *overwriting) upkeep(pages int) {
	s := o.s
	s.mends, s.maps, s.shapes = 0, nil, nil
	p := planWork(s)
	for _, v := range s.volumes {
		if v.record.State == granary.VolumeSealed && v.record.LiveBytes == 0 {
			v.record.State, v.record.DroppingAt = granary.VolumeDropping, s.now
		}
	}
	kept := s.volumes[:0]
	for _, v := range s.volumes {
		if v.record.State != granary.VolumeDropping || s.now-v.record.DroppingAt < s.upkeep.ReclaimGrace {
			kept = append(kept, v)
		}
	}
	s.volumes = kept
	for _, n := range p.needs {
		for page := 0; page < len(o.at) && pages > 0; page++ {
			if n.kind == granary.TaskMove && o.at[page] == n.v {
				o.moved = o.put(page, o.moved)
				o.moves++
				pages--
			}
		}
	}
}

// held returns the pages that take space, of volumes that are not about to be dropped.
func (o *overwriting) held() (pages int) {
	for _, v := range o.s.volumes {
		if v.record.State != granary.VolumeDropping {
			pages += int((v.record.LiveBytes + v.record.DeadBytes) / overwrittenPage)
		}
	}
	return pages
}

// TestSpaceIsBounded: a file that is overwritten at random for an hour takes twice its size and a few volumes, besides what waits to be
// dropped, and little is moved for that.
func TestSpaceIsBounded(t *testing.T) {
	for _, gib := range []int{1, 4, 16} {
		o := &overwriting{s: sceneOf("//s1"), at: make([]*volumeFacts, gib<<10)}
		random := rand.New(rand.NewPCG(1, uint64(gib)))
		for page := range o.at {
			o.open = o.put(page, o.open)
		}
		most := 0
		for range 3600 {
			for range 23 {
				o.open = o.put(random.IntN(len(o.at)), o.open)
				o.written++
			}
			o.s.now += granary.Time(time.Second)
			o.upkeep(50)
			most = max(most, o.held())
			if err := o.check(); err != "" {
				t.Fatal(err)
			}
		}
		t.Logf("%d GiB: %d pages written, %d moved, at most %.2f times the file held", gib, o.written, o.moves, float64(most)/float64(len(o.at)))
		if bound := 2*len(o.at) + 4*overwrittenVolume/overwrittenPage; most > bound {
			t.Errorf("a file of %d GiB took %d pages, of %d at most", gib, most, bound)
		}
		if o.moves > o.written/2 {
			t.Errorf("a file of %d GiB: %d pages were moved for %d that were written", gib, o.moves, o.written)
		}
	}
}

// check verifies that each page lies in a volume that is there, and that volumes count what they hold.
func (o *overwriting) check() string {
	held := map[*volumeFacts]uint64{}
	for _, v := range o.s.volumes {
		held[v] = v.record.LiveBytes
	}
	for _, v := range o.at {
		if held[v] < overwrittenPage {
			return "a page lies in a volume that was dropped, or in more than its volume counts"
		}
		held[v] -= overwrittenPage
	}
	for _, n := range held {
		if n != 0 {
			return "a volume counts what it does not hold"
		}
	}
	return ""
}

package volume

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/disk"
)

// powerStep is a call, and what the shard that it is about holds afterwards.
type powerStep struct {
	name   string
	volume granary.VolumeID
	do     func(s *Store, ref granary.ShardRef) error
	stream []byte // nil: there is no shard
	sealed bool
	whole  bool // as it was before or as it is afterwards, and nothing else
}

// powerSteps is the life of three shards: one is appended to, trimmed and sealed; one is moved there from another, which is dropped;
// and one is lost and built anew.
func powerSteps() []powerStep {
	ctx := context.Background()
	first, second, third := fill(10000, 1), fill(5000, 2), fill(300, 3)
	gap := append(bytes.Clone(first), make([]byte, 6384)...)
	two := append(bytes.Clone(gap), second...)
	three := append(bytes.Clone(two), third...)
	rebuilt := sparse(6, 4)
	add := func(prev, off int, epoch granary.Epoch, data []byte) func(*Store, granary.ShardRef) error {
		return func(s *Store, ref granary.ShardRef) error {
			a := appendOf(ref, uint64(prev), uint64(off), data)
			a.Epoch = epoch
			return s.Append(ctx, a)
		}
	}
	seal := func(length int, epoch granary.Epoch) func(*Store, granary.ShardRef) error {
		return func(s *Store, ref granary.ShardRef) error {
			return s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: epoch, Length: uint64(length)})
		}
	}
	return []powerStep{
		{name: "first append", volume: 1, do: add(0, 0, 1, first), stream: first},
		{name: "append after a gap", volume: 1, do: add(len(first), len(gap), 1, second), stream: two},
		{name: "append at a higher epoch", volume: 1, do: add(len(two), len(two), 3, third), stream: three},
		{name: "trim", volume: 1, do: seal(len(gap)+100, 4), stream: two[:len(gap)+100], sealed: true},
		{name: "append of what is moved", volume: 2, do: add(0, 0, 1, second), stream: second},
		{name: "seal of what was moved", volume: 2, do: seal(len(second)+3000, 2), stream: append(bytes.Clone(second), make([]byte, 3000)...), sealed: true},
		{name: "drop of the source", volume: 1, do: func(s *Store, ref granary.ShardRef) error { return s.Drop(ctx, ref, 4, 0) }, whole: true},
		{name: "build", volume: 2, do: func(s *Store, ref granary.ShardRef) error {
			return s.Build(ctx, buildOf(ref, 3, uint64(len(rebuilt))), bytes.NewReader(rebuilt))
		}, stream: rebuilt, sealed: true, whole: true},
	}
}

// The power goes at every access to the disk of every step. What was acknowledged is there; what was not is gone, or whole, or a
// tail that a seal cuts off; and the step that was cut short succeeds when it is repeated, as do all after it.
func TestPowerCutAtEveryAccess(t *testing.T) {
	steps := powerSteps()
	cuts, torn := 0, 0
	for i, step := range steps {
		for at, over := 0, false; !over; at++ {
			for seed := range uint64(5) {
				mem := disk.NewMem(disk.MemOptions{})
				s, faulty := openFaulty(t, mem)
				for _, before := range steps[:i] {
					if err := before.do(s, firstRef(s, before.volume)); err != nil {
						t.Fatal(err)
					}
				}
				var after *disk.Mem
				count := 0
				faulty.SetHook(func(disk.Call) disk.Fault {
					if count == at {
						after = mem.CrashClone(rand.New(rand.NewPCG(seed, uint64(at))))
					}
					count++
					return disk.Fault{}
				})
				if err := step.do(s, firstRef(s, step.volume)); err != nil {
					t.Fatal(err)
				}
				faulty.SetHook(nil)
				if over = after == nil; over {
					after = mem.CrashClone(rand.New(rand.NewPCG(seed, uint64(at))))
				}
				closeStore(t, s)
				s, _ = openFaulty(t, after)
				what := fmt.Sprintf("power cut at access %d of %q (over: %t), seed %d", at, step.name, over, seed)
				cuts++
				if !checkPower(t, what, s, steps, i, over) {
					torn++
				}
				closeStore(t, s)
			}
		}
	}
	t.Logf("%d power cuts, %d torn tails", cuts, torn)
	if torn == 0 {
		t.Error("no append was torn: the test shows little")
	}
}

// last returns the last step of some that was about a volume, or one that leaves nothing.
func last(steps []powerStep, v granary.VolumeID) powerStep {
	is := powerStep{}
	for _, step := range steps {
		if step.volume == v {
			is = step
		}
	}
	return is
}

// checkPower looks at the disk after the power has gone in a step, repeats it and goes on. It returns false if the step was an
// append that left a torn tail.
func checkPower(t *testing.T, what string, s *Store, steps []powerStep, at int, over bool) bool {
	t.Helper()
	ctx := context.Background()
	step := steps[at]
	for v := granary.VolumeID(1); v <= 2; v++ {
		before, now := last(steps[:at], v), last(steps[:at+1], v)
		got, sealed := powerStream(t, what, s, v)
		isNow := bytes.Equal(got, now.stream) && sealed == now.sealed && (got == nil) == (now.stream == nil)
		isBefore := bytes.Equal(got, before.stream) && sealed == before.sealed && (got == nil) == (before.stream == nil)
		keep := before.stream[:min(len(before.stream), len(now.stream))]
		switch {
		case over || v != step.volume:
			if !isNow {
				t.Fatalf("%s: volume %d has %d bytes (sealed: %t), and what was acknowledged is another thing", what, v, len(got), sealed)
			}
		case step.whole || sealed:
			if !isNow && !isBefore {
				t.Fatalf("%s: volume %d has %d bytes (sealed: %t): neither what was nor what was to be", what, v, len(got), sealed)
			}
		case !bytes.HasPrefix(got, keep):
			t.Fatalf("%s: volume %d has %d bytes, and not the %d that were acknowledged", what, v, len(got), len(keep))
		}
	}
	for _, next := range steps[at:] {
		ref := firstRef(s, next.volume)
		err := next.do(s, ref)
		if granary.IsKind(err, granary.KindInvalid) && next.name == step.name && !next.sealed {
			acked := last(steps[:at], next.volume).stream
			if err := s.Seal(ctx, &granary.Seal{Ref: ref, Epoch: 9, Length: uint64(len(acked))}); err != nil {
				t.Fatalf("%s: seal at what was acknowledged: %v", what, err)
			}
			if got, sealed := powerStream(t, what, s, next.volume); !sealed || !bytes.Equal(got, acked) {
				t.Fatalf("%s: sealed at what was acknowledged, it has %d bytes", what, len(got))
			}
			return false
		}
		if err != nil {
			t.Fatalf("%s: %q afterwards: %v", what, next.name, err)
		}
		if got, sealed := powerStream(t, what, s, next.volume); !bytes.Equal(got, next.stream) || sealed != next.sealed {
			t.Fatalf("%s: after %q volume %d has %d bytes (sealed: %t)", what, next.name, next.volume, len(got), sealed)
		}
	}
	return true
}

// powerStream reads a shard, nil if there is none, and verifies it if it is sealed.
func powerStream(t *testing.T, what string, s *Store, v granary.VolumeID) (stream []byte, sealed bool) {
	t.Helper()
	ctx, ref := context.Background(), firstRef(s, v)
	_, length, err := s.ReadAt(ctx, ref, nil, 0)
	if granary.IsKind(err, granary.KindNotFound) {
		return nil, false
	}
	stream = make([]byte, length)
	n, _, rerr := s.ReadAt(ctx, ref, stream, 0)
	if err != nil || rerr != nil || n != len(stream) {
		t.Fatalf("%s: volume %d: %d bytes of %d, %v, %v", what, v, n, length, err, rerr)
	}
	switch err := s.Verify(ctx, ref); {
	case granary.IsKind(err, granary.KindInvalid):
		return stream, false
	case err != nil:
		t.Fatalf("%s: volume %d: %v", what, v, err)
	}
	return stream, true
}

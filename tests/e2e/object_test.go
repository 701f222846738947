//go:build e2e

package e2e

import (
	"fmt"

	"github.com/anishathalye/porcupine"

	"github.com/dsorchard/granary"
)

// step is one operation on an object. Out is what came back; Known is false if nobody can say whether it happened.
type step struct {
	Kind  string // of the object: "register", "counter", "names" or "lock"
	Do    string
	Value int // of a lock: the token
}

type outcome struct {
	Known bool
	Kind  granary.Kind
	Value int
}

// objectModel is one copy of an object: a register's value, a counter's length, which of two names exist (bits), or the last token of a
// lock and whether it was given up (see lockStep).
func objectModel() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return 0 },
		Step: func(state, input, output any) (bool, any) {
			at, s, out := state.(int), input.(step), output.(outcome)
			if s.Kind == "lock" {
				return lockStep(at, s, out)
			}
			want, next := modelStep(at, s)
			return !out.Known || out == want, next
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

func modelStep(at int, s step) (want outcome, next int) {
	ok := outcome{Known: true}
	failed := func(k granary.Kind) (outcome, int) { return outcome{Known: true, Kind: k}, at }
	switch s.Kind + " " + s.Do {
	case "register write":
		return ok, s.Value
	case "counter append":
		return outcome{Known: true, Value: at}, at + 1
	case "register read", "counter read":
		return outcome{Known: true, Value: at}, at
	}
	bit, other := 1<<s.Value, 1<<(1-s.Value)
	there := at&bit != 0
	switch {
	case s.Do == "create" && there:
		return failed(granary.KindExists)
	case s.Do == "create":
		return ok, at | bit
	case !there:
		return failed(granary.KindNotFound)
	case s.Do == "read":
		return ok, at
	case s.Do == "unlink":
		return ok, at &^ bit
	case at&other != 0: // rename onto a name that is taken
		return failed(granary.KindExists)
	}
	return ok, at&^bit | other // it moved
}

// A lock is the last token that was granted, twice, and one more unless that lock was given up; lockUnclear if nobody can say. A lease may
// end unseen: so a lock that somebody has may be granted, but only ever under a later token, and nothing is done under an earlier one after that.
const lockUnclear = -1

func lockStep(at int, s step, out outcome) (bool, int) {
	last, held := at>>1, at&1 == 1
	switch granted := out.Known && out.Kind == granary.KindNone; {
	case s.Do == "write" && !granted:
		return !out.Known || out.Kind == granary.KindFenced, at
	case !out.Known: // a lock taken or given up, or not
		return true, lockUnclear
	case s.Do == "take" && granted:
		return at == lockUnclear || out.Value > last, out.Value<<1 | 1
	case s.Do == "take":
		return out.Kind == granary.KindWouldBlock && (held || at == lockUnclear), at
	case !granted: // what is not held cannot be given up
		return out.Kind == granary.KindNotFound, at
	case at == lockUnclear:
		return true, at
	case s.Do == "release":
		return held && s.Value == last, last << 1
	}
	return held && s.Value == last, at
}

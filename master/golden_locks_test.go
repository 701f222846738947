package master

import (
	"fmt"
	"strings"

	"github.com/dsorchard/granary"
)

// opOfLock makes an operation on a lock: "lock PATH OWNER START END [exclusive] [wait]", "unlock PATH OWNER START END" and
// "unwait PATH OWNER"; with flock, funlock and funwait of the whole file, without a range.
func (s *script) opOfLock() granary.Op {
	if len(s.args) < 3 {
		return nil
	}
	word, whole := strings.CutPrefix(s.args[0], "f")
	if word != "lock" && word != "unlock" && word != "unwait" {
		return nil
	}
	k := granary.LockKey{Inode: s.find(s.args[1]), Space: granary.LockRanges, Owner: s.number(2, 10)}
	r := granary.LockRange{End: granary.LockEnd}
	switch {
	case whole:
		k.Space = granary.LockWhole
	case word != "unwait":
		r = granary.LockRange{Start: s.number(3, 10), End: s.number(4, 10)}
	}
	switch word {
	case "lock":
		return &granary.AcquireLock{LockKey: k, LockRange: r, Exclusive: s.has("exclusive"), Wait: s.has("wait")}
	case "unlock":
		return &granary.ReleaseLock{LockKey: k, LockRange: r}
	}
	return &granary.CancelLock{LockKey: k}
}

// locks lists the locks on a file.
func (s *script) locks(inode granary.InodeID) string {
	var words []string
	for _, l := range ask[*granary.Locks](s.m, &granary.ListLocks{Inode: inode}).Locks {
		words = append(words, describe(&l))
	}
	if words == nil {
		return "none"
	}
	return strings.Join(words, "; ")
}

func describe(l *granary.Lock) string {
	mode := map[bool]string{true: "exclusive", false: "shared"}[l.Exclusive]
	where := fmt.Sprintf("%d-%d", l.Start, l.End)
	if l.End == granary.LockEnd {
		where = fmt.Sprintf("%d-", l.Start)
	}
	return fmt.Sprintf("%d %s %s%s", l.Owner, mode, where, map[bool]string{true: " waits"}[l.Waiting])
}

package master

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/dsorchard/granary"
)

// opOfPathLock makes an operation on path locks: "plock NAME PATH[,PATH…] [exclusive] [mandatory] [subtree] [wait] [ttl=SECONDS]
// [owner=WHO]" with a name that later statements use, "prelease NAME [break]" and "prenew NAME".
func (s *script) opOfPathLock() granary.Op {
	switch s.args[0] {
	case "plock":
		op := &granary.AcquirePaths{Exclusive: s.has("exclusive"), Mandatory: s.has("mandatory"), Wait: s.has("wait"),
			TTL: granary.Time(s.optionNumber("ttl", 0)) * 1e9, Owner: s.option("owner", "")}
		for path := range strings.SplitSeq(s.args[2], ",") {
			p := granary.LockPath{Base: granary.RootInode, Path: strings.Trim(path, "/"), Subtree: s.has("subtree")}
			if rest, ok := strings.CutPrefix(path, "^"); ok {
				p.Base, p.Path = granary.RootDataset.System(), rest
			}
			op.Paths = append(op.Paths, p)
		}
		return op
	case "prelease":
		if s.has("id") {
			return &granary.ReleasePaths{Lock: s.plocks[s.args[1]].id, Break: s.has("break")}
		}
		return &granary.ReleasePaths{Token: s.token(s.args[1]), Lock: s.plocks[s.args[1]].id, Break: s.has("break")}
	case "prenew":
		return &granary.RenewPaths{Token: s.token(s.args[1]), TTL: granary.Time(s.optionNumber("ttl", 0)) * 1e9}
	}
	return nil
}

// scriptLock is a path lock that a script has named.
type scriptLock struct {
	id    granary.LockID
	token granary.FencingToken // as it was seen last
}

// token returns the token that a lock has, or had last.
func (s *script) token(name string) granary.FencingToken {
	l := s.plocks[name]
	for _, is := range s.pathLocks() {
		if is.ID == l.id && is.Token != 0 {
			l.token = is.Token
			s.plocks[name] = l
		}
	}
	return l.token
}

func (s *script) pathLocks() []granary.PathLock {
	return ask[*granary.PathLocks](s.m, &granary.ListPathLocks{}).Locks
}

// showPathLocks lists path locks under the names of the script.
func (s *script) showPathLocks() string {
	names := map[granary.LockID]string{}
	for name, l := range s.plocks {
		names[l.id] = name
	}
	var words []string
	for _, l := range s.pathLocks() {
		text := names[l.ID] + map[bool]string{true: " exclusive", false: " shared"}[l.Exclusive]
		if l.Mandatory {
			text += " mandatory"
		}
		for _, p := range l.Paths {
			text += " " + p.Path
			if p.Subtree {
				text += "/**"
			}
			if p.Inode == 0 {
				text += "?"
			}
		}
		if l.Token == 0 {
			text += " waits"
		}
		words = append(words, text)
	}
	if words == nil {
		return "none"
	}
	slices.SortFunc(words, cmp.Compare)
	return strings.Join(words, "; ")
}

// expire has the leader end the leases of locks: "expire NAME…".
func (s *script) expire() string {
	var it expirePaths
	for _, name := range s.args[1:] {
		it.Tokens = append(it.Tokens, s.token(name))
	}
	return fmt.Sprintf("ok, %d", s.m.item(&it).Offset)
}

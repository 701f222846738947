package master

import (
	"fmt"
	"strings"

	"github.com/dsorchard/granary"
)

// changes answers "changes [PATH]": what the change log has of a directory since the last time, as the caller sees it.
func (s *script) changes() string {
	root := granary.RootInode
	if len(s.args) > 1 {
		root = s.find(s.args[1])
	}
	q := &granary.Watch{Inode: root, From: s.watched}
	if s.has("oldest") {
		q.Start = granary.WatchOldest
	}
	cred := &s.cred
	if s.cred.UID == 0 {
		cred = nil
	}
	a, _, err := s.m.s.queryFor(s.m.t.Context(), s.m.session, cred, q, allUp{})
	if err != nil {
		return granary.KindOf(err).String()
	}
	c := a.(*granary.Changes)
	if !s.has("again") {
		s.watched = c.Next
	}
	if c.Behind {
		return "behind"
	}
	words := []string{fmt.Sprintf("%d", len(c.Changes))}
	for i := range c.Changes {
		words = append(words, showEvent(&c.Changes[i]))
	}
	if c.Removed {
		words = append(words, "removed")
	}
	return strings.Join(words, "; ")
}

func showEvent(e *granary.Event) string {
	s := e.Kind.String() + " " + e.Path
	if e.OldPath != "" {
		s += " from " + e.OldPath
	}
	for _, f := range []struct {
		is   bool
		text string
	}{
		{e.Type != granary.TypeRegular, e.Type.String()}, {e.Size != 0, fmt.Sprintf("size %d", e.Size)}, {e.UID != 0, fmt.Sprintf("by %d", e.UID)},
		{e.ETag != "", "etag " + e.ETag}, {e.Version != 0, "version"}, {e.Attribute != "", e.Attribute}, {e.Replaced, "replaced"},
		{e.Exchanged, "exchanged"}, {e.Implicit, "implicit"},
	} {
		if f.is {
			s += ", " + f.text
		}
	}
	return s
}

// trim answers "trim SECONDS": what a leader does with the change log when so much time has passed.
func (s *script) trim() string {
	s.m.time += granary.Time(s.number(1, 10)) * 1e9
	var m trimmer
	it, err := m.look(s.m.s, s.m.time)
	if err != nil {
		return granary.KindOf(err).String()
	}
	if it == nil {
		return "nothing"
	}
	r := s.m.item(it)
	if r.Err != nil {
		return r.Err.Kind.String()
	}
	if it.UpTo == 0 {
		return fmt.Sprintf("%d directories", len(it.Gone))
	}
	return fmt.Sprintf("ok, %d directories", len(it.Gone))
}

package master

import (
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
)

var update = flag.Bool("update", false, "rewrite the golden scripts")

// script runs the statements of a golden file: one a line, with its outcome behind an arrow. "as UID:GID,GROUP…" before
// a statement says who asks; otherwise the superuser does.
type script struct {
	m         *machine
	cred      granary.Cred
	anonymous granary.InodeID
	args      []string
	volumes   map[string]granary.VolumeID // by the names that the script gives them
	row       uint64                      // end of what was written to them
	refused   error                       // by the leader, of the next operation
	shown     *shown
	moved     []granary.BlockMove // by the last move

	other    granary.SessionID // another session, if there is one
	otherSeq uint64
	leased   granary.InodeID       // the first id of the last lease
	plocks   map[string]scriptLock // path locks, by the names that the script gives them

	watched granary.Position // up to where the change log was looked at

	pretending bool // what is there is not what the log made
}

// TestGolden runs testdata/*.txt, each in a state of its own, and compares what every statement gives.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	all, ran := &shown{map[string]map[bool]bool{}, map[granary.Kind]bool{}}, 0
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			ran++
			s := &script{m: newMachine(t), volumes: map[string]granary.VolumeID{}, plocks: map[string]scriptLock{}, shown: all}
			defer s.m.close()
			var out strings.Builder
			for line := range strings.Lines(string(text)) {
				statement, _, _ := strings.Cut(strings.TrimSpace(line), " -> ")
				out.WriteString(statement)
				if statement != "" && statement[0] != '#' {
					out.WriteString(" -> " + s.run(statement))
				}
				out.WriteString("\n")
				if !s.pretending {
					s.m.check()
				}
			}
			if *update {
				if err := os.WriteFile(name, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if out.String() != string(text) {
				t.Errorf("run with -update and look at the difference:\n%s", out.String())
			}
		})
	}
	if ran == len(files) {
		all.complete(t)
	}
}

func (s *script) run(statement string) string {
	if strings.HasPrefix(statement, "times ") {
		return s.times(statement)
	}
	s.args, s.cred, s.refused = strings.Fields(expand(statement)), granary.Cred{}, nil
	if s.args[0] == "as" {
		s.cred, s.args = parseCred(s.args[1]), s.args[2:]
	}
	if outcome, ok := s.heldOps(); ok {
		return outcome
	}
	var fences []granary.FencingToken
	if s.args[0] == "fence" {
		for name := range strings.SplitSeq(s.args[1], ",") {
			fences = append(fences, s.token(name))
		}
		s.args = s.args[2:]
	}
	switch s.args[0] {
	case "plocks":
		return s.showPathLocks()
	case "expire":
		return s.expire()
	case "later":
		s.m.time += granary.Time(s.number(1, 10)) * 1e9
		return "ok"
	case "session":
		s.m.session, s.m.seq = granary.SessionID(s.m.item(&openSession{Client: "another"}).Offset), 0
		return "ok"
	case "stat":
		return s.stat(s.args[1])
	case "locks":
		return s.locks(s.find(s.args[1]))
	case "lookup", "readdir", "xattrs":
		return s.ask()
	case "changes":
		return s.changes()
	case "trim":
		return s.trim()
	case "reclaim":
		s.m.drain(1000)
		return "ok"
	case "show":
		return s.show()
	case "links":
		return s.pretendLinks(s.find(s.args[1]), uint32(s.number(2, 10)))
	}
	if it := s.leaderItem(); it != nil {
		r := s.m.item(it)
		return s.outcome(nil, &r)
	}
	op := s.op()
	if op == nil {
		s.m.t.Fatalf("%q is no statement", statement)
	}
	if s.refused != nil {
		return granary.KindOf(s.refused).String() + ", says the leader"
	}
	r := s.m.doFenced(s.cred, op, fences)
	s.shown.add(op, &r)
	return s.outcome(op, &r)
}

// outcome is how a script shows a result, and remembers what later statements name.
func (s *script) outcome(op granary.Op, r *granary.Result) string {
	switch {
	case r.Err != nil && len(r.Missing) > 0:
		return fmt.Sprint(r.Err.Kind, " ", r.Missing)
	case r.Err != nil:
		return r.Err.Kind.String()
	case r.Replaced:
		return "ok, replaced"
	}
	switch op := op.(type) {
	case *granary.Create:
		if op.Anonymous {
			s.anonymous = r.Attr.Inode
		}
	case *granary.LeaseInodes:
		s.leased = granary.InodeID(r.Offset)
	case *granary.OpenVolume:
		s.volumes[s.args[1]] = r.Volume.ID
		return fmt.Sprintf("ok, %s %d+%d", r.Volume.State, r.Volume.DataShards, r.Volume.ParityShards)
	case *granary.AcquireLock:
		return map[bool]string{true: "ok, held", false: "ok, waits"}[r.Created]
	case *granary.AcquirePaths:
		s.plocks[s.args[1]] = scriptLock{id: granary.LockID(r.Offset)}
		return map[bool]string{true: "ok, held", false: "ok, waits"}[r.Created]
	case *granary.CancelLock:
		return map[bool]string{true: "ok, held", false: "ok"}[r.Created]
	case *granary.MoveBlocks:
		return fmt.Sprint("ok, left ", r.Missing)
	case *granary.SealVolume:
		return fmt.Sprintf("ok, %s at epoch %d", r.Volume.State, r.Volume.Epoch)
	case *granary.Commit:
		if op.AtEnd {
			return fmt.Sprintf("ok, at %d", r.Offset)
		}
	case *granary.CopyRange, *granary.Allocate:
		return fmt.Sprintf("ok, %d bytes", r.Offset)
	}
	return "ok"
}

func parseCred(text string) granary.Cred {
	owner, groups, _ := strings.Cut(text, ",")
	c := granary.Cred{}
	_, _ = fmt.Sscanf(owner, "%d:%d", &c.UID, &c.GID) // a bad one shows in the outcome
	for g := range strings.SplitSeq(groups, ",") {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(n))
		}
	}
	return c
}

// find resolves a path as nobody in particular; 0 for what is not there, which no inode is.
func (s *script) find(name string) granary.InodeID {
	if name == "anonymous" {
		return s.anonymous
	}
	attr, err := s.attr(name)
	if err != nil {
		return 0
	}
	return attr.Inode
}

// attr resolves a path; one that begins with ^ goes from where uploads are.
func (s *script) attr(name string) (granary.Attr, error) {
	q := &granary.Lookup{Base: granary.RootInode}
	if rest, ok := strings.CutPrefix(name, "^"); ok {
		q.Base, name = granary.RootDataset.System(), rest
	}
	q.Path = strings.Trim(name, "/")
	a, err := s.m.query(q)
	if granary.IsKind(err, granary.KindDelegated) {
		a, _, err = s.m.s.queryFor(s.m.t.Context(), s.other, nil, q, allUp{})
	}
	if err != nil {
		return granary.Attr{}, err
	}
	return a.(*granary.Found).Entry.Attr, nil
}

func (s *script) at(i int) (granary.InodeID, string) {
	return s.find(path.Dir(s.args[i])), path.Base(s.args[i])
}

func (s *script) has(word string) bool { return slices.Contains(s.args, word) }

func (s *script) arg(i int) string {
	if i < len(s.args) {
		return s.args[i]
	}
	return ""
}

func (s *script) number(i, base int) uint64 {
	n, err := strconv.ParseUint(s.arg(i), base, 64)
	if err != nil {
		s.m.t.Fatalf("%q: %v", s.args, err)
	}
	return n
}

func (s *script) stat(name string) string {
	at, err := s.attr(name)
	if err != nil {
		return granary.KindOf(err).String()
	}
	return fmt.Sprintf("%s %04o %d:%d links %d size %d entries %d", at.Type, at.Mode, at.UID, at.GID, at.Nlink, at.Size, at.Entries)
}

// ask answers "lookup PATH [rwx]", "readdir PATH" and "xattrs PATH".
func (s *script) ask() string {
	var q granary.Query
	rel := strings.Trim(s.args[1], "/")
	switch s.args[0] {
	case "lookup":
		var access granary.Access
		for _, a := range []granary.Access{granary.AccessRead, granary.AccessWrite, granary.AccessExecute} {
			if strings.Contains(s.arg(2), a.String()) {
				access |= a
			}
		}
		q = &granary.Lookup{Base: granary.RootInode, Path: rel, Access: access}
	case "readdir":
		q = &granary.ReadDir{Inode: s.find(s.args[1])}
	case "xattrs":
		q = &granary.Lookup{Base: granary.RootInode, Path: rel, Xattrs: true}
	}
	a, _, err := s.m.s.queryFor(s.m.t.Context(), s.m.session, &s.cred, q, allUp{})
	if err != nil {
		return granary.KindOf(err).String()
	}
	words := []string{"ok"}
	switch a := a.(type) {
	case *granary.Directory:
		for _, e := range a.Entries {
			words = append(words, e.Name)
		}
	case *granary.Found:
		for _, x := range a.Xattrs {
			words = append(words, x.Name+"="+string(x.Value))
		}
	}
	return strings.Join(words, " ")
}

// op makes the operation of a statement.
func (s *script) op() granary.Op {
	if op := s.opOfStore(); op != nil {
		return op
	}
	if op := s.opOfUpkeep(); op != nil {
		return op
	}
	if op := s.opOfPathLock(); op != nil {
		return op
	}
	if op := s.opOfLock(); op != nil {
		return op
	}
	if op := s.opOfDelegation(); op != nil {
		return op
	}
	if op := s.opOfName(); op != nil {
		return op
	}
	ino := s.find(s.arg(1))
	switch s.args[0] {
	case "chmod":
		return &granary.SetAttr{Inode: ino, Mode: ptr(uint32(s.number(2, 8)))}
	case "chown":
		c := parseCred(s.args[2])
		return &granary.SetAttr{Inode: ino, UID: &c.UID, GID: &c.GID}
	case "chgrp":
		return &granary.SetAttr{Inode: ino, GID: ptr(uint32(s.number(2, 10)))}
	case "truncate":
		return &granary.SetAttr{Inode: ino, Size: ptr(s.number(2, 10)), Opened: s.has("opened"), Match: s.match()}
	case "touch":
		return &granary.SetAttr{Inode: ino, AtimeNow: true, MtimeNow: true}
	case "utimes":
		return &granary.SetAttr{Inode: ino, Mtime: ptr(granary.Time(s.number(2, 10)))}
	case "setxattr":
		return &granary.SetXattr{Inode: ino, Xattr: granary.Xattr{Name: s.args[2], Value: []byte(s.option("value", "v"))},
			CreateOnly: s.has("create"), ReplaceOnly: s.has("replace")}
	case "removexattr":
		return &granary.RemoveXattr{Inode: ino, Name: s.args[2]}
	case "write":
		return &granary.Commit{Inode: ino, Content: granary.Content{Inline: []byte(s.args[2]), InlineOffset: s.optionNumber("at", 0)}, AtEnd: s.has("append"), Match: s.match()}
	case "copy":
		return &granary.CopyRange{Src: ino, Dst: s.find(s.args[2]), Length: s.number(3, 10), SrcOffset: s.optionNumber("from", 0), DstOffset: s.optionNumber("to", 0)}
	case "allocate":
		modes := map[string]granary.AllocateMode{"reserve": granary.AllocateReserve, "punch": granary.AllocatePunch, "zero": granary.AllocateZero, "unknown": 9}
		return &granary.Allocate{Inode: ino, Offset: s.number(2, 10), Length: s.number(3, 10), Mode: modes[s.args[4]], KeepSize: s.args[4] == "punch"}
	case "release":
		return &granary.Release{Inode: ino}
	case "policy":
		return &granary.SetPolicy{Inode: ino, Policy: granary.Policy{DataShards: int(s.number(2, 10)), ParityShards: int(s.number(3, 10))}}
	case "close":
		return &granary.CloseSession{}
	}
	return nil
}

func (s *script) match() *granary.Precondition {
	if !s.has("absent") && !s.has("present") {
		return nil
	}
	return &granary.Precondition{Absent: s.has("absent"), Present: s.has("present")}
}

// opOfName makes an operation on an entry.
func (s *script) opOfName() granary.Op {
	if len(s.args) < 2 {
		return nil
	}
	parent, name := s.at(1)
	create := &granary.Create{Parent: parent, Name: name, UID: s.cred.UID, GID: s.cred.GID, Match: s.match(),
		Exclusive: s.has("exclusive"), Replace: s.has("replace")}
	if s.has("marker") {
		create.Flags = granary.FlagMarker
	}
	if s.has("parents") {
		create.Parent, create.Name, create.MakeParents = granary.RootInode, strings.Trim(s.args[1], "/"), true
	}
	for _, a := range s.args[2:] {
		if owner, ok := strings.CutPrefix(a, "owner="); ok {
			c := parseCred(owner)
			create.UID, create.GID = c.UID, c.GID
		}
	}
	switch s.args[0] {
	case "create":
		create.Type, create.Mode = granary.TypeRegular, uint32(s.number(2, 8))
		return create
	case "mkdir":
		create.Type, create.Mode = granary.TypeDirectory, uint32(s.number(2, 8))
		return create
	case "mkfifo":
		create.Type, create.Mode = granary.TypeFifo, uint32(s.number(2, 8))
		return create
	case "mkdev":
		create.Type, create.Mode = granary.TypeCharDevice, uint32(s.number(2, 8))
		return create
	case "symlink":
		create.Type, create.Mode, create.Target = granary.TypeSymlink, 0o777, s.arg(2)
		return create
	case "anonymous":
		create.Type, create.Mode, create.Anonymous = granary.TypeRegular, uint32(s.number(2, 8)), true
		create.Parent, create.Name = s.find(s.args[1]), ""
		return create
	case "dataset":
		return &granary.CreateDataset{Parent: parent, Name: name, Mode: 0o755, UID: create.UID, GID: create.GID}
	case "unlink":
		if s.has("prune") {
			return &granary.Unlink{Parent: granary.RootInode, Name: strings.Trim(s.args[1], "/"), Path: true, Prune: true}
		}
		return &granary.Unlink{Parent: parent, Name: name, Match: s.match()}
	case "rmdir":
		return &granary.Rmdir{Parent: parent, Name: name}
	case "rmtree":
		return &granary.RemoveTree{Parent: parent, Name: name}
	case "rename":
		dst, dstName := s.at(2)
		return &granary.Rename{SrcParent: parent, SrcName: name, DstParent: dst, DstName: dstName,
			NoReplace: s.has("noreplace"), Exchange: s.has("exchange")}
	case "link":
		dst, dstName := s.at(2)
		op := &granary.Link{Inode: s.find(s.args[1]), Parent: dst, Name: dstName, Replace: s.has("replace"), Match: s.match()}
		if s.has("parents") {
			op.Parent, op.Name, op.MakeParents = granary.RootInode, strings.Trim(s.args[2], "/"), true
		}
		return op
	}
	return nil
}

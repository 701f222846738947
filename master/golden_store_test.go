package master

import (
	"crypto/sha256"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dsorchard/granary"
)

// option returns the value of a word "NAME=VALUE", or another if there is none.
func (s *script) option(name, otherwise string) string {
	for _, a := range s.args {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
	}
	return otherwise
}

func (s *script) optionNumber(name string, otherwise uint64) uint64 {
	v := s.option(name, fmt.Sprint(otherwise))
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		s.m.t.Fatalf("%s=%s: %v", name, v, err)
	}
	return n
}

var repeated = regexp.MustCompile(`\{([^{}]+)\*(\d+)\}`)

// expand writes out "{text*3}".
func expand(statement string) string {
	return repeated.ReplaceAllStringFunc(statement, func(word string) string {
		m := repeated.FindStringSubmatch(word)
		n, _ := strconv.Atoi(m[2]) // digits, as the expression says
		return strings.Repeat(m[1], n)
	})
}

// times runs "times N STATEMENT", where # is the count, and gives the last outcome, or the first that is not ok.
func (s *script) times(statement string) string {
	words := strings.SplitN(statement, " ", 3)
	n, err := strconv.Atoi(words[1])
	if err != nil {
		s.m.t.Fatalf("%q: %v", statement, err)
	}
	outcome := ""
	for i := range n {
		if outcome = s.run(strings.ReplaceAll(words[2], "#", fmt.Sprint(i+1))); !strings.HasPrefix(outcome, "ok") {
			return fmt.Sprintf("%d: %s", i+1, outcome)
		}
	}
	return outcome
}

// pretendLinks gives a file a number of links, as if somebody had made so many. While it is a large one, nothing is checked.
func (s *script) pretendLinks(id granary.InodeID, n uint32) string {
	t := newTxn(s.m.s)
	r := t.inode(id)
	r.Nlink = n
	t.touch(r)
	t.keep()
	t.pending.commit()
	s.pretending = n > 1000
	return "ok"
}

// opOfStore makes the operations that are not those of a file system.
func (s *script) opOfStore() granary.Op {
	switch s.args[0] {
	case "volume": // volume NAME K+M DISK…
		op := &granary.OpenVolume{Policy: 1}
		if len(s.args) > 2 {
			op.Placement = &granary.Placement{}
			_, _ = fmt.Sscanf(s.args[2], "%d+%d", &op.Placement.DataShards, &op.Placement.ParityShards) // a bad one shows in the outcome
			for _, d := range s.args[3:] {
				op.Placement.Disks = append(op.Placement.Disks, granary.DiskID(d))
			}
		}
		return op
	case "seal": // seal NAME [epoch=N] [force]
		return &granary.SealVolume{Volume: s.volumes[s.args[1]], Epoch: granary.Epoch(s.optionNumber("epoch", 1)), Force: s.has("force")}
	case "put": // put PATH TEXT,TEXT…, as commit
		parent, name := s.at(1)
		return &granary.Create{Parent: parent, Name: name, Type: granary.TypeRegular, Mode: 0o644, UID: s.cred.UID, GID: s.cred.GID,
			Replace: true, Content: ptr(s.content()), Match: s.match()}
	case "commit":
		return &granary.Commit{Inode: s.find(s.args[1]), Content: s.content(), AtEnd: s.has("append"), Match: s.match()}
	case "user": // user KEY
		return &granary.SetUser{User: granary.User{AccessKey: s.option("key", s.arg(1)), SecretKey: "secret"}}
	case "quota": // quota PATH BYTES [inodes=N] [user=ID|group=ID|scope=N]
		op := &granary.SetQuota{Dataset: s.find(s.args[1]).Dataset(), Scope: granary.QuotaScope(s.optionNumber("scope", 0)),
			ID: uint32(s.optionNumber("id", 0)), Limit: granary.Quota{Bytes: s.number(2, 10), Inodes: s.optionNumber("inodes", 0)}}
		for name, scope := range map[string]granary.QuotaScope{"user": granary.QuotaUser, "group": granary.QuotaGroup} {
			if s.option(name, "") != "" {
				op.Scope, op.ID = scope, uint32(s.optionNumber(name, 0))
			}
		}
		return op
	case "assemble": // assemble UPLOAD PATH part=NAME… [version=N] [as=NAME] [owner=UID:GID] [exclusive] [unresolved]
		return s.assembleOp()
	}
	return nil
}

// content is that of "commit PATH TEXT,TEXT… volume=NAME [epoch=N] [shard=N] [at=N] [long=N] [parity=N] [many=N] [known]
// [apart]": a chunk for each text, one behind the other.
func (s *script) content() granary.Content {
	c := granary.Content{Parity: uint8(s.optionNumber("parity", 0)), Size: s.optionNumber("size", 0)}
	at := s.optionNumber("at", 0)
	texts := strings.Split(s.args[2], ",")
	if many := s.optionNumber("many", 0); many > 0 {
		texts = slices.Repeat(texts, int(many))
	}
	for i, text := range texts {
		chunk := granary.Chunk{Hash: sha256.Sum256([]byte(text)), RawLength: uint32(len(text)), New: !s.has("known")}
		if chunk.New {
			chunk.Location = granary.Location{Volume: s.volumes[s.option("volume", "")], Epoch: granary.Epoch(s.optionNumber("epoch", 1)),
				Shard: uint8(s.optionNumber("shard", 0)), Offset: s.row, Length: uint32(len(text)) + 80}
			s.row += granary.RowAlignment
			chunk.Watermark = s.row - s.optionNumber("short", 0)
		}
		c.Chunks = append(c.Chunks, chunk)
		length := s.optionNumber("long", uint64(len(text)))
		c.Extents = append(c.Extents, granary.ExtentWrite{Offset: at, Length: length, Chunk: uint32(i)})
		if !s.has("overlapping") {
			at += length
		}
	}
	if s.has("both") {
		c.Inline = []byte("inline")
	}
	return c
}

// assembleOp is the operation as the leader logs it, or as it does not: without sources when it would refuse it.
func (s *script) assembleOp() granary.Op {
	parent, name := s.at(2)
	op := &granary.Assemble{Upload: s.find(s.args[1]), UploadName: s.option("as", path.Base(s.args[1])), Version: granary.Index(s.optionNumber("version", 0)),
		Create: granary.Create{Parent: parent, Name: name, Type: granary.TypeRegular, Mode: 0o644, UID: s.cred.UID, GID: s.cred.GID,
			Exclusive: s.has("exclusive"), Match: s.match()}}
	for _, a := range s.args[3:] {
		if part, ok := strings.CutPrefix(a, "part="); ok {
			op.Parts = append(op.Parts, part)
		}
	}
	if owner := s.option("owner", ""); owner != "" {
		c := parseCred(owner)
		op.Create.UID, op.Create.GID = c.UID, c.GID
	}
	op.Sources, s.refused = s.m.s.resolve(s.m.t.Context(), op)
	if s.has("unresolved") {
		op.Sources, s.refused = nil, nil
	}
	return op
}

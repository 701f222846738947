package master

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// TestMixedSessions lets sessions make, keep, move, link and remove files with content, with sessions that
// end and steps of reclaim between: whatever comes of each, the counts of names, references and bytes are
// right, and in the end all that nobody reaches is gone.
func TestMixedSessions(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		defer m.close()
		x := &mixed{rt: rt, m: m, inodes: []granary.InodeID{granary.RootInode}, dirs: []granary.InodeID{granary.RootInode}}
		x.sessions = []mixedSession{{id: m.session}}
		x.addSession()
		m.register(4)
		for range rapid.IntRange(10, 60).Draw(rt, "steps") {
			before := usages(m.s)
			x.step()
			x.strict(before)
			m.agree()
			if err := m.s.check(); err != nil {
				rt.Fatalf("after %s: %v", x.last, err)
			}
		}
		for i := range x.sessions {
			m.item(&expireSession{Session: x.sessions[i].id})
		}
		m.session = granary.SessionID(m.item(&openSession{Client: "last"}).Offset)
		m.seq = 0
		for _, b := range ask[*granary.Directory](m, &granary.ReadDir{Inode: granary.BucketsInode}).Entries {
			for _, e := range ask[*granary.Directory](m, &granary.ReadDir{Inode: b.Attr.Inode}).Entries {
				m.ok(&granary.RemoveTree{Parent: b.Attr.Inode, Name: e.Name})
			}
			x.removeUploads(b.Attr.Inode.Dataset())
			m.ok(&granary.Rmdir{Parent: granary.BucketsInode, Name: b.Name})
		}
		x.removeUploads(granary.RootDataset)
		d := ask[*granary.Directory](m, &granary.ReadDir{Inode: granary.RootInode})
		for _, e := range d.Entries {
			switch {
			case e.Attr.Inode == granary.BucketsInode:
			case e.Attr.Inode == e.Attr.Inode.Dataset().Root():
				for _, inside := range ask[*granary.Directory](m, &granary.ReadDir{Inode: e.Attr.Inode}).Entries {
					m.ok(&granary.RemoveTree{Parent: e.Attr.Inode, Name: inside.Name})
				}
				x.removeUploads(e.Attr.Inode.Dataset())
				m.ok(&granary.Rmdir{Parent: granary.RootInode, Name: e.Name})
			default:
				m.ok(&granary.RemoveTree{Parent: granary.RootInode, Name: e.Name})
			}
		}
		m.drain(7)
		if err := m.s.check(); err != nil {
			rt.Fatal(err)
		}
		datasets := 0
		m.s.each(key(tableDataset), func(_, _ []byte) { datasets++ })
		if h := m.s.head; datasets != 1 || h.Files != 0 || h.LogicalBytes != 0 || h.UniqueBytes != 0 || h.BlockBytes != 0 || h.DyingDirs != 0 {
			rt.Fatalf("what is left: %+v", h)
		}
		x.dropVolumes()
	})
}

// strict checks that no usage grew and is above its limit.
func (x *mixed) strict(before map[ownerKey]granary.Usage) {
	for k, is := range usages(x.m.s) {
		if what := exceeded(before[k], is); what != "" {
			x.rt.Fatalf("after %s: %+v has %s; before %+v", x.last, k, what, before[k])
		}
	}
}

type mixed struct {
	rt       *rapid.T
	m        *machine
	sessions []mixedSession
	inodes   []granary.InodeID // that were ever made
	dirs     []granary.InodeID
	last     string
}

type mixedSession struct {
	id     granary.SessionID
	seq    uint64
	volume granary.VolumeID
	end    uint64
}

func (x *mixed) addSession() {
	x.sessions = append(x.sessions, mixedSession{id: granary.SessionID(x.m.item(&openSession{Client: "mixed"}).Offset)})
}

func (x *mixed) draw(n int, what string) int { return rapid.IntRange(0, n-1).Draw(x.rt, what) }
func (x *mixed) flag(what string) bool       { return rapid.Bool().Draw(x.rt, what) }
func (x *mixed) inode() granary.InodeID      { return x.inodes[x.draw(len(x.inodes), "inode")] }
func (x *mixed) dir() granary.InodeID        { return x.dirs[x.draw(len(x.dirs), "directory")] }
func (x *mixed) owner() uint32               { return uint32(x.draw(3, "owner")) }
func (x *mixed) name() string                { return string(rune('a' + x.draw(3, "name"))) }
func (x *mixed) path() string {
	p := x.name()
	for range x.draw(3, "depth") {
		p += "/" + x.name()
	}
	return p
}

// do sends an op of a session; the outcome is the state machine's business.
func (x *mixed) do(s *mixedSession, op granary.Op) granary.Result {
	s.seq++
	x.last = fmt.Sprintf("%T %+v", op, op)
	return x.m.item(&mutation{Session: s.id, LowestUnacked: s.seq, Request: granary.Request{Seq: s.seq, Op: op}})
}

func (x *mixed) step() {
	s := &x.sessions[x.draw(len(x.sessions), "session")]
	switch x.draw(23, "op") {
	case 0, 1:
		x.create(s)
	case 2:
		x.do(s, &granary.Unlink{Parent: x.dir(), Name: x.name(), Prune: x.flag("prune")})
	case 3:
		x.do(s, &granary.Rmdir{Parent: x.dir(), Name: x.name()})
	case 4:
		x.do(s, &granary.RemoveTree{Parent: x.dir(), Name: x.name()})
	case 5, 6:
		if x.draw(3, "by key") == 0 {
			x.do(s, &granary.Rename{SrcParent: x.dir(), SrcName: x.path(), DstParent: x.dir(), DstName: x.path(), Key: true})
			break
		}
		x.do(s, &granary.Rename{SrcParent: x.dir(), SrcName: x.name(), DstParent: x.dir(), DstName: x.name(),
			NoReplace: x.draw(5, "no replace") == 0, Exchange: x.draw(3, "exchange") == 0})
	case 7:
		x.do(s, &granary.Link{Inode: x.inode(), Parent: x.dir(), Name: x.name(), Replace: x.flag("replace")})
	case 8:
		x.do(s, &granary.Release{Inode: x.inode()})
	case 9:
		x.do(s, &granary.Commit{Inode: x.inode(), Content: x.content(s), AtEnd: x.flag("at end")})
	case 10:
		size := uint64(x.draw(40, "size"))
		x.do(s, &granary.SetAttr{Inode: x.inode(), Size: &size})
	case 11:
		x.do(s, &granary.CopyRange{Src: x.inode(), Dst: x.inode(), SrcOffset: uint64(x.draw(20, "from")),
			DstOffset: uint64(x.draw(20, "to")), Length: uint64(x.draw(30, "length"))})
	case 12:
		x.upkeep(s)
	case 13:
		op := &granary.Create{Parent: x.dir(), Name: x.path(), Type: granary.TypeRegular, MakeParents: true}
		if x.flag("marker") {
			op.Type, op.Flags, op.Xattrs = granary.TypeDirectory, granary.FlagMarker, []granary.Xattr{{Name: granary.XattrETag, Value: []byte("e")}}
		}
		x.made(x.do(s, op), op.Type)
	case 14:
		x.do(s, &granary.Unlink{Parent: x.dir(), Name: x.path(), Path: true, Prune: true})
	case 16:
		x.do(s, &granary.SetAttr{Inode: x.inode(), UID: ptr(x.owner()), GID: ptr(x.owner())})
	case 17:
		x.do(s, &granary.SetQuota{Dataset: x.dir().Dataset(), Scope: granary.QuotaScope(x.draw(3, "scope")), ID: uint32(x.draw(2, "id")),
			Limit: granary.Quota{Bytes: uint64(x.draw(50, "bytes")), Inodes: uint64(x.draw(12, "inodes"))}})
	case 18:
		x.made(x.do(s, &granary.CreateDataset{Parent: granary.RootInode, Name: x.name(), UID: x.owner(), GID: x.owner()}), granary.TypeDirectory)
	case 15:
		if x.flag("make a bucket") {
			x.made(x.do(s, &granary.Create{Parent: granary.BucketsInode, Name: x.name(), Type: granary.TypeDirectory}), granary.TypeDirectory)
		} else {
			x.do(s, &granary.Rmdir{Parent: granary.BucketsInode, Name: x.name()})
		}
	case 19:
		x.do(s, &granary.Allocate{Inode: x.inode(), Offset: uint64(x.draw(20, "at")), Length: uint64(x.draw(30, "length")),
			Mode: granary.AllocateMode(x.draw(3, "mode")), KeepSize: x.flag("keep size")})
	case 20:
		x.upload(s)
	case 21, 22:
		x.maintain(s)
	}
}

func (x *mixed) removeUploads(d granary.DatasetID) {
	for _, e := range ask[*granary.Directory](x.m, &granary.ReadDir{Inode: d.System()}).Entries {
		x.m.ok(&granary.RemoveTree{Parent: d.System(), Name: e.Name})
	}
}

// upload completes an upload of up to three parts, one of which may be used otherwise meanwhile.
func (x *mixed) upload(s *mixedSession) {
	parent := x.dir()
	r := x.do(s, &granary.Create{Parent: parent.Dataset().System(), Name: x.name(), Type: granary.TypeDirectory, UID: x.owner(), GID: x.owner()})
	x.made(r, granary.TypeDirectory)
	dir := r.Attr
	op := &granary.Assemble{Upload: dir.Inode, UploadName: "a", Create: granary.Create{Parent: parent, Name: x.name(), Type: granary.TypeRegular,
		UID: x.owner(), GID: x.owner()}}
	for _, op.UploadName = range []string{"a", "b", "c"} {
		found, err := x.m.query(&granary.Lookup{Base: parent.Dataset().System(), Path: op.UploadName})
		if err == nil {
			dir = found.(*granary.Found).Entry.Attr
			op.Upload = dir.Inode
			break
		}
	}
	for i := range x.draw(4, "parts") {
		content := x.content(s)
		name := fmt.Sprint(i)
		x.made(x.do(s, &granary.Create{Parent: op.Upload, Name: name, Type: granary.TypeRegular, Content: &content, Replace: true, UID: dir.UID, GID: dir.GID}), granary.TypeRegular)
		op.Parts = append(op.Parts, name)
	}
	op.Sources, _ = x.m.s.resolve(context.Background(), op) // if not, apply refuses
	if x.flag("meanwhile") {
		x.do(s, &granary.Unlink{Parent: op.Upload, Name: "0"})
	}
	x.made(x.do(s, op), granary.TypeRegular)
}

func (x *mixed) create(s *mixedSession) {
	op := &granary.Create{Parent: x.dir(), Name: x.name(), Type: granary.TypeRegular, Mode: 0o644, Replace: x.flag("replace"), Anonymous: x.draw(4, "anonymous") == 0,
		UID: x.owner(), GID: x.owner()}
	switch x.draw(4, "type") {
	case 0, 1:
		op.Type, op.Anonymous = granary.TypeDirectory, false
		if x.flag("attribute") {
			op.Xattrs = []granary.Xattr{{Name: "user.a", Value: []byte("v")}}
		}
	case 2:
		c := x.content(s)
		op.Content = &c
	}
	x.made(x.do(s, op), op.Type)
}

// made remembers what was made.
func (x *mixed) made(r granary.Result, typ granary.FileType) {
	if r.Err != nil || !r.Created {
		return
	}
	x.inodes = append(x.inodes, r.Attr.Inode)
	if typ == granary.TypeDirectory {
		x.dirs = append(x.dirs, r.Attr.Inode)
	}
}

// volume makes sure that the session has, or had, a volume to append to.
func (x *mixed) volume(s *mixedSession) {
	if s.volume != 0 {
		return
	}
	r := x.do(s, &granary.OpenVolume{Policy: 1, Placement: &granary.Placement{DataShards: 1, ParityShards: 1, Disks: []granary.DiskID{"d1", "d2"}}})
	if r.Err == nil {
		s.volume, s.end = r.Volume.ID, 0
	}
}

// content is inline, or one of a few chunks, new or said to be known.
func (x *mixed) content(s *mixedSession) granary.Content {
	offset := uint64(x.draw(20, "offset"))
	if x.draw(3, "inline") == 0 {
		return granary.Content{Inline: []byte("inline"), InlineOffset: offset}
	}
	x.volume(s)
	c := granary.Chunk{Hash: granary.Hash{byte(x.draw(4, "chunk"))}, RawLength: 10, New: x.flag("new")}
	if c.New {
		c.Location = granary.Location{Volume: s.volume, Epoch: 1, Offset: s.end, Length: 100}
		s.end += granary.RowAlignment
		c.Watermark = s.end
	}
	return granary.Content{Chunks: []granary.Chunk{c}, Extents: []granary.ExtentWrite{{Offset: offset, Length: 7, ChunkOffset: uint32(x.draw(4, "in chunk"))}}}
}

// upkeep is what goes on beside the ops.
func (x *mixed) upkeep(s *mixedSession) {
	switch x.draw(6, "upkeep") {
	case 0:
		x.last = "expire"
		x.m.item(&expireSession{Session: s.id})
		*s = mixedSession{id: granary.SessionID(x.m.item(&openSession{Client: "mixed"}).Offset)}
	case 1:
		x.do(s, &granary.SealVolume{Volume: s.volume, Epoch: 1})
		s.volume = 0
	case 2:
		x.last = "drop"
		x.m.item(&drop{Inodes: x.m.nameless(1 + x.draw(4, "inodes"))})
	default:
		x.last = "reclaim"
		x.m.item(&reclaim{Limit: 1 + x.draw(6, "limit")})
	}
}

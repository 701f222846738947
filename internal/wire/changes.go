package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

func (f *fields) setChangeLog(o *granary.SetChangeLog) {
	required(f, 1, &o.Settings, (*fields).changeLog, "settings")
}

func (f *fields) changeLog(s *granary.ChangeLog) {
	signed(f, 1, &s.Keep)
	unsigned(f, 2, &s.MaxBytes)
}

func positionTo(p granary.Position) *pb.Position {
	if p == (granary.Position{}) {
		return nil
	}
	return &pb.Position{Index: uint64(p.Index), Seen: p.Seen}
}

func (d *decoder) position(p *pb.Position) granary.Position {
	return granary.Position{Index: granary.Index(p.GetIndex()), Seen: p.GetSeen()}
}

func (d *decoder) watch(p *pb.Watch) *granary.Watch {
	return &granary.Watch{
		Inode: granary.InodeID(p.Inode),
		From:  d.position(p.From),
		Start: granary.WatchStart(d.uint8(uint32(p.Start), "start")),
		Limit: d.int(p.Limit, "limit"),
		Wait:  granary.Time(p.Wait),
	}
}

func (f *fields) changes(a *granary.Changes) {
	list(f, 1, &a.Changes, (*fields).change)
	unlessZero(f, 2, &a.Next, (*fields).position)
	f.flag(3, &a.Behind)
	unlessZero(f, 4, &a.Oldest, (*fields).position)
	f.flag(5, &a.Removed)
	f.flag(6, &a.More)
}

func (f *fields) position(p *granary.Position) {
	unsigned(f, 1, &p.Index)
	unsigned(f, 2, &p.Seen)
}

func (f *fields) change(c *granary.Event) {
	unlessZero(f, 1, &c.At, (*fields).position)
	unsigned(f, 2, &c.Kind)
	signed(f, 3, &c.Time)
	unsigned(f, 4, &c.UID)
	text(f, 5, &c.Path)
	text(f, 6, &c.OldPath)
	unsigned(f, 7, &c.Inode)
	unsigned(f, 8, &c.Type)
	unsigned(f, 9, &c.Parent)
	text(f, 10, &c.Name)
	unsigned(f, 11, &c.OldParent)
	text(f, 12, &c.OldName)
	unsigned(f, 13, &c.Size)
	text(f, 14, &c.ETag)
	unsigned(f, 15, &c.Version)
	text(f, 16, &c.Attribute)
	f.flag(17, &c.Replaced)
	f.flag(18, &c.Exchanged)
	f.flag(19, &c.Implicit)
	unsigned(f, 20, &c.Origin)
}

package wire

import (
	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/wire/pb"
)

// What sessions that cache are told.

func attendTo(a *granary.Attend) *pb.AttendRequest {
	return &pb.AttendRequest{
		Session: uint64(a.Session), Attendance: a.Attendance, Taken: a.Taken, Opens: a.Opens, Opened: numbersTo(a.Opened),
	}
}

func attendFrom(p *pb.AttendRequest) *granary.Attend {
	return &granary.Attend{
		Session: granary.SessionID(p.Session), Attendance: p.Attendance, Taken: p.Taken, Opens: p.Opens,
		Opened: numbersFrom[granary.InodeID](p.Opened),
	}
}

func noticesTo(n *granary.Notices) *pb.Notices {
	p := &pb.Notices{
		Attendance: n.Attendance, Number: n.Number, Lease: int64(n.Lease),
		Changes: listTo(n.Changes, fillChange), Opens: n.Opens,
	}
	for _, id := range n.Recalls {
		p.Recalls = append(p.Recalls, uint64(id))
	}
	return p
}

func noticesFrom(p *pb.Notices) *granary.Notices {
	n := &granary.Notices{
		Attendance: p.Attendance, Number: p.Number, Lease: granary.Time(p.Lease),
		Changes: listFrom(p.Changes, changeFrom), Opens: p.Opens,
	}
	for _, id := range p.Recalls {
		n.Recalls = append(n.Recalls, granary.InodeID(id))
	}
	return n
}

func fillChange(p *pb.Change, c *granary.Change) {
	p.Inode, p.Name, p.Index = uint64(c.Inode), []byte(c.Name), uint64(c.Index)
}

func changeFrom(p *pb.Change) granary.Change {
	return granary.Change{Inode: granary.InodeID(p.Inode), Name: string(p.Name), Index: granary.Index(p.Index)}
}

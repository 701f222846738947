package master

import (
	"github.com/dsorchard/granary"
)

// keyPathLock is the key of a path lock. With 0 it is that of the last number given out as a LockID or token, if that was beyond the
// index of its entry.
func keyPathLock(id granary.LockID) []byte { return key(tablePathLock, uint64(id)) }

// pathLock is a path lock, or a request for one. Once it can be found it does not change: another takes its place.
type pathLock struct {
	ID        granary.LockID       // from the key
	Token     granary.FencingToken // 0: it waits
	Asked     granary.Index        // the entry of the request
	Session   granary.SessionID    // that it ends with; 0: a lease that was granted
	Client    string
	UID       uint32
	Exclusive bool
	Mandatory bool
	TTL       granary.Time
	Expires   granary.Time // 0: no lease, or not granted yet
	Since     granary.Time
	Owner     string
	Note      string
	Places    []pathPlace
}

// pathPlace is where a path of a lock is: in the deepest directory that exists on it. Rest is "" if that is what the path leads to; else
// the way on from there. If it leads to something that is no directory, Rest is its name.
type pathPlace struct {
	Dir     granary.InodeID
	Rest    string
	Inode   granary.InodeID // what the path leads to; 0: nothing
	Subtree bool
	Asked   string // the path as it was asked for
}

func (l *pathLock) waits() bool { return l.Token == 0 }

func (l *pathLock) put(e *encoder) {
	e.u64(uint64(l.Token))
	e.u64(uint64(l.Asked))
	e.u64(uint64(l.Session))
	e.str(l.Client)
	e.u64(uint64(l.UID))
	e.bool(l.Exclusive)
	e.bool(l.Mandatory)
	for _, v := range [...]granary.Time{l.TTL, l.Expires, l.Since} {
		e.i64(int64(v))
	}
	e.str(l.Owner)
	e.str(l.Note)
	e.u64(uint64(len(l.Places)))
	for i := range l.Places {
		p := &l.Places[i]
		e.u64(uint64(p.Dir))
		e.str(p.Rest)
		e.u64(uint64(p.Inode))
		e.bool(p.Subtree)
		e.str(p.Asked)
	}
}

func (l *pathLock) take(d *decoder) {
	l.Token, l.Asked = granary.FencingToken(d.u64()), granary.Index(d.u64())
	l.Session, l.Client, l.UID = granary.SessionID(d.u64()), d.str(), d.u32()
	l.Exclusive, l.Mandatory = d.bool(), d.bool()
	l.TTL, l.Expires, l.Since = granary.Time(d.i64()), granary.Time(d.i64()), granary.Time(d.i64())
	l.Owner, l.Note = d.str(), d.str()
	l.Places = make([]pathPlace, d.count())
	for i := range l.Places {
		l.Places[i] = pathPlace{Dir: granary.InodeID(d.u64()), Rest: d.str(), Inode: granary.InodeID(d.u64()), Subtree: d.bool(), Asked: d.str()}
	}
}

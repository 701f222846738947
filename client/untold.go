package client

import (
	"github.com/dsorchard/granary"
)

// What is open without the leader having been told (granary.Attend.Opens): files that were opened for reading by who keeps their
// attributes. To open and close them takes no message. The leader is told of those whose attributes change, with the acknowledgement
// that this was taken in, and of all before the session takes a name from anything itself. A file that the leader has been told of
// is open as others are: it is told when it is closed.

// untold is a file that is open, or was, and is not known to the leader to be open.
type untold struct {
	telling int  // calls under way that tell of it
	closed  bool // meanwhile: then the leader is to be told that, too
}

// openUntold counts a file as open here alone; false where it cannot be left at that.
func (o *opens) openUntold(inode granary.InodeID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, closed := o.closed[inode]
	u := o.untold[inode]
	switch {
	case o.removing > 0, o.report != nil: // the report may be of all that is open, or say that this one is not
		return false
	case u != nil:
		u.closed = false
	case closed: // which the leader has not heard
		delete(o.closed, inode)
	case o.count[inode] == 0:
		o.untold[inode] = &untold{}
	}
	o.count[inode]++
	return true
}

// closeUntold ends that a file is open. It reports whether that has to be told, now or later. o.mu is held.
func (o *opens) closeUntold(inode granary.InodeID) (tell bool) {
	u := o.untold[inode]
	switch {
	case u == nil:
		return true
	case u.telling == 0:
		delete(o.untold, inode)
	default:
		u.closed = true
	}
	return false
}

// toldOpened notes that the leader has opened a file, or found it open. o.mu is held.
func (o *opens) toldOpened(inode granary.InodeID) {
	switch u := o.untold[inode]; {
	case u == nil:
	case u.telling == 0:
		delete(o.untold, inode)
	default:
		u.closed = false
	}
}

// changed returns which of the inodes that have changed are to be told to be open. told must follow.
func (o *opens) changed(n *granary.Notices) (list []granary.InodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.untold) == 0 {
		return nil
	}
	for _, c := range n.Changes {
		if u := o.untold[c.Inode]; u != nil && c.Name == "" {
			u.telling++
			list = append(list, c.Inode)
		}
	}
	return list
}

// remove returns all that is to be told before names are taken away; removed must follow. Meanwhile nothing is opened untold.
func (o *opens) remove() (list []granary.InodeID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.removing++
	return o.tellAll()
}

func (o *opens) removed(list []granary.InodeID) (closed bool) {
	closed = o.told(list, true)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.removing--
	return closed
}

// tellAll returns all that is to be told; told must follow. o.mu is held.
func (o *opens) tellAll() (list []granary.InodeID) {
	for inode, u := range o.untold {
		u.telling++
		list = append(list, inode)
	}
	return list
}

// told says that the leader was told of files, or that the session has ended; or that it did not heed that. It reports whether some
// have been closed meanwhile, which is to be reported soon: they may have no names.
func (o *opens) told(list []granary.InodeID, heeded bool) (closed bool) {
	if len(list) == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, inode := range list {
		u := o.untold[inode]
		if u.telling--; u.telling > 0 || !heeded && !u.closed {
			continue
		}
		delete(o.untold, inode)
		if u.closed {
			o.closed[inode] = struct{}{}
			closed = true
		}
	}
	return closed
}

// removesNames reports whether an op may take a name from a file.
func removesNames(op granary.Op) bool {
	switch op := op.(type) {
	case *granary.Create:
		return op.Replace
	case *granary.SetAttr, *granary.SetXattr, *granary.RemoveXattr, *granary.Commit, *granary.Allocate, *granary.CopyRange,
		*granary.AcquireLock, *granary.ReleaseLock, *granary.CancelLock, *granary.OpenVolume, *granary.SealVolume,
		*granary.LeaseInodes, *granary.TakeDelegation, *granary.ReturnDelegation:
		return false
	case *granary.Link:
		return op.Replace
	}
	return true
}

// OpenKept opens a regular file for reading as a Lookup with Open does, if its attributes are kept and may agrees with them: nobody is
// asked. It is open until Closed is called.
func (c *Client) OpenKept(inode granary.InodeID, may func(*granary.Attr) bool) (granary.Attr, bool) {
	k := c.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.opens || k.left() <= 0 {
		return granary.Attr{}, false
	}
	i := k.get(thing{inode: inode})
	if i == nil || !i.known || i.attr.Type != granary.TypeRegular || i.attr.Nlink == 0 || !may(&i.attr) || !c.opens.openUntold(inode) {
		return granary.Attr{}, false
	}
	k.hits.Add(1)
	return i.attr, true
}

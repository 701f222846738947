package client

import (
	"github.com/dsorchard/granary"
)

// own is a mutation of the session, and what of the things that it names is kept. See granary.NamedBy.
type own struct {
	k       *kept
	op      granary.Op
	passage passage
	things  []thing // that are not shown while it is under way
	over    bool    // under k.mu
}

// own begins a mutation; nil if nothing is kept, or if it changes more than it names: of that the leader tells the session.
func (k *kept) own(op granary.Op) *own {
	if k.limit == 0 {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.attendance == 0 {
		return nil
	}
	o := &own{k: k, op: op}
	if !granary.NamedBy(op, 0, func(id granary.InodeID, name string) {
		o.things = append(o.things, thing{id, name})
		if i := k.things[thing{id, name}]; name != "" && i != nil && i.child != 0 {
			o.things = append(o.things, thing{inode: i.child})
		}
	}) {
		return nil
	}
	o.passage = k.depart()
	for _, key := range o.things {
		k.busy[key]++
	}
	return o
}

// ended reports that the mutation is over, and what must be shown no more is dropped. The caller holds k.mu.
func (o *own) ended() {
	k := o.k
	k.flights--
	for _, key := range o.things {
		if k.busy[key]--; k.busy[key] == 0 {
			delete(k.busy, key)
		}
	}
}

// cancel ends a mutation that was never sent.
func (o *own) cancel() {
	if o == nil {
		return
	}
	o.k.mu.Lock()
	defer o.k.mu.Unlock()
	if !o.over {
		o.over = true
		o.ended()
	}
}

// end takes in what became of the mutation. under is the attendance under which it was sent. If that is not known, it may still
// come to happen: then nothing holds that is kept.
func (o *own) end(r *granary.Result, under uint64, err error) {
	if o == nil {
		return
	}
	k := o.k
	k.mu.Lock()
	defer k.mu.Unlock()
	if o.over {
		return
	}
	o.over = true
	o.ended()
	switch {
	case err != nil && k.attendance == o.passage.attendance:
		k.dropAll()
		k.attendance, k.until = 0, 0
		return
	case err != nil || r.Err != nil:
		return
	}
	adopt := under != 0 && under == k.attendance && k.fits(o.passage)
	if adopt {
		o.adopt(r)
	} else {
		o.drop(r)
	}
	granary.NamedBy(o.op, r.Attr.Inode, func(id granary.InodeID, name string) {
		k.changed(thing{id, name}, r.Index)
		if !adopt {
			k.drop(thing{id, name})
		}
	})
}

// adopt makes what is kept of the things that the mutation names what they are after it. All that others changed before it was
// told of before the result came.
func (o *own) adopt(r *granary.Result) {
	k, a := o.k, &r.Attr
	_, creates := o.op.(*granary.Create)
	switch {
	case r.Marker, a.Inode != 0 && a.Version != r.Index && !creates: // a version stays, or it changed nothing
		o.drop(r)
		return
	case a.Inode != 0 && a.Version != r.Index: // it found what there was
		return
	}
	switch op := o.op.(type) {
	case *granary.Create:
		if op.Anonymous {
			o.setInode(a, "", r.Index)
			return
		}
		o.setEntry(op.Parent, op.Name, a, op.Target, r.Index)
	case *granary.Link:
		o.setEntry(op.Parent, op.Name, a, "", r.Index)
	case *granary.Unlink:
		o.setName(op.Parent, op.Name, 0, r.Index)
		o.setInode(a, "", r.Index)
		o.patch(op.Parent, a, r.Index, -1)
	case *granary.Rename:
		o.rename(op, r)
	case *granary.SetAttr, *granary.Commit, *granary.Allocate, *granary.CopyRange:
		if i := k.things[thing{inode: a.Inode}]; i != nil {
			i.hasXattrs, i.xattrs = false, nil // some go with a change of content or mode
		}
		o.setInode(a, "", r.Index)
	default:
		o.drop(r)
	}
}

// drop drops what is kept of the things that the mutation names, and of what it made or took away. Of a directory's name, too, that it
// takes away: there may be something else by the same name, which it hid.
func (o *own) drop(r *granary.Result) {
	for _, key := range o.things {
		o.k.drop(key)
	}
	if r.Attr.Inode != 0 {
		o.k.drop(thing{inode: r.Attr.Inode})
	}
}

// rename takes in a rename. What it replaced is told by the leader, and dropped already if its name was kept.
func (o *own) rename(op *granary.Rename, r *granary.Result) {
	if op.Exchange || r.Replaced {
		o.drop(r)
	}
	if op.Exchange {
		return
	}
	if r.Attr.IsDir() {
		o.k.drop(thing{op.SrcParent, op.SrcName}) // see drop
	} else {
		o.setName(op.SrcParent, op.SrcName, 0, r.Index)
	}
	o.setName(op.DstParent, op.DstName, r.Attr.Inode, r.Index)
	o.setInode(&r.Attr, "", r.Index)
	if op.SrcParent == op.DstParent {
		o.patch(op.SrcParent, &r.Attr, r.Index, 0)
		return
	}
	o.patch(op.SrcParent, &r.Attr, r.Index, -1)
	o.patch(op.DstParent, &r.Attr, r.Index, 1)
}

// setEntry takes in that an inode has got a name.
func (o *own) setEntry(dir granary.InodeID, name string, a *granary.Attr, target string, index granary.Index) {
	o.setName(dir, name, a.Inode, index)
	o.setInode(a, target, index)
	o.patch(dir, a, index, 1)
}

// fresh reports whether nothing later is known of a thing than what the mutation made of it. What is kept without it goes, and so does
// what another mutation of the same entry made: which of the two came last is not known.
func (o *own) fresh(key thing, index granary.Index) bool {
	i := o.k.things[key]
	switch {
	case i != nil && (i.index > index || i.index == index && i.whole):
		return false
	case o.k.recent[key] >= index, i != nil && i.index == index:
		o.k.drop(key)
		return false
	}
	return true
}

func (o *own) setName(dir granary.InodeID, name string, child granary.InodeID, index granary.Index) {
	if key := (thing{dir, name}); o.fresh(key, index) {
		o.k.setName(key, child, index)
	}
}

// setInode takes over attributes. The target of a symbolic link never changes; one that is not known, of what has been given
// another name, is asked for.
func (o *own) setInode(a *granary.Attr, target string, index granary.Index) {
	key := thing{inode: a.Inode}
	if !o.fresh(key, index) {
		return
	}
	i := o.k.things[key]
	if a.Nlink == 0 || a.Type == granary.TypeSymlink && target == "" && (i == nil || !i.known) {
		o.k.drop(key)
		return
	}
	if target == "" && i != nil {
		target = i.target
	}
	o.k.setInode(a, target, index)
}

// patch takes in what a change of the entries of a directory changes of itself: times, and how many there are. Such changes are the
// same in any order, as long as each is taken in once: what is of a later state than the entry has it already.
func (o *own) patch(dir granary.InodeID, of *granary.Attr, index granary.Index, more int) {
	key := thing{inode: dir}
	i := o.k.things[key]
	if i == nil {
		return
	}
	i.pages = nil // whatever state they are of
	o.k.weigh(i)
	switch {
	case !i.known || o.k.recent[key] == toldOf || i.index == index && !i.whole:
		o.k.drop(key)
		return
	case i.index >= index:
		return
	}
	a := &i.attr
	a.Mtime, a.Ctime, a.Version = max(a.Mtime, of.Ctime), max(a.Ctime, of.Ctime), max(a.Version, index)
	a.Entries += uint64(more)
	if of.IsDir() {
		a.Subdirs += uint64(more)
		a.Nlink += uint32(more)
	}
}

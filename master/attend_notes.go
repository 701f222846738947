package master

import (
	"github.com/dsorchard/granary"
)

// noteKey is what a session may keep: an inode, with name "", or a name in a directory, whether or not there is anything by it.
type noteKey struct {
	inode granary.InodeID
	name  string
}

// keepers are the sessions that keep something: hardly ever more than one.
type keepers struct {
	one  *attendee
	more []*attendee
}

func (k *keepers) has(a *attendee) bool {
	if k.one == a {
		return true
	}
	for _, b := range k.more {
		if a == b {
			return true
		}
	}
	return false
}

func (k *keepers) add(a *attendee) {
	switch {
	case k.one == nil:
		k.one = a
	case !k.has(a):
		k.more = append(k.more, a)
	}
}

// each calls f for each of them that still attends.
func (k *keepers) each(f func(a *attendee)) {
	if k.one != nil && !k.one.gone {
		f(k.one)
	}
	for _, a := range k.more {
		if !a.gone {
			f(a)
		}
	}
}

// inodeNotes are who keeps an inode, and the names in it that are kept.
type inodeNotes struct {
	self  keepers
	names map[string]keepers
}

// empty reports whether there is nothing to be noted.
func (n *inodeNotes) empty() bool { return n.self.one == nil && len(n.names) == 0 }

// of returns who keeps a name, or the inode itself.
func (n *inodeNotes) of(name string) keepers {
	if name == "" {
		return n.self
	}
	return n.names[name]
}

// set notes who keeps a name, or the inode itself.
func (n *inodeNotes) set(name string, k keepers) {
	switch {
	case name == "":
		n.self = k
	case k.one == nil:
		delete(n.names, name)
	case n.names == nil:
		n.names = map[string]keepers{name: k}
	default:
		n.names[name] = k
	}
}

// wentAway stands in place of a name for that an inode is gone, or another's to change, and no name in it holds.
const wentAway = "/"

// touchedItem is an item of an entry that changed something that may be kept, or says something of it.
type touchedItem struct {
	index   granary.Index
	session granary.SessionID // whose mutation it is; 0: the leader's own
	seq     uint64
	op      granary.Op
	made    granary.InodeID // of the result
	from    int             // in the keys of the batch, up to those of the next item
}

// noteTouched notes which keys the item has set or deleted, of those that say what a session may keep. What is known of inodes
// lies in four tables.
func (t *txn) noteTouched() {
	for _, u := range t.pending.undo {
		c := &t.pending.changes[u.at]
		k := c.key
		switch k[0] {
		case tableDentry:
			name, _ := dentryName(k)
			t.touched = append(t.touched, noteKey{granary.InodeID(keyID(k, 0)), name})
		case tableDelegation: // who holds a directory changes it without a word to the master, and nobody else is told of what is in it
			id := granary.InodeID(keyID(k, 0))
			t.touched = append(t.touched, noteKey{inode: id}, noteKey{id, wentAway})
		case tableInode, tableInline, tableXattr, tableExtent:
			key := noteKey{inode: granary.InodeID(keyID(k, 0))}
			if n := len(t.touched); n == t.touchedBefore || t.touched[n-1] != key {
				t.touched = append(t.touched, key)
			}
			if k[0] == tableInode && c.value == nil {
				t.touched = append(t.touched, noteKey{key.inode, wentAway})
			}
		}
	}
}

// noteItem notes whose item it was that touched something. Who asked for what turned out to be so already may keep that, too.
func (t *txn) noteItem(it item, r *granary.Result) {
	m, ok := it.(*mutation)
	ok = ok && r.Err == nil
	if !ok && len(t.touched) == t.touchedBefore {
		return
	}
	i := touchedItem{index: t.index, from: t.touchedBefore}
	if ok {
		i.session, i.seq, i.op, i.made = m.Session, m.Request.Seq, m.Request.Op, r.Attr.Inode
	}
	t.items = append(t.items, i)
}

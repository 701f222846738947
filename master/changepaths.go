package master

import (
	"strings"
	"sync"
	"time"

	"github.com/dsorchard/granary"
)

// nameHints remembers under which names inodes were seen last, by those who looked at the change log of this state. A hint may be
// wrong: who uses one looks whether the name still leads there.
type nameHints struct {
	mu    sync.Mutex
	names map[granary.InodeID]nameHint
	large map[granary.InodeID]time.Time // directories with too many names to look through, and when that was found out
}

type nameHint struct {
	dir  granary.InodeID
	name string
}

// nameHintsMax bounds the hints: when there are so many they are all forgotten.
const nameHintsMax = 1 << 16

func (h *nameHints) get(id granary.InodeID) (nameHint, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, ok := h.names[id]
	return n, ok
}

func (h *nameHints) put(id granary.InodeID, n nameHint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.names == nil || len(h.names) >= nameHintsMax {
		h.names = map[granary.InodeID]nameHint{}
	}
	h.names[id] = n
}

// largeFor is how long a directory that has too many names is not looked through again.
const largeFor = time.Minute

// tooLarge reports whether a directory was found to have too many names, lately.
func (h *nameHints) tooLarge(dir granary.InodeID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	since, ok := h.large[dir]
	return ok && time.Since(since) < largeFor
}

// foundLarge remembers that it has.
func (h *nameHints) foundLarge(dir granary.InodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.large == nil || len(h.large) >= nameHintsMax {
		h.large = map[granary.InodeID]time.Time{}
	}
	h.large[dir] = time.Now()
}

// changePaths finds the paths of changes in one state of the store.
type changePaths struct {
	v      *view
	hints  *nameHints
	left   int // names that may still be looked through
	dirs   map[granary.InodeID]*dirPlace
	tops   map[[2]granary.InodeID]bool // what below has found out
	listed map[granary.InodeID]bool    // directories whose names were all looked through
}

// dirPlace is where a directory is, or was when it was removed.
type dirPlace struct {
	parent granary.InodeID // 0: it is the root of all, or nobody knows
	name   string          // as paths show it; "" if it was not found
	path   string          // … and "" likewise
	known  bool            // path was looked for
	may    bool            // who asks may read and search it
}

func newChangePaths(v *view) *changePaths {
	return &changePaths{v: v, hints: v.hints, left: watchNames, dirs: map[granary.InodeID]*dirPlace{}, tops: map[[2]granary.InodeID]bool{}}
}

// learn takes in what a change says of names.
func (p *changePaths) learn(c *changeRecord) {
	if c.Named && c.Inode != 0 {
		p.hints.put(c.Inode, nameHint{c.Parent, c.Name})
	}
}

// place returns where a directory is or was; nil if nobody knows.
func (p *changePaths) place(id granary.InodeID) (*dirPlace, error) {
	if d, ok := p.dirs[id]; ok {
		return d, nil
	}
	r, err := p.v.inode(id)
	if err != nil {
		return nil, err
	}
	var d *dirPlace
	if r != nil && r.IsDir() {
		d = &dirPlace{parent: r.Parent}
		if id == granary.RootInode {
			d.parent, d.path, d.known = 0, "/", true
		}
		if d.may, err = p.v.allows(r, granary.AccessRead|granary.AccessExecute); err != nil {
			return nil, err
		}
	} else {
		g, err := read[goneRecord](p.v, keyGone(id))
		if err != nil {
			return nil, err
		}
		if g != nil {
			was := granary.Attr{Type: granary.TypeDirectory, Mode: g.Mode, UID: g.UID, GID: g.GID}
			d = &dirPlace{parent: g.Parent, name: shownName(g.Name, true, false)}
			d.may = p.v.cred == nil || allows(p.v.cred, &was, granary.AccessRead|granary.AccessExecute)
		}
	}
	p.dirs[id] = d
	return d, nil
}

// below reports whether a directory is another, or below it, and whether who asks may look into all on the way.
func (p *changePaths) below(id, top granary.InodeID) (bool, error) {
	k := [2]granary.InodeID{id, top}
	if is, ok := p.tops[k]; ok {
		return is, nil
	}
	d, err := p.place(id)
	if err != nil {
		return false, err
	}
	is := d != nil && d.may && id == top
	if d != nil && d.may && !is && d.parent != 0 {
		p.tops[k] = false // should directories ever be in a circle, this ends it
		if is, err = p.below(d.parent, top); err != nil {
			return false, err
		}
	}
	p.tops[k] = is
	return is, nil
}

// pathOf returns the path of a directory, "" if it is not found.
func (p *changePaths) pathOf(id granary.InodeID) (string, error) {
	d, err := p.place(id)
	if err != nil || d == nil || d.known {
		if d == nil {
			return "", err
		}
		return d.path, err
	}
	d.known = true
	if d.parent == 0 {
		return "", nil
	}
	above, err := p.pathOf(d.parent)
	if err != nil || above == "" {
		return "", err
	}
	if d.name == "" {
		raw, err := p.nameOf(id, d.parent, true)
		if err != nil {
			return "", err
		}
		d.name = raw
	}
	if d.name != "" {
		d.path = join(above, d.name)
	}
	return d.path, nil
}

func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

// nameOf returns the name of an inode in a directory as paths show it, "" if it is not found.
func (p *changePaths) nameOf(id, parent granary.InodeID, dir bool) (string, error) {
	if dir && id == id.Dataset().Root() {
		d, err := read[datasetRecord](p.v, keyDataset(id.Dataset()))
		if err != nil || d == nil {
			return "", err
		}
		return d.Name, nil
	}
	hint, hinted := p.hints.get(id)
	if hinted && hint.dir == parent {
		d, err := read[dentryRecord](p.v, keyDentry(parent, hint.name, dir))
		if err != nil {
			return "", err
		}
		if d != nil && d.Inode == id {
			return shownName(hint.name, dir, d.Twin), nil
		}
	}
	if found, err := p.search(id, parent); err != nil || found != "" {
		return found, err
	}
	if hinted { // it was removed since
		return shownName(hint.name, dir, false), nil
	}
	return "", nil
}

// search looks for an inode among the names of a directory, and remembers all that it sees.
func (p *changePaths) search(id, parent granary.InodeID) (found string, err error) {
	if r, err := p.v.inode(id); err != nil || r == nil || r.Nlink == 0 || p.listed[parent] || p.hints.tooLarge(parent) {
		return "", err
	}
	ended := true
	prefix := key(tableDentry, uint64(parent))
	err = p.v.scan(prefix, keyEnd(prefix), func(k, b []byte) (bool, error) {
		if p.left--; p.left <= 0 {
			ended = false
			return false, nil
		}
		d, err := unmarshal[dentryRecord](b)
		if err != nil {
			return false, errStore(k, err)
		}
		name, dir := dentryName(k)
		p.hints.put(d.Inode, nameHint{parent, name})
		if d.Inode == id {
			found = shownName(name, dir, d.Twin)
		}
		return true, nil
	})
	if !ended && found == "" {
		p.hints.foundLarge(parent)
	}
	if ended && err == nil {
		if p.listed == nil {
			p.listed = map[granary.InodeID]bool{}
		}
		p.listed[parent] = true
	}
	return found, err
}

// tell makes of a change what is answered.
func (p *changePaths) tell(f *foundChange) (granary.Event, error) {
	r := &f.change
	c := granary.Event{At: f.at, Kind: r.Kind, Time: f.time, UID: r.UID, Inode: r.Inode, Type: r.Type, Parent: r.Parent, Name: r.Name,
		OldParent: r.OldParent, OldName: r.OldName, Size: r.Size, ETag: r.ETag, Version: r.Version, Attribute: r.Attribute,
		Replaced: r.Replaced, Exchanged: r.Exchanged, Implicit: r.Implicit, Origin: r.Origin}
	dir := r.Type == granary.TypeDirectory
	var err error
	switch {
	case r.Named:
		c.Path, err = p.entry(r.Parent, r.Name, dir)
	case dir:
		c.Path, err = p.pathOf(r.Inode)
	case r.Parent != 0:
		c.Path, err = p.fileOf(r)
	}
	if err == nil && r.Kind == granary.ChangeRename {
		c.OldPath, err = p.entry(r.OldParent, r.OldName, dir)
	}
	return c, err
}

// entry returns the path of a name in a directory.
func (p *changePaths) entry(parent granary.InodeID, name string, dir bool) (string, error) {
	above, err := p.pathOf(parent)
	if err != nil || above == "" {
		return "", err
	}
	return join(above, shownName(name, dir, false)), nil
}

// fileOf returns the path of a file that a change does not name.
func (p *changePaths) fileOf(r *changeRecord) (string, error) {
	parent := r.Parent
	if now, err := p.v.inode(r.Inode); err != nil {
		return "", err
	} else if now != nil && now.Parent != 0 {
		parent = now.Parent
	} else if hint, ok := p.hints.get(r.Inode); ok {
		parent = hint.dir
	}
	above, err := p.pathOf(parent)
	if err != nil || above == "" {
		return "", err
	}
	name, err := p.nameOf(r.Inode, parent, false)
	return join(above, name), err
}

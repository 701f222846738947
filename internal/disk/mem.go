package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// MemOptions say how an in-memory disk is made.
type MemOptions struct {
	Capacity uint64 // bytes that pages of files may take; 0 is 1 TiB
}

// Mem is a disk in memory. It keeps apart what is there and what is durable, so that Crash can tell
// what a loss of power leaves. It is safe for concurrent use.
type Mem struct {
	mu       sync.Mutex
	capacity int64
	pages    int64 // allocated to files that have a name or a handle
	dead     bool
	root     *memNode
	pending  []*nameOp // changes of names that no SyncDir has covered, oldest first
	locked   map[*memNode]bool
}

// memNode is a directory or a file.
type memNode struct {
	entries map[string]*memNode // of a directory as it is; nil for a file
	durable map[string]*memNode // of a directory as of its last SyncDir
	content *content            // of a file
	refs    int                 // names and handles of a file
}

// nameOp is a change of names, applied to the durable ones by a SyncDir or a crash as a whole or not at all:
// a rename is atomic, as on every journaling file system.
type nameOp struct {
	node   *memNode
	oldDir *memNode // of a rename and a removal
	old    string
	newDir *memNode // of a rename and a creation
	new    string
}

// errPowerLoss is what a disk that has crashed, and every handle on it, answers.
var errPowerLoss = fmt.Errorf("the disk has lost power: %w", syscall.EIO)

// NewMem returns an empty in-memory disk.
func NewMem(o MemOptions) *Mem {
	capacity := int64(min(o.Capacity, math.MaxInt64))
	if capacity == 0 {
		capacity = 1 << 40
	}
	return &Mem{capacity: capacity, root: newMemDir(), locked: make(map[*memNode]bool)}
}

func newMemDir() *memNode {
	return &memNode{entries: make(map[string]*memNode), durable: make(map[string]*memNode)}
}

func (n *memNode) isDir() bool { return n.entries != nil }

// begin locks the disk for an operation on name; the caller unlocks m.mu whatever the result.
func (m *Mem) begin(op, name string) error {
	m.mu.Lock()
	if m.dead {
		return &fs.PathError{Op: op, Path: name, Err: errPowerLoss}
	}
	return checkName(op, name)
}

// walk finds a node; nil and the reason if it is not there.
func (m *Mem) walk(name string) (*memNode, error) {
	n := m.root
	if name == "." {
		return n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if !n.isDir() {
			return nil, syscall.ENOTDIR
		}
		if n = n.entries[part]; n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

// parent finds the directory that a name is in, and its last component.
func (m *Mem) parent(name string) (*memNode, string, error) {
	if name == "." {
		return nil, "", syscall.EINVAL
	}
	dir, err := m.walk(path.Dir(name))
	if err == nil && !dir.isDir() {
		err = syscall.ENOTDIR
	}
	return dir, path.Base(name), err
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	defer m.mu.Unlock()
	if err := m.begin("create", name); err != nil {
		return nil, err
	}
	n, err := m.create(name)
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	return m.handle(n, name), nil
}

func (m *Mem) create(name string) (*memNode, error) {
	dir, base, err := m.parent(name)
	if err != nil {
		return nil, err
	}
	if dir.entries[base] != nil {
		return nil, syscall.EEXIST
	}
	n := &memNode{content: newContent()}
	m.bind(dir, base, n)
	return n, nil
}

func (m *Mem) bind(dir *memNode, base string, n *memNode) {
	dir.entries[base] = n
	n.refs++
	m.pending = append(m.pending, &nameOp{node: n, newDir: dir, new: base})
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) {
	defer m.mu.Unlock()
	if err := m.begin("open", name); err != nil {
		return nil, err
	}
	n, err := m.walk(name)
	if err == nil && n.isDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return m.handle(n, name), nil
}

func (m *Mem) handle(n *memNode, name string) *memFile {
	n.refs++
	return &memFile{m: m, n: n, name: name}
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	defer m.mu.Unlock()
	if err := m.begin("remove", name); err != nil {
		return err
	}
	dir, base, err := m.parent(name)
	if err == nil {
		switch n := dir.entries[base]; {
		case n == nil:
			err = syscall.ENOENT
		case len(n.entries) > 0:
			err = syscall.ENOTEMPTY
		default:
			delete(dir.entries, base)
			m.pending = append(m.pending, &nameOp{node: n, oldDir: dir, old: base})
			m.release(n)
		}
	}
	if err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

// Rename implements FS.
func (m *Mem) Rename(old, new string) error {
	defer m.mu.Unlock()
	if err := m.begin("rename", old); err != nil {
		return err
	}
	if err := checkName("rename", new); err != nil {
		return err
	}
	if err := m.rename(old, new); err != nil {
		return &fs.PathError{Op: "rename", Path: old + " to " + new, Err: err}
	}
	return nil
}

func (m *Mem) rename(old, new string) error {
	oldDir, oldBase, err := m.parent(old)
	if err != nil {
		return err
	}
	newDir, newBase, err := m.parent(new)
	if err != nil {
		return err
	}
	n, replaced := oldDir.entries[oldBase], newDir.entries[newBase]
	switch {
	case n == nil:
		return syscall.ENOENT
	case n == replaced:
		return nil
	case n.isDir() && strings.HasPrefix(new, old+"/"):
		return syscall.EINVAL
	case replaced != nil && replaced.isDir():
		return syscall.EEXIST
	case replaced != nil && n.isDir():
		return syscall.ENOTDIR
	}
	delete(oldDir.entries, oldBase)
	newDir.entries[newBase] = n
	m.pending = append(m.pending, &nameOp{node: n, oldDir: oldDir, old: oldBase, newDir: newDir, new: newBase})
	if replaced != nil {
		m.release(replaced)
	}
	return nil
}

// release drops a name or a handle of a node. A file without any gives its pages back, although a crash
// may still bring it back under a name whose removal was not durable.
func (m *Mem) release(n *memNode) {
	n.refs--
	if n.refs == 0 && n.content != nil {
		m.pages -= n.content.allocatedPages()
	}
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(name string) error {
	defer m.mu.Unlock()
	if err := m.begin("mkdir", name); err != nil {
		return err
	}
	if name == "." {
		return nil
	}
	dir := m.root
	for part := range strings.SplitSeq(name, "/") {
		next := dir.entries[part]
		if next == nil {
			next = newMemDir()
			m.bind(dir, part, next)
		}
		if !next.isDir() {
			return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
		}
		dir = next
	}
	return nil
}

// dir finds a directory.
func (m *Mem) dir(op, name string) (*memNode, error) {
	n, err := m.walk(name)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(name string) ([]string, error) {
	defer m.mu.Unlock()
	if err := m.begin("readdir", name); err != nil {
		return nil, err
	}
	dir, err := m.dir("readdir", name)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(dir.entries))
	for name := range dir.entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// SyncDir implements FS. A rename out of the directory or into it becomes durable as a whole, so a missing
// SyncDir of the other parent is not found out.
func (m *Mem) SyncDir(name string) error {
	defer m.mu.Unlock()
	if err := m.begin("syncdir", name); err != nil {
		return err
	}
	dir, err := m.dir("syncdir", name)
	if err != nil {
		return err
	}
	m.syncDir(dir)
	return nil
}

func (m *Mem) syncDir(dir *memNode) {
	durable := func(n *memNode) map[string]*memNode { return n.durable }
	done := make(map[*nameOp]bool)
	for i, op := range m.pending {
		if op.oldDir != dir && op.newDir != dir {
			continue
		}
		op.apply(durable, m.pending[:i])
		for _, earlier := range m.pending[:i+1] {
			if earlier.node == op.node { // where the node was before no longer matters
				done[earlier] = true
			}
		}
	}
	m.pending = slices.DeleteFunc(m.pending, func(op *nameOp) bool { return done[op] })
	dir.durable = maps.Clone(dir.entries)
}

// apply makes the change in the names that the given function returns for a directory. Of earlier changes some may
// not have been made: a rename moves the node from wherever they left it, so that it never has two names.
func (op *nameOp) apply(names func(*memNode) map[string]*memNode, earlier []*nameOp) {
	op.unbind(names, op.node)
	if op.newDir == nil {
		return
	}
	for _, e := range earlier {
		if e.node == op.node {
			e.unbind(names, op.node)
			if e.newDir != nil && names(e.newDir)[e.new] == op.node {
				delete(names(e.newDir), e.new)
			}
		}
	}
	names(op.newDir)[op.new] = op.node
}

func (op *nameOp) unbind(names func(*memNode) map[string]*memNode, n *memNode) {
	if op.oldDir != nil && names(op.oldDir)[op.old] == n {
		delete(names(op.oldDir), op.old)
	}
}

// Lock implements FS.
func (m *Mem) Lock(name string) (io.Closer, error) {
	defer m.mu.Unlock()
	if err := m.begin("lock", name); err != nil {
		return nil, err
	}
	n, err := m.walk(name)
	switch {
	case errors.Is(err, syscall.ENOENT):
		n, err = m.create(name)
	case err == nil && n.isDir():
		err = syscall.EISDIR
	case err == nil && m.locked[n]:
		err = syscall.EWOULDBLOCK
	}
	if err != nil {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	m.locked[n] = true
	return &memLock{m: m, n: n}, nil
}

type memLock struct {
	m    *Mem
	n    *memNode
	done bool
}

// Close releases the lock.
func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.done {
		return fs.ErrClosed
	}
	l.done = true
	delete(l.m.locked, l.n)
	return nil
}

// Usage implements FS.
func (m *Mem) Usage() (Usage, error) {
	defer m.mu.Unlock()
	if err := m.begin("usage", "."); err != nil {
		return Usage{}, err
	}
	return Usage{Total: uint64(m.capacity), Free: uint64(max(0, m.capacity-m.pages*pageSize))}, nil
}

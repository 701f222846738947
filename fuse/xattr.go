package fuse

import (
	"context"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
)

// hidden reports whether an attribute is the store's own and not shown by mounts.
func hidden(name string) bool { return strings.HasPrefix(name, "granary.") }

// settable refuses names that are hidden.
func settable(name string) syscall.Errno {
	if hidden(name) {
		return syscall.EPERM
	}
	return known(name)
}

func isACL(name string) bool { return name == granary.XattrACL || name == granary.XattrDefaultACL }

// known refuses names in no namespace that is stored. Of system. there are access control lists.
func known(name string) syscall.Errno {
	if isACL(name) {
		return 0
	}
	for _, space := range [...]string{"user.", "trusted.", "security."} {
		switch {
		case name == space:
			return syscall.EINVAL
		case strings.HasPrefix(name, space):
			return 0
		}
	}
	return syscall.EOPNOTSUPP
}

// copyOut answers a size query (empty dest) or copies the value.
func copyOut(dest, value []byte) (uint32, syscall.Errno) {
	if len(dest) > 0 && len(dest) < len(value) {
		return uint32(len(value)), syscall.ERANGE
	}
	copy(dest, value)
	return uint32(len(value)), 0
}

// Getxattr reads one attribute. Some the kernel asks for by itself, access control lists at every check of permissions: without
// the flag of one there is none. It asks for the inode's attributes first, so what these said is as new as it can be.
func (n *node) Getxattr(ctx context.Context, name string, dest []byte) (uint32, syscall.Errno) {
	flag := uint32(granary.FlagOfXattr(name))
	if hidden(name) || flag != 0 && n.flags.Load()&flag == 0 {
		return 0, syscall.ENODATA
	}
	if errno := known(name); errno != 0 {
		return 0, errno
	}
	value, err := n.fs().Xattr(n.m.look(ctx), n.ino, name)
	if err != nil {
		return 0, ofInode(err)
	}
	if isACL(name) {
		value, _ = n.m.options.IDs.acl(value, true)
	}
	return copyOut(dest, value)
}

// Listxattr lists the names, each ended by a zero byte.
func (n *node) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	as := n.m.as(ctx)
	if n.m.caller(ctx).UID == 0 {
		as = n.m.look(ctx) // others may not know of all
	}
	list, err := n.fs().Xattrs(as, n.ino)
	if err != nil {
		return 0, ofInode(err)
	}
	var names []byte
	for _, x := range list {
		if !hidden(x.Name) {
			names = append(append(names, x.Name...), 0)
		}
	}
	return copyOut(dest, names)
}

// Setxattr writes one attribute.
func (n *node) Setxattr(ctx context.Context, name string, data []byte, flags uint32) syscall.Errno {
	if errno := settable(name); errno != 0 {
		return errno
	}
	if isACL(name) {
		var ok bool
		if data, ok = n.m.options.IDs.acl(data, false); !ok {
			return syscall.EINVAL
		}
	}
	op := &granary.SetXattr{
		Inode:       n.ino,
		Xattr:       granary.Xattr{Name: name, Value: append([]byte{}, data...)},
		CreateOnly:  flags&unix.XATTR_CREATE != 0,
		ReplaceOnly: flags&unix.XATTR_REPLACE != 0,
	}
	n.flags.Or(uint32(granary.FlagOfXattr(name)))
	return ofInode(n.fs().SetXattr(n.m.ctx, n.m.caller(ctx), op))
}

// Removexattr removes one attribute.
func (n *node) Removexattr(ctx context.Context, name string) syscall.Errno {
	if errno := settable(name); errno != 0 {
		return errno
	}
	return ofInode(n.fs().RemoveXattr(n.m.ctx, n.m.caller(ctx), n.ino, name))
}

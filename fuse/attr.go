package fuse

import (
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
)

// modeBits are the type bits of st_mode.
func modeBits(t granary.FileType) uint32 {
	switch t {
	case granary.TypeDirectory:
		return syscall.S_IFDIR
	case granary.TypeSymlink:
		return syscall.S_IFLNK
	case granary.TypeFifo:
		return syscall.S_IFIFO
	case granary.TypeSocket:
		return syscall.S_IFSOCK
	case granary.TypeCharDevice:
		return syscall.S_IFCHR
	case granary.TypeBlockDevice:
		return syscall.S_IFBLK
	}
	return syscall.S_IFREG
}

// typeOf is the inverse of modeBits; false for what cannot be made.
func typeOf(mode uint32) (granary.FileType, bool) {
	switch mode & syscall.S_IFMT {
	case syscall.S_IFREG, 0:
		return granary.TypeRegular, true
	case syscall.S_IFIFO:
		return granary.TypeFifo, true
	case syscall.S_IFSOCK:
		return granary.TypeSocket, true
	case syscall.S_IFCHR:
		return granary.TypeCharDevice, true
	case syscall.S_IFBLK:
		return granary.TypeBlockDevice, true
	}
	return 0, false
}

// fillAttr writes what stat shows.
func (m *Server) fillAttr(out *gofuse.Attr, a *granary.Attr) {
	out.Ino = uint64(a.Inode)
	out.Size = a.Size
	out.Blocks = (a.Allocated + 511) / 512
	out.Mode = modeBits(a.Type) | a.Mode
	out.Nlink = a.Nlink
	if a.IsDir() {
		out.Nlink = 2 + uint32(a.Subdirs)
		out.Size = 4096
	}
	ids := &m.options.IDs
	out.Uid, out.Gid, out.Rdev = ids.Users.toHost(a.UID), ids.Groups.toHost(a.GID), a.Rdev
	out.Blksize = blockSize
	at, mt, ct := a.Atime.Std(), a.Mtime.Std(), a.Ctime.Std()
	out.SetTimes(&at, &mt, &ct)
}

// fillStatx writes what statx shows.
func (m *Server) fillStatx(out *gofuse.Statx, a *granary.Attr) {
	var st gofuse.Attr
	m.fillAttr(&st, a)
	out.Mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	out.Blksize, out.Nlink, out.Uid, out.Gid, out.Mode = st.Blksize, st.Nlink, st.Uid, st.Gid, uint16(st.Mode)
	out.Ino, out.Size, out.Blocks = st.Ino, st.Size, st.Blocks
	out.RdevMajor, out.RdevMinor = unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	out.Atime, out.Mtime, out.Ctime, out.Btime = sxTime(a.Atime), sxTime(a.Mtime), sxTime(a.Ctime), sxTime(a.Btime)
}

func sxTime(t granary.Time) gofuse.SxTime {
	at := t.Std()
	return gofuse.SxTime{Sec: uint64(at.Unix()), Nsec: uint32(at.Nanosecond())}
}

func stableAttr(a *granary.Attr) gofs.StableAttr {
	return gofs.StableAttr{Mode: modeBits(a.Type), Ino: uint64(a.Inode), Gen: 1}
}

// setAttrOf turns the kernel's request into the operation.
func setAttrOf(ino granary.InodeID, in *gofuse.SetAttrIn) *granary.SetAttr {
	op := &granary.SetAttr{Inode: ino, Opened: in.Valid&gofuse.FATTR_FH != 0, KillSuidgid: in.Valid&gofuse.FATTR_KILL_SUIDGID != 0}
	if mode, ok := in.GetMode(); ok {
		mode &= 0o7777
		op.Mode = &mode
	}
	if uid, ok := in.GetUID(); ok {
		op.UID = &uid
	}
	if gid, ok := in.GetGID(); ok {
		op.GID = &gid
	}
	if size, ok := in.GetSize(); ok {
		op.Size = &size
	}
	switch {
	case in.Valid&gofuse.FATTR_ATIME_NOW != 0:
		op.AtimeNow = true
	case in.Valid&gofuse.FATTR_ATIME != 0:
		t, _ := in.GetATime()
		at := granary.TimeOf(t)
		op.Atime = &at
	}
	switch {
	case in.Valid&gofuse.FATTR_MTIME_NOW != 0:
		op.MtimeNow = true
	case in.Valid&gofuse.FATTR_MTIME != 0:
		t, _ := in.GetMTime()
		mt := granary.TimeOf(t)
		op.Mtime = &mt
	}
	return op
}

//go:build e2e

package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary/tests/cluster"
)

// user is somebody who works in a directory: a thread with credentials, current directory and umask of its own.
type user struct {
	uid, gid uint32
	groups   []uint32
	do       chan func()
}

// startUser starts a thread that becomes the user. It ends with the test, and is never used for anything else.
func startUser(t *testing.T, uid, gid uint32, groups ...uint32) *user {
	t.Helper()
	u := &user{uid: uid, gid: gid, groups: groups, do: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		ready <- u.become()
		for f := range u.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(u.do) })
	return u
}

// become changes the credentials of this thread only, which the functions of package syscall would not.
func (u *user) become() error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	unix.Umask(0o022)
	groups := append([]uint32{}, u.groups...)
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	for _, call := range [][3]uintptr{
		{unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first)},
		{unix.SYS_SETRESGID, uintptr(u.gid), uintptr(u.gid)},
		{unix.SYS_SETRESUID, uintptr(u.uid), uintptr(u.uid)},
	} {
		third := call[2]
		if call[0] == unix.SYS_SETGROUPS {
			third = 0
		}
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], third); errno != 0 {
			return errno
		}
	}
	return nil
}

// in runs f as the user, in a directory that the user need not be able to find.
func (u *user) in(dir int, f func() string) string {
	var result string
	done := make(chan struct{})
	u.do <- func() {
		defer close(done)
		if err := unix.Fchdir(dir); err != nil {
			result = "fchdir: " + err.Error()
			return
		}
		result = f()
	}
	<-done
	return result
}

func (u *user) String() string { return fmt.Sprintf("%d:%d%v", u.uid, u.gid, u.groups) }

// errnoOf is an error as the comparison shows it.
func errnoOf(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// act is one operation that some user performs, the same in both directories.
type act struct {
	text string
	do   func() string
}

// acts makes random operations in a few names.
type acts struct{ r *rand.Rand }

func (a acts) one(list ...string) string { return list[a.r.IntN(len(list))] }

// name is a path in a tree of two levels.
func (a acts) name() string {
	n := a.one("a", "b", "c", "d", "e")
	if a.r.IntN(3) > 0 {
		n = a.one("a", "b", "d") + "/" + n
	}
	if a.r.IntN(8) == 0 {
		n = a.one("a", "b", "d") + "/" + n
	}
	return n
}

func (a acts) mode() uint32 {
	if a.r.IntN(2) == 0 {
		return []uint32{0o755, 0o777, 0o1777, 0o2775, 0o700, 0o644, 0o666, 0o4755, 0o2755, 0o6777, 0o600}[a.r.IntN(11)]
	}
	return a.r.Uint32N(0o10000)
}

func (a acts) id() int { return []int{-1, 0, 1000, 1001, 1002}[a.r.IntN(5)] }

func (a acts) group() int { return []int{-1, 0, 1000, 1001, 27, 100}[a.r.IntN(6)] }

// next makes an operation.
func (a acts) next() act {
	name, other, mode := a.name(), a.name(), a.mode()
	switch a.r.IntN(22) {
	case 20, 21:
		return a.acl(name)
	case 0, 1:
		return act{fmt.Sprintf("mkdir %s %04o", name, mode), func() string { return errnoOf(unix.Mkdir(name, mode)) }}
	case 2:
		kind := []uint32{unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR}[a.r.IntN(4)]
		return act{fmt.Sprintf("mknod %s %o", name, kind|mode), func() string { return errnoOf(unix.Mknod(name, kind|mode, int(unix.Mkdev(1, 3)))) }}
	case 3:
		return act{fmt.Sprintf("symlink %s", name), func() string { return errnoOf(unix.Symlink("a", name)) }}
	case 4, 5:
		return act{"unlink " + name, func() string { return errnoOf(unix.Unlink(name)) }}
	case 6:
		return act{"rmdir " + name, func() string { return errnoOf(unix.Rmdir(name)) }}
	case 7, 8:
		flags := []uint{0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[a.r.IntN(4)]
		return act{fmt.Sprintf("rename %s %s %d", name, other, flags), func() string {
			return errnoOf(unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, other, flags))
		}}
	case 9:
		return act{"link " + name + " " + other, func() string { return errnoOf(unix.Linkat(unix.AT_FDCWD, name, unix.AT_FDCWD, other, 0)) }}
	case 10, 11:
		return act{fmt.Sprintf("chmod %s %04o", name, mode), func() string { return errnoOf(unix.Fchmodat(unix.AT_FDCWD, name, mode, 0)) }}
	case 12:
		uid, gid := a.id(), a.group()
		if uid == -1 && gid == -1 {
			gid = 27 // nothing to change is nothing that the kernel asks a mount about, set-id bits or not
		}
		return act{fmt.Sprintf("chown %s %d %d", name, uid, gid), func() string {
			return errnoOf(unix.Fchownat(unix.AT_FDCWD, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW))
		}}
	case 13:
		return a.utimes(name)
	case 14:
		size := a.r.Int64N(3000)
		return act{fmt.Sprintf("truncate %s %d", name, size), func() string { return errnoOf(unix.Truncate(name, size)) }}
	case 15, 16:
		return a.xattr(name)
	case 17:
		return act{"list " + name, func() string { return list(name) }}
	default:
		return a.open(name, mode&0o6777)
	}
}

func (a acts) utimes(name string) act {
	now, omit, then := unix.Timespec{Nsec: unix.UTIME_NOW}, unix.Timespec{Nsec: unix.UTIME_OMIT}, unix.Timespec{Sec: 1e9}
	pairs := [][]unix.Timespec{{now, now}, {now, omit}, {omit, now}, {then, omit}, {then, then}, {now, then}, {omit, omit}}
	i := a.r.IntN(len(pairs))
	return act{fmt.Sprintf("utimes %s %d", name, i), func() string {
		return errnoOf(unix.UtimesNanoAt(unix.AT_FDCWD, name, pairs[i], unix.AT_SYMLINK_NOFOLLOW))
	}}
}

func (a acts) xattr(name string) act {
	x := a.one("user.x", "user.x", "user.y", "trusted.x", "security.x", "nothing.x", "user.")
	switch a.r.IntN(4) {
	case 0:
		return act{"getxattr " + name + " " + x, func() string {
			b := make([]byte, 64)
			n, err := unix.Lgetxattr(name, x, b)
			return errnoOf(err) + " " + string(b[:max(n, 0)])
		}}
	case 1:
		return act{"listxattr " + name, func() string {
			b := make([]byte, 512)
			n, err := unix.Llistxattr(name, b)
			names := strings.Split(string(b[:max(n, 0)]), "\x00")
			slices.Sort(names)
			return errnoOf(err) + " " + strings.Join(names, " ")
		}}
	case 2:
		return act{"removexattr " + name + " " + x, func() string { return errnoOf(unix.Lremovexattr(name, x)) }}
	}
	flags := []int{0, 0, unix.XATTR_CREATE, unix.XATTR_REPLACE}[a.r.IntN(4)]
	return act{fmt.Sprintf("setxattr %s %s %d", name, x, flags), func() string { return errnoOf(unix.Lsetxattr(name, x, []byte("v"), flags)) }}
}

// acl sets, reads or removes an access control list.
func (a acts) acl(name string) act {
	x := a.one("system.posix_acl_access", "system.posix_acl_access", "system.posix_acl_default")
	switch a.r.IntN(6) {
	case 0:
		return act{"getacl " + name + " " + x, func() string {
			b := make([]byte, 512)
			n, err := unix.Lgetxattr(name, x, b)
			return fmt.Sprintf("%s %x", errnoOf(err), b[:max(n, 0)])
		}}
	case 1:
		return act{"removeacl " + name + " " + x, func() string { return errnoOf(unix.Lremovexattr(name, x)) }}
	}
	const nobody = 0xffffffff
	list := binary.LittleEndian.AppendUint32(nil, 2)
	add := func(tag uint16, id uint32) {
		list = binary.LittleEndian.AppendUint16(list, tag)
		list = binary.LittleEndian.AppendUint16(list, uint16([]uint32{7, 7, 5, a.r.Uint32N(8)}[a.r.IntN(4)]))
		list = binary.LittleEndian.AppendUint32(list, id)
	}
	users, groups, mask := a.r.IntN(3), a.r.IntN(3), a.r.IntN(2) == 0
	add(0x01, nobody)
	for range users {
		add(0x02, []uint32{0, 1000, 1001, 1002}[a.r.IntN(4)])
	}
	add(0x04, nobody)
	for range groups {
		add(0x08, []uint32{0, 27, 100, 1001}[a.r.IntN(4)])
	}
	if mask || users+groups > 0 && a.r.IntN(20) > 0 { // without one it is no list
		add(0x10, nobody)
	}
	add(0x20, nobody)
	if a.r.IntN(40) == 0 {
		list = list[:4] // one without entries takes what there is
	}
	return act{fmt.Sprintf("setacl %s %s %x", name, x, list), func() string { return errnoOf(unix.Lsetxattr(name, x, list, 0)) }}
}

// open opens a file, perhaps makes it, and perhaps writes to it.
func (a acts) open(name string, mode uint32) act {
	flags := []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR}[a.r.IntN(3)]
	for _, f := range []int{unix.O_CREAT, unix.O_TRUNC, unix.O_EXCL, unix.O_APPEND} {
		if a.r.IntN(3) == 0 {
			flags |= f
		}
	}
	if flags&unix.O_CREAT == 0 {
		flags &^= unix.O_EXCL // which is undefined then
	}
	write := flags&unix.O_ACCMODE != unix.O_RDONLY && a.r.IntN(2) == 0
	return act{fmt.Sprintf("open %s %#o %04o write %t", name, flags, mode, write), func() string {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR {
			return "device" // which no mount of users opens
		}
		fd, err := unix.Open(name, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, mode)
		if err != nil {
			return errnoOf(err)
		}
		result := "ok"
		if write {
			_, err := unix.Write(fd, []byte("written"))
			result += " write " + errnoOf(err)
		}
		return result + " close " + errnoOf(unix.Close(fd))
	}}
}

func list(name string) string {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errnoOf(err)
	}
	f := os.NewFile(uintptr(fd), name)
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return fmt.Sprint(errnoOf(err), names, f.Close())
}

// tree describes all that is below a directory.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(root, func(at string, _ os.DirEntry, err error) error {
		if err != nil || at == root {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(at, &st); err != nil {
			return err
		}
		size := st.Size
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			size = 0
		}
		var lists string
		for _, x := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
			b := make([]byte, 512)
			if n, err := unix.Lgetxattr(at, x, b); err == nil {
				lists += fmt.Sprintf(" %x", b[:n])
			}
		}
		lines = append(lines, fmt.Sprintf("%s %o %d:%d links %d size %d%s", strings.TrimPrefix(at, root), st.Mode, st.Uid, st.Gid, st.Nlink, size, lists))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestE2EPermissions has users of several groups perform thousands of random operations in a mount and in a directory of
// the local file system. Every operation ends with the same error number in both, and leaves the same tree.
func TestE2EPermissions(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root becomes other users")
	}
	s := cluster.StartServer(t)
	roots := [2]string{path.Join(s.Mount(t), "tree"), path.Join(t.TempDir(), "tree")}
	var dirs [2]int
	for i, root := range roots {
		if err := errors.Join(os.Mkdir(root, 0o777), os.Chmod(root, 0o777)); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		dirs[i] = fd
	}
	users := []*user{
		startUser(t, 0, 0), startUser(t, 1000, 1000, 27), startUser(t, 1000, 1000, 27), startUser(t, 1001, 1001, 27, 100),
		startUser(t, 1001, 1001, 27, 100), startUser(t, 1002, 100),
	}
	const steps = 6000
	seed := rand.Uint64()
	a := acts{rand.New(rand.NewPCG(seed, 0))}
	var history []string
	counts := map[string]int{}
	for i := range steps {
		u, act := users[a.r.IntN(len(users))], a.next()
		var got [2]string
		for j, dir := range dirs {
			got[j] = u.in(dir, act.do)
		}
		history = append(history, fmt.Sprintf("%s: %s: %s", u, act.text, got[1]))
		counts[strings.Fields(act.text)[0]+" "+strings.Fields(got[1])[0]]++
		if got[0] != got[1] {
			t.Fatalf("seed %d, step %d: as %s: %s: %s, but in a local directory: %s\nbefore:\n%s\nlocal:\n%s\nmount:\n%s", seed, i, u, act.text, got[0], got[1],
				strings.Join(history[max(0, len(history)-15):], "\n"), strings.Join(tree(t, roots[1]), "\n"), strings.Join(tree(t, roots[0]), "\n"))
		}
		if i%20 == 0 || i == steps-1 {
			compareTrees(t, roots, fmt.Sprintf("seed %d, step %d", seed, i), history)
		}
	}
	t.Logf("seed %d: %v", seed, counts)
}

func compareTrees(t *testing.T, roots [2]string, when string, history []string) {
	t.Helper()
	mount, local := tree(t, roots[0]), tree(t, roots[1])
	if slices.Equal(mount, local) {
		return
	}
	t.Fatalf("%s: the trees differ\nmount:\n%s\nlocal:\n%s\nafter:\n%s", when, strings.Join(mount, "\n"), strings.Join(local, "\n"),
		strings.Join(history[max(0, len(history)-25):], "\n"))
}

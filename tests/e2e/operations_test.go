//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EOperations does what programs ask of a local file system beyond reading and writing.
func TestE2EOperations(t *testing.T) {
	s := cluster.StartServer(t)
	mnt := s.Mount(t)
	for name, test := range map[string]func(t *testing.T, dir string){
		"holes":      seekHoles,
		"large file": largeFile,
		"tmpfile":    tmpfile,
		"copy range": copyRange,
		"birth":      birth,
		"renameat2":  renameFlags,
		"refused":    notForFuse,
		"seekdir":    seekDir,
		"mmap":       mapped,
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp(mnt, "")
			if err != nil {
				t.Fatal(err)
			}
			test(t, dir)
		})
	}
}

func create(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func writeAt(t *testing.T, f *os.File, data []byte, off int64) {
	t.Helper()
	if _, err := f.WriteAt(data, off); err != nil {
		t.Fatal(err)
	}
}

// segments lists where a file has data, as "from-to".
func segments(f *os.File) (list []string, err error) {
	fd := int(f.Fd())
	for off := int64(0); ; {
		from, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if off, err = unix.Seek(fd, from, unix.SEEK_HOLE); err != nil {
			return nil, err
		}
		list = append(list, fmt.Sprintf("%d-%d", from, off))
	}
}

func wantSegments(t *testing.T, f *os.File, want ...string) {
	t.Helper()
	got, err := segments(f)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("data at %v, %v, want %v", got, err, want)
	}
}

func seekHoles(t *testing.T, dir string) {
	f := create(t, filepath.Join(dir, "f"))
	wantSegments(t, f)
	writeAt(t, f, bytes.Repeat([]byte("x"), 1000), 0) // inline
	wantSegments(t, f, "0-1000")
	writeAt(t, f, bytes.Repeat([]byte("y"), 2<<20), 40<<20)
	writeAt(t, f, bytes.Repeat([]byte("z"), 1<<20), 300<<20)
	wantSegments(t, f, "0-1000", "41943040-44040192", "314572800-315621376")
	if err := f.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 41<<20, 512<<10); err != nil {
		t.Fatal(err)
	}
	wantSegments(t, f, "0-1000", "41943040-42991616", "43515904-44040192", "314572800-315621376")
	for _, whence := range []int{unix.SEEK_DATA, unix.SEEK_HOLE} {
		if at, err := unix.Seek(int(f.Fd()), 1<<30, whence); !errors.Is(err, unix.ENXIO) {
			t.Errorf("seek at the end gave %d, %v, want ENXIO", at, err)
		}
	}
	if at, err := unix.Seek(int(f.Fd()), 500<<20, unix.SEEK_HOLE); err != nil || at != 500<<20 {
		t.Errorf("the hole at the end is at %d, %v", at, err)
	}
}

// largeFile writes at the far end of what a file can hold.
func largeFile(t *testing.T, dir string) {
	const far = 63<<40 + 12345
	f := create(t, filepath.Join(dir, "f"))
	want := bytes.Repeat([]byte("far"), 100_000)
	writeAt(t, f, want, far)
	writeAt(t, f, []byte("mid"), 5<<40)
	got := make([]byte, len(want))
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(got, far); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was read at %d differs: %v", int64(far), err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Size != far+int64(len(want)) || st.Blocks > 2000 {
		t.Errorf("size %d, %d blocks, %v", st.Size, st.Blocks, err)
	}
	wantSegments(t, f, fmt.Sprintf("%d-%d", 5<<40, 5<<40+3), fmt.Sprintf("%d-%d", far, far+len(want)))
	if err := f.Truncate(64<<40 + 1); !errors.Is(err, unix.EFBIG) {
		t.Errorf("a file of more than 64 TiB: %v, want EFBIG", err)
	}
	if _, err := f.WriteAt([]byte("x"), 64<<40); !errors.Is(err, unix.EFBIG) {
		t.Errorf("a byte beyond 64 TiB: %v, want EFBIG", err)
	}
}

func tmpfile(t *testing.T, dir string) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "tmpfile")
	defer f.Close()
	want := bytes.Repeat([]byte("nameless"), 100_000)
	writeAt(t, f, want, 0)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink != 0 || st.Mode&0o7777 != 0o640 || st.Size != int64(len(want)) {
		t.Errorf("it has %d names, mode %o, %d bytes, %v", st.Nlink, st.Mode, st.Size, err)
	}
	again, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", fd)) // opens it once more
	if err != nil || !bytes.Equal(again, want) {
		t.Errorf("opened by its descriptor it differs: %v", err)
	}
	name := filepath.Join(dir, "named")
	link := func() error {
		return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	}
	if err := link(); err != nil {
		t.Fatal(err)
	}
	if err := link(); !errors.Is(err, unix.EEXIST) {
		t.Errorf("linked twice: %v, want EEXIST", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the file that got a name differs: %v", err)
	}
	if fd, err = unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL, 0o600); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	name = filepath.Join(dir, "never")
	if err := link(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("an exclusive one was linked: %v, want ENOENT", err)
	}
}

func copyRange(t *testing.T, dir string) {
	src, dst := create(t, filepath.Join(dir, "src")), create(t, filepath.Join(dir, "dst"))
	data := randomBytes(20 << 20)
	writeAt(t, src, data, 0)
	want := make([]byte, 30<<20)
	copyAll := func(from, to, n int) {
		t.Helper()
		off, toOff := int64(from), int64(to)
		for n > 0 {
			done, err := unix.CopyFileRange(int(src.Fd()), &off, int(dst.Fd()), &toOff, n, 0)
			if err != nil || done == 0 {
				t.Fatalf("%d copied, %v", done, err)
			}
			n -= done
		}
	}
	copyAll(0, 0, len(data))
	copy(want, data)
	copyAll(1<<20+17, 3<<20+5, 10<<20) // over what is there, at odd places
	copy(want[3<<20+5:], data[1<<20+17:][:10<<20])
	writeAt(t, dst, []byte("over"), 25<<20)
	copy(want[25<<20:], "over")
	copyAll(19<<20, 29<<20, 1<<20)
	copy(want[29<<20:], data[19<<20:])
	got, err := os.ReadFile(dst.Name())
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v, differ from those copied", len(got), err)
	}
	small := create(t, filepath.Join(dir, "small")) // inline: the kernel copies
	writeAt(t, small, []byte("0123456789"), 0)
	off, toOff := int64(2), int64(1)
	if n, err := unix.CopyFileRange(int(small.Fd()), &off, int(dst.Fd()), &toOff, 100, 0); err != nil || n != 8 {
		t.Fatalf("%d copied of a small file, %v", n, err)
	}
	copy(want[1:], "23456789")
	if got, err := os.ReadFile(dst.Name()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v, or differs after a copy of a small file", err)
	}
}

// birth looks when a file was made, which only statx tells.
func birth(t *testing.T, dir string) {
	before := time.Now().Add(-time.Second)
	f := create(t, filepath.Join(dir, "f"))
	writeAt(t, f, []byte("x"), 0)
	long := time.Unix(-86400*365*100, 123456789) // before 1970, with nanoseconds
	if err := os.Chtimes(f.Name(), long, long); err != nil {
		t.Fatal(err)
	}
	var sx unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, f.Name(), 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &sx); err != nil {
		t.Fatal(err)
	}
	born := time.Unix(sx.Btime.Sec, int64(sx.Btime.Nsec))
	if sx.Mask&unix.STATX_BTIME == 0 || born.Before(before) || born.After(time.Now().Add(time.Second)) {
		t.Errorf("mask %x, made at %v", sx.Mask, born)
	}
	if got := time.Unix(sx.Mtime.Sec, int64(sx.Mtime.Nsec)); !got.Equal(long) {
		t.Errorf("changed at %v, want %v", got, long)
	}
	if sx.Size != 1 || sx.Mode != unix.S_IFREG|0o644 || sx.Nlink != 1 {
		t.Errorf("size %d, mode %o, %d names", sx.Size, sx.Mode, sx.Nlink)
	}
}

func renameFlags(t *testing.T, dir string) {
	a, b := create(t, filepath.Join(dir, "a")).Name(), filepath.Join(dir, "b")
	rename := func(from, to string, flags uint) error {
		return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
	}
	if err := os.Mkdir(b, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := rename(a, b, unix.RENAME_NOREPLACE); !errors.Is(err, unix.EEXIST) {
		t.Errorf("over what is there: %v, want EEXIST", err)
	}
	if err := rename(a, b, unix.RENAME_EXCHANGE); err != nil {
		t.Error(err)
	}
	if st, err := os.Stat(a); err != nil || !st.IsDir() {
		t.Errorf("after the exchange: %v, %v", st, err)
	}
	for _, flags := range []uint{unix.RENAME_WHITEOUT, unix.RENAME_EXCHANGE | unix.RENAME_NOREPLACE} {
		if err := rename(a, filepath.Join(dir, "c"), flags); !errors.Is(err, unix.EINVAL) {
			t.Errorf("with flags %x: %v, want EINVAL", flags, err)
		}
	}
}

// notForFuse is what the kernel has no request for: programs are told so, and do otherwise.
func notForFuse(t *testing.T, dir string) {
	f := create(t, filepath.Join(dir, "f"))
	writeAt(t, f, make([]byte, 64<<10), 0)
	for _, mode := range []uint32{unix.FALLOC_FL_COLLAPSE_RANGE, unix.FALLOC_FL_INSERT_RANGE, unix.FALLOC_FL_UNSHARE_RANGE} {
		if err := unix.Fallocate(int(f.Fd()), mode, 4096, 4096); !errors.Is(err, unix.EOPNOTSUPP) {
			t.Errorf("fallocate %x: %v, want EOPNOTSUPP", mode, err)
		}
	}
	g := create(t, filepath.Join(dir, "g"))
	if err := unix.IoctlFileClone(int(g.Fd()), int(f.Fd())); !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOTTY) {
		t.Errorf("a clone: %v", err)
	}
}

// seekDir goes back to places in a directory after it was changed.
func seekDir(t *testing.T, dir string) {
	const files = 600 // several calls of getdents
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%05d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	buf, offs := make([]byte, 8192), []int64{0}
	read := func() (names []string) {
		n, err := unix.ReadDirent(int(d.Fd()), buf)
		if err != nil {
			t.Fatal(err)
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, nil)
		return names
	}
	var first [][]string
	for {
		names := read()
		if len(names) == 0 {
			break
		}
		first = append(first, names)
		off, err := unix.Seek(int(d.Fd()), 0, unix.SEEK_CUR)
		if err != nil {
			t.Fatal(err)
		}
		offs = append(offs, off)
	}
	for i := range files / 20 { // names before, between, and some of those listed
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%05d-new", 19*i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, fmt.Sprintf("f%05d", 20*i+1))); err != nil {
			t.Fatal(err)
		}
	}
	for i := len(first) - 1; i > 0; i-- {
		if _, err := unix.Seek(int(d.Fd()), offs[i], unix.SEEK_SET); err != nil {
			t.Fatal(err)
		}
		want := first[i][0]
		if got := read(); len(got) == 0 || got[0] < want || got[0] > want+"~" && got[0] > first[i][1] {
			t.Errorf("at offset %d there is %.1q, want %q", offs[i], got, want)
		}
	}
}

// mapped changes a file through a shared mapping, and sees that a private one leaves it as it is.
func mapped(t *testing.T, dir string) {
	f := create(t, filepath.Join(dir, "f"))
	want := randomBytes(300_000)
	writeAt(t, f, want, 0)
	shared, err := unix.Mmap(int(f.Fd()), 0, len(want), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	private, err := unix.Mmap(int(f.Fd()), 0, len(want), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	copy(private[100_000:], "private")
	copy(shared[200_000:], "shared")
	copy(want[200_000:], "shared")
	if err := unix.Msync(shared, unix.MS_SYNC); err != nil {
		t.Fatal(err)
	}
	writeAt(t, f, []byte("written"), 250_000)
	copy(want[250_000:], "written")
	if !bytes.Equal(shared, want) {
		t.Error("the shared mapping differs from the file")
	}
	if err := errors.Join(unix.Munmap(shared), unix.Munmap(private), f.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v, or the file differs", err)
	}
}

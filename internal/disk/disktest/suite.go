package disktest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/dsorchard/granary/internal/disk"
)

// Run runs the suite. newFS returns an empty file system with a few MiB of space, for one test.
func Run(t *testing.T, newFS func(t *testing.T) disk.FS) {
	for name, test := range map[string]func(t *testing.T, d disk.FS){
		"CreateIsExclusive":  testCreateIsExclusive,
		"ReadAndWrite":       testReadAndWrite,
		"Holes":              testHoles,
		"Truncate":           testTruncate,
		"Rename":             testRename,
		"RenameDirectory":    testRenameDirectory,
		"Remove":             testRemove,
		"RemovedButOpen":     testRemovedButOpen,
		"Directories":        testDirectories,
		"NamesDoNotEscape":   testNamesDoNotEscape,
		"Lock":               testLock,
		"Usage":              testUsage,
		"Closed":             testClosed,
		"ConcurrentWriters":  testConcurrentWriters,
		"SyncIsRepeatable":   testSyncIsRepeatable,
		"HandlesShareAFile":  testHandlesShareAFile,
		"NegativeOffsets":    testNegativeOffsets,
		"CreateInNoDir":      testCreateInNoDir,
		"OpenOfADirectory":   testOpenOfADirectory,
		"ReadDirOfNoSuchDir": testReadDirOfNoSuchDir,
	} {
		t.Run(name, func(t *testing.T) { test(t, newFS(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}

func create(t *testing.T, d disk.FS, name, text string) disk.File {
	t.Helper()
	f, err := d.Create(name)
	must(t, err)
	n, err := f.WriteAt([]byte(text), 0)
	if n != len(text) || err != nil {
		t.Fatalf("wrote %d bytes of %d: %v", n, len(text), err)
	}
	return f
}

func put(t *testing.T, d disk.FS, name, text string) {
	t.Helper()
	f := create(t, d, name, text)
	must(t, f.Sync())
	must(t, f.Close())
}

func text(t *testing.T, d disk.FS, name string) string {
	t.Helper()
	f, err := d.Open(name)
	must(t, err)
	s := content(t, f)
	must(t, f.Close())
	return s
}

func content(t *testing.T, f disk.File) string {
	t.Helper()
	size, err := f.Size()
	must(t, err)
	b, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	must(t, err)
	return string(b)
}

func names(t *testing.T, d disk.FS, dir string, want ...string) {
	t.Helper()
	got, err := d.ReadDir(dir)
	must(t, err)
	if !slices.Equal(got, want) {
		t.Fatalf("%s holds %q, want %q", dir, got, want)
	}
}

func testCreateIsExclusive(t *testing.T, d disk.FS) {
	put(t, d, "a", "first")
	_, err := d.Create("a")
	wantErr(t, err, fs.ErrExist)
	if got := text(t, d, "a"); got != "first" {
		t.Fatalf("a holds %q", got)
	}
	must(t, d.MkdirAll("dir"))
	_, err = d.Create("dir")
	wantErr(t, err, fs.ErrExist)
	_, err = d.Open("b")
	wantErr(t, err, fs.ErrNotExist)
}

func testReadAndWrite(t *testing.T, d disk.FS) {
	f := create(t, d, "a", "hello world")
	defer f.Close()
	b := make([]byte, 5)
	n, err := f.ReadAt(b, 6)
	if n != 5 || err != nil && err != io.EOF || string(b) != "world" {
		t.Fatalf("read %d %q %v", n, b, err)
	}
	if n, err = f.ReadAt(b, 8); n != 3 || err != io.EOF {
		t.Fatalf("at the end: %d %v", n, err)
	}
	if n, err = f.ReadAt(b, 100); n != 0 || err != io.EOF {
		t.Fatalf("past the end: %d %v", n, err)
	}
	if n, err = f.WriteAt([]byte("W"), 6); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := content(t, f); got != "hello World" {
		t.Fatalf("a holds %q", got)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 5000) // over many pages, from an odd offset
	if n, err = f.WriteAt(big, 4093); n != len(big) || err != nil {
		t.Fatal(n, err)
	}
	got := make([]byte, len(big))
	if n, err = f.ReadAt(got, 4093); n != len(big) || !bytes.Equal(got, big) {
		t.Fatal(n, err)
	}
}

func testHoles(t *testing.T, d disk.FS) {
	f := create(t, d, "a", "x")
	defer f.Close()
	const far = 1 << 30
	_, err := f.WriteAt([]byte("y"), far)
	must(t, err)
	must(t, f.Sync())
	if size, err := f.Size(); size != far+1 || err != nil {
		t.Fatal(size, err)
	}
	if n, err := f.Allocated(); n < 2 || n > 1<<20 || err != nil {
		t.Fatalf("%d bytes are allocated to two: %v", n, err)
	}
	b := bytes.Repeat([]byte{1}, 8192)
	if n, err := f.ReadAt(b, 1<<20+5); n != len(b) || err != nil || !bytes.Equal(b, make([]byte, len(b))) {
		t.Fatalf("a hole of %d bytes reads as %x…: %v", n, b[:10], err)
	}
}

func testTruncate(t *testing.T, d disk.FS) {
	f := create(t, d, "a", "hello world")
	defer f.Close()
	must(t, f.Truncate(5))
	must(t, f.Truncate(8))
	if got := content(t, f); got != "hello\x00\x00\x00" {
		t.Fatalf("a holds %q", got)
	}
	must(t, f.Truncate(1<<20))
	must(t, f.Truncate(0))
	must(t, f.Sync())
	if n, err := f.Allocated(); n != 0 || err != nil {
		t.Fatalf("an empty file has %d bytes allocated: %v", n, err)
	}
	if size, err := f.Size(); size != 0 || err != nil {
		t.Fatal(size, err)
	}
}

func testRename(t *testing.T, d disk.FS) {
	must(t, d.MkdirAll("dir"))
	put(t, d, "a", "new")
	put(t, d, "dir/b", "old")
	old, err := d.Open("dir/b")
	must(t, err)
	must(t, d.Rename("a", "dir/b"))
	must(t, d.SyncDir("."))
	must(t, d.SyncDir("dir"))
	names(t, d, ".", "dir")
	if got := text(t, d, "dir/b"); got != "new" {
		t.Fatalf("dir/b holds %q", got)
	}
	if got := content(t, old); got != "old" {
		t.Fatalf("the file replaced holds %q", got)
	}
	must(t, old.Close())
	wantErr(t, d.Rename("a", "c"), fs.ErrNotExist)
	wantErr(t, d.Rename("dir/b", "none/c"), fs.ErrNotExist)
	must(t, d.Rename("dir/b", "dir/b"))
	names(t, d, "dir", "b")
}

func testRenameDirectory(t *testing.T, d disk.FS) {
	must(t, d.MkdirAll("x/y"))
	put(t, d, "x/y/f", "text")
	put(t, d, "file", "")
	if err := d.Rename("x", "x/y/z"); err == nil {
		t.Fatal("a directory was moved into itself")
	}
	wantErr(t, d.Rename("x", "file"), syscall.ENOTDIR)
	must(t, d.Rename("x/y", "y"))
	names(t, d, "x")
	if got := text(t, d, "y/f"); got != "text" {
		t.Fatalf("y/f holds %q", got)
	}
	wantErr(t, d.Rename("x", "y"), fs.ErrExist)
	wantErr(t, d.Rename("file", "x"), fs.ErrExist) // although x is empty now
	names(t, d, ".", "file", "x", "y")
}

func testRemove(t *testing.T, d disk.FS) {
	must(t, d.MkdirAll("dir"))
	put(t, d, "dir/a", "")
	if err := d.Remove("dir"); err == nil {
		t.Fatal("a directory that is not empty was removed")
	}
	must(t, d.Remove("dir/a"))
	wantErr(t, d.Remove("dir/a"), fs.ErrNotExist)
	must(t, d.SyncDir("dir"))
	must(t, d.Remove("dir"))
	names(t, d, ".")
	if err := d.Remove("."); err == nil {
		t.Fatal("the root was removed")
	}
}

func testRemovedButOpen(t *testing.T, d disk.FS) {
	f := create(t, d, "a", "text")
	must(t, d.Remove("a"))
	put(t, d, "a", "another")
	_, err := f.WriteAt([]byte("T"), 0)
	must(t, err)
	if got := content(t, f); got != "Text" {
		t.Fatalf("the removed file holds %q", got)
	}
	must(t, f.Close())
	if got := text(t, d, "a"); got != "another" {
		t.Fatalf("a holds %q", got)
	}
}

func testDirectories(t *testing.T, d disk.FS) {
	must(t, d.MkdirAll("a/b/c"))
	must(t, d.MkdirAll("a/b/c"))
	must(t, d.MkdirAll("."))
	names(t, d, "a/b", "c")
	for _, name := range []string{"z", "b", "a", "m"} {
		put(t, d, "a/b/c/"+name, name)
	}
	names(t, d, "a/b/c", "a", "b", "m", "z")
	must(t, d.SyncDir("a/b/c"))
	wantErr(t, d.SyncDir("a/x"), fs.ErrNotExist)
	wantErr(t, d.MkdirAll("a/b/c/z/d"), syscall.ENOTDIR)
}

func testNamesDoNotEscape(t *testing.T, d disk.FS) {
	for _, name := range []string{"", "..", "../a", "/a", "a/../../b", "a//b", "a/", "./a"} {
		if f, err := d.Create(name); err == nil {
			t.Errorf("%q was created: %v", name, f.Close())
		}
		if err := d.MkdirAll(name); err == nil {
			t.Errorf("directory %q was made", name)
		}
		if _, err := d.ReadDir(name); err == nil {
			t.Errorf("directory %q was read", name)
		}
		if err := d.Rename(name, "x"); err == nil {
			t.Errorf("%q was renamed", name)
		}
		if l, err := d.Lock(name); err == nil {
			t.Errorf("%q was locked: %v", name, l.Close())
		}
	}
	put(t, d, "x", "")
	if err := d.Rename("x", "../x"); err == nil {
		t.Error("x was moved out")
	}
}

func testLock(t *testing.T, d disk.FS) {
	l, err := d.Lock("lock")
	must(t, err)
	_, err = d.Lock("lock")
	wantErr(t, err, syscall.EWOULDBLOCK)
	other, err := d.Lock("other")
	must(t, err)
	must(t, l.Close())
	again, err := d.Lock("lock")
	must(t, err)
	must(t, again.Close())
	must(t, other.Close())
	names(t, d, ".", "lock", "other")
}

func testUsage(t *testing.T, d disk.FS) {
	u, err := d.Usage()
	must(t, err)
	if u.Total == 0 || u.Free == 0 || u.Free > u.Total {
		t.Fatalf("usage is %+v", u)
	}
}

func testClosed(t *testing.T, d disk.FS) {
	f := create(t, d, "a", "x")
	must(t, f.Close())
	_, err := f.WriteAt([]byte("y"), 0)
	wantErr(t, err, fs.ErrClosed)
	_, err = f.ReadAt(make([]byte, 1), 0)
	wantErr(t, err, fs.ErrClosed)
	wantErr(t, f.Sync(), fs.ErrClosed)
	_, err = f.Size()
	wantErr(t, err, fs.ErrClosed)
	_, err = f.Allocated()
	wantErr(t, err, fs.ErrClosed)
	wantErr(t, f.Truncate(0), fs.ErrClosed)
	wantErr(t, f.Close(), fs.ErrClosed)
}

func testConcurrentWriters(t *testing.T, d disk.FS) {
	f := create(t, d, "a", "")
	defer f.Close()
	const writers, rounds, piece = 4, 20, 1000
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			p, got := bytes.Repeat([]byte{byte(w + 1)}, piece), make([]byte, piece)
			for i := range rounds {
				off := int64((i*writers + w) * piece)
				_, writeErr := f.WriteAt(p, off)
				n, _ := f.ReadAt(got, off) // io.EOF is allowed at the end: the bytes tell
				if writeErr != nil || n != piece || !bytes.Equal(got, p) {
					errs[w] = fmt.Errorf("at %d: wrote %v, read %d bytes", off, writeErr, n)
				}
			}
			errs[w] = errors.Join(errs[w], f.Sync())
		})
	}
	wg.Wait()
	must(t, errors.Join(errs...))
	if size, err := f.Size(); size != writers*rounds*piece || err != nil {
		t.Fatal(size, err)
	}
}

func testSyncIsRepeatable(t *testing.T, d disk.FS) {
	f := create(t, d, "a", "x")
	defer f.Close()
	must(t, f.Sync())
	must(t, f.Sync())
	must(t, d.SyncDir("."))
	must(t, d.SyncDir("."))
}

func testHandlesShareAFile(t *testing.T, d disk.FS) {
	f := create(t, d, "a", "one")
	g, err := d.Open("a")
	must(t, err)
	_, err = g.WriteAt([]byte("O"), 0)
	must(t, err)
	must(t, g.Close())
	if got := content(t, f); got != "One" {
		t.Fatalf("a holds %q", got)
	}
	must(t, f.Close())
}

func testNegativeOffsets(t *testing.T, d disk.FS) {
	f := create(t, d, "a", "x")
	defer f.Close()
	if _, err := f.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("read at -1")
	}
	if _, err := f.WriteAt(make([]byte, 1), -1); err == nil {
		t.Error("wrote at -1")
	}
	if err := f.Truncate(-1); err == nil {
		t.Error("truncated to -1")
	}
}

func testCreateInNoDir(t *testing.T, d disk.FS) {
	_, err := d.Create("no/a")
	wantErr(t, err, fs.ErrNotExist)
	put(t, d, "file", "")
	_, err = d.Create("file/a")
	wantErr(t, err, syscall.ENOTDIR)
}

func testOpenOfADirectory(t *testing.T, d disk.FS) {
	must(t, d.MkdirAll("dir"))
	_, err := d.Open("dir")
	wantErr(t, err, syscall.EISDIR)
}

func testReadDirOfNoSuchDir(t *testing.T, d disk.FS) {
	_, err := d.ReadDir("dir")
	wantErr(t, err, fs.ErrNotExist)
	put(t, d, "file", "")
	_, err = d.ReadDir("file")
	wantErr(t, err, syscall.ENOTDIR)
}

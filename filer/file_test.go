package filer

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dsorchard/granary"
)

func mustOpenFile(t *testing.T, fs *FS, path string) *File {
	t.Helper()
	file, err := fs.OpenFile(t.Context(), granary.RootInode, path, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// text returns n bytes that differ from place to place.
func text(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(strings.Repeat(string(rune('a'+i%26)), i%7+1))
	}
	return b.String()[:n]
}

// TestFileReads reads in every way, over layouts that come in pieces.
func TestFileReads(t *testing.T) {
	for _, extents := range []int{0, 1, 3} {
		fs, f := testFS(t, Options{})
		f.extentsMax = extents
		want := text(20_000)
		f.put(t, granary.RootInode, "file", want)
		file := mustOpenFile(t, fs, "/file")
		if err := iotest.TestReader(io.NewSectionReader(file, 0, file.Size()), []byte(want)); err != nil {
			t.Fatal(err)
		}
		for _, r := range []struct{ off, length, end int64 }{
			{0, -1, 20_000}, {0, 0, 0}, {5, 10, 15}, {1000, 5000, 6000}, {19_990, 100, 20_000}, {20_000, -1, 20_000}, {30_000, 5, 20_000}, {0, 1 << 62, 20_000},
		} {
			part := want[min(r.off, r.end):r.end]
			var b bytes.Buffer
			n, err := file.NewReader(r.off, r.length).(io.WriterTo).WriteTo(&b)
			if err != nil || n != int64(len(part)) || b.String() != part {
				t.Errorf("%+v: written %d bytes, %v", r, n, err)
			}
			got, err := io.ReadAll(iotest.OneByteReader(file.NewReader(r.off, r.length)))
			if err != nil || string(got) != part {
				t.Errorf("%+v: read %d bytes, %v", r, len(got), err)
			}
		}
	}
}

// TestFileInline reads what came with the first answer.
func TestFileInline(t *testing.T) {
	fs, f := testFS(t, Options{})
	f.put(t, granary.RootInode, "file", "small")
	asked := 0
	f.onQuery = func(granary.Query) { asked++ }
	file := mustOpenFile(t, fs, "file")
	got, err := io.ReadAll(file.NewReader(0, -1))
	if err != nil || string(got) != "small" || asked != 1 {
		t.Fatalf("%q: %v, after %d questions", got, err, asked)
	}
}

// TestFileStaysOneVersion serves the version that was opened as long as it can, and then fails.
func TestFileStaysOneVersion(t *testing.T) {
	fs, f := testFS(t, Options{})
	f.extentsMax = 2 // so that the first layout covers 2 KiB only
	old := text(8 << 10)
	f.put(t, granary.RootInode, "file", old)
	file := mustOpenFile(t, fs, "/file")
	f.put(t, granary.RootInode, "file", strings.Repeat("new", 4<<10))
	p := make([]byte, 2<<10)
	if _, err := file.ReadAt(p, 0); err != nil || string(p) != old[:2<<10] {
		t.Fatalf("the first layout's range: %v", err)
	}
	_, err := file.ReadAt(p, 3<<10)
	wantKind(t, err, granary.KindStale)
	_, err = io.Copy(io.Discard, file.NewReader(0, -1))
	wantKind(t, err, granary.KindStale)
	if err := fs.Remove(t.Context(), granary.RootInode, "/file", RemoveOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = file.ReadAt(p, 3<<10)
	wantKind(t, err, granary.KindStale)
}

// TestFileMoved finds blocks again that have moved, as long as the content is the same.
func TestFileMoved(t *testing.T) {
	fs, f := testFS(t, Options{})
	want := text(8 << 10)
	ino := f.put(t, granary.RootInode, "file", want)
	file := mustOpenFile(t, fs, "/file")
	f.moveBlocks(ino)
	got, err := io.ReadAll(file.NewReader(0, -1))
	if err != nil || string(got) != want {
		t.Fatalf("%d bytes: %v", len(got), err)
	}
	reads := 0
	f.onRead = func(*granary.Layout, uint64) error { reads++; return fakeErr(granary.KindStale, "read", "") }
	_, err = file.ReadAt(make([]byte, 10), 0)
	wantKind(t, err, granary.KindUnavailable) // they are nowhere: waiting for their disks may help, asking again does not
	if !strings.Contains(err.Error(), "/file") {
		t.Fatalf("the error does not name the file: %v", err)
	}
	if reads != staleRetries+1 {
		t.Fatalf("tried %d times", reads)
	}
}

// TestFileAfterWrite sees what a handle of the same FS has not flushed yet.
func TestFileAfterWrite(t *testing.T) {
	fs, _ := testFS(t, Options{})
	h := mustCreate(t, fs, "file", readWrite())
	mustWrite(t, h, "not flushed by anybody", 0)
	got, err := io.ReadAll(mustOpenFile(t, fs, "/file").NewReader(0, -1))
	if err != nil || string(got) != "not flushed by anybody" {
		t.Fatalf("%q: %v", got, err)
	}
}

// TestReadAhead fetches what a sequential reader will want, once, and nothing for others.
func TestReadAhead(t *testing.T) {
	fs, f := testFS(t, Options{})
	const size = 24 << 20
	f.blockSize = 1 << 20
	ino := f.put(t, granary.RootInode, "file", string(make([]byte, size)))
	h, err := fs.Open(t.Context(), granary.Cred{}, ino, OpenFlags{Read: true})
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 128<<10)
	for _, off := range []int64{20 << 20, 4 << 20, 12 << 20} {
		if _, err := h.ReadAt(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
	}
	if len(f.prefetch) != 0 {
		t.Fatalf("random reads fetched %v", f.prefetch)
	}
	for off := int64(0); off < size; off += int64(len(p)) {
		if _, err := h.ReadAt(t.Context(), p, off); err != nil {
			t.Fatal(err)
		}
	}
	checkAhead(t, f.prefetch, size)
	f.prefetch = nil
	if _, err := io.Copy(io.Discard, mustOpenFile(t, fs, "/file").NewReader(0, -1)); err != nil {
		t.Fatal(err)
	}
	checkAhead(t, f.prefetch, size)
	f.prefetch = nil
	if _, err := io.Copy(io.Discard, mustOpenFile(t, fs, "/file").NewReader(1<<20, 2<<20)); err != nil {
		t.Fatal(err)
	}
	if len(f.prefetch) != 1 || f.prefetch[0] != (span{1 << 20, 3 << 20}) {
		t.Fatalf("a short range fetched %v", f.prefetch)
	}
}

// TestStreamAtOnce: a stream takes what is to be had at once, reads the rest as ever, and reads ahead only for that.
func TestStreamAtOnce(t *testing.T) {
	fs, f := testFS(t, Options{})
	const size = 3 << 20
	f.blockSize, f.extentsMax = 1<<10, 700
	want := text(size)
	f.put(t, granary.RootInode, "file", want)
	file := mustOpenFile(t, fs, "/file")
	waited := 0
	f.onRead = func(*granary.Layout, uint64) error { waited++; return nil }
	send := func(off, length int64) {
		t.Helper()
		var b bytes.Buffer
		waited, f.prefetch = 0, nil
		n, err := io.Copy(&b, file.NewReader(off, length))
		if err != nil || n != length || b.String() != want[off:off+length] {
			t.Fatalf("%d bytes at %d: %d, %v", length, off, n, err)
		}
	}
	calls := 0
	f.atOnce = func(uint64) int { calls++; return 100_000 + calls }
	send(0, size)
	if len(f.prefetch) != 0 || waited != calls {
		t.Errorf("waited %d times, asked %d, ahead %v", waited, calls, f.prefetch)
	}
	send(1_000_001, 654_321)
	f.atOnce = func(off uint64) int { return int(off/100_000%2) * 100_000 } // every other piece is not there
	send(0, size)
	if len(f.prefetch) == 0 {
		t.Error("nothing was read ahead of what is not there at once")
	}
	calls = 0
	f.atOnce = func(uint64) int { calls++; return 1 }
	send(5, atOnceLeast-1)
	if calls != 0 {
		t.Errorf("asked %d times for a short stream", calls)
	}
	f.atOnce = func(uint64) int { return 100_000 }
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, file.NewReader(0, -1))
	wantKind(t, err, granary.KindCanceled)
}

// checkAhead checks that ranges follow each other up to the end, in few steps.
func checkAhead(t *testing.T, ranges []span, size uint64) {
	t.Helper()
	if len(ranges) == 0 || len(ranges) > 12 || ranges[len(ranges)-1].end != size {
		t.Fatalf("fetched %v", ranges)
	}
	for i := 1; i < len(ranges); i++ {
		if ranges[i].off != ranges[i-1].end {
			t.Fatalf("fetched %v", ranges)
		}
	}
}

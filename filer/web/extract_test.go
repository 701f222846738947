package web

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/filer"
)

func inodeOf(s *stack, p string) granary.InodeID {
	s.t.Helper()
	info, err := s.fs.Stat(s.t.Context(), granary.RootInode, p, filer.StatOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return info.Attr.Inode
}

type tarEntry struct {
	tar.Header
	content string
}

func tarFile(name, content string) tarEntry {
	return tarEntry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o640, Size: int64(len(content)), ModTime: time.Unix(1_600_000_000, 500), Format: tar.FormatPAX}, content}
}

func tarOther(typeflag byte, name, target string) tarEntry {
	return tarEntry{tar.Header{Name: name, Typeflag: typeflag, Linkname: target, Mode: 0o750, ModTime: time.Unix(1_500_000_000, 0)}, ""}
}

func tarOf(t testing.TB, entries ...tarEntry) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestArchives extracts a tar and gets it back, as what each format can say.
func TestArchives(t *testing.T) {
	s := newStack(t)
	large := strings.Repeat("0123456789abcdef", 200_000)
	entries := []tarEntry{
		tarOther(tar.TypeDir, "./", ""), tarOther(tar.TypeDir, "d/", ""), tarFile("d/"+strings.Repeat("n", 200), "long"), tarFile("d/large", large),
		tarFile("./d/large2", large), tarFile("e/f/small", "small"), tarFile("e/f/small", "newer"), tarOther(tar.TypeSymlink, "d/up", "../e/f/small"), tarOther(tar.TypeLink, "hard", "d/large"),
		tarOther(tar.TypeFifo, "fifo", ""),
	}
	entries[2].PAXRecords = map[string]string{"SCHILY.xattr.user.k": "v\x00w", "SCHILY.xattr.security.capability": "no"}
	body := tarOf(t, entries...)
	var zipped bytes.Buffer
	gz := gzip.NewWriter(&zipped)
	if _, err := io.WriteString(gz, body); err != nil || gz.Close() != nil {
		t.Fatal(err)
	}
	w := s.want(201, "PUT", "/new/t?extract", zipped.String())
	var out extracted
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out != (extracted{"/new/t/", 5, 3, 2, uint64(2*len(large) + 14)}) {
		t.Errorf("%s, %v", w.Body, err)
	}
	if s.content("/new/t/d/large2") != large || s.content("/new/t/d/up") != "newer" || s.content("/new/t/hard") != large {
		t.Error("contents differ")
	}
	info, err := s.fs.Stat(t.Context(), granary.RootInode, "/new/t/d/"+strings.Repeat("n", 200), filer.StatOptions{Xattrs: true})
	if err != nil || info.Attr.Mode != 0o640 || !info.Attr.Mtime.Std().Equal(time.Unix(1_600_000_000, 500)) || info.Attr.UID != 1000 {
		t.Errorf("%+v, %v", info, err)
	}
	if v, _ := info.Xattr("user.k"); string(v) != "v\x00w" {
		t.Errorf("%q", v)
	}
	for _, dir := range []string{"/new/t", "/new/t/d"} {
		if info, err := s.fs.Stat(t.Context(), granary.RootInode, dir, filer.StatOptions{}); err != nil || info.Attr.Mode != 0o750 || !info.Attr.Mtime.Std().Equal(time.Unix(1_500_000_000, 0)) {
			t.Errorf("%s: %+v, %v", dir, info, err)
		}
	}
	// there and back again
	got := s.want(200, "GET", "/new/t?tar", "").Body.String()
	s.want(201, "POST", "/again?extract", got)
	if back := s.want(200, "GET", "/again/?tar", "").Body.String(); back != got {
		t.Errorf("%d bytes, and %d of what was made of them", len(got), len(back))
	}
	var names []string
	for r := tar.NewReader(strings.NewReader(got)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, string(h.Typeflag)+h.Name)
	}
	if want := []string{"5./", "5d/", "0d/large", "0d/large2", "0d/" + strings.Repeat("n", 200), "2d/up", "5e/", "5e/f/", "0e/f/small", "6fifo", "1hard"}; !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	unzip, err := gzip.NewReader(s.want(200, "GET", "/new/t?tar.gz", "").Body)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(unzip); err != nil || string(plain) != got {
		t.Errorf("tar.gz: %d bytes, %v", len(plain), err)
	}
	z := s.want(200, "GET", "/new/t?zip", "").Body.Bytes()
	archive, err := zip.NewReader(bytes.NewReader(z), int64(len(z)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(content)
	}
	if files["d/large2"] != large || files["d/up"] != "../e/f/small" || files["hard"] != large || len(files) != 9 {
		t.Errorf("%d in the zip", len(files))
	}
	s.want(404, "GET", "/new/t/hard?tar", "")
	s.want(404, "GET", "/none?tar", "")
	if names := s.hidden(); len(names) > 0 {
		t.Errorf("left hidden: %q", names)
	}
}

func TestExtractReplaces(t *testing.T) {
	s := newStack(t)
	one, two := tarOf(t, tarFile("one", "1")), tarOf(t, tarFile("two", "2"))
	s.want(201, "PUT", "/d/", "")
	s.want(201, "PUT", "/d/?extract", one)
	s.want(409, "PUT", "/d/?extract", two)
	s.want(201, "PUT", "/d?extract&replace", two)
	s.want(404, "GET", "/d/one", "")
	if s.content("/d/two") != "2" {
		t.Error("two")
	}
	s.want(409, "PUT", "/d/two?extract", one)
	s.want(409, "PUT", "/d/two?extract&replace", one)
	s.want(403, "PUT", "/?extract", one)
	s.want(400, "PUT", "/new?extract", one, "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==")
	s.want(400, "PUT", "/new?extract", "this is no tar")
	s.want(400, "PUT", "/new?extract", "")
	s.want(404, "GET", "/new/", "")
	if names := s.hidden(); len(names) > 0 {
		t.Errorf("left hidden: %q", names)
	}
}

func TestExtractRefuses(t *testing.T) {
	s := newStack(t)
	for name, entries := range map[string][]tarEntry{
		"absolute":              {tarFile("/etc/passwd", "x")},
		"up":                    {tarFile("../x", "x")},
		"up inside":             {tarFile("a/../../x", "x")},
		"link absolute":         {tarOther(tar.TypeSymlink, "l", "/etc")},
		"link up":               {tarOther(tar.TypeSymlink, "l", "..")},
		"link up from below":    {tarOther(tar.TypeSymlink, "a/l", "../../x")},
		"link down and up":      {tarOther(tar.TypeSymlink, "a/l", "b/../../..")},
		"through a link":        {tarOther(tar.TypeDir, "d", ""), tarOther(tar.TypeSymlink, "l", "d"), tarFile("l/x", "x")},
		"through a file":        {tarFile("f", "x"), tarFile("f/x", "x")},
		"hard link up":          {tarOther(tar.TypeLink, "l", "../x")},
		"hard link to nothing":  {tarOther(tar.TypeLink, "l", "x")},
		"hard link to a link":   {tarOther(tar.TypeSymlink, "x", "y"), tarOther(tar.TypeLink, "l", "x")},
		"device":                {tarOther(tar.TypeBlock, "sda", "")},
		"a file on a directory": {tarOther(tar.TypeDir, "d", ""), tarFile("d", "x")},
	} {
		w := s.do("PUT", "/t?extract", tarOf(t, append([]tarEntry{tarFile("first", "x")}, entries...)...))
		if w.Code < 400 || w.Code > 501 || w.Code == 500 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		s.want(404, "GET", "/t/", "")
	}
	if names := s.hidden(); len(names) > 0 {
		t.Errorf("left hidden: %q", names)
	}
}

// FuzzArchiveNames: a name or link that is not refused stays below the directory that is made of the archive.
func FuzzArchiveNames(f *testing.F) {
	for _, seed := range [][2]string{{"a/b", "../c"}, {"./a//b/", "x/.."}, {"..", "."}, {"/x", "/y"}, {"a/../..", "a\x00"}, {".../..a", "../.../.."}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, target string) {
		clean, err := archiveName(name)
		if err != nil || clean == "" {
			return
		}
		depth := 0
		for part := range strings.SplitSeq(clean, "/") {
			if part == "" || part == "." || part == ".." || strings.ContainsRune(part, 0) {
				t.Fatalf("%q becomes %q", name, clean)
			}
			depth++
		}
		if checkTargetInside(clean, target) != nil {
			return
		}
		depth-- // the link's directory
		for part := range strings.SplitSeq(target, "/") {
			switch part {
			case "", ".":
			case "..":
				depth--
			default:
				depth++
			}
			if depth < 0 {
				t.Fatalf("%q leads out of the archive from %q", target, clean)
			}
		}
	})
}

package master

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// rawNames draws names as keys have them: short ones that collide, and what no path could have.
func rawNames() *rapid.Generator[string] {
	long := strings.Repeat("x", 300)
	return rapid.OneOf(
		rapid.SampledFrom([]string{
			"", ".", "..", "a", "a!", "b", "%", "%file:", "%dir:", "%file:a", "%dir:..", "%file:%25", "%file:a%~" + strings.Repeat("0", 32),
			"a\x00", "\x00", "%00", "\xff", long, long + "y", long[:255], long[:256], strings.Repeat("%", 200), strings.Repeat("\x00", 300),
		}),
		rapid.StringMatching(`[a-c.%]{0,4}`),
	)
}

// TestShownNames: what is shown is a name of a path, differs for entries that differ, and leads back.
func TestShownNames(t *testing.T) {
	type which struct {
		raw       string
		dir, twin bool
	}
	seen := map[string]which{}
	rapid.Check(t, func(t *rapid.T) {
		w := which{raw: rawNames().Draw(t, "raw"), dir: rapid.Bool().Draw(t, "dir")}
		w.twin = !w.dir && rapid.Bool().Draw(t, "twin")
		name := shownName(w.raw, w.dir, w.twin)
		if err := checkName("test", name); err != nil {
			t.Fatal(err)
		}
		was, there := seen[name]
		if there && !(was.raw == w.raw && (was.dir == w.dir || !isEscape(name))) {
			t.Fatalf("%q is shown for %+v and %+v", name, was, w)
		}
		seen[name] = w
		if !isEscape(name) {
			if name != w.raw || w.twin {
				t.Fatalf("%+v is shown as %q", w, name)
			}
			return
		}
		e, ok := parseEscape(name)
		switch {
		case !ok || (e.kind == dirName) != w.dir:
			t.Fatalf("%+v: %q is read as %+v, %t", w, name, e, ok)
		case e.hash == "" && e.raw != w.raw, e.hash != "" && (!strings.HasPrefix(w.raw, e.raw) || !e.matches(w.raw, w.dir) || e.matches(w.raw+"x", w.dir)):
			t.Fatalf("%+v: %q is read as %+v", w, name, e)
		}
	})
}

// keyModel is a bucket as S3 knows it.
type keyModel map[string]granary.InodeID

func (k keyModel) sorted() []string {
	keys := make([]string, 0, len(k))
	for key := range k {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// TestKeysAgainstModel puts and deletes objects under any keys, and looks at them by key, in listings and through directories.
func TestKeysAgainstModel(t *testing.T) {
	part := rapid.SampledFrom([]string{"a", "b", "", ".", "..", "a!", "%file:a", "%dir:", strings.Repeat("l", 260), "n\x00"})
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		defer m.close()
		root := m.ok(&granary.Create{Parent: granary.BucketsInode, Name: "bucket", Type: granary.TypeDirectory}).Attr.Inode
		model := keyModel{}
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			key := strings.Join(rapid.SliceOfN(part, 1, 4).Draw(rt, "key"), "/")
			if key == "" {
				continue
			}
			switch rapid.IntRange(0, 2).Draw(rt, "action") {
			case 0, 1:
				content := &granary.Content{Inline: []byte("x")}
				if strings.HasSuffix(key, "/") && rapid.Bool().Draw(rt, "empty") {
					content = nil
				}
				_, there := model[key]
				if there {
					m.fails(granary.KindPrecondition, &granary.Create{Parent: root, Name: key, Key: true, Type: granary.TypeRegular, Replace: true, Match: &granary.Precondition{Absent: true}})
				}
				r := m.ok(&granary.Create{Parent: root, Name: key, Key: true, Type: granary.TypeRegular, Replace: true, Content: content,
					Xattrs: []granary.Xattr{{Name: "granary.s3.x", Value: []byte(key)}}})
				if r.Replaced != there {
					rt.Fatalf("%q: replaced %t, was there %t", key, r.Replaced, there)
				}
				model[key] = r.Attr.Inode
			case 2:
				r := m.do(&granary.Unlink{Parent: root, Name: key, Key: true, Prune: true})
				if _, there := model[key]; there != (r.Err == nil) {
					rt.Fatalf("delete of %q, there: %t: %v", key, there, r.Err)
				}
				delete(model, key)
			}
		}
		model.compare(rt, m, root)
		m.check()
	})
}

// compare holds what the state shows of a bucket against the model.
func (k keyModel) compare(t *rapid.T, m *machine, root granary.InodeID) {
	keys := k.sorted()
	if got := listAll(m, granary.List{Root: root, Limit: 3}); !slices.Equal(got, keys) {
		t.Fatalf("listed %q, want %q", got, keys)
	}
	for _, key := range keys {
		found := ask[*granary.Found](m, &granary.Lookup{Base: root, Path: key, Key: true, Xattrs: true})
		if found.Entry.Attr.Inode != k[key] || len(found.Xattrs) != 1 || string(found.Xattrs[0].Value) != key {
			t.Fatalf("%q leads to %+v, want inode %d", key, found, k[key])
		}
	}
	seen := map[granary.InodeID]string{}
	k.visit(t, m, root, "", seen)
	for key, id := range k {
		if seen[id] == "" {
			t.Fatalf("%q is not seen in the directories", key)
		}
	}
}

// visit goes through the directories as a mount does, and looks up each name that it sees.
func (k keyModel) visit(t *rapid.T, m *machine, dir granary.InodeID, path string, seen map[granary.InodeID]string) {
	after, names := granary.Entry{}, map[string]bool{}
	for more := true; more; {
		d := ask[*granary.Directory](m, &granary.ReadDir{Inode: dir, After: after.Name, AfterDir: after.Attr.IsDir(), Limit: 2})
		for _, e := range d.Entries {
			after = e
			if err := checkName("test", e.Name); err != nil || names[e.Name] {
				t.Fatalf("in %q: %q, %v, twice: %t", path, e.Name, err, names[e.Name])
			}
			names[e.Name] = true
			found := ask[*granary.Found](m, &granary.Lookup{Base: dir, Path: e.Name})
			if found.Entry.Attr.Inode != e.Attr.Inode || found.Entry.Name != e.Name {
				t.Fatalf("in %q: %q leads to %+v, not to %+v", path, e.Name, found.Entry, e)
			}
			seen[e.Attr.Inode] = path + "/" + e.Name
			if e.Attr.IsDir() {
				k.visit(t, m, e.Attr.Inode, path+"/"+e.Name, seen)
			}
		}
		more = d.More
	}
}

// TestKeysInDirectories is what a mount can do with what has no name of its own.
func TestKeysInDirectories(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	root := m.ok(&granary.Create{Parent: granary.BucketsInode, Name: "bucket", Type: granary.TypeDirectory}).Attr.Inode
	put := func(key string) granary.Attr {
		return m.ok(&granary.Create{Parent: root, Name: key, Key: true, Type: granary.TypeRegular, Replace: true, Content: &granary.Content{Inline: []byte(key)}}).Attr
	}
	find := func(name string) *granary.Attr {
		return &ask[*granary.Found](m, &granary.Lookup{Base: root, Path: name}).Entry.Attr
	}
	file := put("a")
	below := put("a/b")
	if !find("a").IsDir() || find("%file:a").Inode != file.Inode || find("a/b").Inode != below.Inode {
		t.Fatal("the object beside a directory is not under its escape")
	}
	if k := kindOfError(m, &granary.Lookup{Base: root, Path: "%file:c"}); k != granary.KindNotFound {
		t.Fatalf("an escape that stands for nothing: %v", k)
	}
	m.fails(granary.KindInvalid, &granary.Create{Parent: root, Name: "%file:c", Type: granary.TypeRegular})
	m.fails(granary.KindInvalid, &granary.Create{Parent: root, Name: "%file:a", Type: granary.TypeDirectory})
	m.fails(granary.KindIsDir, &granary.Create{Parent: root, Name: "a", Type: granary.TypeRegular})
	m.fails(granary.KindIsDir, &granary.Unlink{Parent: root, Name: "a"})
	m.ok(&granary.Unlink{Parent: root, Name: "a/b", Path: true})
	m.ok(&granary.Rename{SrcParent: root, SrcName: "a", DstParent: root, DstName: "d"})
	if find("a").Inode != file.Inode || !find("d").IsDir() {
		t.Fatal("when the directory goes, the object has its name")
	}
	m.ok(&granary.Rename{SrcParent: root, SrcName: "d", DstParent: root, DstName: "%dir:.."})
	put("../x")
	m.ok(&granary.Rename{SrcParent: root, SrcName: "a", DstParent: root, DstName: "%file:.."})
	if got := listAll(m, granary.List{Root: root, Limit: 10}); !slices.Equal(got, []string{"..", "../x"}) {
		t.Fatalf("listed %q", got)
	}
	m.ok(&granary.Unlink{Parent: root, Name: "%file:.."})
	m.check()
}

func kindOfError(m *machine, q granary.Query) granary.Kind {
	_, err := m.query(q)
	return granary.KindOf(err)
}

// TestEscapesOfBefore: entries of logs from before there were escapes are applied as they were.
func TestEscapesOfBefore(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.version = commandVersionNoEscapes
	a := m.ok(&granary.Create{Parent: granary.RootInode, Name: "%file:x", Type: granary.TypeRegular}).Attr
	m.version = 0
	found := ask[*granary.Found](m, &granary.Lookup{Base: granary.RootInode, Path: "%file:%25file:x"})
	if found.Entry.Attr.Inode != a.Inode {
		t.Fatalf("%+v", found)
	}
	m.check()
}

// TestDeepKeys: a key of slashes alone is a key, and costs what its directories cost.
func TestDeepKeys(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	root := m.ok(&granary.Create{Parent: granary.BucketsInode, Name: "bucket", Type: granary.TypeDirectory}).Attr.Inode
	key := strings.Repeat("/", 1023) + "k"
	m.ok(&granary.Create{Parent: root, Name: key, Key: true, Type: granary.TypeRegular, Content: &granary.Content{Inline: []byte("x")}})
	if got := listAll(m, granary.List{Root: root, Limit: 1}); fmt.Sprint(got) != fmt.Sprint([]string{key}) {
		t.Fatalf("listed %q", got)
	}
	m.ok(&granary.Unlink{Parent: root, Name: key, Key: true, Prune: true})
	m.check()
}

package master

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// listed is a listing in words: prefixes end in " *".
func listed(l *granary.Listing) []string {
	var words []string
	for _, it := range l.Items {
		words = append(words, listedItem(it.Key, it.IsPrefix))
	}
	return words
}

func listedItem(key string, isPrefix bool) string {
	if isPrefix {
		return key + " *"
	}
	return key
}

// listModel filters a sorted list of keys, and folds what is left.
func listModel(keys []string, q *granary.List) []string {
	var want []string
	for _, k := range keys {
		if !strings.HasPrefix(k, q.Prefix) || k <= q.StartAfter {
			continue
		}
		word := k
		if i := strings.Index(k[len(q.Prefix):], q.Delimiter); i >= 0 && q.Delimiter != "" {
			word = listedItem(k[:len(q.Prefix)+i+len(q.Delimiter)], true)
		}
		if len(want) == 0 || want[len(want)-1] != word {
			want = append(want, word)
		}
	}
	return want
}

// listAll lists page by page.
func listAll(m *machine, q granary.List) []string {
	var got []string
	for pages := 0; ; pages++ {
		l := ask[*granary.Listing](m, &q)
		got = append(got, listed(l)...)
		if !l.Truncated {
			return got
		}
		if len(l.Items) != q.Limit || pages > 1000 || l.Next <= q.StartAfter {
			m.t.Fatalf("page %d of %+v: %d items, next %q", pages, q, len(l.Items), l.Next)
		}
		q.StartAfter = l.Next
	}
}

// listTree makes keys, directories (those that end in "/"; with "//", markers) and a symbolic link, and returns the keys.
func listTree(m *machine, root granary.InodeID, names ...string) []string {
	var keys []string
	for _, name := range names {
		op := &granary.Create{Parent: root, Name: strings.TrimRight(name, "/"), Type: granary.TypeRegular, MakeParents: true, Exclusive: true}
		if strings.HasSuffix(name, "/") {
			op.Type = granary.TypeDirectory
		}
		if strings.HasSuffix(name, "//") {
			name, op.Flags, op.Exclusive = name[:len(name)-1], granary.FlagMarker, false
		}
		if strings.HasSuffix(name, "@") {
			op.Type, op.Target = granary.TypeSymlink, "x"
		}
		if r := m.do(op); r.Err == nil && (op.Type == granary.TypeRegular || op.Flags != 0) {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys)
	return keys
}

func newBucket(m *machine) granary.InodeID {
	return m.ok(&granary.Create{Parent: granary.BucketsInode, Name: "b", Type: granary.TypeDirectory}).Attr.Inode
}

func TestListGolden(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	root := newBucket(m)
	keys := listTree(m, root, "a/a", "a/c", "a-1", "a-2/x", "a-2/y", "b/c/d", "b/cx", "b/d", "c/m//", "e/", "e/f/g/", "l/@", "m//", "z")
	for _, c := range []struct {
		name string
		q    granary.List
		want string
	}{
		{"everything", granary.List{}, "a-1, a-2/x, a-2/y, a/a, a/c, b/c/d, b/cx, b/d, c/m/, m/, z"},
		{"directories in which there is something", granary.List{Delimiter: "/"}, "a-1, a-2/ *, a/ *, b/ *, c/ *, m/ *, z"},
		{"start within a prefix", granary.List{Delimiter: "/", StartAfter: "a/b"}, "a/ *, b/ *, c/ *, m/ *, z"},
		{"start at a prefix", granary.List{Delimiter: "/", StartAfter: "a/"}, "a/ *, b/ *, c/ *, m/ *, z"},
		{"start at the last key of a prefix", granary.List{Delimiter: "/", StartAfter: "a/c"}, "b/ *, c/ *, m/ *, z"},
		{"start at a marker", granary.List{Delimiter: "/", StartAfter: "m/"}, "z"},
		{"the marker itself", granary.List{Delimiter: "/", Prefix: "m/"}, "m/"},
		{"a marker below", granary.List{Delimiter: "/", Prefix: "c/"}, "c/m/ *"},
		{"a prefix within a name", granary.List{Delimiter: "/", Prefix: "a-"}, "a-1, a-2/ *"},
		{"empty directories", granary.List{Prefix: "e/"}, ""},
		{"empty directories, folded", granary.List{Delimiter: "/", Prefix: "e"}, ""},
		{"no files", granary.List{Delimiter: "/", Prefix: "l"}, ""},
		{"another delimiter", granary.List{Delimiter: "-"}, "a- *, a/a, a/c, b/c/d, b/cx, b/d, c/m/, m/, z"},
		{"a delimiter across directories", granary.List{Delimiter: "b/c"}, "a-1, a-2/x, a-2/y, a/a, a/c, b/c *, b/d, c/m/, m/, z"},
		{"a delimiter that ends in a directory", granary.List{Delimiter: "2/x"}, "a-1, a-2/x *, a-2/y, a/a, a/c, b/c/d, b/cx, b/d, c/m/, m/, z"},
		{"start within another delimiter's prefix", granary.List{Delimiter: "-", StartAfter: "a-2/x", Prefix: "a"}, "a- *, a/a, a/c"},
		{"a delimiter in the prefix", granary.List{Delimiter: "-", Prefix: "a-"}, "a-1, a-2/x, a-2/y"},
	} {
		c.q.Root = root
		got := strings.Join(listed(ask[*granary.Listing](m, &c.q)), ", ")
		if model := strings.Join(listModel(keys, &c.q), ", "); got != c.want || model != c.want {
			t.Errorf("%s: %q, want %q; the model says %q", c.name, got, c.want, model)
		}
		c.q.Limit = 1
		if got := strings.Join(listAll(m, c.q), ", "); got != c.want {
			t.Errorf("%s, one by one: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestListAgainstSort compares List with a sorted list of the keys, in random trees and by random queries.
func TestListAgainstSort(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		defer m.close()
		root := newBucket(m)
		component := rapid.SampledFrom([]string{"a", "a-", "a.", "a0", "b", "ab", "b-b", "ö", "\xff", "\xff\xff"})
		path := rapid.Custom(func(rt *rapid.T) string {
			return strings.Join(rapid.SliceOfN(component, 1, 4).Draw(rt, "components"), "/")
		})
		var names []string
		for range rapid.IntRange(0, 15).Draw(rt, "names") {
			names = append(names, path.Draw(rt, "name")+rapid.SampledFrom([]string{"", "", "", "/", "//", "@"}).Draw(rt, "kind"))
		}
		keys := listTree(m, root, names...)
		part := func(label string) string {
			k := path.Draw(rt, label)
			if len(keys) > 0 && rapid.Bool().Draw(rt, label+" of a key") {
				k = rapid.SampledFrom(keys).Draw(rt, label)
			}
			k = k[:rapid.IntRange(0, len(k)).Draw(rt, label+" length")]
			return k + rapid.SampledFrom([]string{"", "", "/", "0", "\x00", "\xff"}).Draw(rt, label+" end")
		}
		for range 8 {
			q := granary.List{Root: root, Limit: rapid.IntRange(1, 6).Draw(rt, "limit"), StartAfter: part("start"), Prefix: part("prefix"),
				Delimiter: rapid.SampledFrom([]string{"", "/", "/", "/", "-", "a", "b/", "-/a", "\xff", "//"}).Draw(rt, "delimiter")}
			if got, want := listAll(m, q), listModel(keys, &q); !slices.Equal(got, want) {
				rt.Fatalf("%+v lists\n%q, want\n%q of\n%q", q, got, want, keys)
			}
		}
	})
}

// TestListIsBounded lists a tree that is long and holds nearly nothing: in several calls, each with
// an end.
func TestListIsBounded(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	defer m.close()
	m.ok(&granary.Create{Parent: granary.RootInode, Name: "z/last", Type: granary.TypeRegular, MakeParents: true})
	for i := range 21 {
		c := command{Time: m.time + 1}
		for j := range 1000 {
			m.seq++
			c.Items = append(c.Items, &mutation{Session: m.session, LowestUnacked: m.seq, Request: granary.Request{Seq: m.seq, Op: &granary.Create{
				Parent: granary.RootInode, Name: fmt.Sprintf("d/%02d/%d", i, j), Type: granary.TypeDirectory, MakeParents: true}}})
		}
		b, err := c.marshal()
		if err != nil {
			t.Fatal(err)
		}
		e := entry{Index: uint64(len(m.log) + 1), Term: 1, Data: b}
		m.log = append(m.log, e)
		m.s.apply([]entry{e})
	}
	for _, c := range []struct {
		q    granary.List
		want string // pages are apart by "|"
	}{
		{granary.List{}, "|z/last"},
		// What it takes too long to look through is shown as a prefix, once, and the next call goes on behind it.
		{granary.List{Delimiter: "/"}, "d/ *|z/ *"},
		{granary.List{Delimiter: "/", Prefix: "d/"}, "d/19/ *|"},
		{granary.List{Delimiter: "/", Prefix: "d/", StartAfter: "d/19/999"}, ""},
	} {
		c.q.Root = granary.RootInode
		var pages []string
		for l := (&granary.Listing{Truncated: true}); l.Truncated && len(pages) < 10; c.q.StartAfter = l.Next {
			l = ask[*granary.Listing](m, &c.q)
			pages = append(pages, strings.Join(listed(l), ", "))
		}
		if got := strings.Join(pages, "|"); got != c.want {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
	m.check()
}

// TestListContent lists what describes the content of files: the ETag, and what else is short.
func TestListContent(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	root := newBucket(m)
	long := []byte(strings.Repeat("x", granary.ListContentMax+1))
	for i, described := range [][]granary.Xattr{
		nil, {{Name: granary.XattrETag, Value: []byte("e")}}, {{Name: granary.XattrContentPrefix + "sum", Value: []byte("s")}, {Name: granary.XattrETag, Value: []byte("e")}},
		{{Name: granary.XattrContentPrefix + "a", Value: long}, {Name: granary.XattrETag, Value: []byte("e")}, {Name: granary.XattrContentPrefix + "z", Value: []byte("z")}},
	} {
		xattrs := append([]granary.Xattr{{Name: "granary.a", Value: []byte("1")}, {Name: "user.z", Value: []byte("2")}}, described...)
		m.ok(&granary.Create{Parent: root, Name: fmt.Sprint(i), Type: granary.TypeRegular, Xattrs: xattrs})
	}
	for _, versions := range []bool{false, true} {
		for content, want := range map[bool]string{
			false: "0 , 1 e, 2 e, 3 e", true: "0 , 1 e, 2 e granary.content.sum=s, 3 e granary.content.z=z",
		} {
			var got []string
			for _, item := range ask[*granary.Listing](m, &granary.List{Root: root, Content: content, Versions: versions}).Items {
				word := item.Key + " " + item.ETag
				for _, x := range item.Content {
					word += fmt.Sprintf(" %s=%s", x.Name, x.Value)
				}
				got = append(got, word)
			}
			if got := strings.Join(got, ", "); got != want {
				t.Errorf("content %t, versions %t: %s; want %s", content, versions, got, want)
			}
		}
	}
}

// BenchmarkList lists a thousand files of a bucket that has ten thousand, with and without what describes their content.
func BenchmarkList(b *testing.B) {
	m := newMachine(b)
	defer m.close()
	root := newBucket(m)
	for i := range 10_000 {
		m.ok(&granary.Create{Parent: root, Name: fmt.Sprintf("key-%06d", i), Type: granary.TypeRegular, Xattrs: []granary.Xattr{
			{Name: granary.XattrETag, Value: []byte(strings.Repeat("e", 32))}, {Name: granary.XattrContentPrefix + "checksum-crc64nvme", Value: []byte("AAAAAAAAAAA=")},
			{Name: "granary.s3.content-type", Value: []byte("application/octet-stream")},
		}})
	}
	for _, content := range []bool{false, true} {
		b.Run(fmt.Sprintf("content=%t", content), func(b *testing.B) {
			for b.Loop() {
				ask[*granary.Listing](m, &granary.List{Root: root, Content: content, StartAfter: "key-004000"})
			}
		})
	}
}

package master

import (
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// lookupBucket is what a gateway asks for a bucket.
func lookupBucket(name string) *granary.Lookup {
	return &granary.Lookup{Base: granary.BucketsInode, Path: name, Xattrs: true}
}

// TestSeenAgainstStore: what is answered of a bucket is the same with what was seen and without, whatever was done to buckets and what is in them.
func TestSeenAgainstStore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t)
		defer m.close()
		names := rapid.SampledFrom([]string{"a", "b", "%dir:a"})
		xattr := rapid.SampledFrom([]string{"granary.s3.policy", "granary.s3.acl"})
		root := func(rt *rapid.T) granary.InodeID {
			found, err := m.query(lookupBucket(names.Draw(rt, "bucket")))
			if err != nil {
				return granary.RootInode
			}
			return found.(*granary.Found).Entry.Attr.Inode
		}
		look := func(rt *rapid.T) {
			q := lookupBucket(names.Draw(rt, "name"))
			a, err := m.query(q)
			m.s.seen = newSeenRecords()
			want, wantErr := m.query(q)
			if granary.KindOf(err) != granary.KindOf(wantErr) || !reflect.DeepEqual(a, want) {
				rt.Fatalf("%q: %+v, %v\nwithout what was seen %+v, %v", q.Path, a, err, want, wantErr)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"look": look,
			"walk": func(rt *rapid.T) {
				q := &granary.Lookup{Base: granary.BucketsInode, Path: names.Draw(rt, "bucket") + "/dir"}
				a, err := m.query(q)
				m.s.seen = newSeenRecords()
				want, wantErr := m.query(q)
				if granary.KindOf(err) != granary.KindOf(wantErr) || !reflect.DeepEqual(a, want) {
					rt.Fatalf("%q: %+v, %v\nwithout what was seen %+v, %v", q.Path, a, err, want, wantErr)
				}
			},
			"mkdir": func(rt *rapid.T) { m.do(&granary.Create{Parent: root(rt), Name: "dir", Type: granary.TypeDirectory}) },
			"rmdir": func(rt *rapid.T) { m.do(&granary.Rmdir{Parent: root(rt), Name: "dir"}) },
			"warm":  func(rt *rapid.T) { root(rt) },
			"make": func(rt *rapid.T) {
				m.do(&granary.CreateDataset{Parent: granary.BucketsInode, Name: names.Draw(rt, "name"), Mode: 0o755})
			},
			"remove": func(rt *rapid.T) { m.do(&granary.Rmdir{Parent: granary.BucketsInode, Name: names.Draw(rt, "name")}) },
			"rename": func(rt *rapid.T) {
				m.do(&granary.Rename{SrcParent: granary.BucketsInode, SrcName: names.Draw(rt, "from"), DstParent: granary.BucketsInode, DstName: names.Draw(rt, "to")})
			},
			"set": func(rt *rapid.T) {
				m.do(&granary.SetXattr{Inode: root(rt), Xattr: granary.Xattr{Name: xattr.Draw(rt, "attribute"), Value: []byte{byte(m.seq)}}})
			},
			"unset": func(rt *rapid.T) { m.do(&granary.RemoveXattr{Inode: root(rt), Name: xattr.Draw(rt, "attribute")}) },
			"chmod": func(rt *rapid.T) { m.do(&granary.SetAttr{Inode: root(rt), Mode: ptr(uint32(m.seq & 0o777))}) },
			"put":   func(rt *rapid.T) { m.do(fileOf(root(rt), fmt.Sprint("file", m.seq), 0, 0)) },
			"take":  func(rt *rapid.T) { m.do(&granary.Unlink{Parent: root(rt), Name: fmt.Sprint("file", m.seq-1)}) },
			"again": func(*rapid.T) { m.close(); m.open() },
		})
		m.check()
	})
}

// TestSeenRecordsAreUsed: objects that come and go leave what was seen of a bucket as it is; a change of that does not.
func TestSeenRecordsAreUsed(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	root := m.ok(&granary.CreateDataset{Parent: granary.BucketsInode, Name: "bucket", Mode: 0o755}).Attr.Inode
	dir := m.ok(&granary.Create{Parent: root, Name: "dir", Type: granary.TypeDirectory, Mode: 0o755}).Attr.Inode
	m.ok(&granary.SetXattr{Inode: root, Xattr: granary.Xattr{Name: "granary.s3.acl", Value: []byte("<>")}})
	name, xattrs, inode := keyDentry(granary.BucketsInode, "bucket", true), key(tableXattr, uint64(root)), keyInode(root)
	seen := func(k []byte) bool { return m.s.seen.get(k, granary.Index(m.s.current().Applied)) != nil }
	for _, c := range []struct {
		change granary.Op
		lost   []byte
	}{
		{&granary.SetXattr{Inode: root, Xattr: granary.Xattr{Name: "granary.s3.policy", Value: []byte("{}")}}, xattrs},
		{&granary.RemoveXattr{Inode: root, Name: "granary.s3.policy"}, xattrs},
		{&granary.SetAttr{Inode: root, Mode: ptr(uint32(0o700))}, inode},
		{fileOf(root, "another", 0, 0), inode},
		{&granary.Rename{SrcParent: granary.BucketsInode, SrcName: "bucket", DstParent: granary.BucketsInode, DstName: "renamed"}, name},
	} {
		ask[*granary.Found](m, lookupBucket("bucket"))
		m.ok(fileOf(dir, "file", 0, 0))
		m.ok(&granary.Unlink{Parent: dir, Name: "file"})
		for _, k := range [][]byte{name, xattrs, inode} {
			if !seen(k) {
				t.Fatalf("before %T: %q is not known", c.change, k)
			}
		}
		if m.ok(c.change); seen(c.lost) {
			t.Fatalf("after %T: %q counts still", c.change, c.lost)
		}
	}
}

// TestSeenRecordsAreNew: who asks after a change was answered sees it, or a later one, and so does whoever asks after him.
func TestSeenRecordsAreNew(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	root := m.ok(&granary.CreateDataset{Parent: granary.BucketsInode, Name: "bucket", Mode: 0o755}).Attr.Inode
	set := func(n int64) {
		m.ok(&granary.SetXattr{Inode: root, Xattr: granary.Xattr{Name: "granary.s3.policy", Value: []byte(strconv.FormatInt(n, 10))}})
	}
	set(0)
	var seen atomic.Int64
	var over atomic.Bool
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for !over.Load() {
				before := seen.Load()
				a, err := m.query(lookupBucket("bucket"))
				if err != nil {
					t.Error(err)
					return
				}
				n, err := strconv.ParseInt(string(a.(*granary.Found).Xattrs[0].Value), 10, 64)
				if err != nil || n < before {
					t.Errorf("%d is seen after %d, %v", n, before, err)
					return
				}
				for old := before; n > old && !seen.CompareAndSwap(old, n); old = seen.Load() {
				}
			}
		})
	}
	for n := range int64(2000) {
		set(n)
		if n%3 == 0 {
			m.ok(fileOf(root, fmt.Sprint(n), 0, 0))
		}
		for old := seen.Load(); n > old && !seen.CompareAndSwap(old, n); old = seen.Load() {
		}
	}
	over.Store(true)
	readers.Wait()
}

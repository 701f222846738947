package client

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/internal/block"
)

// codecOf returns how a block is stored.
func (f *fakeCluster) codecOf(t *testing.T, b *granary.BlockInfo) granary.Compression {
	t.Helper()
	sh := f.shards.shards[f.ref(b.Location.Volume, int(b.Location.Shard))]
	h, err := block.ParseHeader(sh.data[b.Location.Offset:])
	if err != nil {
		t.Fatal(err)
	}
	return h.Codec
}

// TestSweep: what lies below a directory whose policy was changed is stored as that says, what has a policy of its own as that
// says, and everything else stays where it is; a second sweep finds nothing to do.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(30, 1)
		f.shards, f.policy = newFakeShards(6), policy(2, 1)
		f.policy.Compression = granary.CompressionLZ4
		wide := policy(4, 2)
		wide.Compression = granary.CompressionZstd
		plain := policy(2, 1)
		plain.Compression = granary.CompressionNone
		f.policies = map[granary.PolicyID]granary.Policy{2: wide, 3: plain}
		c := openClient(t, f, func(o *Options) { o.CacheBytes = 1 })
		defer closeClient(t, c)
		root := f.mkdir("d", 2, true)
		f.mkdir("d/e", 1, false)
		f.mkdir("d/e/g", 1, false)
		f.mkdir("d/own", 3, true)
		want := map[string][]byte{}
		for dir, dirPolicy := range map[string]granary.PolicyID{"": 1, "d/": 1, "d/e/": 1, "d/e/g/": 1, "d/own/": 1} {
			for i := range 5 {
				name := fmt.Sprint(dir, i)
				data := noise(uint64(len(want)), 30_000)
				if i%2 == 0 {
					data = bytes.Repeat([]byte(name), 10_000)
				}
				if _, err := upload(c, name, data); err != nil {
					t.Fatal(err)
				}
				f.inodes[f.names[name]].attr.Policy = dirPolicy
				want[name] = data
			}
		}
		f.sealAll()
		defer runWorker(t, f, c, WorkerOptions{})()
		for range 2 {
			f.want(granary.Task{Kind: granary.TaskSweep, Root: root})
			if e := <-f.work.ended; e.Error != "" {
				t.Errorf("%+v", e)
			}
			if n := f.effects["moved"]; n != 3*5+3 { // noise in d/own is stored as it should be
				t.Errorf("%d blocks were moved", n)
			}
			if n := f.effects["setpolicy"]; n != 2+4*5 {
				t.Errorf("%d inodes were given a policy", n)
			}
		}
		for name, data := range want {
			mustRead(t, c, name, data)
			l := layoutOf(t, c, name)
			b := &l.Blocks[0]
			wantPolicy := map[string]granary.PolicyID{"d": 2, "d/own": 3}[dirOf(name)]
			if wantPolicy == 0 {
				wantPolicy = map[bool]granary.PolicyID{true: 2, false: 1}[len(dirOf(name)) > 1]
			}
			p := f.policyOf(wantPolicy)
			if v := f.volumes[b.Location.Volume]; v.DataShards != p.DataShards || v.ParityShards != p.ParityShards {
				t.Errorf("%s lies in %d+%d", name, v.DataShards, v.ParityShards)
			}
			if got := f.codecOf(t, b); got != p.Compression && (got != granary.CompressionNone || len(data) != 30_000) {
				t.Errorf("%s is stored as %v", name, got)
			}
			if got := f.inodes[f.names[name]].attr.Policy; got != wantPolicy {
				t.Errorf("%s has policy %d", name, got)
			}
		}
	})
}

// TestSweepOfClasses: a file of a storage class is stored as the rule of the class says, whatever the rule was when it was put into it, and as
// the directory's policy says where the rule is silent.
func TestSweepOfClasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCluster(31, 1)
		f.shards, f.policy = newFakeShards(6), policy(2, 1)
		f.policy.Compression = granary.CompressionLZ4
		before := f.policy
		before.StorageClass = "STANDARD_IA"
		other := policy(2, 1)
		other.Compression, other.StorageClass = granary.CompressionLZ4, "ONEZONE_IA"
		f.policies = map[granary.PolicyID]granary.Policy{2: before, 3: other}
		c := openClient(t, f, func(o *Options) { o.CacheBytes = 1 })
		defer closeClient(t, c)
		root := f.mkdir("d", 1, true)
		want := map[string][]byte{}
		for name, id := range map[string]granary.PolicyID{"d/plain": 1, "d/ia": 2, "d/one": 3} {
			want[name] = bytes.Repeat([]byte(name), 10_000)
			if _, err := upload(c, name, want[name]); err != nil {
				t.Fatal(err)
			}
			a := &f.inodes[f.names[name]].attr
			if a.Policy = id; id != 1 {
				a.Flags |= granary.FlagPolicy
			}
		}
		f.sealAll()
		f.classRules = []granary.Xattr{{Name: granary.XattrStorageClass + "STANDARD_IA", Value: []byte(`{"code":"4+2","compression":"none"}`)}, {Name: "user.x"}}
		defer runWorker(t, f, c, WorkerOptions{})()
		f.want(granary.Task{Kind: granary.TaskSweep, Root: root})
		if e := <-f.work.ended; e.Error != "" {
			t.Errorf("%+v", e)
		}
		for name, is := range map[string]struct {
			k     int
			codec granary.Compression
			class string
		}{"d/plain": {2, granary.CompressionLZ4, ""}, "d/ia": {4, granary.CompressionNone, "STANDARD_IA"}, "d/one": {2, granary.CompressionZstd, "ONEZONE_IA"}} {
			mustRead(t, c, name, want[name])
			b := &layoutOf(t, c, name).Blocks[0]
			if v := f.volumes[b.Location.Volume]; v.DataShards != is.k || f.codecOf(t, b) != is.codec {
				t.Errorf("%s lies in %d+%d, %v", name, v.DataShards, v.ParityShards, f.codecOf(t, b))
			}
			if p := f.policyOf(f.inodes[f.names[name]].attr.Policy); p.StorageClass != is.class {
				t.Errorf("%s is of class %q", name, p.StorageClass)
			}
		}
	})
}

func dirOf(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return ""
}

// TestRewrite: a window that was cut too finely is written anew, with its holes, and nothing else of the file changes. Who writes to
// it meanwhile wins.
func TestRewrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newCluster(t, 31, 4, policy(2, 1), nil)
		r, err := upload(c, "f", noise(31, 2<<20))
		if err != nil {
			t.Fatal(err)
		}
		want := noise(31, 2<<20)
		for i := range 200 { // and beyond the end, with holes between some
			off := i * 16 << 10
			if i%50 == 49 {
				continue
			}
			p := noise(uint64(1000+i), 16<<10)
			want = append(want, make([]byte, max(0, off+len(p)-len(want)))...)
			copy(want[off:], p)
			if _, err := c.WriteRanges(t.Context(), granary.Cred{}, r.Attr, []Range{{uint64(off), p}}, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		mustRead(t, c, "f", want)
		n := f.inodes[f.names["f"]]
		before, version := len(n.extents), n.attr
		holes := len(runsOf(n.extents))
		defer runWorker(t, f, c, WorkerOptions{})()
		raced := false // somebody writes while the window is read for the first time
		f.shards.mu.Lock()
		f.shards.onRead = func(context.Context, granary.ShardRef) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if !raced {
				raced = true
				n.extents[0].ChunkOffset++ // as if it were another block
				n.attr.ContentVersion++
			}
			return nil
		}
		f.shards.mu.Unlock()
		f.want(granary.Task{Kind: granary.TaskSweep, Root: granary.RootInode})
		if e := <-f.work.ended; e.Error != "" || len(n.extents) != before || n.attr.ContentVersion == version.ContentVersion {
			t.Errorf("%d extents became %d, although somebody wrote: %+v", before, len(n.extents), e)
		}
		n.extents[0].ChunkOffset--
		version = n.attr
		f.want(granary.Task{Kind: granary.TaskSweep, Root: granary.RootInode})
		if e := <-f.work.ended; e.Error != "" {
			t.Errorf("%+v", e)
		}
		if after := len(n.extents); after > before/4 || len(runsOf(n.extents)) != holes {
			t.Errorf("%d extents became %d, in %d runs", before, after, holes)
		}
		if n.attr != version {
			t.Errorf("%+v became %+v", version, n.attr)
		}
		mustRead(t, c, "f", want)
	})
}

// TestRewriteTask: a file that random writes have cut finely is written anew in the windows that the task names, and in no other;
// its content and its attributes are what they were.
func TestRewriteTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newCluster(t, 33, 4, policy(2, 1), nil)
		const size = 2*granary.ExtentWindowSize + 1<<20
		want := noise(33, size)
		r, err := upload(c, "f", want)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			off := i % 3 * granary.ExtentWindowSize
			off += i * 7919 * 512 % (1 << 20)
			p := noise(uint64(2000+i), 4<<10)
			p = p[:min(len(p), size-off)]
			copy(want[off:], p)
			if _, err := c.WriteRanges(t.Context(), granary.Cred{}, r.Attr, []Range{{uint64(off), p}}, false, nil); err != nil {
				t.Fatal(err)
			}
		}
		n := f.inodes[f.names["f"]]
		inWindow := func(w uint64) int {
			return len(extentsIn(n.extents, w*granary.ExtentWindowSize, (w+1)*granary.ExtentWindowSize))
		}
		before, attr := []int{inWindow(0), inWindow(1), inWindow(2)}, n.attr
		if min(before[0], before[1], before[2]) <= granary.WindowExtentsMax {
			t.Fatalf("the windows have %d extents", before)
		}
		defer runWorker(t, f, c, WorkerOptions{})()
		f.want(granary.Task{Kind: granary.TaskRewrite, Root: attr.Inode, Windows: []uint64{0, 2, 7}})
		if e := <-f.work.ended; e.Error != "" {
			t.Errorf("%+v", e)
		}
		if inWindow(0) > granary.WindowExtentsMax || inWindow(2) > granary.WindowExtentsMax || inWindow(1) != before[1] {
			t.Errorf("windows of %d extents have %d, %d and %d", before, inWindow(0), inWindow(1), inWindow(2))
		}
		if n.attr != attr {
			t.Errorf("%+v became %+v", attr, n.attr)
		}
		mustRead(t, c, "f", want)
		f.want(granary.Task{Kind: granary.TaskRewrite, Root: 12345, Windows: []uint64{0}})
		if e := <-f.work.ended; e.Error != "" {
			t.Errorf("of a file that is gone: %+v", e)
		}
	})
}

// TestSweepGoesOn: a sweep looks at nothing that is at or before where the one before it was, and at all that follows, and tells how
// far it is, after what it has begun is committed.
func TestSweepGoesOn(t *testing.T) {
	names := []string{"a/1", "a/2", "a!", "b", "c/1", "c/d/1", "c/d/2", "c/d.x", "c/e", "z"} // a! is before a/
	for _, after := range []string{"", "a/1", "a!", "b", "c/d/1", "c/d", "c/gone/x", "z", "zz"} {
		t.Run(after, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeCluster(34, 1)
				f.shards, f.policy = newFakeShards(6), policy(2, 1)
				f.policies = map[granary.PolicyID]granary.Policy{2: policy(4, 2)}
				c := openClient(t, f, nil)
				defer closeClient(t, c)
				root := f.mkdir("r", 2, true)
				for _, dir := range []string{"r/a", "r/c", "r/c/d"} {
					f.mkdir(dir, 2, false)
				}
				for i, name := range names {
					if _, err := upload(c, "r/"+name, noise(uint64(i), 30_000)); err != nil {
						t.Fatal(err)
					}
					f.inodes[f.names["r/"+name]].attr.Policy = 1
				}
				f.sealAll()
				defer runWorker(t, f, c, WorkerOptions{})()
				f.want(granary.Task{Kind: granary.TaskSweep, Root: root, After: after, Rate: 1000}) // so slowly that each file counts
				e := <-f.work.ended
				if e.Error != "" {
					t.Errorf("%+v", e)
				}
				for _, name := range names {
					swept := f.inodes[f.names["r/"+name]].attr.Policy == 2
					if swept != (name > after) {
						t.Errorf("after %q, %s was looked at: %t", after, name, swept)
					}
				}
				if want := max("z", after); e.After != want && !(after >= "z" && e.After == "") {
					t.Errorf("it ended at %q", e.After)
				}
			})
		})
	}
}

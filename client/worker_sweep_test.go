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

package master

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dsorchard/granary"
)

func TestCreateDataset(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	r := m.ok(&granary.CreateDataset{Parent: granary.RootInode, Name: "data", Mode: 0o750, UID: 5, GID: 6})
	a := r.Attr
	if !a.IsDir() || a.Mode != 0o750 || a.UID != 5 || a.GID != 6 || a.Nlink != 2 || a.Parent != granary.RootInode || a.Inode != a.Inode.Dataset().Root() {
		t.Fatalf("%+v", a)
	}
	bucket := m.ok(&granary.CreateDataset{Parent: granary.BucketsInode, Name: "bucket", Mode: 0o755}).Attr
	m.fails(granary.KindExists, &granary.CreateDataset{Parent: granary.RootInode, Name: "data"})
	m.file(granary.RootInode, "file", 0, 0)
	m.fails(granary.KindExists, &granary.CreateDataset{Parent: granary.RootInode, Name: "file"})
	m.fails(granary.KindInvalid, &granary.CreateDataset{Parent: granary.RootInode, Name: "a/b"})
	m.fails(granary.KindInvalid, &granary.CreateDataset{Parent: a.Inode, Name: "inner"})
	m.fails(granary.KindInvalid, &granary.CreateDataset{Parent: 12345, Name: "nowhere"})

	// It is a directory like any other to those who walk through it.
	op := fileOf(granary.RootInode, "data/x/y", 1, 3)
	op.MakeParents = true
	if in := m.ok(op).Attr.Inode; in.Dataset() != a.Inode.Dataset() {
		t.Fatalf("inode %d is not of dataset %d", in, a.Inode.Dataset())
	}
	found := ask[*granary.Found](m, &granary.Lookup{Base: granary.RootInode, Path: "data/x/y"})
	if found.Entry.Attr.Size != 3 {
		t.Fatalf("%+v", found)
	}
	list := ask[*granary.Listing](m, &granary.List{Root: granary.RootInode})
	if len(list.Items) != 2 || list.Items[0].Key != "data/x/y" {
		t.Fatalf("%+v", list)
	}
	all := ask[*granary.Datasets](m, &granary.ListDatasets{})
	if len(all.Datasets) != 3 || all.More || all.Datasets[0].Name != "" || all.Datasets[1].Name != "data" || all.Datasets[1].Parent != granary.RootInode ||
		all.Datasets[2].Name != "bucket" || all.Datasets[2].Parent != granary.BucketsInode || all.Datasets[2].Root.Inode != bucket.Inode {
		t.Fatalf("%+v", all)
	}
	one := ask[*granary.Datasets](m, &granary.ListDatasets{After: granary.RootDataset, Limit: 1})
	if len(one.Datasets) != 1 || !one.More || one.Datasets[0].ID != a.Inode.Dataset() {
		t.Fatalf("%+v", one)
	}
	m.check()
}

// TestDatasetStaysWhereItIs moves the root of a dataset, and what is in it, about.
func TestDatasetStaysWhereItIs(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	ds, other := m.dataset("ds"), m.dataset("other")
	dir := m.ok(&granary.Create{Parent: granary.RootInode, Name: "dir", Type: granary.TypeDirectory}).Attr.Inode
	m.ok(&granary.Create{Parent: dir, Name: "sub", Type: granary.TypeDirectory})
	f := m.file(granary.RootInode, "f", 0, 0)
	m.file(ds, "g", 0, 0)
	move := func(from granary.InodeID, a string, to granary.InodeID, b string) *granary.Rename {
		return &granary.Rename{SrcParent: from, SrcName: a, DstParent: to, DstName: b}
	}
	exchange := func(op *granary.Rename) *granary.Rename {
		op.Exchange = true
		return op
	}
	m.fails(granary.KindCrossDataset, move(granary.RootInode, "ds", dir, "ds"))
	m.fails(granary.KindCrossDataset, move(granary.RootInode, "ds", granary.BucketsInode, "ds"))
	m.fails(granary.KindCrossDataset, move(granary.RootInode, "ds", other, "ds"))
	m.fails(granary.KindCrossDataset, move(granary.RootInode, "ds", ds, "ds"))
	m.fails(granary.KindCrossDataset, move(granary.RootInode, "f", ds, "f"))
	m.fails(granary.KindCrossDataset, move(ds, "g", granary.RootInode, "g"))
	m.fails(granary.KindCrossDataset, move(ds, "g", other, "g"))
	m.fails(granary.KindCrossDataset, exchange(move(dir, "sub", granary.RootInode, "ds")))
	m.fails(granary.KindCrossDataset, &granary.Link{Inode: f, Parent: ds, Name: "f"})
	m.fails(granary.KindIsDir, move(granary.RootInode, "f", granary.RootInode, "other"))
	m.fails(granary.KindExists, move(granary.RootInode, "dir", granary.RootInode, "other"))
	m.fails(granary.KindExists, move(dir, "sub", granary.RootInode, "other"))
	m.fails(granary.KindExists, move(granary.RootInode, "ds", granary.RootInode, "other"))
	m.fails(granary.KindNotDir, move(granary.RootInode, "ds", granary.RootInode, "f"))

	m.ok(move(granary.RootInode, "ds", granary.RootInode, "renamed"))
	m.ok(exchange(move(granary.RootInode, "other", granary.RootInode, "dir")))
	m.check() // the names in the records of datasets are right
	all := ask[*granary.Datasets](m, &granary.ListDatasets{After: granary.RootDataset}).Datasets
	if all[0].Name != "renamed" || all[1].Name != "dir" {
		t.Fatalf("%+v", all)
	}
}

// TestRemoveDataset removes datasets that are empty only, with the limits of those who own something in them.
func TestRemoveDataset(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	ds := m.dataset("ds")
	m.file(ds, "f", 1, 7)
	for id := range uint32(2*ownersForgottenMax + 10) {
		m.ok(&granary.SetQuota{Dataset: ds.Dataset(), Scope: granary.QuotaGroup, ID: id, Limit: granary.Quota{Bytes: 100}})
	}
	m.fails(granary.KindNotEmpty, &granary.Rmdir{Parent: granary.RootInode, Name: "ds"})
	m.fails(granary.KindNotOwner, &granary.RemoveTree{Parent: granary.RootInode, Name: "ds"})
	m.ok(&granary.Unlink{Parent: ds, Name: "f"})
	upload := m.ok(&granary.Create{Parent: ds.Dataset().System(), Name: "u", Type: granary.TypeDirectory}).Attr.Inode
	m.fails(granary.KindNotEmpty, &granary.Rmdir{Parent: granary.RootInode, Name: "ds"})
	m.ok(&granary.Rmdir{Parent: ds.Dataset().System(), Name: "u"})
	implicit := fileOf(ds, "i/f", 0, 0)
	implicit.MakeParents = true
	m.ok(implicit)
	m.ok(&granary.Unlink{Parent: ds, Name: "i/f", Path: true})
	m.fails(granary.KindNotEmpty, &granary.Rmdir{Parent: granary.RootInode, Name: "ds"}) // as it is for everybody but S3
	m.ok(&granary.Rmdir{Parent: ds, Name: "i"})
	m.ok(&granary.Rmdir{Parent: granary.RootInode, Name: "ds"})
	m.fails(granary.KindNotFound, &granary.SetQuota{Dataset: ds.Dataset()})
	m.fails(granary.KindNotFound, &granary.Create{Parent: upload, Name: "x", Type: granary.TypeRegular})
	if all := ask[*granary.Datasets](m, &granary.ListDatasets{}).Datasets; len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	if steps := m.drain(300); steps < 2 {
		t.Fatalf("%d steps for the limits of many", steps)
	}
	for k := range usages(m.s) {
		if k.dataset != granary.RootDataset {
			t.Fatalf("%+v is left", k)
		}
	}
	m.check()
}

func TestStatFSOfDataset(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	m.item(&registerServer{granary.Server{ID: "s1", Addr: "h:1", Disks: []granary.DiskID{"d1", "d2"}}})
	ds := m.dataset("ds")
	f := m.file(ds, "f", 1, 70)
	cluster := *ask[*granary.FSStats](m, &granary.StatFS{})
	if without := *ask[*granary.FSStats](m, &granary.StatFS{Inode: f}); without.Bytes != cluster.Bytes || without.Files != cluster.Files {
		t.Fatalf("%+v without a quota, %+v in all", without, cluster)
	}
	for _, c := range []struct {
		limit granary.Quota
		want  granary.FSStats
	}{
		{granary.Quota{Bytes: 100}, granary.FSStats{Bytes: 100, BytesFree: 30, Files: 3, FilesFree: inodeIDsMax - granary.InodeCounterFirst - 1}},
		{granary.Quota{Bytes: 50, Inodes: 10}, granary.FSStats{Bytes: 50, BytesFree: 0, Files: 3, FilesFree: 7}},
		{granary.Quota{Bytes: 1 << 50, Inodes: 2}, granary.FSStats{Bytes: cluster.Bytes, BytesFree: cluster.BytesFree, Files: 3, FilesFree: 0}},
	} {
		m.ok(&granary.SetQuota{Dataset: ds.Dataset(), Limit: c.limit})
		if got := *ask[*granary.FSStats](m, &granary.StatFS{Inode: f}); got != c.want {
			t.Errorf("with %+v: %+v, want %+v", c.limit, got, c.want)
		}
		if got := *ask[*granary.FSStats](m, &granary.StatFS{Inode: granary.RootInode}); got.Bytes != cluster.Bytes {
			t.Errorf("of another dataset: %+v", got)
		}
	}
}

// TestDatasetOfFormat1 reads a dataset that format 1 wrote: it has no name, no limit and no usage of owners, and files
// from then go without breaking the sums.
func TestDatasetOfFormat1(t *testing.T) {
	e := encoder{}
	e.u8(1)
	e.u64(7)
	for _, v := range []uint64{20, 3, 1, 10} {
		e.u64(v)
	}
	e.bool(false)
	d, err := unmarshal[datasetRecord](e.b)
	if err != nil || d.NextInode != 20 || d.usage() != (granary.Usage{Bytes: 10, Inodes: 3}) {
		t.Fatalf("%+v, %v", d, err)
	}
	gone := ownerRecord{Bytes: -5, Inodes: -1}
	back, err := unmarshal[ownerRecord](marshal(&gone, 8))
	if err != nil || *back != gone || back.usage(3) != (granary.Usage{ID: 3}) {
		t.Fatalf("%+v, %v", back, err)
	}
}

// TestEndOfDatasetInAnyBatch sets limits and removes the dataset, in one batch and in several: the digest of what was
// written is the same.
func TestEndOfDatasetInAnyBatch(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	ds := m.dataset("ds")
	for id := range uint32(3) {
		m.ok(&granary.SetQuota{Dataset: ds.Dataset(), Scope: granary.QuotaUser, ID: id, Limit: granary.Quota{Bytes: 100}})
	}
	m.ok(&granary.Rmdir{Parent: granary.RootInode, Name: "ds"})
	want := dump(m.s)
	one := &machine{t: t, fs: vfs.NewMem()}
	one.open()
	defer one.close()
	one.s.apply(m.log)
	if got := dump(one.s); got != want {
		t.Fatalf("in one batch:\n%s\nwant:\n%s", got, want)
	}
}

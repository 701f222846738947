package master

import (
	"context"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dsorchard/granary"
)

// BenchmarkResolve resolves paths of five components among a million other names, and lists a directory of them.
func BenchmarkResolve(b *testing.B) {
	m := &machine{t: b, fs: vfs.Default}
	s, err := openState(b.TempDir(), stateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	m.s = s
	defer m.close()
	m.item(&initCluster{Cluster: "c1", RootUser: granary.User{AccessKey: "root", SecretKey: "secret", Root: true}})
	m.session = granary.SessionID(m.item(&openSession{Client: "test"}).Offset)
	const files = 200_000
	dir, path := granary.RootInode, ""
	for i := range 4 {
		dir = m.ok(&granary.Create{Parent: dir, Name: fmt.Sprintf("level-%d", i), Type: granary.TypeDirectory, Mode: 0o755}).Attr.Inode
		path += fmt.Sprintf("level-%d/", i)
	}
	for at := 0; at < files; at += 200 {
		c := command{Time: granary.Time(at)}
		for i := range 200 {
			m.seq++
			c.Items = append(c.Items, &mutation{Session: m.session, LowestUnacked: m.seq, Request: granary.Request{Seq: m.seq, Op: &granary.Create{
				Parent: dir, Name: fmt.Sprintf("file-%08d", at+i), Type: granary.TypeRegular, Mode: 0o644}}})
		}
		data, err := c.marshal()
		if err != nil {
			b.Fatal(err)
		}
		m.log = append(m.log, entry{})
		m.s.apply([]entry{{Index: s.current().Applied + 1, Term: 1, Data: data}})
	}
	ask := func(b *testing.B, q granary.Query) {
		if _, _, err := m.s.query(context.Background(), q, allUp{}); err != nil {
			b.Fatal(err)
		}
	}
	for _, few := range []int{1000, files} {
		b.Run(fmt.Sprintf("of %d", few), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				ask(b, &granary.Lookup{Base: granary.RootInode, Path: fmt.Sprintf("%sfile-%08d", path, i*7919%few)})
			}
		})
	}
	b.Run("list 1000", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			ask(b, &granary.List{Root: dir, StartAfter: fmt.Sprintf("file-%08d", i*1000%files)})
		}
	})
	b.Run("readdir 1000", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			ask(b, &granary.ReadDir{Inode: dir, After: fmt.Sprintf("file-%08d", i*1000%files), Limit: 1000})
		}
	})
}

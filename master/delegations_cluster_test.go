package master

import (
	"testing"

	"github.com/dsorchard/granary"
)

// TestAwaitReturn: who waits for a directory has it recalled, and is answered when it was given back, or its holder has ended.
func TestAwaitReturn(t *testing.T) {
	g := newGroup(t, 1, true, nil)
	asker := g.client()
	for name, end := range map[string]func(holder *testClient, d granary.InodeID){
		"returned": func(holder *testClient, d granary.InodeID) {
			g.do(holder, &granary.ReturnDelegation{Inodes: []granary.InodeID{d}})
		},
		"ended": func(holder *testClient, _ granary.InodeID) { g.do(holder, &granary.CloseSession{}) },
	} {
		holder := g.client()
		recalls := g.nodes[0].leading.Load().recalls
		_, more := recalls.pending(holder.session)
		d := g.do(asker, mkdirOp(granary.RootInode, name)).Attr.Inode
		g.do(holder, &granary.TakeDelegation{Inode: d})
		ask := func(q granary.Query) error {
			_, _, err := g.nodes[0].Query(t.Context(), &granary.QueryRequest{Session: asker.session, Query: q})
			return err
		}
		if err := ask(&granary.Lookup{Base: d}); !granary.IsKind(err, granary.KindDelegated) {
			t.Errorf("%s: %v", name, err)
		}
		waited := make(chan error, 1)
		go func() { waited <- ask(&granary.AwaitReturn{Inodes: []granary.InodeID{d}}) }()
		<-more
		if dirs, _ := recalls.pending(holder.session); len(dirs) != 1 || dirs[0] != d {
			t.Errorf("%s: recalled are %v", name, dirs)
		}
		end(holder, d)
		if err := <-waited; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := ask(&granary.Lookup{Base: d}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

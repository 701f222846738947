package master

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dsorchard/granary"
)

// TestReclaimOfAttributes: what hangs on files goes in steps of any size, in whichever order the files went, and nothing is left behind.
func TestReclaimOfAttributes(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 7, reclaimKeysMax} {
		m := newMachine(t)
		names := make([]string, 40)
		for i := range names {
			names[i] = fmt.Sprintf("f%02d", i)
			xattrs := make([]granary.Xattr, i%4)
			for n := range xattrs {
				xattrs[n] = granary.Xattr{Name: fmt.Sprint("user.", n), Value: []byte("value")}
			}
			content := &granary.Content{Inline: []byte("inline")}
			if i%5 == 0 {
				content = ptr(m.content(0, []byte(names[i])))
			}
			m.ok(&granary.Create{Parent: granary.RootInode, Name: names[i], Type: granary.TypeRegular, Xattrs: xattrs, Content: content})
		}
		slices.Reverse(names[:20]) // inodes join the queue in front of what was there
		for i, name := range names {
			m.ok(&granary.Unlink{Parent: granary.RootInode, Name: name})
			if m.dropAll(); i%3 == 0 {
				m.item(&reclaim{Limit: limit})
				m.agree()
			}
			if i == 30 { // the queue is there again, and where it begins is not known
				m.close()
				m.open()
			}
		}
		m.drain(limit)
		m.check()
		for _, table := range []byte{tableXattr, tableInline, tableExtent, tableQueue} {
			m.s.each([]byte{table}, func(k, _ []byte) { t.Errorf("limit %d: %q is left", limit, k) })
		}
		m.close()
	}
}

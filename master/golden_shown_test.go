package master

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"testing"

	"github.com/dsorchard/granary"
)

// shown is what all scripts together show.
type shown struct {
	ops   map[string]map[bool]bool // done, and refused
	kinds map[granary.Kind]bool
}

// add notes an outcome.
func (all *shown) add(op granary.Op, r *granary.Result) {
	name := reflect.TypeOf(op).Elem().Name()
	if all.ops[name] == nil {
		all.ops[name] = map[bool]bool{}
	}
	all.ops[name][r.Err == nil] = true
	all.kinds[kindOf(*r)] = true
}

// complete expects every operation that there is, done and refused, and every kind of error that one can have of itself.
func (all *shown) complete(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../op.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Recv == nil || fn.Name.Name != "op" {
			continue
		}
		count++
		if name := fn.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name; len(all.ops[name]) < 2 && name != "AdoptVolume" { // which is for a restored state: TestVolumesAreAdopted
			t.Errorf("the operation %s should be in scripts both done and refused: %v", name, all.ops[name])
		}
	}
	if count == 0 {
		t.Error("op.go declares no operations")
	}
	elsewhere := []granary.Kind{ // given by the nodes around the state, by what uses them, and for what is broken
		granary.KindUnavailable, granary.KindIndeterminate, granary.KindCorrupt, granary.KindCanceled, granary.KindInternal,
		granary.KindLoop, // clients follow symbolic links
	}
	for k := granary.KindNotFound; k.String() != fmt.Sprintf("kind %d", uint8(k)); k++ {
		if !all.kinds[k] && !slices.Contains(elsewhere, k) {
			t.Errorf("no script has the error %q", k)
		}
	}
}

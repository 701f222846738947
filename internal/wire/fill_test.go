package wire

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dsorchard/granary"
)

// Every op, query and answer; TestListsAreComplete holds them against the source.
var (
	allOps = []granary.Op{
		&granary.Create{}, &granary.Unlink{}, &granary.Rmdir{}, &granary.RemoveTree{}, &granary.Rename{},
		&granary.Link{}, &granary.SetAttr{}, &granary.SetXattr{}, &granary.RemoveXattr{}, &granary.Commit{},
		&granary.CopyRange{}, &granary.Release{}, &granary.SetPolicy{}, &granary.OpenVolume{},
		&granary.SealVolume{}, &granary.CloseSession{}, &granary.SetUser{}, &granary.Allocate{}, &granary.Assemble{},
		&granary.CreateDataset{}, &granary.SetQuota{}, &granary.PlaceShard{}, &granary.MoveBlocks{}, &granary.SetDisk{},
		&granary.ForgetServer{}, &granary.ForgetDisk{}, &granary.SetUpkeep{}, &granary.MoveVolume{}, &granary.DamageShards{},
		&granary.AdoptVolume{}, &granary.AcquireLock{}, &granary.ReleaseLock{}, &granary.CancelLock{}, &granary.AcquirePaths{},
		&granary.RenewPaths{}, &granary.ReleasePaths{},
		&granary.LeaseInodes{}, &granary.TakeDelegation{}, &granary.ReturnDelegation{},
		&granary.PutIdentity{}, &granary.DeleteIdentity{},
		&granary.SetChangeLog{},
	}
	allQueries = []granary.Query{
		&granary.Lookup{}, &granary.ReadDir{}, &granary.List{}, &granary.HasChunks{}, &granary.StatFS{},
		&granary.GetPolicy{}, &granary.GetUser{}, &granary.ListVolumes{}, &granary.ListDisks{}, &granary.GetStatus{},
		&granary.ListDatasets{}, &granary.ListUsage{}, &granary.GetVolume{}, &granary.ListBlocks{}, &granary.ListTasks{},
		&granary.GetDurability{}, &granary.GetUpkeep{}, &granary.GetLock{}, &granary.ListLocks{}, &granary.ListPathLocks{},
		&granary.AwaitReturn{}, &granary.GetIdentity{}, &granary.ListIdentities{}, &granary.ListIdentityUses{}, &granary.ResolveIdentity{},
		&granary.Watch{}, &granary.GetChangeLog{},
	}
	allAnswers = []granary.Answer{
		&granary.Found{}, &granary.Directory{}, &granary.Listing{}, &granary.ChunksHad{}, &granary.FSStats{},
		&granary.PolicyIs{}, &granary.UserIs{}, &granary.Volumes{}, &granary.Disks{}, &granary.Status{},
		&granary.Datasets{}, &granary.Usages{}, &granary.VolumeIs{}, &granary.Blocks{}, &granary.Tasks{},
		&granary.Durability{}, &granary.UpkeepIs{}, &granary.LockIs{}, &granary.Locks{}, &granary.PathLocks{}, &granary.Returned{},
		&granary.IdentityIs{}, &granary.Identities{}, &granary.IdentityUses{}, &granary.Holder{},
		&granary.Changes{}, &granary.ChangeLogIs{},
	}
)

func TestListsAreComplete(t *testing.T) {
	check := func(method string, have []string, files ...string) {
		t.Helper()
		var want []string
		for _, file := range files {
			want = append(want, receivers(t, file, method)...)
		}
		slices.Sort(want)
		slices.Sort(have)
		if len(want) == 0 || !slices.Equal(want, have) {
			t.Errorf("%v declare %s() on %v, tested are %v", files, method, want, have)
		}
	}
	check("op", typeNames(allOps), "../../op.go", "../../lock.go", "../../pathlock.go", "../../delegation.go", "../../identity.go", "../../watch.go")
	check("query", typeNames(allQueries), "../../query.go", "../../lock.go", "../../pathlock.go", "../../delegation.go", "../../identity.go", "../../watch.go")
	check("answer", typeNames(allAnswers), "../../query.go", "../../lock.go", "../../pathlock.go", "../../delegation.go", "../../identity.go", "../../watch.go")
}

func typeNames[T any](values []T) []string {
	var names []string
	for _, v := range values {
		names = append(names, reflect.TypeOf(v).Elem().Name())
	}
	return names
}

// receivers returns the types that a file of package granary declares a method for.
func receivers(t *testing.T, file, method string) []string {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.Name == method {
			names = append(names, fn.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name)
		}
	}
	return names
}

// filler makes values of any type, by reflection, so that no field can be forgotten. Full ones have
// every field set, every pointer non-nil and every list non-empty; others leave out what can be.
type filler struct {
	t    *rapid.T
	full bool
}

// fresh returns a new value of the type that a points to.
func fresh[T any](f filler, a T) T {
	v := reflect.New(reflect.TypeOf(a).Elem())
	f.fill(v.Elem(), v.Type().Elem().Name())
	return v.Interface().(T)
}

func (f filler) absent() bool { return !f.full && rapid.Bool().Draw(f.t, "absent") }

func (f filler) fill(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i), v.Type().Name()+"."+v.Type().Field(i).Name)
		}
	case reflect.Pointer:
		if !f.absent() {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), name)
		}
	case reflect.Slice:
		f.fillSlice(v, name)
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i), name)
		}
	case reflect.String:
		if !f.absent() {
			// Bytes, not text: names need not be UTF-8.
			v.SetString(string(rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(f.t, name)))
		}
	case reflect.Bool:
		v.SetBool(f.full || rapid.Bool().Draw(f.t, name))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		least := uint64(0)
		if f.full {
			least = 1
		}
		v.SetUint(rapid.Uint64Range(least, 1<<v.Type().Bits()-1).Draw(f.t, name))
	case reflect.Int, reflect.Int64:
		n := rapid.Int64().Draw(f.t, name)
		if f.full && n == 0 {
			n = -1
		}
		v.SetInt(n)
	case reflect.Interface:
		f.fillCause(v, name)
	default:
		panic(fmt.Sprintf("%s: a field of type %s", name, v.Type()))
	}
}

// fillSlice gives a nil or a non-empty slice; an empty one only where the difference is kept.
func (f filler) fillSlice(v reflect.Value, name string) {
	if f.absent() {
		if name == "Content.Inline" || name == "Layout.Inline" {
			if rapid.Bool().Draw(f.t, "empty") {
				v.Set(reflect.MakeSlice(v.Type(), 0, 0))
			}
		}
		return
	}
	n := rapid.IntRange(1, 3).Draw(f.t, name)
	v.Set(reflect.MakeSlice(v.Type(), n, n))
	for i := range n {
		f.fill(v.Index(i), name)
	}
}

// fillCause sets the one kind of interface there is: an error's cause.
func (f filler) fillCause(v reflect.Value, name string) {
	if name != "Error.Err" {
		panic(fmt.Sprintf("%s: a field of type %s", name, v.Type()))
	}
	switch {
	case f.absent():
	case rapid.Bool().Draw(f.t, "delegated"):
		v.Set(reflect.ValueOf(&granary.Delegated{Inodes: []granary.InodeID{1, granary.InodeID(rapid.Uint64().Draw(f.t, "inode"))}}))
	case rapid.Bool().Draw(f.t, "not leader"):
		v.Set(reflect.ValueOf(&granary.NotLeader{Leader: rapid.String().Draw(f.t, "leader")}))
	default:
		v.Set(reflect.ValueOf(errors.New(rapid.String().Draw(f.t, name))))
	}
}

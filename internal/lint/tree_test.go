package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/dsorchard/granary"

// tree is the source of the module.
type tree struct {
	fset  *token.FileSet
	files []*file
}

// file is one Go file.
type file struct {
	ast    *ast.File
	name   string // slash-separated, relative to the module
	dir    string // of name; "" for the root
	source []byte
}

// violation is one line that breaks a rule.
type violation struct {
	pos  token.Position
	text string
}

func (v violation) String() string {
	return fmt.Sprintf("%s:%d: %s", v.pos.Filename, v.pos.Line, v.text)
}

// rule looks through the tree.
type rule func(t *tree) []violation

func (f *file) isTest() bool      { return strings.HasSuffix(f.name, "_test.go") }
func (f *file) isGenerated() bool { return ast.IsGenerated(f.ast) }

// under reports whether the file lies in the directory or below it.
func (f *file) under(dir string) bool { return under(f.dir, dir) }

func under(dir, parent string) bool {
	return dir == parent || strings.HasPrefix(dir, parent+"/")
}

// imports returns the import path of each import spec.
func (f *file) imports() map[*ast.ImportSpec]string {
	paths := make(map[*ast.ImportSpec]string)
	for _, spec := range f.ast.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths[spec] = p
		}
	}
	return paths
}

// importsPath reports whether the file imports the package.
func (f *file) importsPath(p string) bool {
	for _, q := range f.imports() {
		if p == q {
			return true
		}
	}
	return false
}

func (t *tree) violation(n ast.Node, format string, args ...any) violation {
	return violation{t.fset.Position(n.Pos()), fmt.Sprintf(format, args...)}
}

// add parses a file into the tree.
func (t *tree) add(name string, source []byte) error {
	parsed, err := parser.ParseFile(t.fset, name, source, parser.ParseComments)
	if err != nil {
		return err
	}
	dir := path.Dir(name)
	if dir == "." {
		dir = ""
	}
	t.files = append(t.files, &file{ast: parsed, name: name, dir: dir, source: source})
	return nil
}

// packages returns the files of each directory.
func (t *tree) packages() map[string][]*file {
	dirs := make(map[string][]*file)
	for _, f := range t.files {
		dirs[f.dir] = append(dirs[f.dir], f)
	}
	return dirs
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		t.Fatal("there is no go.mod above")
	}
}

func load(t *testing.T) *tree {
	t.Helper()
	root := moduleRoot(t)
	out := &tree{fset: token.NewFileSet()}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := name != "." && strings.HasPrefix(d.Name(), ".")
			if hidden || d.Name() == "testdata" || d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		source, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		return out.add(name, source)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (t *tree) check(r rule) []string {
	var lines []string
	for _, v := range r(t) {
		lines = append(lines, v.String())
	}
	slices.Sort(lines)
	return lines
}

// TestRules holds every rule against the module.
func TestRules(t *testing.T) {
	tree := load(t)
	for name, r := range rules() {
		t.Run(name, func(t *testing.T) {
			for _, line := range tree.check(r) {
				t.Error(line)
			}
		})
	}
}

func rules() map[string]rule {
	return map[string]rule{
		"Imports":      importDirections,
		"Protobuf":     protobufStaysInWire,
		"Init":         noInit,
		"Variables":    noMutableVariables,
		"Environment":  noEnvironment,
		"Sleep":        noSleep,
		"PackageNames": noDumpingGrounds,
		"ErrorText":    noErrorText,
		"PackageDoc":   packagesAreDocumented,
		"Doc":          exportedIsDocumented,
		"Format":       isFormatted,
	}
}

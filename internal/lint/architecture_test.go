package lint

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestArchitecture checks that what ARCHITECTURE.md names as `package.Function`, `package.Type` or
// `package.Type.Method` exists, if the package is one of this module. A package is named by its path or
// the last element of it.
func TestArchitecture(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	declared := load(t).declarations()
	for i, line := range strings.Split(string(text), "\n") {
		for _, name := range missing(line, declared) {
			t.Errorf("ARCHITECTURE.md:%d: there is no %s", i+1, name)
		}
	}
}

// missing returns the names in a line of Markdown that should be declared and are not.
func missing(line string, declared map[string]map[string]bool) []string {
	var out []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(line, -1) {
		name := regexp.MustCompile(`\(.*\)$`).ReplaceAllString(m[1], "")
		pkg, rest, ok := splitName(name)
		if ok && declared[pkg] != nil && !declared[pkg][rest] {
			out = append(out, m[1])
		}
	}
	return out
}

// splitName parts a package from the name declared in it. Names of files, and lower-case ones after the name of the
// program, are none.
func splitName(s string) (pkg, name string, ok bool) {
	m := regexp.MustCompile(`^([a-z][a-z0-9/]*)\.([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?)$`).FindStringSubmatch(s)
	if m == nil || slices.Contains([]string{"go", "md", "proto", "json", "service", "sh", "yaml"}, m[2]) {
		return "", "", false
	}
	if m[1] == "granary" && !ast.IsExported(m[2]) {
		return "", "", false
	}
	return m[1], m[2], true
}

// declarations returns what each package, under its path and its last element, declares: "Func", "Type" and
// "Type.Member", where a member is a method or a field.
func (t *tree) declarations() map[string]map[string]bool {
	out := make(map[string]map[string]bool)
	for _, f := range t.files {
		if f.isTest() {
			continue
		}
		names := []string{f.dir, path.Base(f.dir)}
		if f.dir == "" {
			names = []string{"granary", "granary"}
		}
		for _, pkg := range names {
			if out[pkg] == nil {
				out[pkg] = make(map[string]bool)
			}
			for _, d := range f.ast.Decls {
				declare(out[pkg], d)
			}
		}
	}
	return out
}

func declare(names map[string]bool, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if r := receiver(d); r != "" {
			names[r+"."+d.Name.Name] = true
		} else {
			names[d.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.ValueSpec:
				for _, name := range s.Names {
					names[name.Name] = true
				}
			case *ast.TypeSpec:
				names[s.Name.Name] = true
				declareMembers(names, s)
			}
		}
	}
}

func declareMembers(names map[string]bool, s *ast.TypeSpec) {
	var fields *ast.FieldList
	switch x := s.Type.(type) {
	case *ast.StructType:
		fields = x.Fields
	case *ast.InterfaceType:
		fields = x.Methods
	default:
		return
	}
	for _, field := range fields.List {
		for _, name := range field.Names {
			names[s.Name.Name+"."+name.Name] = true
		}
	}
}

func TestMissingNames(t *testing.T) {
	tree := parse(t, map[string]string{
		"volume/a.go":   "package volume\n\ntype Store struct{ disks int }\n\nfunc (s *Store) Append() {}\n\nfunc Open() {}\n\nfunc scan() {}\n",
		"filer/s3/a.go": "package s3\n\nconst Port = 1\n",
		"a.go":          "package granary\n\ntype Op interface{ Do() }\n",
	})
	got := missing("`volume.Store`, `volume.Store.Append(ctx, a)`, `volume.Open()`, `volume.scan`, `volume.Store.disks`, `s3.Port`, "+
		"`filer/s3.Port`, `granary.Op.Do`, `granary.go`, `granary.service`, `os.Open`, volume.Nothing, `a sentence. Here`", tree.declarations())
	if len(got) != 0 {
		t.Errorf("missing, though there: %q", got)
	}
	want := []string{"volume.Close", "volume.Store.Read()", "filer/s3.Host", "granary.Hash"}
	if got := missing("`"+strings.Join(want, "` `")+"`", tree.declarations()); !slices.Equal(got, want) {
		t.Errorf("found missing %q, want %q", got, want)
	}
}

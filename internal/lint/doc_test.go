package lint

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/token"
	"path"
	"slices"
	"strings"
)

// noDumpingGrounds forbids packages named for what they are not.
func noDumpingGrounds(t *tree) []violation {
	forbidden := []string{"util", "utils", "common", "helper", "helpers", "types", "manager", "managers", "base", "misc", "shared", "lib"}
	var out []violation
	for _, f := range t.files {
		name := strings.TrimSuffix(f.ast.Name.Name, "_test")
		if slices.Contains(forbidden, name) || slices.Contains(forbidden, path.Base(f.dir)) {
			out = append(out, t.violation(f.ast, "package %s: name it for what it does", name))
		}
	}
	return out
}

// packagesAreDocumented wants a package comment, in doc.go unless it is a command or a test.
func packagesAreDocumented(t *tree) []violation {
	var out []violation
	for dir, files := range t.packages() {
		first := files[0]
		if slices.ContainsFunc(files, (*file).isGenerated) && !slices.ContainsFunc(files, func(f *file) bool { return !f.isGenerated() }) {
			continue
		}
		anywhere := first.ast.Name.Name == "main" || under(dir, "tests")
		if !slices.ContainsFunc(files, func(f *file) bool {
			return f.ast.Doc != nil && (anywhere || path.Base(f.name) == "doc.go")
		}) {
			out = append(out, t.violation(first.ast, "package %s has no package comment in a doc.go", first.ast.Name.Name))
		}
	}
	return out
}

// exportedIsDocumented wants a comment on each exported function, method of an exported type, type, constant and variable;
// that of a group of constants covers them all.
func exportedIsDocumented(t *tree) []violation {
	var out []violation
	for _, f := range t.files {
		if f.isTest() || f.isGenerated() || f.ast.Name.Name == "main" {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
					out = append(out, t.violation(d, "exported %s has no comment", d.Name.Name))
				}
			case *ast.GenDecl:
				out = append(out, undocumented(t, d)...)
			}
		}
	}
	return out
}

func undocumented(t *tree, d *ast.GenDecl) []violation {
	var out []violation
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
				out = append(out, t.violation(s, "exported %s has no comment", s.Name.Name))
			}
		case *ast.ValueSpec:
			for _, name := range s.Names {
				if name.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil && d.Tok != token.IMPORT {
					out = append(out, t.violation(name, "exported %s has no comment", name.Name))
				}
			}
		}
	}
	return out
}

// receiver returns the name of a method's type.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	e := d.Recv.List[0].Type
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	switch x := e.(type) {
	case *ast.IndexExpr:
		e = x.X
	case *ast.IndexListExpr:
		e = x.X
	}
	if name, ok := e.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// isFormatted wants what gofmt writes.
func isFormatted(t *tree) []violation {
	var out []violation
	for _, f := range t.files {
		formatted, err := format.Source(f.source)
		if err != nil || !bytes.Equal(formatted, f.source) {
			out = append(out, t.violation(f.ast, "is not as gofmt writes it"))
		}
	}
	return out
}

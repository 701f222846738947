package lint

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

// noInit forbids code that runs because a package was imported.
func noInit(t *tree) []violation {
	var out []violation
	for _, f := range t.files {
		if f.isGenerated() {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, t.violation(fn, "init function"))
			}
		}
	}
	return out
}

// packageVar is a variable of a package.
type packageVar struct {
	name  *ast.Ident
	spec  *ast.ValueSpec
	value ast.Expr // or nil
}

// noMutableVariables forbids state outside of values. A package variable is let be if it is blank, embedded, or an
// error that is only compared with. Otherwise it must be unexported, of no type that is there to change, and
// nothing in its package may write to it or take its address: then it is a table.
func noMutableVariables(t *tree) []violation {
	var out []violation
	for dir, files := range t.packages() {
		if under(dir, "cmd") || under(dir, "tests") {
			continue
		}
		vars := packageVars(files)
		for _, v := range vars {
			switch {
			case isError(v):
			case v.name.IsExported():
				out = append(out, t.violation(v.name, "variable %s is exported: anyone may change it", v.name.Name))
			case changes(v.spec.Type) || changes(v.value):
				out = append(out, t.violation(v.name, "variable %s is of a type that is there to change", v.name.Name))
			}
		}
		for _, f := range files {
			out = append(out, writes(t, f, vars)...)
		}
	}
	return out
}

func packageVars(files []*file) map[string]packageVar {
	vars := make(map[string]packageVar)
	for _, f := range files {
		if f.isTest() || f.isGenerated() {
			continue
		}
		for _, d := range f.ast.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR || isEmbedded(decl.Doc) {
				continue
			}
			for _, s := range decl.Specs {
				spec := s.(*ast.ValueSpec)
				for i, name := range spec.Names {
					if name.Name == "_" || isEmbedded(spec.Doc) {
						continue
					}
					v := packageVar{name: name, spec: spec}
					if i < len(spec.Values) {
						v.value = spec.Values[i]
					}
					vars[name.Name] = v
				}
			}
		}
	}
	return vars
}

func isEmbedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// isError recognises a sentinel by its name and how it is made.
func isError(v packageVar) bool {
	name := strings.ToLower(v.name.Name)
	call, ok := v.value.(*ast.CallExpr)
	return ok && strings.HasPrefix(name, "err") &&
		(isCall(call, "errors", "New") || isCall(call, "fmt", "Errorf") || isCall(call, "granary", "Errorf"))
}

// changes reports whether a type, or the value that gives it, is of a kind that makes sense only if it changes.
func changes(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.ChanType:
		return true
	case *ast.StarExpr:
		return changes(e.X)
	case *ast.UnaryExpr:
		return changes(e.X)
	case *ast.CompositeLit:
		_, isMap := e.Type.(*ast.MapType)
		return changes(e.Type) || isMap && len(e.Elts) == 0
	case *ast.CallExpr:
		if fn, ok := e.Fun.(*ast.Ident); ok && (fn.Name == "make" || fn.Name == "new") {
			return true
		}
		return changes(e.Fun)
	case *ast.IndexExpr:
		return changes(e.X)
	case *ast.SelectorExpr:
		pkg, ok := e.X.(*ast.Ident)
		return ok && (pkg.Name == "sync" || pkg.Name == "atomic" || pkg.Name == "singleflight" || pkg.Name == "bytes" && e.Sel.Name == "Buffer")
	}
	return false
}

// writes finds the statements of a file, a test or not, that write to a package variable.
func writes(t *tree, f *file, vars map[string]packageVar) []violation {
	var out []violation
	report := func(n ast.Node, e ast.Expr) {
		if name := rootOf(e); name != nil && isPackageVar(name, vars) {
			out = append(out, t.violation(n, "writes to the package variable %s, or takes its address", name.Name))
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, left := range n.Lhs {
					report(n, left)
				}
			}
		case *ast.IncDecStmt:
			report(n, n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				report(n, n.X)
			}
		case *ast.CallExpr:
			if fn, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && slices.Contains([]string{"delete", "clear", "copy"}, fn.Name) {
				report(n, n.Args[0])
			}
		}
		return true
	})
	return out
}

// isPackageVar resolves a name: the parser has bound it if it is local or declared in the same file.
func isPackageVar(name *ast.Ident, vars map[string]packageVar) bool {
	v, ok := vars[name.Name]
	return ok && (name.Obj == nil || name.Obj.Decl == v.spec)
}

// rootOf returns the variable that an expression is a part of.
func rootOf(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		default:
			return nil
		}
	}
}

// isCall reports whether a call is of the function, by the package's usual name.
func isCall(call *ast.CallExpr, pkg, name string) bool {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != name {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg && x.Obj == nil
}

// calls returns the calls in a file of any of the functions of a package.
func calls(f *file, pkg string, names ...string) []*ast.CallExpr {
	var out []*ast.CallExpr
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && slices.ContainsFunc(names, func(name string) bool { return isCall(call, pkg, name) }) {
			out = append(out, call)
		}
		return true
	})
	return out
}

// noEnvironment keeps configuration in Options: only cmd, and the tests that run it, read the environment.
func noEnvironment(t *tree) []violation {
	var out []violation
	for _, f := range t.files {
		if f.under("cmd") || f.under("tests") {
			continue
		}
		for _, call := range calls(f, "os", "Getenv", "LookupEnv", "Environ", "Setenv", "ExpandEnv") {
			out = append(out, t.violation(call, "the environment is read outside of cmd"))
		}
	}
	return out
}

// noSleep forbids waiting for the clock where one could wait for the thing itself. In a synctest bubble sleeping
// is how time passes.
func noSleep(t *tree) []violation {
	var out []violation
	for _, f := range t.files {
		test := f.isTest() || f.under("tests")
		if f.isTest() && f.importsPath("testing/synctest") {
			continue
		}
		excused := linesWith(t, f, "//lint:sleep ")
		for _, call := range calls(f, "time", "Sleep") {
			line := t.fset.Position(call.Pos()).Line
			switch {
			case test:
				out = append(out, t.violation(call, "a test sleeps: wait for what it waits for, or use testing/synctest"))
			case !excused[line] && !excused[line-1]:
				out = append(out, t.violation(call, "time.Sleep without a //lint:sleep comment that says why"))
			}
		}
	}
	return out
}

func linesWith(t *tree, f *file, prefix string) map[int]bool {
	lines := make(map[int]bool)
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, prefix) {
				lines[t.fset.Position(c.Pos()).Line] = true
			}
		}
	}
	return lines
}

// noErrorText forbids telling errors apart by their text.
func noErrorText(t *tree) []violation {
	var out []violation
	for _, f := range t.files {
		if f.isTest() {
			continue
		}
		for _, call := range calls(f, "strings", "Contains", "HasPrefix", "HasSuffix", "EqualFold", "Index") {
			if slices.ContainsFunc(call.Args, isErrorText) {
				out = append(out, t.violation(call, "errors are told apart by text: use kinds and errors.Is"))
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if b, ok := n.(*ast.BinaryExpr); ok && (b.Op == token.EQL || b.Op == token.NEQ) && (isErrorText(b.X) || isErrorText(b.Y)) {
				out = append(out, t.violation(b, "errors are told apart by text: use kinds and errors.Is"))
			}
			return true
		})
	}
	return out
}

// isErrorText recognises a call of a method Error without arguments.
func isErrorText(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok || len(call.Args) != 0 {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Error"
}

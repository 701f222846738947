package lint

import (
	"slices"
	"strings"
)

// nouns is the root package, which all others may import.
const nouns = ""

// allowed says which packages of the module a package may import besides the nouns and what lies below it. "x/..." is
// x and all below. The longest prefix of its directory counts. Tests may import all.
func allowed() map[string][]string {
	return map[string][]string{
		"erasure":                {},
		"internal":               {},
		"internal/disk/disktest": {"internal/disk"},
		"internal/raftlog":       {"internal/disk"},
		"master":                 {"erasure", "internal/..."},
		"volume":                 {"erasure", "internal/..."},
		"client":                 {"erasure", "internal/..."},
		"client/fsck":            {"erasure", "internal/block"},
		"filer":                  {"erasure", "internal/block", "internal/disk", "client"},
		"filer/iam":              {},
		"filer/accounts":         {"filer/iam"},
		"filer/notify":           {"client"},
		"filer/seal":             {},
		"filer/s3":               {"filer", "filer/iam", "filer/accounts", "filer/notify", "filer/seal", "client"},
		"filer/web":              {"filer", "client"},
		"fuse":                   {"filer"},
		"cmd":                    {"erasure", "internal/...", "master/...", "volume/...", "client/...", "filer/...", "fuse/..."},
		"tests":                  {"..."},
	}
}

// importDirections enforces STYLE rule 2: imports go one way, and package granary needs nothing but the
// standard library.
func importDirections(t *tree) []violation {
	var out []violation
	for _, f := range t.files {
		if f.isTest() {
			continue
		}
		for spec, p := range f.imports() {
			dep, ours := strings.CutPrefix(p+"/", module+"/")
			dep = strings.TrimSuffix(dep, "/")
			switch {
			case !ours && f.dir == nouns && strings.Contains(strings.Split(p, "/")[0], "."):
				out = append(out, t.violation(spec, "package granary imports %s: it may import the standard library only", p))
			case ours && !mayImport(f.dir, dep):
				out = append(out, t.violation(spec, "%s may not import %s", f.ast.Name.Name, p))
			}
		}
	}
	return out
}

func mayImport(dir, dep string) bool {
	if dir == nouns {
		return false
	}
	if dep == nouns || under(dep, dir) {
		return true
	}
	return slices.ContainsFunc(allowed()[longestPrefix(dir)], func(pattern string) bool {
		subtree, ok := strings.CutSuffix(pattern, "...")
		return dep == pattern || ok && strings.HasPrefix(dep+"/", subtree)
	})
}

func longestPrefix(dir string) string {
	longest := ""
	for prefix := range allowed() {
		if under(dir, prefix) && len(prefix) > len(longest) {
			longest = prefix
		}
	}
	return longest
}

// protobufStaysInWire enforces STYLE rule 3.
func protobufStaysInWire(t *tree) []violation {
	var out []violation
	for _, f := range t.files {
		if f.under("internal/wire") {
			continue
		}
		for spec, p := range f.imports() {
			if under(p, "google.golang.org/protobuf") || under(p, "github.com/golang/protobuf") || under(p, module+"/internal/wire/pb") {
				out = append(out, t.violation(spec, "%s belongs in internal/wire alone", p))
			}
		}
	}
	return out
}

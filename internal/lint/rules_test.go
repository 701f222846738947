package lint

import (
	"go/token"
	"testing"
)

func parse(t *testing.T, files map[string]string) *tree {
	t.Helper()
	out := &tree{fset: token.NewFileSet()}
	for name, source := range files {
		if err := out.add(name, []byte(source)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestRulesFire shows each rule a line that breaks it and one that does not.
func TestRulesFire(t *testing.T) {
	const ours = module + "/"
	for name, test := range map[string]struct {
		rule rule
		file string
		code string
		want int
	}{
		"nouns import a library":        {importDirections, "a.go", `import "golang.org/x/sys/unix"`, 1},
		"nouns import our package":      {importDirections, "a.go", `import "` + ours + `erasure"`, 1},
		"nouns import the standard":     {importDirections, "a.go", `import "go/ast"`, 0},
		"erasure imports disk":          {importDirections, "erasure/a.go", `import "` + ours + `internal/disk"`, 1},
		"erasure imports the nouns":     {importDirections, "erasure/a.go", `import "` + module + `"`, 0},
		"master imports volume":         {importDirections, "master/a.go", `import "` + ours + `volume"`, 1},
		"volume imports disk":           {importDirections, "volume/a.go", `import "` + ours + `internal/disk"`, 0},
		"client imports volume":         {importDirections, "client/a.go", `import "` + ours + `volume"`, 1},
		"filer imports wire":            {importDirections, "filer/a.go", `import "` + ours + `internal/wire"`, 1},
		"filer imports client":          {importDirections, "filer/a.go", `import "` + ours + `client"`, 0},
		"filer imports s3":              {importDirections, "filer/a.go", `import "` + ours + `filer/s3"`, 0},
		"s3 imports filer":              {importDirections, "filer/s3/a.go", `import "` + ours + `filer"`, 0},
		"s3 imports its part":           {importDirections, "filer/s3/a.go", `import "` + ours + `filer/s3/sig"`, 0},
		"s3 imports web":                {importDirections, "filer/s3/a.go", `import "` + ours + `filer/web"`, 1},
		"s3 imports master":             {importDirections, "filer/s3/a.go", `import "` + ours + `master"`, 1},
		"fuse imports client":           {importDirections, "fuse/a.go", `import "` + ours + `client"`, 1},
		"fuse imports s3":               {importDirections, "fuse/a.go", `import "` + ours + `filer/s3"`, 1},
		"cmd imports s3":                {importDirections, "cmd/granary/a.go", `import "` + ours + `filer/s3"`, 0},
		"cmd imports tests":             {importDirections, "cmd/granary/a.go", `import "` + ours + `tests/cluster"`, 1},
		"wire imports its protobuf":     {importDirections, "internal/wire/a.go", `import "` + ours + `internal/wire/pb"`, 0},
		"disk imports wire":             {importDirections, "internal/disk/a.go", `import "` + ours + `internal/wire"`, 1},
		"disktest imports disk":         {importDirections, "internal/disk/disktest/a.go", `import "` + ours + `internal/disk"`, 0},
		"a new package imports nothing": {importDirections, "new/a.go", `import "` + ours + `master"`, 1},
		"a test imports all":            {importDirections, "master/a_test.go", `import "` + ours + `volume"`, 0},
		"protobuf in master":            {protobufStaysInWire, "master/a.go", `import "google.golang.org/protobuf/proto"`, 1},
		"pb in a test":                  {protobufStaysInWire, "client/a_test.go", `import "` + ours + `internal/wire/pb"`, 1},
		"protobuf in wire":              {protobufStaysInWire, "internal/wire/a.go", `import "google.golang.org/protobuf/proto"`, 0},
		"init":                          {noInit, "a.go", "func init() {}", 1},
		"a method init":                 {noInit, "a.go", "type T int\nfunc (T) init() {}", 0},
		"exported variable":             {noMutableVariables, "a.go", "var X = 1", 1},
		"sentinel":                      {noMutableVariables, "a.go", "import \"errors\"\nvar ErrX = errors.New(\"x\")", 0},
		"table":                         {noMutableVariables, "a.go", "var t = []int{1}\nfunc f() int { return t[0] }", 0},
		"table written":                 {noMutableVariables, "a.go", "var t = []int{1}\nfunc f() { t[0] = 1 }", 1},
		"table shadowed":                {noMutableVariables, "a.go", "var t = []int{1}\nfunc f(t []int) { t[0] = 1 }", 0},
		"counter":                       {noMutableVariables, "a.go", "var n int\nfunc f() { n++ }", 1},
		"address":                       {noMutableVariables, "a.go", "var n int\nfunc f() *int { return &n }", 1},
		"map deleted from":              {noMutableVariables, "a.go", "var m = map[int]int{1: 1}\nfunc f() { delete(m, 1) }", 1},
		"empty map":                     {noMutableVariables, "a.go", "var m = map[int]int{}", 1},
		"made":                          {noMutableVariables, "a.go", "var m = make(chan int)", 1},
		"mutex":                         {noMutableVariables, "a.go", "import \"sync\"\nvar mu sync.Mutex", 1},
		"pool":                          {noMutableVariables, "a.go", "import \"sync\"\nvar p = &sync.Pool{}", 1},
		"atomic":                        {noMutableVariables, "a.go", "import \"sync/atomic\"\nvar p atomic.Pointer[int]", 1},
		"assertion":                     {noMutableVariables, "a.go", "type T int\nvar _ any = T(1)", 0},
		"embedded":                      {noMutableVariables, "a.go", "import _ \"embed\"\n//go:embed x\nvar X []byte", 0},
		"variable of a command":         {noMutableVariables, "cmd/granary/a.go", "var X = 1", 0},
		"environment":                   {noEnvironment, "volume/a.go", "import \"os\"\nfunc f() string { return os.Getenv(\"X\") }", 1},
		"environment of a command":      {noEnvironment, "cmd/granary/a.go", "import \"os\"\nfunc f() string { return os.Getenv(\"X\") }", 0},
		"sleep":                         {noSleep, "a.go", "import \"time\"\nfunc f() { time.Sleep(1) }", 1},
		"sleep with a reason":           {noSleep, "a.go", "import \"time\"\nfunc f() {\n//lint:sleep because\ntime.Sleep(1) }", 0},
		"sleep of a test":               {noSleep, "a_test.go", "import \"time\"\nfunc f() {\n//lint:sleep because\ntime.Sleep(1) }", 1},
		"sleep in a bubble":             {noSleep, "a_test.go", "import (\n\"time\"\n_ \"testing/synctest\"\n)\nfunc f() { time.Sleep(1) }", 0},
		"text of an error":              {noErrorText, "a.go", "import \"strings\"\nfunc f(err error) bool { return strings.Contains(err.Error(), \"x\") }", 1},
		"text compared":                 {noErrorText, "a.go", "func f(err error) bool { return err.Error() == \"x\" }", 1},
		"text shown":                    {noErrorText, "a.go", "func f(err error) string { return err.Error() }", 0},
		"dumping ground":                {noDumpingGrounds, "volume/util/a.go", "", 1},
		"no package comment":            {packagesAreDocumented, "volume/doc.go", "", 1},
		"no comment":                    {exportedIsDocumented, "a.go", "func F() {}", 1},
		"no comment on a method":        {exportedIsDocumented, "a.go", "// T is.\ntype T[X any] int\nfunc (t *T[X]) F() {}", 1},
		"no comment needed":             {exportedIsDocumented, "a.go", "type t int\nfunc (t) F() {}\nfunc f() {}", 0},
		"comment of a group":            {exportedIsDocumented, "a.go", "// Numbers.\nconst (\nA = 1\nB = 2\n)", 0},
		"no comment in a group":         {exportedIsDocumented, "a.go", "const (\nA = 1\nB = 2 // the second\n)", 1},
		"no format":                     {isFormatted, "a.go", "func  f() {}\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			tree := parse(t, map[string]string{test.file: "package p\n\n" + test.code})
			if got := tree.check(test.rule); len(got) != test.want {
				t.Errorf("%d violations, want %d: %q", len(got), test.want, got)
			}
		})
	}
}

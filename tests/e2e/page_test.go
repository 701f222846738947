//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EPage has Chromium use the page of a directory: with the keyboard and the mouse, on a wide and on a narrow window, while others
// change what it shows, and while an upload breaks off. With SHOTS in the environment it leaves pictures there.
func TestE2EPage(t *testing.T) {
	cluster.Needs(t, "chromium", "npm", "node")
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("testdata/page.mjs")
	if err != nil {
		t.Fatal(err)
	}
	s := cluster.StartServer(t)
	work := t.TempDir()
	sh(t, work, `npm install --no-audit --no-fund --loglevel=error playwright-core@1.56 >&2`)
	randomFile(t, filepath.Join(work, "large.bin"), 24<<20)
	if err := os.WriteFile(filepath.Join(work, "small.txt"), []byte("small"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := sh(t, work, `cp "$1" page.mjs && CHROMIUM="$2" BASE="$3" SHOTS="$4" BINARY="$5" GRANARY_CLUSTER="$6" node page.mjs`,
		script, chromium, s.HTTP, os.Getenv("SHOTS"), s.Binary, s.Cluster)
	t.Log(out)
	if !strings.HasSuffix(strings.TrimSpace(out), "all is well") {
		t.Error("the script did not come to its end")
	}
	sh(t, work, `curl -fsS "$1/people/large.bin" | cmp - large.bin`, s.HTTP)
}

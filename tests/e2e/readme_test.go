//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EReadmeHTTP runs the lines of README.md's section on HTTP, as they are there, one after the other.
func TestE2EReadmeHTTP(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(readme), "\n## HTTP\n")
	section, _, ended := strings.Cut(section, "\n## ")
	if !found || !ended {
		t.Fatal("README.md has no section on HTTP")
	}
	s := cluster.StartServer(t)
	work := t.TempDir()
	randomFile(t, filepath.Join(work, "report.pdf"), 100_000)
	sh(t, work, `mkdir logs && seq 10000 > logs/one && ln -s one logs/two && tar czf logs.tar.gz logs`)
	const checked = `curl() { command curl -sS --fail-with-body "$@"; }` + "\n"
	ran := 0
	for line := range strings.Lines(section) {
		line, is := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		if !is || !strings.Contains(line, "curl") {
			continue
		}
		ran++
		t.Logf("%s\n%s", line, sh(t, work, checked+strings.ReplaceAll(line, "http://127.0.0.1:7600", s.HTTP)))
	}
	if ran < 15 {
		t.Errorf("ran %d lines", ran)
	}
	// What they have left.
	sh(t, work, checked+`cmp <(curl "$1/docs/report.pdf") report.pdf && cmp <(curl "$1/import/logs/two") logs/one && [ "$(curl "$1/logs/day.log" -r 0-3)" = HEAD ]`, s.HTTP)
	sh(t, work, `[ "$(curl -s -o /dev/null -w '%{http_code}' "$1/archive/")" = 404 ]`, s.HTTP)
}

package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Needs skips the test where one of the programs is missing. With GRANARY_CLIENTS=all in the environment the test fails instead:
// tests/run.sh says so, since it installs them, so that no test leaves itself out unseen. A name that begins with / is that of a file.
func Needs(t testing.TB, programs ...string) {
	t.Helper()
	for _, name := range programs {
		var err error
		if filepath.IsAbs(name) {
			_, err = os.Stat(name)
		} else {
			_, err = exec.LookPath(name)
		}
		switch {
		case err == nil:
		case os.Getenv("GRANARY_CLIENTS") == "all":
			t.Fatalf("%s is missing: %v", name, err)
		default:
			t.Skipf("%s is not installed", name)
		}
	}
}

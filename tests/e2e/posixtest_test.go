//go:build e2e

package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EPosixtest runs go-fuse's tests of a file system's semantics, each in a directory of its own.
func TestE2EPosixtest(t *testing.T) {
	s := cluster.StartServer(t)
	mnt := s.Mount(t)
	for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
		if name == "FcntlFlockLocksFile" { // which wants a process to be in its own way, and fails on any local file system
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(mnt, name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			posixtest.All[name](t, dir)
		})
	}
}

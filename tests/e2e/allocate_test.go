//go:build e2e

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EAllocate does the same with fallocate(1) to a file of a mount and to one of the local file system: bytes and
// sizes must agree after every step, also for whoever opens the file anew.
func TestE2EAllocate(t *testing.T) {
	s := cluster.StartServer(t)
	mnt := s.Mount(t)
	work := t.TempDir()
	for name, size := range map[string]int{"inline": 3000, "blocks": 20 << 20} {
		local, mounted := randomFile(t, filepath.Join(work, name), size), filepath.Join(mnt, name)
		sh(t, "", `cp "$1" "$2"`, local, mounted)
		for _, args := range []string{
			"-p -o 1000 -l 500", "-p -o 100 -l 40MiB", "-z -o 2000 -l 1000", "-z -n -o 2500 -l 30MiB",
			"-l 25MiB", "-n -l 50MiB", "-z -o 24MiB -l 3MiB", "-o 28MiB -l 1",
		} {
			for _, file := range []string{local, mounted} {
				sh(t, "", `printf new | dd of="$1" bs=1 seek=2600 conv=notrunc status=none && fallocate `+args+` "$1"`, file)
			}
			sh(t, "", `cmp "$1" "$2" && [ "$(stat -c %s "$1")" = "$(stat -c %s "$2")" ]`, local, mounted)
		}
		sh(t, "", `! fallocate -c -o 0 -l 4096 "$1" 2>&1 && cmp "$1" "$2"`, mounted, local) // collapse is not supported
	}
}

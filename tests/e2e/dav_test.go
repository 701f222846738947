//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EWebDAV has rclone work through WebDAV, and sees in the other doors what it has done; and a lock of WebDAV there.
func TestE2EWebDAV(t *testing.T) {
	s := cluster.StartServer(t)
	work := t.TempDir()
	src := filepath.Join(sourceTree(t), "encoding", "json")
	rclone := `r() { rclone --config /dev/null --webdav-url "$1/-/dav/" --webdav-vendor owncloud "${@:2}"; }` + "\n"
	sh(t, work, rclone+`r "$1" copy "$2" :webdav:deep/encoding`, s.HTTP, src)
	sh(t, work, rclone+`r "$1" check --download "$2" :webdav:deep/encoding`, s.HTTP, src)
	sh(t, work, rclone+`[ "$(r "$1" lsf -R --format tsp :webdav:deep/encoding | sort | sha256sum)" = "$(rclone --config /dev/null lsf -R --format tsp "$2" | sort | sha256sum)" ] ||
		[ "$(r "$1" lsf -R --files-only --format tsp :webdav:deep/encoding | sort | sha256sum)" = "$(rclone --config /dev/null lsf -R --files-only --format tsp "$2" | sort | sha256sum)" ]`, s.HTTP, src)
	sh(t, work, `mkdir out && curl -fsS "$1/deep/encoding?tar" | tar x -C out && diff -r out "$2"`, s.HTTP, src)
	sh(t, work, rclone+`r "$1" moveto :webdav:deep/encoding :webdav:moved && r "$1" copyto :webdav:moved :webdav:copied && r "$1" purge :webdav:moved && r "$1" check --download "$2" :webdav:copied`, s.HTTP, src)

	lock := `<?xml version="1.0"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner>somebody</D:owner></D:lockinfo>`
	token := strings.TrimSpace(sh(t, work, `curl -fsS -D - -o /dev/null -X LOCK --data "$2" "$1/-/dav/copied" | sed -n 's/^Lock-Token: \(<.*>\).*/\1/ip'`, s.HTTP, lock))
	if out := s.Granary("lock", "ls", "/copied").Run(t); !strings.Contains(out, "somebody") {
		t.Errorf("granary lock ls does not show it:\n%s", out)
	}
	sh(t, work, `[ "$(echo x | curl -s -o /dev/null -w '%{http_code}' -T - "$1/copied/new")" = 423 ]`, s.HTTP)
	sh(t, work, `echo x | curl -fsS -T - -H "If: ($2)" "$1/-/dav/copied/new"`, s.HTTP, token)
	sh(t, work, `curl -fsS -X UNLOCK -H "Lock-Token: $2" "$1/-/dav/copied" && echo x | curl -fsS -T - "$1/copied/newer"`, s.HTTP, token)
}

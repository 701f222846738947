//go:build e2e

package e2e

import (
	"encoding/json"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EHTTPAuth makes a user by commands, whose key then is needed for what HTTP does.
func TestE2EHTTPAuth(t *testing.T) {
	s := cluster.StartServer(t, "--http-auth")
	work := t.TempDir()
	s.Granary("user", "create", "ann", "--uid", "2001").Run(t)
	var key struct{ AccessKey, SecretKey string }
	if err := json.Unmarshal([]byte(s.Granary("user", "key", "create", "ann", "--output", "json").Run(t)), &key); err != nil || key.SecretKey == "" {
		t.Fatalf("%+v, %v", key, err)
	}
	const curl = `c() { curl -s -o /dev/null -w '%{http_code} ' "$@"; }` + "\n"
	root, ann := s.AccessKey+":"+s.SecretKey, key.AccessKey+":"+key.SecretKey
	got := sh(t, work, curl+`echo x > f
		c "$1/"; c -u "$2" "$1/"; c -u "$3" "$1/"; c -H "Authorization: Bearer $3" "$1/"; c -u "$3x" "$1/"
		c -u "$3" -T f "$1/mine"; c -u "$2" -T f "$1/root"; c -u "$3" "$1/root"; c -u "$3" -X DELETE "$1/root"; c -u "$2" -X DELETE "$1/root"`, s.HTTP, root, ann)
	if want := "401 200 200 200 401 403 201 200 403 204 "; got != want {
		t.Errorf("%s, and not %s", got, want)
	}
}

//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EStorageClasses puts an object into a storage class with the command line of AWS, and has a lifecycle rule put another one there: the
// content of both is on the disk that the class says.
func TestE2EStorageClasses(t *testing.T) {
	work := t.TempDir()
	ssd, hdd := filepath.Join(work, "ssd"), filepath.Join(work, "hdd")
	s := cluster.StartServer(t, "--dir", ssd+"=ssd,"+hdd+"=hdd", "--lifecycle-day", "1s")
	granary := func(args ...string) {
		cluster.Command{Name: s.Binary, Args: append(args, "--cluster", s.Cluster)}.Run(t)
	}
	granary("policy", "set", "/", "--ec", "1+0", "--class", "ssd", "--compression", "none")
	granary("storage-class", "set", "STANDARD_IA", "--media", "hdd", "--compression", "none")
	aws := func(args ...string) string { return s.AWS(append([]string{"s3api"}, args...)...).Run(t) }
	aws("create-bucket", "--bucket", "tiers")
	put := func(key, text string, args ...string) {
		path := filepath.Join(work, key)
		if err := os.WriteFile(path, bytes.Repeat([]byte(text), 200<<10/len(text)), 0o644); err != nil {
			t.Fatal(err)
		}
		aws(append([]string{"put-object", "--bucket", "tiers", "--key", key, "--body", path}, args...)...)
	}
	put("cold", "what is cold from the start; ", "--storage-class", "STANDARD_IA")
	put("ageing", "what will be cold one day; ")
	for text, dirs := range map[string][2]string{"what is cold from the start": {hdd, ssd}, "what will be cold": {ssd, hdd}} {
		if here, there := holds(t, dirs[0], text), holds(t, dirs[1], text); !here || there {
			t.Fatalf("%q is in %s: %t, in %s: %t", text, dirs[0], here, dirs[1], there)
		}
	}
	aws("put-bucket-lifecycle-configuration", "--bucket", "tiers", "--lifecycle-configuration",
		`{"Rules": [{"ID": "age", "Status": "Enabled", "Filter": {"Prefix": "age"}, "Transitions": [{"Days": 1, "StorageClass": "STANDARD_IA"}]}]}`)
	cluster.WaitFor(t, time.Minute, "the transition", func() error {
		if holds(t, hdd, "what will be cold") {
			return nil
		}
		return os.ErrNotExist
	})
	for _, key := range []string{"cold", "ageing"} {
		if out := aws("head-object", "--bucket", "tiers", "--key", key); !strings.Contains(out, `"StorageClass": "STANDARD_IA"`) {
			t.Errorf("%s: %s", key, out)
		}
		aws("get-object", "--bucket", "tiers", "--key", key, filepath.Join(work, "back"))
		sh(t, work, `cmp back "$1"`, key)
	}
}

// holds reports whether any file below a directory has a text in it.
func holds(t *testing.T, dir, text string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || found {
			return err
		}
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) { // it was there for a moment, as what is about to be renamed is
			return nil
		}
		found = found || bytes.Contains(content, []byte(text))
		return err
	})
	if err != nil && !os.IsNotExist(err) { // the directory itself
		t.Fatal(err)
	}
	return found
}

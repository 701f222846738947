package volume

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dsorchard/granary"
)

// refused opens directories that must be refused, and returns the text.
func refused(t *testing.T, kind granary.Kind, names []string, o Options) {
	t.Helper()
	s, err := Open(o)
	if err == nil {
		s.Close()
	}
	wantKind(t, err, kind)
	for _, name := range names {
		if !strings.Contains(err.Error(), name) {
			t.Fatalf("the error does not name %s: %v", name, err)
		}
	}
}

func closeStore(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, testOptions(t, dir))
	refused(t, granary.KindBusy, []string{dir, "another volume server"}, testOptions(t, dir))
	closeStore(t, s)
	open(t, testOptions(t, dir))
}

func TestForeignDirectoriesAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, granary.KindInvalid, []string{dir, "thesis.tex"}, testOptions(t, dir))
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Fatalf("something was written into it: %v, %v", names, err)
	}
	dir = t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "shards", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	refused(t, granary.KindInvalid, []string{dir, "shards"}, testOptions(t, dir))
	// A fresh file system has this one.
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	open(t, testOptions(t, dir))
}

func TestDamagedIdentityIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(text string) string
		kind   granary.Kind
	}{
		"empty":        {func(string) string { return "" }, granary.KindCorrupt},
		"cut":          {func(s string) string { return s[:len(s)/2] }, granary.KindCorrupt},
		"flipped":      {func(s string) string { return strings.Replace(s, "0123456789", "0123456788", 1) }, granary.KindCorrupt},
		"newer format": {func(s string) string { return strings.Replace(s, `"format": 1`, `"format": 2`, 1) }, granary.KindNotSupported},
		"no format":    {func(string) string { return "{}" }, granary.KindCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			closeStore(t, open(t, testOptions(t, dir)))
			path := filepath.Join(dir, identityName)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(c.change(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, c.kind, []string{dir}, testOptions(t, dir))
		})
	}
}

func TestDisksOfOneServer(t *testing.T) {
	a, b, c := t.TempDir(), t.TempDir(), t.TempDir()
	s := open(t, testOptions(t, a))
	id := s.ServerID()
	closeStore(t, s)
	s = open(t, testOptions(t, b, a)) // b is new
	if s.ServerID() != id || s.Usage()[0].Disk == s.Usage()[1].Disk || s.Usage()[0].Path != b {
		t.Fatalf("server %s became %s: %+v", id, s.ServerID(), s.Usage())
	}
	closeStore(t, s)
	closeStore(t, open(t, testOptions(t, c)))
	refused(t, granary.KindInvalid, []string{a, c, "server"}, testOptions(t, a, c))
	refused(t, granary.KindInvalid, []string{a, "twice"}, testOptions(t, a, a+"/"))

	// A copy of a disk is not another disk.
	copied := t.TempDir()
	text, err := os.ReadFile(filepath.Join(a, identityName))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(copied, identityName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, granary.KindInvalid, []string{a, copied}, testOptions(t, a, copied))
}

func TestClusters(t *testing.T) {
	const other = granary.ClusterID("ffffffffffffffffffffffffffffffff")
	a, b := t.TempDir(), t.TempDir()
	o := testOptions(t, a)
	o.Cluster = ""
	s := open(t, o)
	if s.Cluster() != "" {
		t.Fatalf("a new disk belongs to %s", s.Cluster())
	}
	wantKind(t, s.JoinCluster("x"), granary.KindInvalid)
	for range 2 {
		if err := s.JoinCluster(testCluster); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, s.JoinCluster(other), granary.KindInvalid)
	closeStore(t, s)
	o = testOptions(t, a)
	o.Cluster = other
	refused(t, granary.KindInvalid, []string{a, string(testCluster), string(other)}, o)

	o.Cluster = ""
	o.Dirs = []string{b, a} // b is new, and takes a's cluster
	s = open(t, o)
	if s.Cluster() != testCluster {
		t.Fatalf("cluster %s", s.Cluster())
	}
}

func TestMissingDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	closeStore(t, open(t, testOptions(t, dir))) // is made
	if err := os.Remove(filepath.Join(dir, shardsName)); err != nil {
		t.Fatal(err)
	}
	refused(t, granary.KindCorrupt, []string{dir, shardsName}, testOptions(t, dir))
	refused(t, granary.KindUnavailable, []string{"lock"}, testOptions(t, filepath.Join(dir, lockName)))
}

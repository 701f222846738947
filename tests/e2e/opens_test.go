//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EOpenRemoved opens files in one mount and takes their names away in another, and by S3: they can be read and
// written on until they are closed, and then their space is given back.
func TestE2EOpenRemoved(t *testing.T) {
	s := cluster.StartServer(t)
	one, two := s.Mount(t), s.Mount(t)
	s.AWS("s3", "mb", "s3://opened").Run(t)
	local := randomFile(t, filepath.Join(t.TempDir(), "new"), 3<<20)
	ways := map[string]func(name string){
		"rm": func(name string) { sh(t, two, `rm "$1"`, name) },
		"mv": func(name string) { sh(t, two, `cp "$1" other && mv other "$2"`, local, name) },
		"rm -r": func(name string) {
			dir := filepath.Dir(name)
			s.Granary("fs", "rm", "-r", "/"+dir).Run(t)
			sh(t, two, `mkdir "$1"`, dir)
		},
		"aws s3 cp": func(name string) {
			s.AWS("s3", "cp", "--no-progress", local, "s3://opened/"+filepath.Base(name)).Run(t)
		},
	}
	for way, remove := range ways {
		dir := "buckets/opened"
		if way != "aws s3 cp" {
			dir = "d"
			sh(t, one, `mkdir -p d`)
		}
		openRemoved(t, s, filepath.Join(one, dir, "file"), func() { remove(filepath.Join(dir, "file")) })
	}
}

func openRemoved(t *testing.T, s *cluster.Server, name string, remove func()) {
	t.Helper()
	const size = 20 << 20
	randomFile(t, name, size)
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	remove()
	// Whoever has removed it may have made another: what counts is that this one is there, and its end.
	copy(want[5<<20:], "written when it had no name")
	if _, err := f.WriteAt([]byte("written when it had no name"), 5<<20); err != nil {
		t.Error(err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	held := uniqueBytes(t, s)
	got := make([]byte, size)
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: read %v, equal %t", name, err, bytes.Equal(got, want))
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		t.Errorf("%s: %v, %v", name, info, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	cluster.WaitFor(t, cluster.ReadyWithin, "the space of the removed file", func() error {
		if now := uniqueBytes(t, s); now+size > held {
			return fmt.Errorf("%d bytes are stored, %d when it was open", now, held)
		}
		return nil
	})
}

// uniqueBytes is what is stored once or oftener.
func uniqueBytes(t *testing.T, s *cluster.Server) uint64 {
	t.Helper()
	st, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return st.UniqueBytes
}

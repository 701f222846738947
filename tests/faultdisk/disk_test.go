//go:build e2e

package faultdisk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestFaults: each fault is what a program on the disk sees, and none is left when it is over.
func TestFaults(t *testing.T) {
	lower, point := t.TempDir(), t.TempDir()
	d, err := Mount(lower, point)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Unmount(); err != nil {
			t.Error(err)
		}
	}()
	name := filepath.Join(point, "file")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	content := bytes.Repeat([]byte("content "), 4096)
	want := func(err error, errno syscall.Errno) {
		t.Helper()
		if errno == 0 && err != nil || errno != 0 && !errors.Is(err, errno) {
			t.Fatalf("%v, want %v", err, errno)
		}
	}
	write := func() error {
		_, err := f.WriteAt(content, 0)
		return err
	}
	read := func() error {
		_, err := f.ReadAt(make([]byte, 100), 0)
		return err
	}
	syncDir := func() error {
		dir, err := os.Open(point)
		if err != nil {
			return err
		}
		return errors.Join(dir.Sync(), dir.Close())
	}
	want(write(), 0)
	want(f.Sync(), 0)
	want(syncDir(), 0)

	d.Set(Faults{Sync: syscall.EIO})
	for range 2 {
		want(f.Sync(), syscall.EIO)
		want(syncDir(), syscall.EIO)
	}
	want(write(), 0)
	want(read(), 0)
	d.Set(Faults{Read: syscall.EIO})
	want(read(), syscall.EIO)
	want(f.Sync(), 0)
	d.Set(Faults{Write: syscall.ENOSPC})
	want(write(), syscall.ENOSPC)
	want(os.Mkdir(name+".d", 0o700), syscall.ENOSPC)
	want(f.Truncate(5), 0)
	d.Set(Faults{Write: syscall.EIO})
	want(f.Truncate(4), syscall.EIO)
	want(os.Rename(name, name+".new"), syscall.EIO)

	d.Set(Faults{})
	want(f.Truncate(0), 0)
	d.Set(Faults{Write: syscall.EIO, Torn: true})
	want(write(), syscall.EIO)
	d.Set(Faults{})
	below, err := os.ReadFile(filepath.Join(lower, "file"))
	if err != nil || len(below) != len(content)/2 || !bytes.HasPrefix(content, below) {
		t.Fatalf("a torn write left %d bytes of %d: %v", len(below), len(content), err)
	}
	want(write(), 0)

	made := d.Made()
	d.Set(Faults{Hang: true})
	ended := make(chan error)
	go func() { ended <- read() }()
	cluster.WaitFor(t, time.Minute, "a read that hangs", func() error {
		if d.Made() == made {
			return errors.New("none")
		}
		return nil
	})
	d.Set(Faults{})
	want(<-ended, 0)

	// What changes below is seen at once.
	if err := os.WriteFile(filepath.Join(lower, "file"), []byte("rot"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 3)
	if _, err := f.ReadAt(p, 0); err != nil || string(p) != "rot" {
		t.Fatalf("%q, %v", p, err)
	}
	want(os.Rename(name, name+".new"), 0)
	want(os.Remove(name+".new"), 0)
}

//go:build e2e

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/client"
	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EMemory walks more directories than a mount of little memory may know of: it has the kernel forget what nobody uses, and
// keeps to its memory. What is used stays: directories in which processes are, and all above them, and files that are open.
func TestE2EMemory(t *testing.T) {
	const memory, dirs, each = 128 << 20, 60, 700
	prunes := canPrune(t)
	s := cluster.StartServer(t)
	makeTree(t, s.Cluster, dirs, each)
	mnt := s.Mount(t, "--memory", fmt.Sprint(memory))
	deep := filepath.Join(mnt, "tree", "d0", "s0", "in use")
	sh(t, mnt, `mkdir "$1" && echo text > "$1/file"`, deep)
	f, err := os.Open(filepath.Join(deep, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	within := exec.Command("bash", "-c", `read; pwd -P; cat file`) // it stays in the directory until it is told to go on
	within.Dir = deep
	in, err := within.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	within.Stdout, within.Stderr = &out, &out
	if err := within.Start(); err != nil {
		t.Fatal(err)
	}

	sh(t, mnt, `[ "$(find tree -mindepth 2 -maxdepth 2 -printf '%i\n' | wc -l)" = "$1" ]`, fmt.Sprint(dirs*each))
	st := statsOf(t, &s.Access, mnt)
	if dirs*each < st.NodesMax*5/4 {
		t.Fatalf("%d directories prove nothing: the kernel may know of %d", dirs*each, st.NodesMax)
	}
	if prunes && st.Nodes > st.NodesMax*5/4 {
		t.Errorf("the kernel knows of %d files and directories, not %d", st.Nodes, st.NodesMax)
	}
	if st.Memory.Resident > memory {
		t.Errorf("it has %d MiB of memory", st.Memory.Resident>>20)
	}
	if _, err := io.WriteString(in, "\n"); err != nil {
		t.Fatal(err)
	}
	if err := within.Wait(); err != nil || out.String() != deep+"\ntext\n" {
		t.Errorf("a process in a directory prints %q, %v", out.String(), err)
	}
	if b, err := io.ReadAll(f); err != nil || string(b) != "text\n" {
		t.Errorf("an open file has %q, %v", b, err)
	}
}

// canPrune reports whether the kernel can be told to forget directories that nobody uses: Linux 6.18.
func canPrune(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 18
}

// makeTree makes directories with so many directories in each, by the client: a mount would know of them.
func makeTree(t *testing.T, masters string, dirs, each int) {
	t.Helper()
	c, err := client.Open(t.Context(), client.Options{Masters: []string{masters}, Name: "e2e"})
	if err != nil {
		t.Fatal(err)
	}
	create := func(ops []granary.Op) ([]granary.InodeID, error) {
		ids := make([]granary.InodeID, 0, len(ops))
		results, err := c.DoAll(t.Context(), granary.Cred{}, ops)
		for _, r := range results {
			if r.Err != nil {
				err = errors.Join(err, r.Err)
			}
			ids = append(ids, r.Attr.Inode)
		}
		return ids, err
	}
	dir := func(parent granary.InodeID, name string) granary.Op {
		return &granary.Create{Parent: parent, Name: name, Type: granary.TypeDirectory, Mode: 0o755}
	}
	tree, err := create([]granary.Op{dir(granary.RootInode, "tree")})
	if err != nil {
		t.Fatal(err)
	}
	var makers sync.WaitGroup
	errs := [4]error{}
	for m := range errs {
		makers.Go(func() {
			for d := m; d < dirs && errs[m] == nil; d += len(errs) {
				var top []granary.InodeID
				if top, errs[m] = create([]granary.Op{dir(tree[0], fmt.Sprint("d", d))}); errs[m] != nil {
					return
				}
				var ops []granary.Op
				for i := range each {
					ops = append(ops, dir(top[0], fmt.Sprint("s", i)))
				}
				_, errs[m] = create(ops)
			}
		})
	}
	makers.Wait()
	if err := errors.Join(append(errs[:], c.Close())...); err != nil {
		t.Fatal(err)
	}
}

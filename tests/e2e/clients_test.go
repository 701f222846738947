//go:build e2e

package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EClients: programs and libraries that people use with S3 each bring a tree of 1,500 files into a bucket of their own, and back, change it and
// do so again; what comes back is the tree.
func TestE2EClients(t *testing.T) {
	s := cluster.StartServer(t)
	tree := filesOfAllKinds(t)
	for _, client := range []struct {
		name string
		run  func(t *testing.T, s *cluster.Server, tree string)
	}{
		{"pgBackRest", pgBackRest}, // the longest first
		{"s3cmd", func(t *testing.T, s *cluster.Server, tree string) {
			s.S3cmd(t, "mb", "s3://s3cmd").Run(t)
			synchronizes(t, tree, false, "load:", func(from, to string) cluster.Command {
				return s.S3cmd(t, "sync", "--delete-removed", from+"/", to+"/")
			}, "s3://s3cmd/a tree")
		}},
		{"AWS SDK for Go", goSDK},
		{"aws s3", func(t *testing.T, s *cluster.Server, tree string) {
			s.AWS("s3", "mb", "s3://aws").Run(t)
			synchronizes(t, tree, false, "load:", func(from, to string) cluster.Command {
				return s.AWS("s3", "sync", "--no-progress", "--delete", "--no-follow-symlinks", from, to)
			}, "s3://aws/a tree")
		}},
		{"restic", restic},
		{"boto3", boto},
		{"s3fs", s3fs},
		{"rclone", func(t *testing.T, s *cluster.Server, tree string) {
			synchronizes(t, tree, true, "Copied (", func(from, to string) cluster.Command {
				return s.Rclone("sync", "--links", "--s3-upload-cutoff", "5Mi", "--s3-chunk-size", "5Mi", "--verbose", "--log-file", "/dev/stdout", from, to)
			}, "g:rclone/a tree")
			s.Rclone("sync", "--links", tree, "g:rclone/whole").Run(t)
			s.Rclone("check", "--links", "--download", tree, "g:rclone/whole").Run(t)
		}},
		{"minio-go", minioGo},
	} {
		t.Run(client.name, func(t *testing.T) {
			t.Parallel()
			client.run(t, s, tree)
		})
	}
}

// filesOfAllKinds makes a tree of a part of the standard library's sources, of empty files, of one that clients send in parts, of names that not
// everything can be trusted with, and of a symbolic link.
func filesOfAllKinds(t *testing.T) string {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	sh(t, sourceTree(t), `mkdir "$1" && cp -r archive compress encoding go net os "$1"`, tree)
	odd := filepath.Join(tree, "odd names")
	if err := os.Mkdir(odd, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"with space", "  more spaces ", "plus+and%20percent%", "ünïcode 文書", `quote'"s`, "semi;colon&and=equals", "#hash?question", "[brackets]*{braces}",
		".hidden", "~tilde", "trailing.", "dollar$`tick`", "comma,colon:at@", `back\slash`, "-dash", "<tag>&amp;", "|pipe^", strings.Repeat("n", 255),
	} {
		if err := os.WriteFile(filepath.Join(odd, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, odd, `: > empty; : > "empty too"; ln -s ../net/net.go link`)
	randomFile(t, filepath.Join(tree, "large"), 21<<20+12345)
	return tree
}

// copyOf makes an own copy of a tree; where links cannot be had, without them.
func copyOf(t *testing.T, tree string, links bool) string {
	t.Helper()
	mine := filepath.Join(t.TempDir(), "mine")
	sh(t, "", `cp -a "$1" "$2"`, tree, mine)
	if !links {
		sh(t, mine, `find . -type l -delete`)
	}
	return mine
}

// change adds to a tree, and changes and removes some of it.
func change(t *testing.T, tree string) {
	t.Helper()
	sh(t, tree, `echo changed >> net/http/server.go; echo smaller > large; rm -r go/types "odd names/[brackets]*{braces}"; echo new > "odd names/new"; mkdir n; : > n/empty`)
}

// sameTree fails the test where two trees differ.
func sameTree(t *testing.T, want, got string) {
	t.Helper()
	sh(t, "", `diff -r --no-dereference "$1" "$2"`, want, got)
}

// synchronizes has a program make one tree like another, in both directions. Of each file that it copies, what it prints has the word moved.
func synchronizes(t *testing.T, tree string, links bool, moved string, sync func(from, to string) cluster.Command, remote string) {
	t.Helper()
	mine, back := copyOf(t, tree, links), t.TempDir()
	for round := range 2 {
		if round > 0 {
			change(t, mine)
		}
		if out := sync(mine, remote).Run(t); !strings.Contains(out, moved) {
			t.Errorf("nothing was copied: %s", out)
		}
		if out := sync(mine, remote).Run(t); strings.Contains(out, moved) {
			t.Errorf("what had not changed was copied again: %s", out)
		}
		sync(remote, back).Run(t)
		sh(t, back, `find . -mindepth 1 -type d -empty -delete`) // where all files were removed
		sameTree(t, mine, back)
	}
}

// restic backs a tree up twice, verifies all it stored, restores both states, and forgets the first.
func restic(t *testing.T, s *cluster.Server, tree string) {
	cluster.Needs(t, "restic")
	mine, work := copyOf(t, tree, true), t.TempDir()
	sh(t, mine, `mkdir -p "no/files/in it"; mkfifo pipe; setfattr -n user.color -v blue large`)
	restic := func(args ...string) string {
		return cluster.Command{Name: "restic", Args: append([]string{"-q"}, args...), Dir: mine, Env: []string{
			"RESTIC_REPOSITORY=s3:" + s.S3 + "/restic/a repository", "RESTIC_PASSWORD=secret", "RESTIC_CACHE_DIR=" + filepath.Join(work, "cache"),
			"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey,
		}}.Run(t)
	}
	restored := func(snapshot, want string) {
		to := t.TempDir()
		restic("restore", snapshot, "--target", to, "--verify")
		sh(t, to, `rsync -aXn --delete --checksum --itemize-changes "$1/" . | (! grep -v '^\.d')`, want)
	}
	restic("init")
	restic("backup", "--tag", "first", ".")
	before := copyOf(t, mine, true)
	change(t, mine)
	restic("backup", "--tag", "second", ".")
	restic("check", "--read-data")
	restored("latest", mine)
	sh(t, before, `rm pipe && mkfifo -m "$(stat -c %a "$1/pipe" 2>/dev/null || echo 644)" pipe && touch -r "$1/pipe" pipe`, mine)
	first := strings.TrimSpace(sh(t, "", `echo "$1" | grep -o '"short_id":"[0-9a-f]*"' | head -1 | cut -d'"' -f4`, restic("snapshots", "--json", "--tag", "first")))
	restored(first, before)
	restic("forget", "--keep-last", "1", "--group-by", "", "--prune")
	restic("check", "--read-data")
	restored("latest", mine)
}

// s3fs has a bucket as a directory, into which a part of the tree is copied; after another mount it is there.
func s3fs(t *testing.T, s *cluster.Server, tree string) {
	cluster.Needs(t, "s3fs", "fusermount3")
	s.AWS("s3", "mb", "s3://s3fs").Run(t)
	work := t.TempDir()
	point, password := filepath.Join(work, "mnt"), filepath.Join(work, "password")
	if err := os.WriteFile(password, []byte(s.AccessKey+":"+s.SecretKey), 0o600); err != nil {
		t.Fatal(err)
	}
	mount := func(use func()) {
		sh(t, work, `mkdir "$1" && s3fs s3fs "$1" -o "url=$2,passwd_file=$3,use_path_request_style,sigv4,multipart_size=5"`, point, s.S3, password)
		defer sh(t, work, `umount "$1" || fusermount3 -u "$1" && rmdir "$1"`, point)
		use()
	}
	mine := filepath.Join(work, "mine")
	sh(t, tree, `mkdir "$1" && cp -a "odd names" encoding large "$1" && mkdir "$1/nothing in it"`, mine)
	mount(func() { sh(t, mine, `cp -a * "$1"`, point) }) // the times of the mount point itself it does not set
	mount(func() {
		sameTree(t, mine, point)
		sh(t, mine, `[ -z "$(rsync -rlpt --dry-run --itemize-changes "$1/" . | grep -v '^\.d')" ]`, point)
		for _, dir := range []string{mine, point} {
			sh(t, dir, `mv encoding/json encoding/moved; echo more >> "odd names/with space"; rm "odd names/empty"; chmod 600 "odd names/.hidden"; truncate -s 6000000 large`)
		}
	})
	mount(func() {
		sameTree(t, mine, point)
		sh(t, point, `[ "$(stat -c %a "odd names/.hidden")" = 600 ]`)
	})
}

// boto runs a script for boto3, with what Debian has and, if that is another, what is installed beside it.
func boto(t *testing.T, s *cluster.Server, tree string) {
	cluster.Needs(t, "/usr/bin/python3", "/usr/lib/python3/dist-packages/boto3/__init__.py")
	pythons := strings.Fields(sh(t, "", `echo /usr/bin/python3; if python3 -c 'import boto3' 2>/dev/null && [ "$(command -v python3)" != /usr/bin/python3 ]; then command -v python3; fi`))
	script, err := filepath.Abs("testdata/boto.py")
	if err != nil {
		t.Fatal(err)
	}
	mine := copyOf(t, tree, false)
	for i, python := range pythons {
		if i > 0 {
			sh(t, mine, `rm -r net os go`) // it is slow
		}
		back := t.TempDir()
		out := cluster.Command{Name: python, Args: []string{script, s.S3, fmt.Sprintf("boto-%d", i), mine, back}, Env: []string{
			"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey, "AWS_DEFAULT_REGION=us-east-1",
			"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		}}.Run(t)
		t.Log(out)
		sameTree(t, mine, back)
	}
}

// goSDK runs the program of tests/sdk.
func goSDK(t *testing.T, s *cluster.Server, tree string) {
	mine, back, program := copyOf(t, tree, false), t.TempDir(), filepath.Join(t.TempDir(), "sdk")
	sh(t, "../sdk", `CGO_ENABLED=0 go build -o "$1" .`, program)
	t.Log(cluster.Command{Name: program, Args: []string{s.S3, "go-sdk", mine, back}, Env: []string{
		"AWS_ACCESS_KEY_ID=" + s.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s.SecretKey,
	}}.Run(t))
	sameTree(t, mine, back)
}

// minioGo puts all files by several callers, gets them as they are listed, and removes them.
func minioGo(t *testing.T, s *cluster.Server, tree string) {
	const bucket = "minio-go"
	c, err := minio.New(strings.TrimPrefix(s.S3, "http://"), &minio.Options{Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	mine, back := copyOf(t, tree, false), t.TempDir()
	var names []string
	err = filepath.WalkDir(mine, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, path[len(mine)+1:])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	each(t, names, func(name string) error {
		_, err := c.FPutObject(t.Context(), bucket, name, filepath.Join(mine, name), minio.PutObjectOptions{PartSize: 5 << 20})
		return err
	})
	var listed []string
	for o := range c.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		listed = append(listed, o.Key)
	}
	each(t, listed, func(name string) error {
		return c.FGetObject(t.Context(), bucket, name, filepath.Join(back, name), minio.GetObjectOptions{})
	})
	sameTree(t, mine, back)
	objects := make(chan minio.ObjectInfo, len(listed))
	for _, key := range listed {
		objects <- minio.ObjectInfo{Key: key}
	}
	close(objects)
	for e := range c.RemoveObjects(t.Context(), bucket, objects, minio.RemoveObjectsOptions{}) {
		t.Errorf("removing %s: %v", e.ObjectName, e.Err)
	}
	if err := c.RemoveBucket(t.Context(), bucket); err != nil {
		t.Error(err)
	}
}

// each does something with each name, four at a time.
func each(t *testing.T, names []string, do func(name string) error) {
	t.Helper()
	var callers sync.WaitGroup
	next := make(chan string)
	for range 4 {
		callers.Go(func() {
			for name := range next {
				if err := do(name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	for _, name := range names {
		next <- name
	}
	close(next)
	callers.Wait()
}

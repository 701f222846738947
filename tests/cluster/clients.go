package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// contextOf is a context for one step of a wait loop. Its timer frees it.
func contextOf(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	context.AfterFunc(ctx, cancel)
	return ctx
}

// AWS is a command line of aws-cli against the cluster.
func (a *Access) AWS(args ...string) Command {
	name := "aws"
	if _, err := os.Stat("/usr/bin/aws"); err == nil {
		name = "/usr/bin/aws" // the Debian package, whatever else is in the path
	}
	c := Command{Name: name, Args: append([]string{"--endpoint-url", a.S3}, args...), As: a.As, Env: []string{
		"AWS_ACCESS_KEY_ID=" + a.AccessKey, "AWS_SECRET_ACCESS_KEY=" + a.SecretKey, "AWS_DEFAULT_REGION=us-east-1",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
	}}
	if a.CA != "" {
		c.Env = append(c.Env, "AWS_CA_BUNDLE="+a.CA)
	}
	return c
}

// Rclone is a command line of rclone; the remote "g:" is the cluster.
func (a *Access) Rclone(args ...string) Command {
	return Command{Name: "rclone", Args: append([]string{"--config", "/dev/null"}, args...), Env: []string{
		"RCLONE_CONFIG_G_TYPE=s3", "RCLONE_CONFIG_G_PROVIDER=Other", "RCLONE_CONFIG_G_ENDPOINT=" + a.S3,
		"RCLONE_CONFIG_G_ACCESS_KEY_ID=" + a.AccessKey, "RCLONE_CONFIG_G_SECRET_ACCESS_KEY=" + a.SecretKey,
		"RCLONE_CONFIG_G_REGION=us-east-1",
	}}
}

// S3cmd is a command line of s3cmd against the cluster.
func (a *Access) S3cmd(t testing.TB, args ...string) Command {
	t.Helper()
	host := a.S3[len("http://"):]
	config := filepath.Join(a.Dir, "s3cfg")
	text := fmt.Sprintf("[default]\naccess_key = %s\nsecret_key = %s\nhost_base = %s\nhost_bucket = %s\nuse_https = False\nsignature_v2 = False\nbucket_location = us-east-1\n",
		a.AccessKey, a.SecretKey, host, host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Command{Name: "s3cmd", Args: append([]string{"-c", config, "--no-progress"}, args...)}
}

// Mount mounts the cluster's root at a directory of the test, by the granary binary with these flags, and unmounts
// it when the test ends.
func (a *Access) Mount(t testing.TB, flags ...string) string {
	t.Helper()
	point := filepath.Join(t.TempDir(), "mnt")
	if a.As != nil {
		point = filepath.Join(a.Dir, "mnt")
	}
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	if a.As != nil {
		if err := os.Chown(point, int(a.As.Uid), int(a.As.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	log := filepath.Join(a.Dir, "mount.log")
	a.Granary(append([]string{"mount", "--log-file", log, point}, flags...)...).Run(t)
	t.Cleanup(func() {
		if t.Failed() {
			if text, err := os.ReadFile(log); err == nil {
				t.Logf("log of the mount:\n%s", tail(string(text)))
			}
		}
		a.unmount(t, point)
	})
	return point
}

// unmount takes a mount away, and its process, which commits first what was written; if that cannot be, or it is still in use, lazily, so
// that the test can end. Servers in network namespaces have mount namespaces too, in which the mount may be as well: then its process, which
// has nothing left to write, does not end before they do, and is killed.
func (a *Access) unmount(t testing.TB, point string) {
	pid, served := MountProcess(point)
	ctx, cancel := context.WithCancel(contextOf(unmountWithin))
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		gone := time.NewTicker(unmountLook)
		defer gone.Stop()
		for looks := 0; looks < unmountLooks; {
			select {
			case <-stop:
				return
			case <-gone.C:
			}
			if !mounted(point) {
				looks++
			}
		}
		cancel()
	}()
	_, err := a.Granary("umount", point).Try(ctx)
	if err == nil {
		return
	}
	if mounted(point) {
		t.Logf("umount: %v", err)
		err = Poll(unmountWithin, func() error {
			return exec.Command("fusermount3", "-u", point).Run()
		})
		if err != nil {
			t.Errorf("unmount: %v", errors.Join(err, exec.Command("fusermount3", "-uz", point).Run()))
		}
	}
	if again, still := MountProcess(point); served && still && again == pid {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("the process of the mount: %v", err)
		}
	}
}

// mounted reports whether something is mounted here. It asks the kernel's table, and not the mount, which may hang.
func mounted(point string) bool {
	table, err := os.ReadFile("/proc/self/mounts")
	return err != nil || bytes.Contains(table, []byte(" "+point+" "))
}

// The process of a mount that is gone is given so many looks to end.
const (
	unmountLook  = 50 * time.Millisecond
	unmountLooks = 20
)

// unmountWithin is how long a mount may take to commit what was written, or to be no more in use.
const unmountWithin = 10 * time.Second

// MountProcess returns the process that serves a mount of the granary binary.
func MountProcess(point string) (pid int, ok bool) {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, false
	}
	for _, path := range all {
		line, err := os.ReadFile(path)
		if err == nil && bytes.Contains(line, []byte(point+"\x00--foreground")) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid, err == nil
		}
	}
	return 0, false
}

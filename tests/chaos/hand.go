//go:build e2e

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sys/unix"

	"github.com/dsorchard/granary"
	"github.com/dsorchard/granary/tests/cluster"
)

// hand is a way to change files and to read them: a door of the cluster. An error of KindIndeterminate, or of another kind by
// which nobody can tell, leaves open whether a change has happened; then it has happened wholly or not at all, now or later.
type hand interface {
	// put writes a file whole.
	put(ctx context.Context, path string, c content) error
	// change writes into a file that is there, at an offset or at its end.
	change(ctx context.Context, path string, off int, atEnd bool, c content) error
	remove(ctx context.Context, path string) error
	// read reads a file whole; nil if there is none.
	read(ctx context.Context, path string) ([]byte, error)
}

// check reads a file and compares: a *wrong if it is not what it may be. It returns how many bytes there were.
func check(ctx context.Context, h hand, path string, allowed []content) (int, error) {
	if far, ok := h.(*remote); ok {
		return far.check(ctx, path, allowed)
	}
	got, err := h.read(ctx, path)
	if err != nil {
		return 0, err
	}
	return len(got), compare(path, got, allowed)
}

// unknown says that nobody can tell whether a change has happened.
func unknown(path string, err error) error {
	return granary.Errorf(granary.KindIndeterminate, "chaos", path, "%w", err)
}

// objects is the S3 door. It knows the paths in one bucket.
type objects struct {
	c      *minio.Client
	bucket string
}

// openObjects makes a bucket.
func openObjects(ctx context.Context, a *cluster.Access, bucket string) (*objects, error) {
	c, err := minio.New(strings.TrimPrefix(a.S3, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(a.AccessKey, a.SecretKey, ""), Region: "us-east-1",
		MaxRetries: 1, // a repeat could come to pass after what is done next
	})
	if err != nil {
		return nil, err
	}
	return &objects{c: c, bucket: bucket}, c.MakeBucket(ctx, bucket, minio.MakeBucketOptions{})
}

func (o *objects) dir() string { return "buckets/" + o.bucket + "/" }

// outcome judges an error of a request that changes something.
func (o *objects) outcome(path string, err error) error {
	if err == nil {
		return nil
	}
	if status := minio.ToErrorResponse(err).StatusCode; status == 0 || status >= http.StatusInternalServerError {
		return unknown(path, err)
	}
	return err
}

func (o *objects) put(ctx context.Context, path string, c content) error {
	key := strings.TrimPrefix(path, o.dir())
	_, err := o.c.PutObject(ctx, o.bucket, key, bytes.NewReader(c.bytes()), int64(c.size()), minio.PutObjectOptions{PartSize: 5 << 20})
	return o.outcome(path, err)
}

func (o *objects) change(context.Context, string, int, bool, content) error {
	return errors.New("objects are not changed")
}

func (o *objects) remove(ctx context.Context, path string) error {
	return o.outcome(path, o.c.RemoveObject(ctx, o.bucket, strings.TrimPrefix(path, o.dir()), minio.RemoveObjectOptions{}))
}

func (o *objects) read(ctx context.Context, path string) ([]byte, error) {
	r, err := o.c.GetObject(ctx, o.bucket, strings.TrimPrefix(path, o.dir()), minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return nil, nil
	}
	if got == nil {
		got = []byte{}
	}
	return got, err
}

// pages is the HTTP door.
type pages struct{ url string }

// do sends a request, and returns the answer's status and body. Nothing is sent twice.
func (p *pages) do(ctx context.Context, method, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.url+"/"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.GetBody = nil
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, got, err
}

// alter sends a request that changes something.
func (p *pages) alter(ctx context.Context, method, path string, body []byte) error {
	status, text, err := p.do(ctx, method, path, body)
	switch {
	case err != nil:
		return unknown(path, err)
	case status >= http.StatusInternalServerError:
		return unknown(path, fmt.Errorf("%d: %s", status, text))
	case status >= http.StatusMultipleChoices:
		return fmt.Errorf("%s %s: %d: %s", method, path, status, text)
	}
	return nil
}

func (p *pages) put(ctx context.Context, path string, c content) error {
	return p.alter(ctx, http.MethodPut, path, c.bytes())
}

func (p *pages) change(context.Context, string, int, bool, content) error {
	return errors.New("pages are not changed")
}

func (p *pages) remove(ctx context.Context, path string) error {
	return p.alter(ctx, http.MethodDelete, path, nil)
}

func (p *pages) read(ctx context.Context, path string) ([]byte, error) {
	status, got, err := p.do(ctx, http.MethodGet, path, nil)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return nil, nil
	case status != http.StatusOK:
		return nil, fmt.Errorf("GET %s: %d: %s", path, status, got)
	}
	return got, nil
}

// directory is a mount. What it does is acknowledged once it was synced. It is not for the process that serves other mounts.
type directory struct{ root string }

const fuseMagic = 0x65735546

// enter holds on to the mount, so that nothing is done in the directory below when it goes.
func (d *directory) enter() (*os.Root, error) {
	root, err := os.OpenRoot(d.root)
	if err != nil {
		return nil, err
	}
	f, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	var st unix.Statfs_t
	err = errors.Join(unix.Fstatfs(int(f.Fd()), &st), f.Close())
	if err == nil && st.Type != fuseMagic {
		err = syscall.ENOTCONN
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

// alter makes a change. Errors by which a mount says that it cannot reach the cluster, or has died, leave open whether it happened.
func (d *directory) alter(path string, change func(root *os.Root) error) error {
	root, err := d.enter()
	if err == nil {
		err = errors.Join(change(root), root.Close())
	}
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.ENOTCONN, syscall.ECONNABORTED, syscall.ETIMEDOUT, syscall.EAGAIN, syscall.EINTR} {
		if errors.Is(err, errno) {
			return unknown(path, err)
		}
	}
	return err
}

// put writes beside the file and renames, as careful programs do: so nobody sees a part of it.
func (d *directory) put(_ context.Context, path string, c content) error {
	return d.alter(path, func(root *os.Root) error {
		err := root.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = write(root, path+".tmp", os.O_CREATE|os.O_TRUNC, 0, c)
		}
		if err == nil {
			err = root.Rename(path+".tmp", path)
		}
		return err
	})
}

func write(root *os.Root, name string, flags, off int, c content) error {
	f, err := root.OpenFile(name, os.O_WRONLY|flags, 0o644)
	if err != nil {
		return err
	}
	if flags&os.O_APPEND != 0 {
		_, err = f.Write(c.bytes())
	} else {
		_, err = f.WriteAt(c.bytes(), int64(off))
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func (d *directory) change(_ context.Context, path string, off int, atEnd bool, c content) error {
	flags := 0
	if atEnd {
		flags = os.O_APPEND
	}
	return d.alter(path, func(root *os.Root) error { return write(root, path, flags, off, c) })
}

func (d *directory) remove(_ context.Context, path string) error {
	return d.alter(path, func(root *os.Root) error { return root.Remove(path) })
}

func (d *directory) read(_ context.Context, path string) ([]byte, error) {
	root, err := d.enter()
	if err != nil {
		return nil, err
	}
	got, err := root.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, root.Close()
	}
	if got == nil {
		got = []byte{}
	}
	return got, errors.Join(err, root.Close())
}

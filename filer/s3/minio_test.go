package s3

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func (s *server) minio(t *testing.T, secret string, trailers bool) *minio.Client {
	t.Helper()
	c, err := minio.New(strings.TrimPrefix(s.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(testAccessKey, secret, ""), TrailingHeaders: trailers, MaxRetries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A client of another make does everything, with streaming signatures (its way over plain HTTP), with
// and without trailing checksums.
func TestMinioClient(t *testing.T) {
	for _, trailers := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "trailers"}[trailers], func(t *testing.T) {
			s := newServer(t)
			c, ctx := s.minio(t, testSecretKey, trailers), t.Context()
			if err := c.MakeBucket(ctx, "made", minio.MakeBucketOptions{}); err != nil {
				t.Fatal(err)
			}
			if ok, err := c.BucketExists(ctx, "made"); err != nil || !ok {
				t.Fatal(ok, err)
			}
			objects := map[string][]byte{
				"empty": {}, "small": []byte("hello"), "dir/sub dir/ünï+%&=?#": bytes.Repeat([]byte("x"), 70_000),
				"large": bytes.Repeat([]byte("0123456789abcdef"), 1<<20), // 16 MiB: multipart with parts of 5 MiB
			}
			for key, data := range objects {
				o := minio.PutObjectOptions{ContentType: "a/b", UserMetadata: map[string]string{"color": "grün"}, PartSize: 5 << 20}
				if trailers {
					o.Checksum = minio.ChecksumCRC32C
				}
				info, err := c.PutObject(ctx, "made", key, bytes.NewReader(data), int64(len(data)), o)
				if err != nil {
					t.Fatalf("%s: %v", key, err)
				}
				checkMinioObject(t, c, key, data, info.ETag)
			}
			var keys []string
			for o := range c.ListObjects(ctx, "made", minio.ListObjectsOptions{Recursive: true}) {
				if o.Err != nil {
					t.Fatal(o.Err)
				}
				if int(o.Size) != len(objects[o.Key]) {
					t.Errorf("%s has %d bytes", o.Key, o.Size)
				}
				keys = append(keys, o.Key)
			}
			if got := strings.Join(keys, ","); got != "dir/sub dir/ünï+%&=?#,empty,large,small" {
				t.Fatal(got)
			}
			minioCopies(t, c, objects["large"])
			minioRemoves(t, c)
		})
	}
}

func checkMinioObject(t *testing.T, c *minio.Client, key string, data []byte, etag string) {
	t.Helper()
	ctx := t.Context()
	stat, err := c.StatObject(ctx, "made", key, minio.StatObjectOptions{Checksum: true})
	if err != nil || stat.Size != int64(len(data)) || stat.ETag != etag || stat.ContentType != "a/b" || stat.UserMetadata["Color"] == "" {
		t.Fatalf("%s: %+v, %v", key, stat, err)
	}
	o, err := c.GetObject(ctx, "made", key, minio.GetObjectOptions{Checksum: true})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%s: %d bytes, %v", key, len(got), err)
	}
}

func minioCopies(t *testing.T, c *minio.Client, large []byte) {
	t.Helper()
	ctx := t.Context()
	dst, src := minio.CopyDestOptions{Bucket: "bucket", Object: "copy of large"}, minio.CopySrcOptions{Bucket: "made", Object: "large"}
	if _, err := c.CopyObject(ctx, dst, src); err != nil {
		t.Fatal(err)
	}
	other := minio.CopySrcOptions{Bucket: "bucket", Object: "copy of large"}
	if _, err := c.ComposeObject(ctx, minio.CopyDestOptions{Bucket: "bucket", Object: "twice"}, src, other); err != nil {
		t.Fatal(err)
	}
	o, err := c.GetObject(ctx, "bucket", "twice", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(got, append(bytes.Clone(large), large...)) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func minioRemoves(t *testing.T, c *minio.Client) {
	t.Helper()
	ctx := t.Context()
	for e := range c.RemoveObjects(ctx, "made", c.ListObjects(ctx, "made", minio.ListObjectsOptions{Recursive: true}), minio.RemoveObjectsOptions{}) {
		t.Fatal(e)
	}
	if err := c.RemoveBucket(ctx, "made"); err != nil {
		t.Fatal(err)
	}
}

func TestMinioWrongSecret(t *testing.T) {
	s := newServer(t)
	_, err := s.minio(t, "wrong", false).PutObject(t.Context(), "bucket", "k", strings.NewReader("x"), 1, minio.PutObjectOptions{})
	if minio.ToErrorResponse(err).Code != string(codeSignature) {
		t.Fatal(err)
	}
	if keys := s.keys(t); len(keys) != 0 {
		t.Fatal(keys)
	}
}

// A stream of unknown length, and one whose sender dies on the way.
func TestMinioStreams(t *testing.T) {
	s := newServer(t)
	c := s.minio(t, testSecretKey, true)
	data := bytes.Repeat([]byte("z"), 6<<20)
	if _, err := c.PutObject(t.Context(), "bucket", "stream", bytes.NewReader(data), -1, minio.PutObjectOptions{PartSize: 5 << 20}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	dying := io.MultiReader(bytes.NewReader(data[:1<<20]), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, io.ErrUnexpectedEOF
	}))
	if _, err := c.PutObject(ctx, "bucket", "dead", dying, 4<<20, minio.PutObjectOptions{DisableMultipart: true}); err == nil {
		t.Fatal("a body cut off is accepted")
	}
	s.CloseClientConnections()
	if got := strings.Join(s.keys(t), ","); got != "stream" {
		t.Fatal(got)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestMinioPresigned(t *testing.T) {
	s := newServer(t)
	c := s.minio(t, testSecretKey, false)
	u, err := c.PresignedPutObject(t.Context(), "bucket", "a b/ü", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s.fetch(t, http.MethodPut, u, "body")
	u, err = c.PresignedGetObject(t.Context(), "bucket", "a b/ü", time.Minute, url.Values{"response-content-disposition": {`attachment; filename="x y"`}})
	if err != nil {
		t.Fatal(err)
	}
	if a := s.fetch(t, http.MethodGet, u, ""); a.body != "body" || a.header.Get("Content-Disposition") != `attachment; filename="x y"` {
		t.Fatal(a)
	}
}

func (s *server) fetch(t *testing.T, method string, u *url.URL, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, u.String(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return s.send(t, r).want(t, 200)
}

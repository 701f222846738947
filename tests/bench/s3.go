package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// s3Target is an S3 endpoint, and what is to be measured of it.
type s3Target struct {
	endpoint, accessKey, secretKey, bucket string
	secure                                 bool
	sizes, callers                         sizeList
	ops                                    string
	objects                                int   // of a size, that are read, listed and deleted; fewer if set is less
	set                                    int64 // bytes of them, at most
	partSize                               uint64
	keep                                   bool

	client *minio.Core
	http   *http.Client // for what the client would take long to parse
}

// bufferSize is of what is read and sent at a time.
const bufferSize = 256 << 10

// putBytesMax bounds what is written in one cell.
const putBytesMax = 8 << 30

func (s *s3Target) flags(flags *flag.FlagSet) {
	s.sizes, s.callers = sizeList{4 << 10, 1 << 20, 64 << 20}, sizeList{1, 8, 64}
	flags.StringVar(&s.endpoint, "endpoint", "127.0.0.1:7700", "s3: HOST:PORT")
	flags.StringVar(&s.accessKey, "access-key", os.Getenv("AWS_ACCESS_KEY_ID"), "s3: access key")
	flags.StringVar(&s.secretKey, "secret-key", os.Getenv("AWS_SECRET_ACCESS_KEY"), "s3: secret key")
	flags.StringVar(&s.bucket, "bucket", "bench", "s3: bucket to work in; made if needed")
	flags.BoolVar(&s.secure, "tls", false, "s3: speak HTTPS")
	flags.Var(&s.sizes, "sizes", "s3: sizes of objects, such as 4K,1M")
	flags.Var(&s.callers, "callers", "s3: how many requests are under way at the same time; several are tried one after the other")
	flags.StringVar(&s.ops, "ops", "put,get,list,delete", "s3: what is measured; put, at least, once in a bucket")
	flags.IntVar(&s.objects, "objects", 4000, "s3: how many objects of a size are read, listed and deleted: the same number, whatever the speed of writing")
	flags.Int64Var(&s.set, "set", 1<<30, "s3: bytes of them, at most")
	flags.Uint64Var(&s.partSize, "part-size", 0, "s3: upload objects that are larger in parts of so many bytes; 0: never")
	flags.BoolVar(&s.keep, "keep", false, "s3: leave the objects there")
}

func (s *s3Target) run(ctx context.Context, t *table) error {
	var err error
	transport, err := minio.DefaultTransport(s.secure)
	if err != nil {
		return err
	}
	// The client shares the machine with what it measures: it is to take little of it.
	transport.ReadBufferSize, transport.WriteBufferSize, transport.MaxIdleConnsPerHost = bufferSize, bufferSize, 256
	s.client, err = minio.NewCore(s.endpoint, &minio.Options{Creds: credentials.NewStaticV4(s.accessKey, s.secretKey, ""), Secure: s.secure, Transport: transport})
	if err != nil {
		return err
	}
	s.http = &http.Client{Transport: transport}
	exists, err := s.client.BucketExists(ctx, s.bucket)
	if err != nil {
		return err
	}
	if !exists {
		if err := s.client.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: "us-east-1"}); err != nil {
			return err
		}
	}
	for _, size := range s.sizes {
		for _, callers := range s.callers {
			if err := s.newCorpus(size, int(callers)).measure(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// corpus is the objects of one size that so many callers work on. The first few, count of them, are the set that is read, listed
// and deleted.
type corpus struct {
	*s3Target
	size    int64
	callers int
	count   int
	buffers sync.Pool // of what is read
	*contents
}

func (s *s3Target) newCorpus(size int64, callers int) *corpus {
	c := &corpus{s3Target: s, size: size, callers: callers, contents: newContents(), count: max(min(s.objects, int(s.set/max(size, 1))), 1)}
	c.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	return c
}

// key names an object. Each caller has a directory for the set, as many list at the same time.
func (c *corpus) key(i int) string {
	return fmt.Sprintf("%s%08d", c.prefix(i/c.count, i), i)
}

func (c *corpus) prefix(set, i int) string {
	return fmt.Sprintf("%d-%d/%d/%02x/", c.size, c.callers, set, i%c.callers)
}

func (c *corpus) put(ctx context.Context, i int) error {
	_, err := c.client.Client.PutObject(ctx, c.bucket, c.key(i), c.reader(c.size), c.size, minio.PutObjectOptions{DisableMultipart: c.partSize == 0, PartSize: c.partSize})
	return err
}

func (c *corpus) get(ctx context.Context, i int) error {
	key := c.key(i % c.count)
	o, _, _, err := c.client.GetObject(ctx, c.bucket, key, minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	buffer := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buffer)
	read, err := io.CopyBuffer(onlyWriter{io.Discard}, o, *buffer)
	if err == nil && read != c.size {
		err = fmt.Errorf("%s has %d bytes, not %d", key, read, c.size)
	}
	return errors.Join(err, o.Close())
}

// list lists the directory of a caller, page by page, and counts the keys.
func (c *corpus) list(ctx context.Context, i int) error {
	i %= c.callers
	keys, want := 0, (c.count-i+c.callers-1)/c.callers
	for token := ""; ; {
		page, err := c.page(ctx, c.prefix(0, i), token)
		if err != nil {
			return err
		}
		keys += bytes.Count(page, []byte("<Contents>"))
		_, after, more := bytes.Cut(page, []byte("<NextContinuationToken>"))
		if !more {
			break
		}
		text, _, _ := bytes.Cut(after, []byte("<"))
		token = html.UnescapeString(string(text))
	}
	if keys != want {
		return fmt.Errorf("%s has %d keys, not %d", c.prefix(0, i), keys, want)
	}
	return nil
}

// page asks for a page of a listing.
func (c *corpus) page(ctx context.Context, prefix, token string) ([]byte, error) {
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}}
	if token != "" {
		query.Set("continuation-token", token)
	}
	at := *c.client.EndpointURL()
	at.Path, at.RawQuery = "/"+c.bucket+"/", strings.ReplaceAll(query.Encode(), "+", "%20")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Amz-Content-Sha256", emptySHA256)
	answer, err := c.http.Do(signer.SignV4(*r, c.accessKey, c.secretKey, "", "us-east-1"))
	if err != nil {
		return nil, err
	}
	page, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", prefix, answer.Status)
	}
	return page, errors.Join(err, answer.Body.Close())
}

// emptySHA256 is the hash of no bytes.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func (c *corpus) remove(ctx context.Context, i int) error {
	return c.client.RemoveObject(ctx, c.bucket, c.key(i), minio.RemoveObjectOptions{})
}

// measure measures the operations, in the order in which they need each other.
func (c *corpus) measure(ctx context.Context, t *table) error {
	written, err := t.run(ctx, cell{"PUT", int(c.size), c.callers, max(putBytesMax/int(max(c.size, 1)), c.count), 1, c.put})
	if err != nil {
		return err
	}
	if err := t.untimed(ctx, c.callers, written, c.count, c.put); err != nil {
		return err
	}
	removed := 0
	for op := range strings.SplitSeq("get,list,delete", ",") {
		if !strings.Contains(","+c.ops+",", ","+op+",") {
			continue
		}
		switch op {
		case "get": // each was read once before: all caches are as full as they get
			if err := t.untimed(ctx, c.callers, 0, c.count, c.get); err != nil {
				return err
			}
			_, err = t.run(ctx, cell{"GET", int(c.size), c.callers, 1 << 30, 1, c.get})
		case "list":
			_, err = t.run(ctx, cell{"LIST", 0, c.callers, 1 << 30, float64(c.count) / float64(c.callers), c.list})
		case "delete":
			removed, err = t.run(ctx, cell{"DELETE", 0, c.callers, c.count, 1, c.remove})
		}
		if err != nil {
			return err
		}
	}
	if c.keep {
		return nil
	}
	return t.untimed(ctx, c.callers, removed, max(written, c.count), c.remove)
}

// onlyWriter hides other methods of a writer, so that CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }

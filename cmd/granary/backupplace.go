package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/minio/minio-go/v7"
	s3keys "github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/spf13/cobra"

	"github.com/dsorchard/granary/internal/backup"
)

// place is where a backup lies, or is to lie.
type place interface {
	fmt.Stringer
	// save makes a backup there. Saver's Name is not set.
	save(ctx context.Context, s *backup.Saver) (*backup.Header, error)
	// open reads what lies there.
	open(ctx context.Context) (io.ReadCloser, error)
}

// placeOptions are the flags that say how an S3 service is reached.
type placeOptions struct {
	endpoint, region string
}

func (o *placeOptions) flags(cmd *cobra.Command, env *environment) {
	cmd.Flags().StringVar(&o.endpoint, "endpoint", env.s3.endpoint, "URL of the S3 service, for s3:// (environment: AWS_ENDPOINT_URL); keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	cmd.Flags().StringVar(&o.region, "region", env.s3.region, "region of the bucket (environment: AWS_REGION)")
}

// place understands FILE or s3://BUCKET/KEY.
func (o *placeOptions) place(env *environment, name string) (place, error) {
	rest, ok := strings.CutPrefix(name, "s3://")
	if !ok {
		if name == "" || strings.HasSuffix(name, "/") {
			return nil, usagef("%q is not the name of a file", name)
		}
		return filePlace(name), nil
	}
	bucket, key, _ := strings.Cut(rest, "/")
	if bucket == "" || key == "" || strings.HasSuffix(key, "/") {
		return nil, usagef("%q is not s3://BUCKET/KEY", name)
	}
	host, secure, err := splitEndpoint(o.endpoint)
	if err != nil {
		return nil, err
	}
	if env.s3.accessKey == "" || env.s3.secretKey == "" {
		return nil, usagef("s3:// needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
	}
	c, err := minio.New(host, &minio.Options{
		Creds:  s3keys.NewStaticV4(env.s3.accessKey, env.s3.secretKey, env.s3.sessionToken),
		Secure: secure, Region: o.region,
	})
	if err != nil {
		return nil, usagef("--endpoint: %w", err)
	}
	return &objectPlace{c, bucket, key}, nil
}

// splitEndpoint takes a URL apart; a bare HOST:PORT is reached by TLS.
func splitEndpoint(endpoint string) (host string, secure bool, err error) {
	if endpoint == "" {
		return "s3.amazonaws.com", true, nil
	}
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return "", false, usagef("--endpoint %q is not http://HOST:PORT or https://HOST:PORT", endpoint)
	}
	return u.Host, u.Scheme == "https", nil
}

// filePlace is a file's name.
type filePlace string

func (f filePlace) String() string { return string(f) }

func (f filePlace) save(ctx context.Context, s *backup.Saver) (*backup.Header, error) {
	s.Name = string(f)
	return s.Save(ctx)
}

func (f filePlace) open(context.Context) (io.ReadCloser, error) { return os.Open(string(f)) }

// objectPlace is an object of an S3 service.
type objectPlace struct {
	client      *minio.Client
	bucket, key string
}

func (o *objectPlace) String() string { return fmt.Sprintf("s3://%s/%s", o.bucket, o.key) }

func (o *objectPlace) save(ctx context.Context, s *backup.Saver) (*backup.Header, error) {
	_, err := o.client.StatObject(ctx, o.bucket, o.key, minio.StatObjectOptions{})
	if err == nil {
		return nil, fmt.Errorf("%s exists, and is not replaced", o)
	}
	var answer minio.ErrorResponse
	if !errors.As(err, &answer) || answer.StatusCode != 404 || answer.Code == "NoSuchBucket" {
		return nil, fmt.Errorf("%s: %w", o, err)
	}
	stream, err := backup.Begin(ctx, s.Leader, s.Patience, s.Now())
	if err != nil {
		return nil, err
	}
	h := stream.Header()
	whole, err := backup.NewContainer(h, stream)
	if err != nil {
		return nil, err
	}
	// The object appears when all of it has been written, or not at all.
	_, err = o.client.PutObject(ctx, o.bucket, o.key, &movedReader{whole, s.Moved}, h.Length(),
		minio.PutObjectOptions{ContentType: "application/octet-stream"})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o, err)
	}
	return h, nil
}

func (o *objectPlace) open(ctx context.Context) (io.ReadCloser, error) {
	return o.client.GetObject(ctx, o.bucket, o.key, minio.GetObjectOptions{})
}

// movedReader tells how much is read.
type movedReader struct {
	r     io.Reader
	moved func(int)
}

func (m *movedReader) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.moved(n)
	return n, err
}

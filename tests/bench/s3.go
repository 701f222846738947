package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// s3Target is an S3 endpoint.
type s3Target struct {
	endpoint, accessKey, secretKey, bucket string

	client *minio.Client
}

func (s *s3Target) run(ctx context.Context, t *table) error {
	var err error
	s.client, err = minio.New(s.endpoint, &minio.Options{Creds: credentials.NewStaticV4(s.accessKey, s.secretKey, "")})
	if err != nil {
		return err
	}
	exists, err := s.client.BucketExists(ctx, s.bucket)
	if err != nil {
		return err
	}
	if !exists {
		if err := s.client.MakeBucket(ctx, s.bucket, minio.MakeBucketOptions{Region: "us-east-1"}); err != nil {
			return err
		}
	}
	for _, size := range []int{4 << 10, 1 << 20, 64 << 20} {
		for _, conc := range []int{1, 8, 64} {
			if err := s.size(ctx, t, size, conc); err != nil {
				return err
			}
		}
	}
	return nil
}

// size measures one size at one concurrency. The content is random and differs from object to
// object, so that nobody gains by compressing it or by having seen it.
func (s *s3Target) size(ctx context.Context, t *table, size, conc int) error {
	const bytesMax = 2 << 30 // of one cell
	count := max(bytesMax/size, 1)
	key := func(i int) string { return fmt.Sprintf("%d-%d/%02x/%08d", size, conc, i%64, i) }
	put := func(ctx context.Context, i int) error {
		var seed [32]byte
		fill(seed[:])
		body := io.LimitReader(rand.NewChaCha8(seed), int64(size))
		_, err := s.client.PutObject(ctx, s.bucket, key(i), body, int64(size), minio.PutObjectOptions{DisableMultipart: true})
		return err
	}
	n, err := t.run(ctx, cell{"PUT", size, conc, count, put})
	if err != nil {
		return err
	}
	get := func(ctx context.Context, i int) error {
		o, err := s.client.GetObject(ctx, s.bucket, key(i%n), minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		read, err := io.Copy(io.Discard, o)
		if err == nil && read != int64(size) {
			err = fmt.Errorf("%s has %d bytes, not %d", key(i%n), read, size)
		}
		return errors.Join(err, o.Close())
	}
	if _, err := t.run(ctx, cell{"GET", size, conc, count, get}); err != nil {
		return err
	}
	list := func(ctx context.Context, i int) error {
		for o := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: fmt.Sprintf("%d-%d/%02x/", size, conc, i%64), Recursive: true}) {
			if o.Err != nil {
				return o.Err
			}
		}
		return nil
	}
	if _, err := t.run(ctx, cell{"LIST", 0, conc, 10_000, list}); err != nil {
		return err
	}
	return s.deleteAll(ctx, t, size, conc, n, key)
}

// deleteAll measures deletes, and then removes what the time left.
func (s *s3Target) deleteAll(ctx context.Context, t *table, size, conc, n int, key func(int) string) error {
	remove := func(ctx context.Context, i int) error {
		return s.client.RemoveObject(ctx, s.bucket, key(i), minio.RemoveObjectOptions{})
	}
	done, err := t.run(ctx, cell{"DELETE", 0, conc, n, remove})
	if err != nil {
		return err
	}
	for i := done; i < n; i++ {
		if err := remove(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func fill(b []byte) {
	for i := 0; i+8 <= len(b); i += 8 {
		v := rand.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
}

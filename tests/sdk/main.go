package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: sdk ENDPOINT BUCKET TREE BACK")
		os.Exit(2)
	}
	c := s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(os.Args[1]), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
	})
	u := &user{c: c, bucket: aws.String(os.Args[2]), tree: os.Args[3], back: os.Args[4]}
	if err := u.run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "sdk:", err)
		os.Exit(1)
	}
}

// user is what one program does in a bucket.
type user struct {
	c          *s3.Client
	bucket     *string
	tree, back string
}

func (u *user) run(ctx context.Context) error {
	if _, err := u.c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: u.bucket}); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func(ctx context.Context) error
	}{
		{"the tree there and back", u.transfer}, {"checksums", u.checksums}, {"a body of unknown length", u.stream}, {"conditions", u.conditions},
		{"presigned URLs", u.presigned}, {"parts", u.parts}, {"everything removed", u.remove},
	} {
		fmt.Println(step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (u *user) transfer(ctx context.Context) error {
	m := transfermanager.New(u.c, func(o *transfermanager.Options) {
		o.PartSizeBytes, o.MultipartUploadThreshold, o.Concurrency = 5<<20, 5<<20, 4
	})
	up, err := m.UploadDirectory(ctx, &transfermanager.UploadDirectoryInput{Bucket: u.bucket, Source: &u.tree, Recursive: aws.Bool(true), KeyPrefix: aws.String("a tree")})
	if err != nil {
		return err
	}
	down, err := m.DownloadDirectory(ctx, &transfermanager.DownloadDirectoryInput{Bucket: u.bucket, Destination: &u.back, KeyPrefix: aws.String("a tree/")})
	if err != nil {
		return err
	}
	if up.ObjectsUploaded != down.ObjectsDownloaded || up.ObjectsFailed+down.ObjectsFailed > 0 {
		return fmt.Errorf("%d objects up, %d down, %d and %d failed", up.ObjectsUploaded, down.ObjectsDownloaded, up.ObjectsFailed, down.ObjectsFailed)
	}
	return nil
}

// checksums puts with each algorithm, which the SDK computes, and gets, which it verifies.
func (u *user) checksums(ctx context.Context) error {
	for _, a := range []types.ChecksumAlgorithm{types.ChecksumAlgorithmCrc32, types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme,
		types.ChecksumAlgorithmSha1, types.ChecksumAlgorithmSha256} {
		key := aws.String("sum/" + string(a))
		put, err := u.c.PutObject(ctx, &s3.PutObjectInput{Bucket: u.bucket, Key: key, Body: strings.NewReader("summed"), ChecksumAlgorithm: a})
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		got, err := u.c.GetObject(ctx, &s3.GetObjectInput{Bucket: u.bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		body, err := io.ReadAll(got.Body)
		if err != nil || string(body) != "summed" || put.ChecksumType == "" || put.ChecksumType != got.ChecksumType {
			return fmt.Errorf("%s: %q, checksums of type %q and %q: %w", a, body, put.ChecksumType, got.ChecksumType, err)
		}
	}
	return nil
}

// stream uploads what cannot be read twice and ends nobody knows where.
func (u *user) stream(ctx context.Context) error {
	content := bytes.Repeat([]byte("0123456789abcdef"), 13<<20/16)
	m := transfermanager.New(u.c, func(o *transfermanager.Options) { o.PartSizeBytes = 5 << 20 })
	if _, err := m.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: u.bucket, Key: aws.String("stream"), Body: struct{ io.Reader }{bytes.NewReader(content)}}); err != nil {
		return err
	}
	got, err := u.c.GetObject(ctx, &s3.GetObjectInput{Bucket: u.bucket, Key: aws.String("stream")})
	if err != nil {
		return err
	}
	if body, err := io.ReadAll(got.Body); err != nil || !bytes.Equal(body, content) {
		return fmt.Errorf("%d bytes came back: %w", len(body), err)
	}
	return nil
}

func (u *user) conditions(ctx context.Context) error {
	put := func(ifMatch, ifNoneMatch *string) (*s3.PutObjectOutput, error) {
		return u.c.PutObject(ctx, &s3.PutObjectInput{Bucket: u.bucket, Key: aws.String("condition"), Body: strings.NewReader("x"), IfMatch: ifMatch, IfNoneMatch: ifNoneMatch})
	}
	first, err := put(nil, aws.String("*"))
	if err != nil {
		return err
	}
	if _, err := put(nil, aws.String("*")); !refused(err, "PreconditionFailed") {
		return fmt.Errorf("made twice: %w", err)
	}
	if _, err := put(aws.String(`"0123456789abcdef0123456789abcdef"`), nil); !refused(err, "PreconditionFailed") {
		return fmt.Errorf("replaced although it is another: %w", err)
	}
	if _, err := put(first.ETag, nil); err != nil {
		return err
	}
	_, err = u.c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: u.bucket, Key: aws.String("none")})
	if missing := (*types.NotFound)(nil); !errors.As(err, &missing) {
		return fmt.Errorf("HEAD of what is not there: %w", err)
	}
	return nil
}

func (u *user) presigned(ctx context.Context) error {
	p := s3.NewPresignClient(u.c, s3.WithPresignExpires(time.Minute))
	put, err := p.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: u.bucket, Key: aws.String("pre signed+")})
	if err != nil {
		return err
	}
	get, err := p.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: u.bucket, Key: aws.String("pre signed+"), ResponseContentType: aws.String("x/y")})
	if err != nil {
		return err
	}
	for _, step := range []struct{ method, url, body string }{{put.Method, put.URL, "by anybody"}, {get.Method, get.URL, ""}} {
		r, err := http.NewRequestWithContext(ctx, step.method, step.url, strings.NewReader(step.body))
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			return err
		}
		if answer.StatusCode != http.StatusOK || step.method == http.MethodGet && (string(body) != "by anybody" || answer.Header.Get("Content-Type") != "x/y") {
			return fmt.Errorf("%s: %s: %s", step.method, answer.Status, body)
		}
	}
	return nil
}

// parts makes an object of a copied part and one that is sent, under a composite checksum.
func (u *user) parts(ctx context.Context) error {
	key := aws.String("parts")
	begun, err := u.c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: u.bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		return err
	}
	copied, err := u.c.UploadPartCopy(ctx, &s3.UploadPartCopyInput{Bucket: u.bucket, Key: key, UploadId: begun.UploadId, PartNumber: aws.Int32(1),
		CopySource: aws.String(*u.bucket + "/stream"), CopySourceRange: aws.String("bytes=0-6291455")})
	if err != nil {
		return err
	}
	sent, err := u.c.UploadPart(ctx, &s3.UploadPartInput{Bucket: u.bucket, Key: key, UploadId: begun.UploadId, PartNumber: aws.Int32(2), Body: strings.NewReader("the end"),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		return err
	}
	_, err = u.c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: u.bucket, Key: key, UploadId: begun.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{
			{PartNumber: aws.Int32(1), ETag: copied.CopyPartResult.ETag, ChecksumSHA256: copied.CopyPartResult.ChecksumSHA256},
			{PartNumber: aws.Int32(2), ETag: sent.ETag, ChecksumSHA256: sent.ChecksumSHA256},
		}}})
	if err != nil {
		return err
	}
	got, err := u.c.GetObject(ctx, &s3.GetObjectInput{Bucket: u.bucket, Key: key, Range: aws.String("bytes=-7")})
	if err != nil {
		return err
	}
	if body, err := io.ReadAll(got.Body); err != nil || string(body) != "the end" || aws.ToString(got.ContentRange) != "bytes 6291456-6291462/6291463" {
		return fmt.Errorf("%q, %s: %w", body, aws.ToString(got.ContentRange), err)
	}
	return nil
}

func (u *user) remove(ctx context.Context) error {
	pages := s3.NewListObjectsV2Paginator(u.c, &s3.ListObjectsV2Input{Bucket: u.bucket, MaxKeys: aws.Int32(400)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		var objects []types.ObjectIdentifier
		for _, o := range page.Contents {
			objects = append(objects, types.ObjectIdentifier{Key: o.Key})
		}
		gone, err := u.c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: u.bucket, Delete: &types.Delete{Objects: objects}})
		if err != nil {
			return err
		}
		if len(gone.Deleted) != len(objects) || len(gone.Errors) > 0 {
			return fmt.Errorf("%d of %d objects were removed: %+v", len(gone.Deleted), len(objects), gone.Errors)
		}
	}
	_, err := u.c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: u.bucket})
	return err
}

// refused reports whether a service refused a request with a code.
func refused(err error, code string) bool {
	var e smithy.APIError
	return errors.As(err, &e) && e.ErrorCode() == code
}

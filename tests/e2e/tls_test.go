//go:build e2e

package e2e

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2ETLS has real clients work over TLS, replaces the certificate of the running server, and talks to it without TLS.
func TestE2ETLS(t *testing.T) {
	cluster.Needs(t, "aws", "curl", "cmp")
	s := cluster.NewTLSServer(t)
	s.Start(t)
	local := randomFile(t, filepath.Join(t.TempDir(), "local"), 20_000_000)
	curl := func(args ...string) cluster.Command {
		return cluster.Command{Name: "curl", Args: append([]string{"-fsS", "--cacert", s.CA}, args...)}
	}
	same := func(file string) {
		t.Helper()
		cluster.Command{Name: "cmp", Args: []string{local, file}}.Run(t)
	}
	back := func(name string) string { return filepath.Join(s.Dir, name) }

	curl("-T", local, s.HTTP+"/docs/file").Run(t)
	curl("-o", back("curl"), s.HTTP+"/docs/file").Run(t)
	same(back("curl"))
	s.AWS("s3", "mb", "s3://bucket").Run(t)
	s.AWS("s3", "cp", "--no-progress", local, "s3://bucket/file").Run(t)
	s.AWS("s3", "cp", "--no-progress", "s3://bucket/file", back("aws")).Run(t)
	same(back("aws"))
	key := back("customer-key")
	if err := os.WriteFile(key, bytes.Repeat([]byte{7}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	s.AWS("s3", "cp", "--no-progress", "--sse-c", "AES256", "--sse-c-key", "fileb://"+key, local, "s3://bucket/secret").Run(t)
	s.AWS("s3", "cp", "--no-progress", "--sse-c", "AES256", "--sse-c-key", "fileb://"+key, "s3://bucket/secret", back("secret")).Run(t)
	same(back("secret"))
	curl("-o", back("presigned"), strings.TrimSpace(s.AWS("s3", "presign", "s3://bucket/file").Run(t))).Run(t)
	same(back("presigned"))

	content := bytes.Repeat([]byte("streamed, and not signed, as clients do over TLS\n"), 100_000)
	client, err := minio.New(strings.TrimPrefix(s.S3, "https://"), &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Secure: true, Transport: cluster.TLSClient(t, s.CA).Transport, Region: "us-east-1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), "bucket", "streamed", bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	object, err := client.GetObject(t.Context(), "bucket", "streamed", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(object); err != nil || !bytes.Equal(got, content) {
		t.Errorf("of %d bytes that were streamed come back %d others, %v", len(content), len(got), err)
	}

	before := cluster.TLSClient(t, s.CA)
	cluster.ReplaceCertificate(t, s.CA, back("key.pem"))
	if _, err := before.Get(s.HTTP + "/-/health"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("whoever trusts the certificate from before is answered with %v, not with another certificate", err)
	}
	curl("-o", back("again"), s.HTTP+"/docs/file").Run(t)
	same(back("again"))

	plain, err := http.Get(strings.Replace(s.HTTP, "https:", "http:", 1) + "/docs/file")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Body.Close()
	if plain.StatusCode != http.StatusBadRequest {
		t.Errorf("a request without TLS is answered with %s", plain.Status)
	}
	refused(t, s.Granary("serve", "--data", back("other"), "--tls-cert", s.CA), 2, "--tls-key")
	refused(t, s.Granary("serve", "--data", back("other"), "--tls-cert", s.CA, "--tls-key", local), 1, local)
	if _, err := os.Stat(back("other")); err == nil {
		t.Error("a server that was refused has made its directory")
	}
	refused(t, s.Granary("serve", "filer", "--listen", "192.0.2.1"), 2, "192.0.2.1", "--tls-cert", "--insecure")
}

//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// secretText fills files that shall be found nowhere on a disk.
const secretText = "nobody who finds this disk shall read it; "

// TestE2EEncryption puts objects in with keys of the cluster and of a customer, with the command line of AWS, and looks at them through every
// door, before and after the server was killed, and at what is on the disks.
func TestE2EEncryption(t *testing.T) {
	s := cluster.StartServer(t)
	mnt, work := s.Mount(t), t.TempDir()
	big := filepath.Join(work, "big.bin") // in three parts
	if err := os.WriteFile(big, bytes.Repeat([]byte(secretText), 20<<20/len(secretText)), 0o644); err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(work, "small.txt")
	if err := os.WriteFile(small, []byte(secretText), 0o644); err != nil {
		t.Fatal(err)
	}
	key := randomFile(t, filepath.Join(work, "key"), 32)
	other := randomFile(t, filepath.Join(work, "other"), 32)
	aws := func(args ...string) cluster.Command { return s.AWS(append([]string{"s3"}, args...)...) }
	customer := func(args ...string) cluster.Command {
		return aws(append(args, "--no-progress", "--sse-c", "AES256", "--sse-c-key", "fileb://"+key)...)
	}
	aws("mb", "s3://vault").Run(t)
	aws("cp", "--no-progress", "--sse", "AES256", big, "s3://vault/ours/big.bin").Run(t)
	aws("cp", "--no-progress", "--sse", "AES256", small, "s3://vault/ours/small.txt").Run(t)
	customer("cp", big, "s3://vault/theirs/big.bin").Run(t)
	customer("cp", small, "s3://vault/theirs/small.txt").Run(t)
	aws("cp", "--no-progress", "--sse", "AES256", "s3://vault/ours/big.bin", "s3://vault/ours/copy.bin").Run(t)
	customer("cp", "s3://vault/theirs/big.bin", "s3://vault/ours/opened.bin", "--sse-c-copy-source", "AES256", "--sse-c-copy-source-key", "fileb://"+key).Run(t)
	s.AWS("s3api", "put-bucket-encryption", "--bucket", "vault", "--server-side-encryption-configuration",
		`{"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}`).Run(t)
	aws("cp", "--no-progress", small, "s3://vault/ours/default.txt").Run(t)
	if out := s.AWS("s3api", "head-object", "--bucket", "vault", "--key", "ours/default.txt").Run(t); !strings.Contains(out, `"ServerSideEncryption": "AES256"`) {
		t.Errorf("what came without a header: %s", out)
	}

	look := func(t *testing.T) {
		bucket := filepath.Join(mnt, "buckets", "vault")
		sh(t, bucket, `cmp ours/big.bin "$1" && cmp ours/copy.bin "$1" && cmp ours/small.txt "$2" && cmp ours/default.txt "$2"`, big, small)
		sh(t, work, `curl -fsS "$1/buckets/vault/ours/big.bin" | cmp - "$2" && curl -fsS -r 7000000-7000041 "$1/buckets/vault/ours/big.bin" |
			cmp - <(tail -c +7000001 "$2" | head -c 42)`, s.HTTP, big)
		sh(t, work, `[ "$("$1" fs cat --cluster "$2" /buckets/vault/ours/small.txt)" = "$(cat "$3")" ]`, s.Binary, s.Cluster, small)
		aws("cp", "--no-progress", "s3://vault/ours/copy.bin", filepath.Join(work, "back")).Run(t)
		sh(t, work, `cmp back "$1"`, big)
		customer("cp", "s3://vault/theirs/big.bin", filepath.Join(work, "back")).Run(t)
		sh(t, work, `cmp back "$1"`, big)
		customer("cp", "s3://vault/ours/opened.bin", filepath.Join(work, "back")).Run(t)
		sh(t, work, `cmp back "$1"`, big)

		sh(t, bucket, `(! cat theirs/small.txt 2>&1) | grep -q "Permission denied"`)
		sh(t, work, `[ "$(curl -sS -o refusal -w '%{http_code}' "$1/buckets/vault/theirs/small.txt")" = 403 ] && grep -q SSE-C refusal`, s.HTTP)
		for _, args := range [][]string{nil, {"--sse-c", "AES256", "--sse-c-key", "fileb://" + other}} {
			if out, err := aws(append([]string{"cp", "s3://vault/theirs/small.txt", "-"}, args...)...).Try(t.Context()); err == nil {
				t.Errorf("%v: a customer's object is handed out: %q", args, out)
			}
		}
	}
	t.Run("doors", look)
	t.Run("disks", func(t *testing.T) {
		sh(t, work, `if grep -rqa "$1" "$2"; then grep -rla "$1" "$2"; exit 1; fi`, strings.TrimSpace(secretText)[:20], s.Data)
		if out := s.Granary("fsck", "--data").Run(t); !strings.Contains(out, "clean") {
			t.Error(out)
		}
	})
	t.Run("changes in place", func(t *testing.T) {
		bucket := filepath.Join(mnt, "buckets", "vault", "ours")
		sh(t, bucket, `for f in "echo x >> small.txt" "truncate -s 5 small.txt" "dd if=/dev/zero of=small.txt bs=1 count=1 conv=notrunc" "fallocate -p -l 1 small.txt" \
			"setfattr -n granary.content.encryption -v x small.txt" "setfattr -x granary.content.encryption small.txt"; do
			if bash -c "$f" 2>/dev/null; then echo "$f"; exit 1; fi; done; cmp small.txt "$1"`, small)
		sh(t, bucket, `cp big.bin plain.bin && cmp plain.bin "$1" && rm plain.bin && cp small.txt t && echo new > t && [ "$(cat t)" = new ] && rm t`, big)
		sh(t, bucket, `echo new > default.txt && [ "$(cat default.txt)" = new ]`) // it is emptied, and plain
		if out := aws("cp", "s3://vault/ours/default.txt", "-").Run(t); out != "new\n" {
			t.Errorf("S3 reads %q", out)
		}
		aws("cp", "--no-progress", small, "s3://vault/ours/default.txt").Run(t)
	})
	t.Run("keys", func(t *testing.T) {
		if out := s.Granary("cluster", "encryption", "rotate").Run(t); strings.Count(out, "reads only") != 1 {
			t.Errorf("after the first rotation: %s", out)
		}
	})
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
	t.Run("after a crash", look)
	t.Run("names", func(t *testing.T) {
		sh(t, filepath.Join(mnt, "buckets", "vault"), `mv theirs/small.txt renamed && rm theirs/big.bin`)
		if out := customer("cp", "s3://vault/renamed", "-").Run(t); out != secretText {
			t.Errorf("under another name S3 reads %q", out)
		}
	})
}

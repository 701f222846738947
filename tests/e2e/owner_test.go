//go:build e2e

package e2e

import (
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EOrdinaryUser has an ordinary user start a server, and change through each door what was made through another.
func TestE2EOrdinaryUser(t *testing.T) {
	s := cluster.NewServerOf(t)
	s.Start(t)
	mnt := s.Mount(t)
	env := append(s.AWS().Env, s.Granary().Env...)
	env = append(env, "HOME="+s.Dir, "GRANARY="+s.Binary, "AWS="+s.AWS().Name, "HTTP="+s.HTTP, "S3="+s.S3, "MNT="+mnt)
	for _, step := range []struct{ name, script string }{
		{"commands", `
			echo hello > hello
			granary fs mkdir /dir
			granary fs put hello /dir/hello
			granary fs ls /dir | grep hello
			granary fs get /dir/hello back
			cmp hello back
			granary fs rm /dir/hello
			granary fs rm -r /dir`},
		{"HTTP", `
			curl -fsS -T hello "$HTTP/web/deep/hello"
			curl -fsS -X PUT "$HTTP/made/"
			echo more >> "$MNT/web/deep/hello"
			curl -fsS "$HTTP/web/deep/hello" | grep more
			granary fs put hello /web/deep/hello
			granary fs put hello /made/hello
			rm -r "$MNT/web"
			granary fs rm -r /made`},
		{"S3", `
			head -c 20000000 /dev/urandom > big
			s3 mb s3://photos
			s3 cp hello s3://photos/a/b/hello
			s3 cp big s3://photos/parts/big
			s3 cp s3://photos/parts/big s3://photos/copy/big
			photos=$MNT/buckets/photos
			echo more >> "$photos/a/b/hello"
			s3 cp s3://photos/a/b/hello - | grep more
			mkdir "$photos/a/new"
			mv "$photos/copy/big" "$photos/a/new/big"
			cmp big "$photos/a/new/big"
			printf changed | dd of="$photos/parts/big" conv=notrunc status=none
			printf changed | dd of=big conv=notrunc status=none
			cmp big "$photos/parts/big"
			s3 cp s3://photos/parts/big copy
			cmp big copy
			rm -r "$photos/a" "$photos/parts"
			mkdir "$MNT/buckets/another"
			s3 cp hello s3://another/deep/hello
			rm -r "$MNT/buckets/another/deep"
			rmdir "$MNT/buckets/another"`},
		{"datasets", `
			granary dataset create /projects
			mkdir "$MNT/projects/one"
			granary fs put hello /projects/one/hello`},
		{"owners", `
			find "$MNT" | grep projects/one/hello
			[ -z "$(find "$MNT" ! -uid "$(id -u)" -o ! -gid "$(id -g)")" ]`},
	} {
		script := `granary() { "$GRANARY" "$@"; }; s3() { "$AWS" --endpoint-url "$S3" s3 "$@"; }` + step.script
		ok := t.Run(step.name, func(t *testing.T) {
			cluster.Command{
				Name: "bash", Args: []string{"-euxo", "pipefail", "-c", script}, Dir: s.Dir, Env: env, As: s.As,
			}.Run(t)
		})
		if !ok {
			return
		}
	}
}

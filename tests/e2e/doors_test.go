//go:build e2e

package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// sh runs a shell command in a directory.
func sh(t *testing.T, dir, script string, args ...string) string {
	t.Helper()
	return cluster.Command{Name: "bash", Args: append([]string{"-euo", "pipefail", "-c", script, "bash"}, args...), Dir: dir}.Run(t)
}

// sourceTree is a real tree of many files: the standard library's sources.
func sourceTree(t *testing.T) string {
	t.Helper()
	return filepath.Join(strings.TrimSpace(sh(t, "", "go env GOROOT")), "src")
}

// randomFile makes a file of random bytes.
func randomFile(t *testing.T, name string, size int) string {
	t.Helper()
	b := make([]byte, size)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestE2EDoors takes one server through all its doors with the programs that people use.
func TestE2EDoors(t *testing.T) {
	s := cluster.StartServer(t)
	mnt := s.Mount(t)
	src := sourceTree(t)
	work := t.TempDir()

	t.Run("cp and diff", func(t *testing.T) {
		sh(t, "", `cp -a "$1" "$2/src" && diff -r --no-dereference "$1" "$2/src"`, src, mnt)
		want := sh(t, src, `find . -printf '%P %y %m %s %T@ %l\n' | sed 's/\(\.[0-9]\{9\}\)0 /\1 /' | grep -v ' d ' | sort`)
		got := sh(t, filepath.Join(mnt, "src"), `find . -printf '%P %y %m %s %T@ %l\n' | sed 's/\(\.[0-9]\{9\}\)0 /\1 /' | grep -v ' d ' | sort`)
		if want != got {
			t.Error("modes, sizes, times or links differ after cp -a")
		}
	})
	t.Run("git", func(t *testing.T) {
		repo := filepath.Join(work, "repo")
		sh(t, work, `git init -q repo && cd repo && cp -r "$1/net" . && git add -A && git -c user.name=t -c user.email=t@t commit -qm one`, src)
		sh(t, mnt, `git clone -q "$1" clone && cd clone && git fsck --full --strict && git status --porcelain | (! grep .)`, repo)
		sh(t, filepath.Join(mnt, "clone"), `echo change >> net/net.go && git add -A && git -c user.name=t -c user.email=t@t commit -qm two && git gc -q && git fsck --full`)
	})
	t.Run("tar through S3", func(t *testing.T) {
		tar := filepath.Join(work, "src.tar")
		sh(t, filepath.Dir(src), `tar cf "$1" src`, tar)
		s.AWS("s3", "mb", "s3://tars").Run(t)
		s.AWS("s3", "cp", "--no-progress", tar, "s3://tars/src.tar").Run(t)
		s.AWS("s3", "cp", "--no-progress", "s3://tars/src.tar", tar+".back").Run(t)
		sh(t, work, `cmp src.tar src.tar.back && cmp src.tar "$1/buckets/tars/src.tar"`, mnt)
	})
	t.Run("curl", func(t *testing.T) { curlDoors(t, s, mnt, work) })
	t.Run("rclone", func(t *testing.T) {
		s.Rclone("mkdir", "g:rcl").Run(t)
		s.Rclone("copy", filepath.Join(src, "encoding"), "g:rcl/encoding").Run(t)
		s.Rclone("check", filepath.Join(src, "encoding"), "g:rcl/encoding").Run(t)
		s.Rclone("check", "--download", filepath.Join(src, "encoding"), "g:rcl/encoding").Run(t)
		sh(t, mnt, `diff -r buckets/rcl/encoding "$1/encoding"`, src)
		sh(t, mnt, `cp -r "$1/crypto/aes" buckets/rcl/aes`, src)
		s.Rclone("check", filepath.Join(src, "crypto", "aes"), "g:rcl/aes").Run(t)
	})
	t.Run("s3cmd", func(t *testing.T) {
		s.S3cmd(t, "mb", "s3://cmd").Run(t)
		s.S3cmd(t, "sync", filepath.Join(src, "bufio")+"/", "s3://cmd/bufio/").Run(t)
		again := s.S3cmd(t, "sync", filepath.Join(src, "bufio")+"/", "s3://cmd/bufio/").Run(t)
		if strings.Contains(again, "upload:") {
			t.Errorf("a second sync uploaded again:\n%s", again)
		}
		back := filepath.Join(work, "bufio")
		if err := os.Mkdir(back, 0o755); err != nil {
			t.Fatal(err)
		}
		s.S3cmd(t, "sync", "s3://cmd/bufio/", back+"/").Run(t)
		sh(t, work, `diff -r bufio "$1/bufio" && diff -r "$2/buckets/cmd/bufio" bufio`, src, mnt)
		s.S3cmd(t, "del", "--recursive", "--force", "s3://cmd/").Run(t)
		s.S3cmd(t, "rb", "s3://cmd").Run(t)
	})
}

// curlDoors puts files in through one door and looks for them through the others at once.
func curlDoors(t *testing.T, s *cluster.Server, mnt, work string) {
	s.AWS("s3", "mb", "s3://web").Run(t)
	for i, size := range []int{0, 100, 5000, 3 << 20} {
		name := fmt.Sprintf("put%d.bin", i)
		file := randomFile(t, filepath.Join(work, name), size)
		sh(t, work, `curl -fsS -T "$1" "$2/buckets/web/"`, file, s.HTTP)
		sh(t, work, `cmp "$1" "$2/buckets/web/$3"`, file, mnt, name)
		if out := s.AWS("s3", "ls", "s3://web/").Run(t); !strings.Contains(out, name) {
			t.Errorf("aws s3 ls does not show %s at once:\n%s", name, out)
		}
	}
	form := randomFile(t, filepath.Join(work, "form.bin"), 1<<20)
	sh(t, work, `curl -fsS -F "file=@$1" "$2/buckets/web/" && cmp "$1" "$3/buckets/web/form.bin"`, form, s.HTTP, mnt)

	s3file := randomFile(t, filepath.Join(work, "s3.bin"), 9<<20)
	s.AWS("s3", "cp", "--no-progress", s3file, "s3://web/dir/s3.bin").Run(t)
	sh(t, work, `cmp "$1" "$2/buckets/web/dir/s3.bin" && curl -fsS "$3/buckets/web/dir/s3.bin" | cmp - "$1"`, s3file, mnt, s.HTTP)
	sh(t, work, `[ "$(curl -fsS -r 1000-1999 "$2/buckets/web/dir/s3.bin" | sha256sum)" = "$(tail -c +1001 "$1" | head -c 1000 | sha256sum)" ]`, s3file, s.HTTP)

	sh(t, mnt, `echo from the mount > buckets/web/mount.txt`)
	if out := s.AWS("s3", "cp", "s3://web/mount.txt", "-").Run(t); out != "from the mount\n" {
		t.Errorf("S3 reads %q of a file written through the mount", out)
	}
	if out := sh(t, work, `curl -fsS "$1/buckets/web/mount.txt"`, s.HTTP); out != "from the mount\n" {
		t.Errorf("HTTP reads %q of a file written through the mount", out)
	}
	sh(t, mnt, `rm buckets/web/form.bin`)
	if out := s.AWS("s3", "ls", "s3://web/").Run(t); strings.Contains(out, "form.bin") {
		t.Error("aws s3 ls still shows a file that the mount removed")
	}
	s.AWS("s3", "rm", "s3://web/mount.txt").Run(t)
	sh(t, mnt, `[ ! -e buckets/web/mount.txt ]`)
	// Overwritten through S3, the mount reads the new content at the next open.
	changed := randomFile(t, filepath.Join(work, "s3.bin"), 2<<20)
	s.AWS("s3", "cp", "--no-progress", changed, "s3://web/dir/s3.bin").Run(t)
	sh(t, work, `cmp "$1" "$2/buckets/web/dir/s3.bin"`, changed, mnt)
}

// TestE2EPrograms runs in a mount what programs do that editors and databases are made of.
func TestE2EPrograms(t *testing.T) {
	s := cluster.StartServer(t)
	mnt := s.Mount(t)
	src := sourceTree(t)
	t.Run("rsync", func(t *testing.T) {
		sh(t, mnt, `rsync -a "$1/strings" . && rsync -a "$1/strings" . && diff -r strings "$1/strings" && [ -z "$(rsync -ai "$1/strings" .)" ]`, src)
	})
	t.Run("tar", func(t *testing.T) {
		sh(t, mnt, `tar cf - -C "$1" compress | tar xf - && diff -r compress "$1/compress"`, src)
	})
	t.Run("sqlite3", func(t *testing.T) {
		for _, journal := range []string{"delete", "wal"} {
			out := sh(t, mnt, `sqlite3 "$1.db" "pragma journal_mode=$1; create table t(a integer primary key, b text);
				with recursive n(i) as (select 1 union all select i+1 from n where i < 20000) insert into t select i, hex(randomblob(20)) from n;
				delete from t where a % 3 = 0; vacuum; pragma integrity_check; select count(*) from t;"`, journal)
			if want := journal + "\nok\n13334\n"; out != want {
				t.Errorf("sqlite3 with journal %s printed %q, not %q", journal, out, want)
			}
		}
	})
	t.Run("an editor", func(t *testing.T) {
		// What vi and most editors do: write beside, keep a backup by rename or link, rename over.
		sh(t, mnt, `echo one > f; ln f f~; echo two > .f.new; chmod --reference=f .f.new; sync .f.new; mv .f.new f
			[ "$(cat f)" = two ] && [ "$(cat f~)" = one ] && rm f~`)
	})
	t.Run("unlinked but open", func(t *testing.T) {
		if err := unlinkedButOpen(filepath.Join(mnt, "gone")); err != nil {
			t.Error(err)
		}
	})
	t.Run("attributes", func(t *testing.T) {
		sh(t, mnt, `echo x > a; setfattr -n user.color -v blue a; [ "$(getfattr --only-values -n user.color a)" = blue ]
			setfattr -x user.color a; ! getfattr -n user.color a 2>/dev/null
			chmod 640 a; [ "$(stat -c %a a)" = 640 ]; touch -d '2001-02-03 04:05:06' a; [ "$(stat -c %Y a)" = "$(date -d '2001-02-03 04:05:06' +%s)" ]
			truncate -s 10000000 a; [ "$(stat -c %s a)" = 10000000 ]; truncate -s 1 a; [ "$(cat a)" = x ]
			mkfifo p; [ -p p ]; ln -s a l; [ "$(readlink l)" = a ]; mkdir d; [ "$(stat -c %h d)" = 2 ]; mkdir d/e; [ "$(stat -c %h d)" = 3 ]
			! rmdir d 2>/dev/null; rm -r d; df . > /dev/null`)
	})
	t.Run("append", func(t *testing.T) {
		sh(t, mnt, `for i in $(seq 300); do echo "line $i" >> log; done; [ "$(wc -l < log)" = 300 ]; [ "$(sed -n 250p log)" = "line 250" ]`)
	})
	t.Run("random writes", func(t *testing.T) {
		if err := randomChanges([]string{filepath.Join(mnt, "random")}, alone, 0, 8<<20, 400); err != nil {
			t.Error(err)
		}
	})
	t.Run("build", func(t *testing.T) {
		sh(t, mnt, `mkdir b && cd b && go mod init example.org/b && printf 'package main\nfunc main() { println("built") }\n' > main.go && GOFLAGS= go build -o prog . && ./prog 2>&1 | grep -q built`)
	})
}

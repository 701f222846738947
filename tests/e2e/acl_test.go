//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dsorchard/granary/tests/cluster"
)

// TestE2EAttributes has setfacl, getfacl, attr and cp do in a mount what they do in a directory of the local file system:
// what they print must be the same.
func TestE2EAttributes(t *testing.T) {
	s := cluster.StartServer(t)
	mnt, local := s.Mount(t), t.TempDir()
	const script = `
		umask 022
		mkdir d && cd d && touch f && chmod 640 f
		setfacl -m u:1000:rw,g:100:r f
		getfacl -nc f; stat -c %A f
		chmod g-w f; getfacl -nc f
		setfacl -m m::rw f; getfacl -nc f
		cp -a f copy; getfacl -nc copy
		setfacl -d -m u::rwx,g::rwx,o::-,u:1001:rx .
		touch made; mkdir sub; mkfifo sub/pipe; getfacl -nc . made sub sub/pipe
		cp --preserve=mode made sub/copy; getfacl -nc sub/copy
		setfacl -x u:1000 f; getfacl -nc f; setfacl -b f; getfacl -nc f; stat -c %A f
		setfacl -k .; getfacl -nc .; touch plain; stat -c %A plain
		! setfacl -d -m u:1:r plain 2>/dev/null
		attr -q -s a -V value f; attr -q -g a f; setfattr -n user.b -v "$(printf %2000s x)" f 2>&1 | sed 's/.*://'
		setfattr -n user.c -v 0x0001ff f; getfattr -d --absolute-names f | grep -v user.b; setfattr -x user.a f; getfattr f | grep -v user.b
		! getfattr -n user.none f 2>&1; ! setfattr -n none.a -v x f 2>&1
		ln -s f l; ! setfattr -h -n user.a -v x l 2>&1
	`
	want := sh(t, local, script)
	if got := sh(t, mnt, script); got != want {
		t.Errorf("the mount gives\n%s\nand the local file system\n%s", got, want)
	}
	if os.Geteuid() == 0 {
		const script = `
			cd d; setfattr -n trusted.a -v x f; getfattr -m - -d f | grep -v user.b; setfattr -n security.other -v x f; getfattr -n security.other f
			cp /bin/true prog; setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 prog
			getfattr -n security.capability -e hex prog; echo >> prog; ! getfattr -n security.capability prog 2>&1
		`
		want := sh(t, local, script)
		if got := sh(t, mnt, script); got != want {
			t.Errorf("the mount gives\n%s\nand the local file system\n%s", got, want)
		}
	}
	// What another door makes in a directory with a default list has it, too; and a list that S3 copies goes with the file.
	sh(t, mnt, `mkdir web && setfacl -d -m u::rwx,g::rx,o::-,u:1001:rwx web`)
	sh(t, mnt, `curl -fsS -T "$1" "$2/web/file"`, randomFile(t, filepath.Join(local, "r"), 100_000), s.HTTP)
	sh(t, mnt, `getfacl -nc web/file | grep user:1001:rwx && stat -c %A web/file | grep rw-r`)
}

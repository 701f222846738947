//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	accounts "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dsorchard/granary/tests/cluster"
)

// postgres is a PostgreSQL of the test's own, and the pgBackRest beside it, which keeps backups and the log in a bucket.
type postgres struct {
	work string // of the user who runs both
	bin  string // where the programs of PostgreSQL are
	as   *syscall.Credential
}

// pgBackRest backs a database up, wholly and what changed since, archives its log, and restores it to another directory, where it is as it was.
func pgBackRest(t *testing.T, s *cluster.Server, _ string) {
	cluster.Needs(t, "pgbackrest", "pgbench")
	s.AWS("s3", "mb", "s3://pgbackrest").Run(t)
	p := newPostgres(t)
	p.configure(t, s)
	main, restored := filepath.Join(p.work, "main"), filepath.Join(p.work, "restored")
	p.run(t, `"$1/initdb" -D "$2" --no-sync --auth=trust -U postgres >/dev/null && cat >> "$2/postgresql.conf" <<-END
		listen_addresses = ''
		unix_socket_directories = '$PWD'
		fsync = off
		archive_mode = on
		archive_command = 'pgbackrest --config=$PWD/pgbackrest.conf --stanza=main archive-push %p'
		END`, p.bin, main)
	p.start(t, main)
	p.run(t, `pgbench -q -i -s 3 2>/dev/null; pgbackrest stanza-create; pgbackrest check; pgbackrest --type=full backup`)
	p.run(t, `pgbench -n -t 500 -c 2 >/dev/null; psql -qc 'create table more as select i, md5(i::text) from generate_series(1, 50000) i'; pgbackrest --type=incr backup`)
	p.run(t, `pgbench -n -t 500 -c 2 >/dev/null; pgbackrest check; pgbackrest verify`) // what was archived behind the last backup counts, too
	if info := p.run(t, `pgbackrest --output=json info | tr ',' '\n'`); strings.Count(info, `"type":"full"`) != 1 || strings.Count(info, `"type":"incr"`) != 1 {
		t.Errorf("not one full backup and one of what had changed: %s", info)
	}
	want := p.content(t)
	p.run(t, `"$1/pg_ctl" -D "$2" -m fast stop >/dev/null`, p.bin, main)
	p.run(t, `mkdir -m 700 "$1" && pgbackrest --pg1-path="$1" restore`, restored)
	p.start(t, restored, "-c archive_mode=off")
	cluster.WaitFor(t, cluster.ReadyWithin, "the end of the recovery", func() error {
		if out := p.run(t, `psql -Atc 'select pg_is_in_recovery()'`); out != "f\n" {
			return errors.New("it goes on")
		}
		return nil
	})
	if got := p.content(t); got != want {
		t.Errorf("the restored database holds %s, not %s", got, want)
	}
	p.run(t, `"$1/pg_ctl" -D "$2" -m fast stop >/dev/null; pgbackrest --type=full backup --no-online --pg1-path="$2"; pgbackrest --repo1-retention-full=1 expire`, p.bin, restored)
	if info := p.run(t, `pgbackrest --output=json info | tr ',' '\n'`); strings.Count(info, `"type":"full"`) != 1 || strings.Count(info, `"type":"incr"`) != 0 {
		t.Errorf("more than the last backup is left: %s", info)
	}
}

// newPostgres finds PostgreSQL, and who may run it: not root.
func newPostgres(t *testing.T) *postgres {
	t.Helper()
	work, err := os.MkdirTemp("", "granary-pg-") // in t.TempDir another user finds nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(work); err != nil {
			t.Error(err)
		}
	})
	p := &postgres{work: work, bin: strings.TrimSpace(sh(t, "", `ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1`))}
	if os.Geteuid() != 0 {
		return p
	}
	u, err := accounts.Lookup("postgres")
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2, os.Chown(work, int(uid), int(gid))); err != nil {
		t.Fatal(err)
	}
	p.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return p
}

// configure writes the configuration of pgBackRest, which speaks TLS only.
func (p *postgres) configure(t *testing.T, s *cluster.Server) {
	t.Helper()
	port := speakTLS(t, strings.TrimPrefix(s.S3, "http://"))
	text := fmt.Sprintf(`[global]
repo1-type=s3
repo1-path=/a repository
repo1-s3-bucket=pgbackrest
repo1-s3-endpoint=127.0.0.1
repo1-storage-port=%d
repo1-storage-verify-tls=n
repo1-s3-uri-style=path
repo1-s3-region=us-east-1
repo1-s3-key=%s
repo1-s3-key-secret=%s
repo1-bundle=y
repo1-retention-full=2
log-path=%[4]s
lock-path=%[4]s/lock
spool-path=%[4]s
log-level-file=off
process-max=2
start-fast=y
archive-timeout=60
[main]
pg1-path=%[4]s/main
pg1-socket-path=%[4]s
pg1-user=postgres
`, port, s.AccessKey, s.SecretKey, p.work)
	name := filepath.Join(p.work, "pgbackrest.conf")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs a shell script with the programs of PostgreSQL.
func (p *postgres) run(t *testing.T, script string, args ...string) string {
	t.Helper()
	return cluster.Command{Name: "bash", Args: append([]string{"-euo", "pipefail", "-c", script, "bash"}, args...), Dir: p.work, As: p.as, Env: []string{
		"HOME=" + p.work, "PGHOST=" + p.work, "PGUSER=postgres", "PGDATABASE=postgres", "PGBACKREST_CONFIG=" + filepath.Join(p.work, "pgbackrest.conf"),
		"PGBACKREST_STANZA=main", "LC_ALL=C.UTF-8",
	}}.Run(t)
}

// start starts the server of a directory; the test's end stops it if nothing did before.
func (p *postgres) start(t *testing.T, data string, options ...string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := os.Stat(filepath.Join(data, "postmaster.pid")); err == nil {
			stop := exec.Command(filepath.Join(p.bin, "pg_ctl"), "-D", data, "-m", "immediate", "stop")
			stop.SysProcAttr = &syscall.SysProcAttr{Credential: p.as}
			if out, err := stop.CombinedOutput(); err != nil {
				t.Errorf("the end of PostgreSQL: %v: %s", err, out)
			}
		}
	})
	p.run(t, `"$1/pg_ctl" -D "$2" -w -t 60 -l "$2.log" -o "${3:-}" start >/dev/null || { cat "$2.log" >&2; exit 1; }`, append([]string{p.bin, data}, options...)...)
}

// content is a sum of all rows of each table.
func (p *postgres) content(t *testing.T) string {
	t.Helper()
	return p.run(t, `for table in pgbench_accounts pgbench_branches pgbench_tellers pgbench_history more; do
		psql -Atc "copy (select * from $table r order by r::text) to stdout" | sha256sum; done`)
}

// speakTLS has connections to a port of this host go on to an address without TLS, as a proxy does that people put before their services.
func speakTLS(t *testing.T, to string) (port int) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	certificate, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	forward(t, listener, func() (net.Conn, error) { return net.Dial("tcp", to) })
	return listener.Addr().(*net.TCPAddr).Port
}

// forward joins every connection that comes in to one that dial makes, until the test ends.
func forward(t *testing.T, listener net.Listener, dial func() (net.Conn, error)) {
	var running sync.WaitGroup
	open := struct {
		sync.Mutex
		all    map[net.Conn]bool
		closed bool
	}{all: map[net.Conn]bool{}}
	// keep notes a connection that is to be cut off at the end; false: the end has come.
	keep := func(c net.Conn) bool {
		open.Lock()
		defer open.Unlock()
		open.all[c] = true
		return !open.closed
	}
	drop := func(c net.Conn) {
		open.Lock()
		defer open.Unlock()
		delete(open.all, c)
		_ = c.Close() // whatever it lost the other end finds out
	}
	running.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return // closed
			}
			running.Go(func() {
				defer drop(in)
				if !keep(in) {
					return
				}
				out, err := dial()
				if err != nil {
					return // who called sees a connection that ends, as with any proxy before a dead server
				}
				defer drop(out)
				if !keep(out) {
					return
				}
				var back sync.WaitGroup
				back.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
				_, _ = io.Copy(out, in)
				_ = out.Close()
				back.Wait()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		open.Lock()
		open.closed = true
		for c := range open.all {
			_ = c.Close()
		}
		open.Unlock()
		running.Wait()
	})
}

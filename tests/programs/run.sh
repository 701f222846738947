#!/usr/bin/env bash
# Real programs on a mount of a cluster of its own, a master and two volume servers, which are killed (-9) and started again one after
# the other meanwhile: no program may notice. Each program checks what it wrote, and in the end fsck checks all blocks.
#
#   tests/programs/run.sh [--short] [git gobuild rsync tar sqlite postgres fio stress …]
#
# --short runs small amounts, as CI does of some. Without names all programs run.
#
#   GRANARY_BINARY   the binary under test (default: built from here)
#   GRANARY_BASE     first port (default 29400)
#   KILL_EVERY       seconds between two kills (default 6; 0: none)
#   MOUNT_FLAGS      further flags of granary mount
#   SCRATCH          where the cluster keeps its data (default /tmp)
set -euo pipefail
cd "$(dirname "$0")/../.."
repository=$PWD
short=
if [ "${1:-}" = --short ]; then short=yes; shift; fi
if [ "$(id -u)" != 0 ]; then echo "it takes root: PostgreSQL runs as its own user in a mount that lets others in" >&2; exit 1; fi
bash deploy/packages.sh fusermount3:fuse3 curl:curl git:git rsync:rsync tar:tar sqlite3:sqlite3 fio:fio stress-ng:stress-ng \
  pgbench:postgresql diff:diffutils
pg=$(ls -d /usr/lib/postgresql/*/bin | tail -1)

work=$(mktemp -d "${SCRATCH:-/tmp}/granary-programs.XXXXXX")
chmod 755 "$work"
mnt=$work/mnt
mkdir "$mnt"
base=${GRANARY_BASE:-29400}
export GRANARY_CLUSTER=127.0.0.1:$base
tormentor=
clean() {
  if [ -n "$tormentor" ]; then kill "$tormentor" 2>/dev/null || true; wait "$tormentor" 2>/dev/null || true; fi
  if [ -f "$mnt/pg/postmaster.pid" ]; then as_postgres "$pg/pg_ctl" -D "$mnt/pg" -m immediate stop >/dev/null 2>&1 || true; fi
  for role in master v1 v2; do # before the mount: a program that hangs gets its error
    if [ -f "$work/$role.pid" ]; then kill -9 "$(cat "$work/$role.pid")" 2>/dev/null || true; fi
  done
  if mountpoint -q "$mnt"; then umount "$mnt" 2>/dev/null || umount -l "$mnt" || true; fi
  if [ -z "${KEEP:-}" ]; then rm -rf --one-file-system "$work"; fi
}
trap clean EXIT
trap 'exit 130' INT TERM

granary=${GRANARY_BINARY:-$work/granary}
if [ -z "${GRANARY_BINARY:-}" ]; then CGO_ENABLED=0 go build -trimpath -o "$granary" ./cmd/granary; fi

# start ROLE starts a server, and notes its process in ROLE.pid.
start() {
  case $1 in
    master) set -- master serve master --data "$work/m" --listen-base "$base" ;;
    v1) set -- v1 serve volume --dir "$work/disk1" --listen-base "$base" ;;
    v2) set -- v2 serve volume --dir "$work/disk2" --listen-base $((base + 10)) ;;
  esac
  local role=$1
  shift
  "$granary" "$@" >>"$work/$role.log" 2>&1 &
  echo $! >"$work/$role.pid"
  disown # its end is no news
}

# torment kills one server after the other, and starts it again a second later.
torment() {
  while :; do
    for role in master v1 v2; do
      sleep "$1"
      kill -9 "$(cat "$work/$role.pid")"
      sleep 1
      start "$role"
      echo "$(date +%T) $role" >>"$work/kills"
    done
  done
}

as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@"); }

git_() {
  git clone -q --no-local "$repository" "$mnt/clone"
  git -C "$mnt/clone" fsck --full --strict >/dev/null
  git -C "$mnt/clone" -c user.name=n -c user.email=e commit -q --allow-empty -m one
  git -C "$mnt/clone" gc -q --prune=now
  [ -z "$(git -C "$mnt/clone" status --porcelain)" ]
  git -C "$mnt/clone" fsck --full >/dev/null
}

# The tree that other programs work on: this repository's.
tree() { if [ ! -d "$work/tree" ]; then mkdir "$work/tree" && git -C "$repository" archive HEAD | tar xf - -C "$work/tree"; fi; }

gobuild() {
  tree
  mkdir "$mnt/go" "$mnt/go/cache" "$mnt/go/tmp"
  cp -r "$work/tree" "$mnt/go/src"
  local target=./cmd/granary cache=$mnt/go/cache
  if [ -n "$short" ]; then target=./erasure cache=${GOCACHE:-$(go env GOCACHE)}; fi
  (cd "$mnt/go/src" && GOCACHE=$cache GOTMPDIR=$mnt/go/tmp GOPROXY=off GOFLAGS=-buildvcs=false CGO_ENABLED=0 go build -o "$mnt/go/out" "$target")
  if [ -z "$short" ]; then "$mnt/go/out" version >/dev/null; fi
}

rsync_() {
  tree
  rsync -a "$work/tree/" "$mnt/rsync/"
  [ -z "$(rsync -aic --delete "$work/tree/" "$mnt/rsync/")" ]
  find "$mnt/rsync/client" -name '*.go' | while read -r f; do echo "// changed" >>"$f"; done
  rm -r "$mnt/rsync/fuse"
  rsync -a --inplace --checksum --delete "$work/tree/" "$mnt/rsync/"
  diff -r "$work/tree" "$mnt/rsync"
}

tar_() {
  tree
  mkdir "$mnt/tar"
  tar cf "$mnt/tree.tar" -C "$work" tree
  tar xf "$mnt/tree.tar" -C "$mnt/tar"
  diff -r "$work/tree" "$mnt/tar/tree"
  tar df "$mnt/tree.tar" -C "$mnt/tar"
  rm -rf "$mnt/tar"
}

sqlite() {
  local rows=400 journal i
  if [ -n "$short" ]; then rows=60; fi
  for journal in delete wal; do
    local db=$mnt/$journal.db writers=()
    sqlite3 "$db" "pragma journal_mode=$journal; create table t (who integer, n integer, b blob)" >/dev/null
    for i in 1 2; do
      (for n in $(seq "$rows"); do echo "insert into t values ($i, $n, randomblob(500));"; done | sqlite3 -bail -cmd ".timeout 300000" "$db") &
      writers+=($!)
    done
    for i in "${writers[@]}"; do wait "$i"; done
    [ "$(sqlite3 "$db" "pragma integrity_check; select count(*) from (select distinct who, n from t)")" = "ok
$((2 * rows))" ]
  done
}

postgres() {
  local scale=5 seconds=60 port=$((base + 90))
  if [ -n "$short" ]; then scale=1 seconds=10; fi
  mkdir "$mnt/pg"
  chown postgres "$mnt/pg"
  as_postgres "$pg/initdb" -k -A trust -D "$mnt/pg" >/dev/null
  as_postgres "$pg/pg_ctl" -D "$mnt/pg" -w -t 300 -l "$mnt/pg/log" -o "-p $port -k /tmp -c listen_addresses=127.0.0.1" start >/dev/null
  sql() { as_postgres psql -h 127.0.0.1 -p "$port" -XAtq "$@" postgres; }
  as_postgres "$pg/pgbench" -h 127.0.0.1 -p "$port" -q -i -s "$scale" postgres >/dev/null 2>&1
  as_postgres "$pg/pgbench" -h 127.0.0.1 -p "$port" -c 4 -j 2 -T "$seconds" postgres 2>/dev/null | grep -E '^(tps|number of failed)'
  # What pgbench keeps in balance, and every row by its index.
  [ "$(sql -c "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)
    and (select sum(tbalance) from pgbench_tellers) = (select sum(bbalance) from pgbench_branches)")" = t ]
  as_postgres "$pg/pg_amcheck" -h 127.0.0.1 -p "$port" --install-missing --heapallindexed postgres
  sql -c "vacuum full" >/dev/null
  as_postgres "$pg/pg_ctl" -D "$mnt/pg" -w -t 300 -m fast stop >/dev/null
  as_postgres "$pg/pg_checksums" --check -D "$mnt/pg" >/dev/null
  if grep -E 'PANIC|FATAL|ERROR|could not' "$mnt/pg/log"; then return 1; fi
}

fio_() {
  local size=64m name
  if [ -n "$short" ]; then size=8m; fi
  mkdir "$mnt/fio"
  run() {
    name=$1
    shift
    fio --directory="$mnt/fio" --name="$name" --size="$size" --verify=crc32c --verify_fatal=1 --do_verify=1 --end_fsync=1 --verify_state_save=0 --output-format=terse "$@" >/dev/null
  }
  run sequential --rw=write --bs=1m
  run random --rw=randwrite --bsrange=512-64k --bs_unaligned=1 --fsync=64
  run mixed --rw=randrw --bs=8k --fsync=32 --numjobs=2
  run mapped --rw=randwrite --ioengine=mmap --bs=4k
  run direct --rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=8
  rm -r "$mnt/fio"
}

# stress runs the stressors of stress-ng that work on files, and that need nothing that FUSE has not.
stress() {
  local each=4 list="access chdir chmod chown copy-file dentry dir dirdeep dirmany dup fallocate fcntl filename flock fpunch fsize fstat
    getdent hdd io iomix lease link locka lockf lockofd mknod open rename symlink sync-file touch utime xattr"
  if [ -n "$short" ]; then each=1 list="copy-file dentry dir fallocate flock fpunch hdd iomix link lockf open rename sync-file xattr"; fi
  mkdir "$mnt/stress"
  local s
  for s in $list; do
    if ! timeout $((each + 300)) stress-ng --"$s" 2 --verify -t "$each" --temp-path "$mnt/stress" --hdd-bytes 32m --iomix-bytes 16m --fallocate-bytes 32m \
      --copy-file-bytes 128m --sync-file-bytes 16m --oomable >"$work/stress.log" 2>&1; then
      echo "stress-ng --$s:"
      cat "$work/stress.log"
      return 1
    fi
  done
  rm -rf "$mnt/stress"
}

start master
start v1
start v2
await() {
  for _ in $(seq 600); do
    if "$granary" cluster status --output json 2>/dev/null | grep -q '"volumeServersUp": *2'; then return 0; fi
    sleep 0.1
  done
  echo "the cluster is not ready" >&2
  exit 1
}
await
# shellcheck disable=SC2086
"$granary" mount --log-file "$work/mount.log" ${MOUNT_FLAGS:-} "$mnt"
if [ "${KILL_EVERY:-6}" != 0 ]; then
  torment "${KILL_EVERY:-6}" &
  tormentor=$!
fi
failed=()
for program in "${@:-git gobuild rsync tar sqlite postgres fio stress}"; do
  for name in $program; do
    case $name in git | rsync | tar | fio) call=${name}_ ;; *) call=$name ;; esac
    began=$SECONDS
    # In a shell of its own, which ends at the first command that fails.
    set +e
    (set -e; "$call")
    code=$?
    set -e
    if [ "$code" = 0 ]; then word=ok; else word=FAILED; failed+=("$name"); fi
    echo "$(printf '%-10s %-6s %4d s' "$name" "$word" $((SECONDS - began)))"
  done
done
if [ -n "$tormentor" ]; then
  kill "$tormentor"
  wait "$tormentor" 2>/dev/null || true
  tormentor=
  for role in master v1 v2; do kill -0 "$(cat "$work/$role.pid")" 2>/dev/null || start "$role"; done
  echo "kills: $(wc -l <"$work/kills" 2>/dev/null || echo 0)"
fi
await
umount "$mnt"
"$granary" fsck --data >"$work/fsck.log" || { cat "$work/fsck.log"; failed+=(fsck); }
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}" >&2
  tail -20 "$work/mount.log" >&2
  exit 1
fi

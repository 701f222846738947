#!/usr/bin/env bash
# Runs all of pjdfstest (github.com/pjd/pjdfstest, the one in C) as root on a mount of a cluster of its own, prints the
# summary, and cleans up. The exit code is that of prove: 0 if everything passed.
#
#   tests/posix/run.sh DIRECTORY [TESTS …]
#
# DIRECTORY is a checkout of pjdfstest, which is built if it is not yet (that takes autoconf, automake and a C compiler).
# TESTS are paths below its directory tests, such as "rename chmod/00.t"; default all.
#
#   GRANARY_BINARY   the binary under test (default: built from here)
#   GRANARY_BASE     first port (default 28400)
set -euo pipefail
usage() { echo "usage: tests/posix/run.sh DIRECTORY-OF-PJDFSTEST [TESTS …]" >&2; exit 2; }
[ $# -ge 1 ] && [ -f "$1/pjdfstest.c" ] || usage
suite=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/../.."
if [ "$(id -u)" != 0 ]; then echo "it takes root: the tests become other users" >&2; exit 1; fi
bash deploy/packages.sh fusermount3:fuse3 curl:curl prove:perl bc:bc
if [ ! -x "$suite/pjdfstest" ]; then
  bash deploy/packages.sh autoreconf:autoconf automake:automake gcc:gcc make:make
  (cd "$suite" && autoreconf -ifs && ./configure && make pjdfstest) >&2
fi
work=$(mktemp -d /tmp/granary-posix.XXXXXX)
chmod 755 "$work" # other users pass through it
mkdir "$work/mnt"
server=
clean() {
  if mountpoint -q "$work/mnt"; then umount "$work/mnt" || umount -l "$work/mnt" || true; fi
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" || true; fi
  rm -rf --one-file-system "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM

granary=${GRANARY_BINARY:-$work/granary}
if [ -z "${GRANARY_BINARY:-}" ]; then CGO_ENABLED=0 go build -trimpath -o "$granary" ./cmd/granary; fi
base=${GRANARY_BASE:-28400}
"$granary" serve --data "$work/data" --listen-base "$base" >"$work/log" 2>&1 &
server=$!
for _ in $(seq 300); do
  if curl -fsS -o /dev/null "http://127.0.0.1:$((base + 200))/-/health" 2>/dev/null; then break; fi
  kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
  sleep 0.1
done
GRANARY_CLUSTER=127.0.0.1:$base "$granary" mount "$work/mnt"

paths=()
for t in "${@:-}"; do paths+=("$suite/tests/$t"); done
mkdir "$work/mnt/posix"
cd "$work/mnt/posix" # file names are relative to here
code=0
prove -r "${paths[@]}" || code=$?
cd /
exit "$code"

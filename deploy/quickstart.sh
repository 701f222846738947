#!/usr/bin/env bash
# Builds Granary, starts it with everything in one process, stores a file through HTTP, reads it
# back through the command line and through HTTP, and leaves the server running until interrupted.
# With --check it stops after showing that it works.
#
#   GRANARY_DATA   where the data goes (default ./granary-data)
#   GRANARY_BASE   first port (default 7400)
set -euo pipefail
cd "$(dirname "$0")/.."
data=${GRANARY_DATA:-granary-data}
base=${GRANARY_BASE:-7400}
check=no
case "${1:-}" in
  "") ;;
  --check) check=yes ;;
  *) echo "usage: deploy/quickstart.sh [--check]" >&2; exit 2 ;;
esac

if ! command -v go >/dev/null 2>&1; then
  echo "missing: go (1.26 or later; https://go.dev/dl)" >&2
  exit 1
fi
bash deploy/packages.sh curl:curl fusermount3:fuse3
mkdir -p bin
CGO_ENABLED=0 go build -trimpath -o bin/granary ./cmd/granary

bin/granary serve --data "$data" --listen-base "$base" &
server=$!
stop() { kill "$server" 2>/dev/null || true; wait "$server" || true; }
trap stop EXIT
trap 'exit 130' INT TERM
url=http://127.0.0.1:$((base + 200))
for _ in $(seq 300); do
  if curl -fsS -o /dev/null "$url/-/health" 2>/dev/null; then break; fi
  kill -0 "$server" 2>/dev/null || { echo "the server did not start" >&2; exit 1; }
  sleep 0.1
done

export GRANARY_CLUSTER=127.0.0.1:$base
echo '$ curl -T README.md '"$url/hello/"
curl -fsS -T README.md "$url/hello/"
echo '$ granary fs ls /hello'
bin/granary fs ls /hello
bin/granary fs cat /hello/README.md | cmp - README.md
curl -fsS "$url/hello/README.md" | cmp - README.md
echo '$ granary cluster status'
bin/granary cluster status
echo
echo "It works: README.md went in through HTTP and came back the same through both doors."
if [ "$check" = yes ]; then exit 0; fi
echo "Granary goes on running. Interrupt (Ctrl-C) to stop it; the data stays in $data."
wait "$server"

#!/usr/bin/env bash
# The test command. Without an argument it runs everything that CI runs: formatting and vet, the
# unit tests (with the race detector where a C compiler is there), then the end-to-end tests with a
# real kernel mount and real S3 clients. "e2e", "chaos" (with ten minutes of trouble, or what
# GRANARY_CHAOS says, for the metadata and for the storage), "unit", "programs" (on a
# mount whose servers are killed) or "fuzz" runs that part only; "fsx" changes files at random,
# as often as GRANARY_CHANGES says.
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:-all}

if ! command -v go >/dev/null 2>&1; then
  echo "missing: go (1.26 or later; https://go.dev/dl)" >&2
  exit 1
fi

unit() {
  test -z "$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
  go vet ./...
  go vet -tags e2e ./tests/...
  go -C tests/sdk vet ./...
  local race=()
  if command -v gcc >/dev/null 2>&1; then race=(-race); fi
  go test "${race[@]}" -timeout 20m ./...
}

clients() {
  export PATH=$PATH:/usr/sbin # Debian puts nats-server there
  bash deploy/packages.sh fusermount3:fuse3 curl:curl /usr/bin/aws:awscli s3cmd:s3cmd rclone:rclone \
    git:git rsync:rsync sqlite3:sqlite3 redis-server:redis-server nats-server:nats-server tar:tar diff:diffutils attr:attr setfacl:acl ip:iproute2 chromium:chromium npm:npm \
    /usr/lib/python3/dist-packages/boto3/__init__.py:python3-boto3 s3fs:s3fs restic:restic pgbackrest:pgbackrest pgbench:postgresql
  export GRANARY_CLIENTS=all # what is missing now fails a test, and does not leave it out
  if [ ! -e /dev/fuse ]; then echo "missing: /dev/fuse (load the fuse kernel module)" >&2; exit 1; fi
  if [ "$(stat -c %a /dev/fuse)" != 666 ]; then # ordinary users mount, too: the mode that udev gives it
    if [ "$(id -u)" = 0 ]; then chmod 666 /dev/fuse; else sudo chmod 666 /dev/fuse; fi
  fi
}

e2e() {
  clients
  mkdir -p bin
  CGO_ENABLED=0 go build -trimpath -o bin/granary ./cmd/granary
  GRANARY_BINARY=$PWD/bin/granary go test -tags e2e -count=1 -timeout 40m -artifacts -outputdir="$PWD/bin" -v -run "${1:-.}" ./tests/e2e/
}

# Storage under trouble: long if GRANARY_CHAOS says so.
storage() {
  mkdir -p bin
  CGO_ENABLED=0 go build -trimpath -o bin/granary ./cmd/granary
  GRANARY_BINARY=$PWD/bin/granary go test -tags e2e -count=1 -timeout 40m -artifacts -outputdir="$PWD/bin" -v ./tests/faultdisk/ ./tests/chaos/
}

fuzz() {
  local package target
  for package in $(go list ./...); do
    for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
      go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 1s "$package"
    done
  done
}

# Real programs on a mount; only briefly if it is said so. It takes root.
programs() {
  mkdir -p bin
  CGO_ENABLED=0 go build -trimpath -o bin/granary ./cmd/granary
  local run=(env GRANARY_BINARY="$PWD/bin/granary" bash tests/programs/run.sh "$@")
  if [ "$(id -u)" != 0 ]; then run=(sudo "${run[@]}"); fi
  "${run[@]}"
}

case "$part" in
  all) clients; unit; e2e; programs --short git rsync tar sqlite fio; storage ;;
  unit) unit ;;
  e2e) e2e '^TestE2E' ;;
  chaos) export GRANARY_CHAOS=${GRANARY_CHAOS:-10m}; e2e '^TestChaos'; storage ;;
  programs) programs ;;
  fsx) export GRANARY_CHANGES=${GRANARY_CHANGES:-20000}; e2e '^TestE2ERandomChanges$' ;;
  fuzz) fuzz ;;
  *) echo "usage: tests/run.sh [unit|e2e|chaos|programs|fsx|fuzz]" >&2; exit 2 ;;
esac

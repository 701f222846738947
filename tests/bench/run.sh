#!/usr/bin/env bash
# Benchmarks, all in one go: the primitives, then each door of an all-in-one Granary beside the plain
# disk and, if MINIO names its binary, beside MinIO on the same disk.
#   EACH=3s   time for each cell     SCRATCH=DIR   where the data goes
set -euo pipefail
cd "$(dirname "$0")/../.."
each=${EACH:-3s}
scratch=$(mktemp -d "${SCRATCH:-/tmp}/granary-bench.XXXXXX")
base=18400
export GRANARY_ROOT_ACCESS_KEY=BENCHACCESSKEY GRANARY_ROOT_SECRET_KEY=bench-secret-key-0123
export AWS_ACCESS_KEY_ID=$GRANARY_ROOT_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$GRANARY_ROOT_SECRET_KEY
export GRANARY_CLUSTER=127.0.0.1:$base
pids=()
cleanup() {
  bin/granary umount "$scratch/mnt" 2>/dev/null || fusermount3 -uz "$scratch/mnt" 2>/dev/null || true
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; wait "$p" 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap cleanup EXIT

if [ "${PRIMITIVES:-yes}" = yes ]; then
  go test -run '^$' -bench . -benchtime 200ms ./erasure/ ./internal/block/ ./client/ ./master/ ./volume/
fi
go build -o bin/bench ./tests/bench
mkdir -p "$scratch/mnt" "$scratch/plain" "$scratch/data"
bin/granary serve --data "$scratch/data" --listen-base $base > "$scratch/granary.log" 2>&1 &
granary=$!
pids+=("$granary")
for _ in $(seq 300); do curl -fsS -o /dev/null "http://127.0.0.1:$((base + 200))/-/health" 2>/dev/null && break; sleep 0.1; done

bin/bench s3 --name granary --endpoint 127.0.0.1:$((base + 300)) --each "$each" --pids "$granary"
if [ -n "${MINIO:-}" ]; then
  mkdir -p "$scratch/minio"
  MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY \
    "$MINIO" server --quiet --address 127.0.0.1:19000 "$scratch/minio" > "$scratch/minio.log" 2>&1 &
  minio=$!
  pids+=("$minio")
  for _ in $(seq 300); do curl -fsS -o /dev/null http://127.0.0.1:19000/minio/health/live 2>/dev/null && break; sleep 0.1; done
  bin/bench s3 --name minio --endpoint 127.0.0.1:19000 --each "$each" --pids "$minio" --header=false
  kill "$minio"; wait "$minio" 2>/dev/null || true
fi

bin/granary mount "$scratch/mnt"
mount=$(pgrep -f "granary mount / $scratch/mnt" | head -1)
bin/bench dir --name mount --path "$scratch/mnt" --each "$each" --pids "$mount"
bin/bench dir --name disk --path "$scratch/plain" --each "$each" --header=false

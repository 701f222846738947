#!/usr/bin/env bash
# Measures a mount of Granary (a master, a volume server, one disk, policy 1+0, synced), the plain disk, and JuiceFS on Redis if
# JUICEFS names its binary, in the same way and in turns, and prints the table of README's figures.
#
#   tests/mountbench/run.sh [ROW …]      stream randread randwrite create tree coherence; default all
#
#   TARGETS          default "disk granary" and juicefs if it is there
#   MOUNT_FLAGS      further flags of granary mount (such as --durable-close)
#   ALONE            command that each measurement is run by, such as one that has the machine alone
#   SCRATCH          where all data goes; default /tmp
#   EACH, FILE_MIB   time for what is repeated, size of large files
#   TREE             directories that make the tree; default parts of Go's own sources
#   GRANARY_BINARY   the binary under test (default: built from here)
#   RESULTS          file that results are added to (default: a new one)
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$(id -u)" != 0 ]; then echo "it takes root: only root empties the kernel's caches" >&2; exit 1; fi
work=$(mktemp -d "${SCRATCH:-/tmp}/granary-mountbench.XXXXXX")
base=${GRANARY_BASE:-29600}
export GRANARY_CLUSTER=127.0.0.1:$base
juicefs=${JUICEFS:-}
targets=${TARGETS:-disk granary${juicefs:+ juicefs}}
results=${RESULTS:-$work/results}
stop() { # stop NAME ends the server whose process is noted
  if [ ! -f "$work/$1.pid" ]; then return; fi
  kill "$(cat "$work/$1.pid")" 2>/dev/null || true
  for _ in $(seq 300); do kill -0 "$(cat "$work/$1.pid")" 2>/dev/null || return 0; sleep 0.1; done
  kill -9 "$(cat "$work/$1.pid")" 2>/dev/null || true # it does not end: nor would this
}
clean() {
  for m in granary granary2 juicefs juicefs2; do
    if mountpoint -q "$work/$m"; then umount "$work/$m" || umount -l "$work/$m" || true; fi
  done
  for s in master volume redis; do stop $s; done
  if [ -z "${KEEP:-}" ]; then rm -rf --one-file-system "$work"; fi
}
trap clean EXIT
trap 'exit 130' INT TERM
mkdir -p "$work/disk" "$work/granary" "$work/granary2" "$work/juicefs" "$work/juicefs2"

granary=${GRANARY_BINARY:-$work/bin}
if [ -z "${GRANARY_BINARY:-}" ]; then CGO_ENABLED=0 go build -trimpath -o "$granary" ./cmd/granary; fi
go build -o "$work/mountbench" ./tests/mountbench

# The tree: some thousand sources, and a repository of them.
src=${TREE:-$(for d in net runtime go internal; do echo "$(go env GOROOT)/src/$d"; done)}
mkdir "$work/tree"
# shellcheck disable=SC2086
cp -r $src "$work/tree/"
git -C "$work/tree" init -q
git -C "$work/tree" add -A
git -C "$work/tree" -c user.name=n -c user.email=e commit -qm tree
tar cf "$work/tree.tar" -C "$work" tree
rm -rf "$work/tree"

# NAME.on mounts (again), NAME.pids tells the processes, NAME.cold empties the caches.
on_granary() {
  "$granary" serve master --data "$work/m" --listen-base "$base" >"$work/master.log" 2>&1 &
  echo $! >"$work/master.pid"
  mkdir -p "$work/store"
  "$granary" serve volume --dir "$work/store" --listen-base "$base" --workers 0 >"$work/volume.log" 2>&1 &
  echo $! >"$work/volume.pid"
  for _ in $(seq 300); do
    if "$granary" cluster status --output json 2>/dev/null | grep -q '"volumeServersUp": *1'; then break; fi
    sleep 0.1
  done
  cat >"$work/granary.on" <<END
mountpoint -q "$work/granary" && umount "$work/granary"
"$granary" mount ${MOUNT_FLAGS:-} "$work/granary" && pgrep -n -f "granary.* mount / $work/granary --foreground" >"$work/mount.pid"
END
  sh -e "$work/granary.on"
  # shellcheck disable=SC2086
  "$granary" mount ${MOUNT_FLAGS:-} "$work/granary2"
  echo "cat $work/master.pid $work/volume.pid $work/mount.pid" >"$work/granary.pids"
}
on_juicefs() {
  redis-server --port $((base + 50)) --dir "$work" --appendonly yes --appendfsync everysec --save '' >"$work/redis.log" 2>&1 &
  echo $! >"$work/redis.pid"
  for _ in $(seq 100); do if redis-cli -p $((base + 50)) ping >/dev/null 2>&1; then break; fi; sleep 0.1; done
  local meta=redis://127.0.0.1:$((base + 50))/1
  "$juicefs" format --storage file --bucket "$work/juice-store/" "$meta" bench >"$work/juicefs.log" 2>&1
  # Its cache of blocks on disk goes too: what is cold comes from the store.
  cat >"$work/juicefs.on" <<END
mountpoint -q "$work/juicefs" && umount "$work/juicefs"
rm -rf "$work/juice-cache"
"$juicefs" mount -d --no-usage-report --cache-dir "$work/juice-cache" "$meta" "$work/juicefs" && pgrep -f "juicefs mount.*$work/juicefs\$" >"$work/juicefs.pid"
END
  sh "$work/juicefs.on" >>"$work/juicefs.log" 2>&1
  "$juicefs" mount -d --no-usage-report --cache-dir "$work/juice-cache2" "$meta" "$work/juicefs2" >>"$work/juicefs.log" 2>&1
  echo "cat $work/redis.pid $work/juicefs.pid" >"$work/juicefs.pids"
}
for t in $targets; do
  touch "$work/$t.pids"
  if [ "$t" = disk ]; then : >"$work/disk.on"; else "on_$t"; fi
  { cat "$work/$t.on"; echo 'sync; echo 3 >/proc/sys/vm/drop_caches'; } >"$work/$t.cold"
done
for row in "${@:-stream randread randwrite create tree coherence}"; do
  for one in $row; do
    for t in $targets; do
      more=()
      if [ -s "$work/$t.pids" ]; then more+=(--pids-by "sh $work/$t.pids"); fi
      if [ -d "$work/${t}2" ]; then more+=(--second "$work/${t}2"); fi
      sync
      ${ALONE:-} "$work/mountbench" rows --name "$t" --path "$work/$t" --rows "$one" --tree "$work/tree.tar" --results "$results" \
        --cold "sh $work/$t.cold >/dev/null 2>&1" --each "${EACH:-3s}" --file "${FILE_MIB:-512}" "${more[@]}" || echo "$t: $one failed" >&2
    done
  done
done
echo
"$work/mountbench" compare --results "$results"

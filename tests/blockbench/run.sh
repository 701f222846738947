#!/usr/bin/env bash
# The block path under 4+2 over six disks of one server, all on one device, beside dd to the same device.
#   MIB=1024       of a stream             FILES=10000   of 16 KiB (0: none)
#   SCRATCH=DIR    where the data goes     BASE=18800    first port
#   PARTS="write read random repair thin sparse"  what to run
#   PROFILE=FILE   CPU profile of the writing client
#   STREAMS=4      of which disks are lost, over eight disks; each is a volume
set -euo pipefail
cd "$(dirname "$0")/../.."
mib=${MIB:-1024}
files=${FILES:-10000}
streams=${STREAMS:-4}
parts=${PARTS:-write read random repair thin sparse}
base=${BASE:-18800}
scratch=$(mktemp -d "${SCRATCH:-/tmp}/granary-blockbench.XXXXXX")
export GRANARY_CLUSTER=127.0.0.1:$base
declare -A pid
stop() { for p in "${pid[@]}"; do kill "$p" 2>/dev/null || true; wait "$p" 2>/dev/null || true; done; pid=(); }
cleanup() { stop; rm -rf "$scratch"; }
trap cleanup EXIT
mkdir -p bin
CGO_ENABLED=0 go build -trimpath -o bin/granary ./cmd/granary
CGO_ENABLED=0 go build -trimpath -o bin/blockbench ./tests/blockbench
runs() { case " $parts " in *" $1 "*) return 0 ;; *) return 1 ;; esac }
field() { bin/granary cluster status --output json | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" | head -1; }

# start N: a new cluster with N disks, under 4+2.
start() {
  stop
  rm -rf "${scratch:?}"/*
  local dirs=
  for i in $(seq "$1"); do mkdir "$scratch/d$i"; dirs=$dirs${dirs:+,}$scratch/d$i; done
  bin/granary serve master --data "$scratch/master" --listen-base "$base" > "$scratch/master.log" 2>&1 &
  pid[master]=$!
  bin/granary serve volume --dir "$dirs" --listen-base "$base" --cluster "$GRANARY_CLUSTER" > "$scratch/volume.log" 2>&1 &
  pid[volume]=$!
  for _ in $(seq 300); do [ "$(field disksUp 2>/dev/null || true)" = "$1" ] && break; sleep 0.1; done
  bin/granary policy set / --ec 4+2 > /dev/null
}
bench() { bin/blockbench "$1" --pids "${pid[volume]},${pid[master]}" "${@:2}"; }
uncache() { sync; for f in "$scratch"/d*/shards/*; do dd if="$f" iflag=nocache count=0 2>/dev/null; done; }
now() { date +%s.%N; }
rate() { echo "scale=1; $1 / 1000000 / ($(now) - $2)" | bc; } # of so many bytes since then

# fullest: the disk with the most bytes, of those that are there.
fullest() { du -s --block-size=1 "$scratch"/d?/shards 2> /dev/null | sort -n | tail -1 | sed 's/.*\(d[0-9]*\).shards$/\1/'; }

# device DISK: what dd gets when it does what a repair of the disk has the device do: it reads four times as much as the disk
# holds, from all others at the same time, writes as much, and syncs that. And what it gets when it does nothing but write. What it
# writes stays until the end, or the next who writes is given the same blocks, which some devices do not take as others.
device() {
  local bytes began readers=
  bytes=$(du -s --block-size=1 "$scratch/$1/shards" | cut -f1)
  uncache
  began=$(now)
  dd if=/dev/zero of="$scratch/dd$((dds += 1))" bs=1M count=$bytes iflag=count_bytes conv=fdatasync 2> /dev/null
  echo "dd     writes as much as the disk holds, $((bytes / 1000000)) MB, at $(rate "$bytes" "$began") MB/s"
  uncache
  began=$(now)
  for other in "$scratch"/d?; do
    [ "$other" = "$scratch/$1" ] && continue
    (cat "$other"/shards/* | dd of=/dev/null bs=1M count=$((bytes * 4 / 7)) iflag=fullblock,count_bytes 2> /dev/null || true) &
    readers="$readers $!"
  done
  dd if=/dev/zero of="$scratch/dd$((dds += 1))" bs=1M count=$bytes iflag=count_bytes conv=fdatasync 2> /dev/null
  wait $readers
  echo "dd     writes it at $(rate "$bytes" "$began") MB/s while it reads four times as much"
}
dds=0

echo "load: $(cut -d' ' -f1-3 /proc/loadavg); core-seconds of client, volume server, master"
if runs write || runs read || runs random; then
  start 6
  for name in stream2 stream; do
    sync
    rate=$(dd if=/dev/zero of="$scratch/dd" bs=1M count=$((mib * 3 / 2)) conv=fdatasync 2>&1 | tail -1)
    rm "$scratch/dd"
    echo "dd     $((mib * 3 / 2)) MiB: ${rate##*copied, }"
    sync
    bench write --mib "$mib" --name $name ${PROFILE:+--cpuprofile "$PROFILE"}
  done
fi
if runs read; then bench read; fi
if runs random; then bench random; fi
if runs repair; then
  start 8
  names=
  for i in $(seq "$streams"); do
    bin/blockbench write --mib "$mib" --name "stream$i" > /dev/null
    names=$names${names:+,}stream$i
  done
  lost=$(fullest)
  device "$lost"
  uncache
  bench repair --lose "$scratch/$lost"
  for _ in 1 2; do # the first read of a stream leaves little of it in the page cache
    for i in $(seq "$streams"); do bin/blockbench read --name "stream$i" > /dev/null; done
  done
  bench repair --lose "$scratch/$(fullest)" --read "$names"
fi
if runs thin && [ "$files" -gt 0 ]; then
  start 6
  bench thin --files "$files"
  echo "thin   stored $(field storedBytes) of unique $(field uniqueBytes) bytes when written"
  bin/granary cluster upkeep --young-age 1s --reclaim-grace 1s > /dev/null
  began=$(now)
  last=0 since=$(date +%s)
  while [ $(($(date +%s) - since)) -lt 20 ]; do # it may wait for volumes to be sealed
    sleep 1
    stored=$(field storedBytes)
    if [ "$stored" != "$last" ]; then last=$stored since=$(date +%s) ended=$(now); fi
  done
  unique=$(field uniqueBytes)
  echo "thin   stored $stored of unique $unique bytes when packed: $(echo "scale=3; $stored / $unique" | bc), $(echo "scale=1; ($ended - $began) / 1" | bc) s later"
fi
if runs sparse; then # takes 5 GB
  start 1
  mkdir "$scratch/full"
  bin/blockbench fill --dir "$scratch/full"
  for f in "$scratch"/full/shards/*; do dd if="$f" iflag=nocache count=0 2>/dev/null; done
  for _ in 1 2 3; do bin/blockbench serve --dir "$scratch/full" --listen-base $((base + 20)); done
fi

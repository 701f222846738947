#!/usr/bin/env bash
# The block path under 4+2 over six disks of one server, all on one device, beside dd to the same device.
#   MIB=1024       of the stream           FILES=10000   of 16 KiB (0: none)
#   SCRATCH=DIR    where the data goes     BASE=18800    first port
#   PARTS="write read random repair thin"  what to run   PROFILE=FILE  CPU profile of the writing client
set -euo pipefail
cd "$(dirname "$0")/../.."
mib=${MIB:-1024}
files=${FILES:-10000}
parts=${PARTS:-write read random repair thin}
base=${BASE:-18800}
scratch=$(mktemp -d "${SCRATCH:-/tmp}/granary-blockbench.XXXXXX")
export GRANARY_CLUSTER=127.0.0.1:$base
declare -A pid
cleanup() {
  for p in "${pid[@]}"; do kill "$p" 2>/dev/null || true; wait "$p" 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap cleanup EXIT
mkdir -p bin
CGO_ENABLED=0 go build -trimpath -o bin/granary ./cmd/granary
CGO_ENABLED=0 go build -trimpath -o bin/blockbench ./tests/blockbench
runs() { case " $parts " in *" $1 "*) return 0 ;; *) return 1 ;; esac }
field() { bin/granary cluster status --output json | sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" | head -1; }

dirs=$scratch/d1,$scratch/d2,$scratch/d3,$scratch/d4,$scratch/d5,$scratch/d6
mkdir -p "$scratch"/d{1,2,3,4,5,6}
bin/granary serve master --data "$scratch/master" --listen-base "$base" > "$scratch/master.log" 2>&1 &
pid[master]=$!
volume() {
  bin/granary serve volume --dir "$dirs" --listen-base "$base" --cluster "$GRANARY_CLUSTER" >> "$scratch/volume.log" 2>&1 &
  pid[volume]=$!
}
volume
for _ in $(seq 300); do [ "$(field disksUp 2>/dev/null || true)" = 6 ] && break; sleep 0.1; done
bin/granary policy set / --ec 4+2 > /dev/null
bench() { bin/blockbench "$1" --pids "${pid[volume]},${pid[master]}" "${@:2}"; }

echo "load: $(cut -d' ' -f1-3 /proc/loadavg); core-seconds of client, volume server, master"
if runs write; then
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
  before=$(du -sb "$scratch/d3" | cut -f1)
  kill "${pid[volume]}"; wait "${pid[volume]}" || true
  mv "$scratch/d3" "$scratch/lost"
  mkdir "$scratch/d3"
  bin/granary serve volume --dir "$dirs" --format "$scratch/d3" --listen-base "$base" --cluster "$GRANARY_CLUSTER" >> "$scratch/volume.log" 2>&1 &
  pid[volume]=$!
  began=$(date +%s.%N)
  for _ in $(seq 600); do
    used=$(du -sb "$scratch/d3" | cut -f1)
    if [ "$used" -ge $((before * 9 / 10)) ]; then break; fi
    sleep 0.1
  done
  ended=$(date +%s.%N)
  if [ "$used" -lt $((before * 9 / 10)) ]; then echo "repair is not done after a minute" >&2; fi
  echo "repair $used of $before bytes of a lost disk in $(echo "$ended - $began" | bc) s since its server is back: $(echo "$used / ($ended - $began) / 1000000" | bc) MB/s"
  bench read
fi
if runs thin && [ "$files" -gt 0 ]; then
  bench thin --files "$files"
  echo "thin   stored $(field storedBytes) of unique $(field uniqueBytes) bytes when written"
  bin/granary cluster upkeep --young-age 1s > /dev/null
  last=0
  for _ in $(seq 60); do
    sleep 2
    now=$(field storedBytes)
    if [ "$now" = "$last" ]; then break; fi
    last=$now
  done
  echo "thin   stored $(field storedBytes) of unique $(field uniqueBytes) bytes when idle for a while"
fi

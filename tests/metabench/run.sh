#!/usr/bin/env bash
# What the metadata master does beside bare Raft, three processes each on this machine, and what many inodes cost.
#   EACH=3s        time for each line      INODES=10000000   inodes to load (0: none)
#   SCRATCH=DIR    where the data goes     PARTS="raft failover ops big load blocks"   what to run
#   BASE=18600     first port              TIMES=10         how often leaders fail, in each way
#   BLOCKS=1000000 blocks to commit (0: none)
set -euo pipefail
cd "$(dirname "$0")/../.."
each=${EACH:-3s}
times=${TIMES:-10}
inodes=${INODES:-1000000}
blocks=${BLOCKS:-1000000}
parts=${PARTS:-raft failover ops big load blocks}
scratch=$(mktemp -d "${SCRATCH:-/tmp}/granary-metabench.XXXXXX")
base=${BASE:-18600}
declare -A pid
cleanup() {
  for p in "${pid[@]}"; do kill "$p" 2>/dev/null || true; wait "$p" 2>/dev/null || true; done
  rm -rf "$scratch"
}
trap cleanup EXIT
mkdir -p bin
CGO_ENABLED=0 go build -trimpath -o bin/granary ./cmd/granary
CGO_ENABLED=0 go build -trimpath -o bin/metabench ./tests/metabench

addr() { echo "127.0.0.1:$((base + 10 * $1))"; }
peers="m1@$(addr 1),m2@$(addr 2),m3@$(addr 3)"
export GRANARY_CLUSTER="$(addr 1),$(addr 2),$(addr 3)"
start() {
  bin/granary serve master --id "m$1" --data "$scratch/m$1" --listen-base $((base + 10 * $1)) --peers "$peers" >> "$scratch/m$1.log" 2>&1 &
  pid[$1]=$!
}
status() { bin/granary cluster status --output json; }
ready() { for _ in $(seq 600); do status > /dev/null 2>&1 && return; sleep 0.1; done; echo "no leader" >&2; exit 1; }
leader() { # its number
  local at
  at=$(status | sed -n 's/.*"leader": "\(.*\)".*/\1/p' | head -1)
  for i in 1 2 3; do if [ "$(addr $i)" = "$at" ]; then echo $i; fi; done
}
memory() { # resident now and at most, of master $1
  echo "memory: master $1 $(grep -E 'VmRSS|VmHWM' "/proc/${pid[$1]}/status" | tr -s '\t \n' ' ')"
}
metric() { # $2 of master $1
  curl -fsS "http://127.0.0.1:$((base + 10 * $1 + 2))/metrics" | sed -n "s/^granary_master_$2 \(.*\)/\1/p"
}
applied() { metric "$1" applied_index; }
snapshots() { # of master $1: how many it took, and how long it took them
  awk -v n="$(metric "$1" snapshot_seconds_count)" -v all="$(metric "$1" snapshot_seconds_sum)" -v still="$(metric "$1" snapshot_pause_seconds_sum)" \
    -v size="$(metric "$1" snapshot_bytes)" 'BEGIN { if (n > 0) printf "snapshots: master '"$1"' took %d, %.0f ms each, %.0f ms of them without applying; the last has %d bytes\n", n, all/n*1e3, still/n*1e3, size }'
}
restart() { # all masters
  for i in 1 2 3; do kill "${pid[$i]}"; wait "${pid[$i]}" || true; done
  for i in 1 2 3; do start $i; done
  ready
}
tables() { # bytes of the tables of master $1, after a start, which writes all to tables, and once compactions are done
  local size before=0
  for _ in $(seq 30); do
    size=$(du -cb "$scratch/m$1"/state-*/*.sst 2> /dev/null | tail -1 | cut -f1 || true) # files come and go
    if [ "$size" = "$before" ]; then break; fi
    before=$size
    sleep 3
  done
  echo "$size"
}
runs() { case " $parts " in *" $1 "*) return 0 ;; *) return 1 ;; esac }

if runs raft; then mkdir -p "$scratch/raft"; bin/metabench raft --dir "$scratch/raft" --each "$each"; fi
if runs failover; then
  for how in kill stop term; do
    mkdir -p "$scratch/$how"
    bin/metabench failover --how $how --times "$times" --base $((base + 40)) --dir "$scratch/$how"
  done
fi
for i in 1 2 3; do start $i; done
ready
if runs ops; then bin/metabench ops --each "$each" --pids "${pid[$(leader)]}"; fi
if runs big; then bin/metabench big; memory "$(leader)"; fi
if runs load && [ "$inodes" -gt 0 ]; then
  lead=$(leader)
  last=$((lead % 3 + 1)) # a follower that misses all of it
  kill "${pid[$last]}"; wait "${pid[$last]}" || true
  bin/metabench load --inodes "$inodes"
  memory "$lead"
  began=$(date +%s.%N)
  start "$last"
  for _ in $(seq 6000); do
    a=$(applied "$last" 2>/dev/null || true)
    b=$(applied "$lead")
    if [ -n "$a" ] && [ "${a%.*}" -ge "$((${b%.*} - 10))" ] 2>/dev/null; then break; fi
    sleep 0.1
  done
  echo "catch-up: the follower took $(echo "$(date +%s.%N) - $began" | bc) s"
  memory "$last"
  snapshots "$lead"
  for i in 1 2 3; do kill "${pid[$i]}"; wait "${pid[$i]}" || true; done
  began=$(date +%s.%N)
  for i in 1 2 3; do start $i; done
  ready
  echo "start: all three masters, to the first answer: $(echo "$(date +%s.%N) - $began" | bc) s"
  used=$(tables 1)
  echo "disk: $used bytes of tables for $inodes inodes, $((used / inodes)) each; $(du -s --block-size=1 "$scratch/m1"/state-* | cut -f1) with the write-ahead log"
fi
if runs blocks && [ "$blocks" -gt 0 ]; then # the last part: what it makes is of no other use
  restart
  before=$(tables 1)
  bin/metabench blocks --blocks "$blocks"
  lead=$(leader)
  memory "$lead"
  snapshots "$lead"
  restart
  used=$(($(tables 1) - before))
  echo "disk: $used bytes of tables more for $blocks blocks in files of 64, $((used / blocks)) each"
fi

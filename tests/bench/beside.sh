#!/usr/bin/env bash
# The S3 door beside MinIO's: Granary with six disks under 4+2 and MinIO with six drives under EC:2, each in one process, on the same
# disk, in turns; then the medians of all rounds.
#   MINIO=FILE     MinIO's binary            ROUNDS=3       of both
#   EACH=4s        time for each cell        SCRATCH=DIR    where the data goes
#   SIZES, CALLERS, OPS, OBJECTS, SET        as the flags of bench say
#   ALONE=CMD      what runs one server's round, such as a command that waits until the machine is idle
#   RESULTS=FILE   rows are added to it, and medians are of all in it
set -euo pipefail
cd "$(dirname "$0")/../.."
export AWS_ACCESS_KEY_ID=BENCHACCESSKEY AWS_SECRET_ACCESS_KEY=bench-secret-key-0123
bench=${BENCH:-bin/bench} granary=${GRANARY:-bin/granary}

# await URL: returns once the server answers.
await() { for _ in $(seq 300); do curl -fsS -o /dev/null "$1" 2> /dev/null && return; sleep 0.1; done; return 1; }

# turn granary|minio: one round of one server.
turn() {
  local scratch server endpoint dirs
  scratch=$(mktemp -d "${SCRATCH:-/tmp}/granary-beside.XXXXXX")
  dirs="$scratch/d1 $scratch/d2 $scratch/d3 $scratch/d4 $scratch/d5 $scratch/d6"
  mkdir -p $dirs
  if [ "$1" = granary ]; then
    endpoint=127.0.0.1:18700
    GRANARY_ROOT_ACCESS_KEY=$AWS_ACCESS_KEY_ID GRANARY_ROOT_SECRET_KEY=$AWS_SECRET_ACCESS_KEY \
      "$granary" serve --data "$scratch/data" --dir "${dirs// /,}" --listen-base 18400 > "$scratch/log" 2>&1 &
    server=$!
    await http://127.0.0.1:18600/-/health
    export GRANARY_CLUSTER=127.0.0.1:18400 # six disks: "auto" is 4+2
    for _ in $(seq 100); do "$granary" cluster status --output json | grep -q '"disksUp": 6' && break; sleep 0.1; done
  else
    endpoint=127.0.0.1:18900
    MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY MINIO_CI_CD=1 MINIO_STORAGE_CLASS_STANDARD=EC:2 \
      "$MINIO" server --quiet --address $endpoint $dirs > "$scratch/log" 2>&1 & # CI_CD: six directories of one disk will do
    server=$!
    await http://$endpoint/minio/health/cluster
  fi
  trap 'kill '"$server"' 2> /dev/null; wait '"$server"' 2> /dev/null; rm -rf '"$scratch"'' EXIT
  trap 'exit 1' TERM INT
  "$bench" s3 --name "$1" --endpoint $endpoint --header=false --keep --pids "$server" --each "${EACH:-4s}" --callers "${CALLERS:-8}" \
    --sizes "${SIZES:-4K,1M,64M}" --ops "${OPS:-get,list,delete}" --objects "${OBJECTS:-3000}" --set "${SET:-1073741824}"
}

# medians: of each cell of each server, and what the first has of the second.
medians() {
  awk '
    function median(list,  v, n, i, j, x) {
      n = split(list, v, " ")
      for (i = 2; i <= n; i++) { x = v[i] + 0; for (j = i - 1; j > 0 && v[j] + 0 > x; j--) v[j + 1] = v[j]; v[j + 1] = x }
      return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
    }
    {
      unit = $3 == "-" ? "-" : $3 " " $4; at = $3 == "-" ? 4 : 5
      cell = sprintf("%-7s %-7s %3d", $2, unit, $at)
      if (!(cell in seen)) { seen[cell] = 1; order[++cells] = cell }
      key = cell SUBSEP $1; runs[key]++
      rate[key] = rate[key] " " $(at + 1); p50[key] = p50[key] " " $(at + 3); p99[key] = p99[key] " " $(at + 4)
      kop[key] = kop[key] " " $(at + 5); gib[key] = gib[key] " " $(at + 6); peak[key] = peak[key] " " $(at + 7)
    }
    END {
      printf "%-19s %-8s %4s %10s %8s %8s %9s %9s %8s %6s\n", "", "", "runs", "ops/s", "p50 ms", "p99 ms", "cpu s/kop", "cpu s/GiB", "peak MiB", "ratio"
      for (c = 1; c <= cells; c++) for (s = 1; s <= 2; s++) {
        name = s == 1 ? "granary" : "minio"; key = order[c] SUBSEP name
        if (!(key in runs)) continue
        other = order[c] SUBSEP "minio"
        printf "%-19s %-8s %4d %10.1f %8.2f %8.2f %9.3f %9.2f %8d %6s\n", order[c], name, runs[key], median(rate[key]), median(p50[key]), median(p99[key]),
          median(kop[key]), median(gib[key]), median(peak[key]), s == 1 && other in runs ? sprintf("%.2f", median(rate[key]) / median(rate[other])) : ""
      }
    }' "$1"
}

if [ "${1:-}" = turn ]; then turn "$2"; exit; fi
if [ "${1:-}" = medians ]; then medians "$2"; exit; fi
results=${RESULTS:-$(mktemp)}
for _ in $(seq "${ROUNDS:-3}"); do
  for server in granary ${MINIO:+minio}; do
    ${ALONE:-} bash tests/bench/beside.sh turn $server | tee -a "$results"
  done
done
medians "$results"

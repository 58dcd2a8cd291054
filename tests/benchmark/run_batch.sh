#!/usr/bin/env bash
# Throughput of postrec batch: 100 slices, one at a time on one thread, and a job a core. Prints both, their ratio (1.8 at least is wanted on two cores), and the peak resident memory of the
# batch process and of the largest worker over the first and the last tenth of the cases. Needs an idle machine, and the example head of the quickstart or a scan as second argument.
# usage: run_batch.sh [POSTREC [SCAN [NUMBER [OPTION...]]]]
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
postrec=${1:-$here/build/bin/postrec}
scan=${2:-/usr/share/mricron/templates/ch2.nii.gz}
number=${3:-100}
shift $(($# < 3 ? $# : 3))
options=("$@")
[ ${#options[@]} -gt 0 ] || options=(--prior brain-mr-gaussian --samples 4 --steps 5)
[ -e "$scan" ] || { echo "there is no scan $scan" >&2; exit 66; }
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT

mkdir "$work/in"
python3 - "$scan" "$work/in" "$number" <<'PYTHON'
# Cuts single slices out of the middle of the scan: NIfTI files of one slice each.
import gzip, pathlib, struct, sys
scan, folder, number = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
data = gzip.open(scan).read() if scan.endswith(".gz") else pathlib.Path(scan).read_bytes()
dims, bits = struct.unpack("<8h", data[40:56]), struct.unpack("<h", data[72:74])[0]
offset, plane = int(struct.unpack("<f", data[108:112])[0]), dims[1] * dims[2] * bits // 8
header = bytearray(data[:352])
struct.pack_into("<8h", header, 40, 3, dims[1], dims[2], 1, 1, 1, 1, 1)
struct.pack_into("<f", header, 108, 352.0)
first = max(0, dims[3] // 2 - number // 2)
for i in range(number):
    k = min(first + i, dims[3] - 1)
    (folder / f"slice_{i:03d}.nii").write_bytes(bytes(header) + data[offset + k * plane : offset + (k + 1) * plane])
PYTHON

# Peak resident kilobytes of a process and of its children, looked at ten times a second: "seconds batch worker" a line.
watch_memory() {
  local pid=$1 begin=$SECONDS child
  while kill -0 "$pid" 2>/dev/null; do
    local largest=0 own
    own=$(awk '/VmHWM/ {print $2}' "/proc/$pid/status" 2>/dev/null || true)
    for child in $(cat "/proc/$pid/task/$pid/children" 2>/dev/null || true); do
      local size
      size=$(awk '/VmHWM/ {print $2}' "/proc/$child/status" 2>/dev/null || true)
      [ "${size:-0}" -gt "$largest" ] && largest=$size
    done
    echo "$((SECONDS - begin)) ${own:-0} $largest"
    sleep .1
  done
}

run() {  # name, jobs, further environment
  "$postrec" batch plan "$work/in" "$work/$1" --simulate --operator mri-fourier --simulate-coils 4 --set mask-pattern=equispaced --set acceleration=4 --noise 0.02 "${options[@]}" --quiet
  local begin end
  begin=$(date +%s.%N)
  ${3:-} "$postrec" batch run "$work/$1" --jobs "$2" --quiet &
  local pid=$!
  watch_memory "$pid" >"$work/$1.memory"
  wait "$pid"
  end=$(date +%s.%N)
  awk -v a="$begin" -v b="$end" -v n="$number" -v name="$1" 'BEGIN {printf "%-12s %6.1f s  %.3f cases/s\n", name, b - a, n / (b - a)}'
  awk -v a="$begin" -v b="$end" -v n="$number" 'BEGIN {print n / (b - a)}' >"$work/$1.rate"
  awk '{own[NR] = $2; worker[NR] = $3} END {
    tenth = int(NR / 10); if (tenth < 1) tenth = 1
    for (i = 1; i <= tenth; ++i) { if (own[i] > o1) o1 = own[i]; if (worker[i] > w1) w1 = worker[i] }
    for (i = NR - tenth + 1; i <= NR; ++i) { if (own[i] > o2) o2 = own[i]; if (worker[i] > w2) w2 = worker[i] }
    printf "             peak memory, first and last tenth of the time: batch %.0f and %.0f MB, largest worker %.0f and %.0f MB\n", o1/1024, o2/1024, w1/1024, w2/1024 }' "$work/$1.memory"
}

cores=$(nproc)
first_core=$(taskset -pc $$ | sed 's/.*: //; s/[,-].*//')
run one-thread 1 "taskset -c $first_core"
run "$cores-jobs" "$cores"
awk -v a="$(cat "$work/one-thread.rate")" -v b="$(cat "$work/$cores-jobs.rate")" 'BEGIN {printf "throughput ratio %.2f\n", b / a}'

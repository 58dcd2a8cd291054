#!/usr/bin/env bash
# Compares ct-radon with ASTRA's CPU `line` projector: 512 x 512, 180 views, 729 detectors, float32, one thread.
#
#   run_ct_comparison.sh BENCHMARK [ROUNDS] [FOLDER]
#
# BENCHMARK is the program postrec_benchmark. ASTRA and ours run in turn, ROUNDS (7) times, so that other load on the machine meets both; the
# table shows medians of process CPU time, and of wall time, which equals it only on an idle machine. ASTRA goes into a virtual environment in
# FOLDER, or in a temporary one that is removed at the end.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64; }
benchmark=$(realpath "$1")
rounds=${2:-7}
here=$(dirname "$(realpath "$0")")
if [ $# -ge 3 ]; then
  folder=$3
  mkdir -p "$folder"
else
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
fi

if [ ! -x "$folder/venv/bin/python" ]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet astra-toolbox numpy
fi

export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
rm -f "$folder"/astra-*.json "$folder"/ours-*.json
for round in $(seq "$rounds"); do
  "$folder/venv/bin/python" "$here/astra_projector.py" parallel fan_flat > "$folder/astra-$round.json"
  "$benchmark" --benchmark_filter='^ct_(forward|adjoint)/' --benchmark_min_time=0.2 --benchmark_format=json > "$folder/ours-$round.json" 2> "$folder/ours.log" ||
    { cat "$folder/ours.log" >&2; exit 1; }
  echo "round $round of $rounds" >&2
done

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import glob, json, statistics, sys

folder = sys.argv[1]
astra = [json.load(open(path)) for path in glob.glob(folder + "/astra-*.json")]
ours = [{entry["name"]: entry for entry in json.load(open(path))["benchmarks"]} for path in glob.glob(folder + "/ours-*.json")]
print(f"ms per image, one thread, medians of {len(ours)} rounds in turn (wall in brackets); ASTRA {astra[0]['astra']} line / line_fanflat")
print(f"{'':20}{'ASTRA':>18}{'one image':>18}{'of eight':>18}{'one: faster than ASTRA':>25}{'eight: than one':>17}")
for beam in ("parallel", "fan_flat"):
    for direction in ("forward", "adjoint"):
        name = f"{direction}/{beam}"
        peer = [1e3 * statistics.median(run[name][clock] for run in astra) for clock in ("cpu", "wall")]
        mine = {n: [statistics.median(run[f"ct_{name}/{n}/process_time"][clock] for run in ours) / n for clock in ("cpu_time", "real_time")] for n in (1, 8)}
        show = lambda times: f"{times[0]:.1f} ({times[1]:.1f})"
        print(f"{name:20}{show(peer):>18}{show(mine[1]):>18}{show(mine[8]):>18}{peer[0] / mine[1][0]:>24.1f}x{mine[1][0] / mine[8][0]:>16.1f}x")
PYTHON

#!/usr/bin/env bash
# Every method at the time of the default preset, on validation scans with the shipped priors: the table of core/real_scans.md.
#
#   run_methods.sh BIN_FOLDER SCANS_FOLDER FOLDER [few|all]
#
# BIN_FOLDER holds postrec, SCANS_FOLDER mr_brain_t1_stripped/val and ct/val. `few` (unless told): 2 slices of each kind, the methods far behind 1; about two hours.
# `all`: 20 slices of MRI and the 13 of CT, for the methods that come near. FOLDER keeps a table for each method, so that a second run costs nothing, and one that was
# killed goes on. Prints a markdown table. One thread.
set -euo pipefail

[ $# -ge 3 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64; }
bin=$(realpath "$1")
scans=$(realpath "$2")
mkdir -p "$3"
folder=$(realpath "$3")
which=${4:-few}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMP_WAIT_POLICY=passive

# Samples x levels that take as long as the bridge's 20 x 20, from the seconds of 4 samples and 8 levels (brsmc, twisted-smc: 8 samples) on one
# idle thread.
near='bridge 20 20 20 20
pigdm 12 40 8 57
pigdm-calibrated 8 54 8 59
mmps 4 91 4 78
dds 8 137 8 131
daps 4 43 4 45
brsmc:group=8 8 30 8 34'
far='dps 4 151 4 127
projection 4 137 4 129
diffpir 4 49 4 53
daps-exact 4 34 4 34
annealed-langevin 4 63 4 57
preconditioned-langevin 4 56 4 54
twisted-smc:group=8:image-variance=100 8 83 8 75
split-gibbs:group=4:start-steps=0:sde-steps=10 4 24 4 24'

compare() {  # kind, method, samples, levels, scan options...; a method that fails is left out of the table
  local kind=$1 method=$2 samples=$3 levels=$4 table
  shift 4
  table="$folder/$which-$kind-${method//:/,}-${samples}x$levels"
  [ -e "$table.json" ] && return
  "$bin/postrec" evaluate "$@" --compare "$method" --steps "$levels" --samples "$samples" --batch-size 0 --table "$table.part.json" --on-existing overwrite --quiet > /dev/null &&
    mv "$table.part.json" "$table.json" || echo "failed: $kind $method" >&2
}
mri=(--prior brain-mr --phase smooth --operator mri-fourier --set mask-pattern=equispaced --set acceleration=8 --simulate-coils 8 --noise 0.02)
ct=("$scans/ct/val/tcga_luad_slices.nii.gz" --prior ct --unit hu --operator ct-radon --set n-views=60 --noise 0.5)
head=$scans/mr_brain_t1_stripped/val/oasis_

compare_each() {  # table of methods, slices of MRI, slices of CT, scans of MRI...
  local methods=$1 mri_slices=$2 ct_slices=$3 method samples levels ct_samples ct_levels
  shift 3
  while read -r method samples levels ct_samples ct_levels; do
    compare mri "$method" "$samples" "$levels" "$@" --slices "$mri_slices" "${mri[@]}"
    compare ct "$method" "$ct_samples" "$ct_levels" --slices "$ct_slices" "${ct[@]}"
  done <<< "$methods"
}
if [ "$which" = all ]; then
  compare_each "$near" 50,70,90,110 0-12 "$head"*.nii.gz
else
  compare_each "$near" 70 3,8 "${head}1036.nii.gz" "${head}1113.nii.gz"
  compare_each "$far" 70 3 "${head}1036.nii.gz"
fi

python3 - "$folder" "$which" <<'PYTHON'
import json, pathlib, sys
folder, which = pathlib.Path(sys.argv[1]), sys.argv[2]
def slices(path): return {(each["image"], each["slice"]): each["figures"] for each in json.loads(path.read_text())["methods"][0]["slices"]}
def mean_of(figures): return {key: sum(each[key] for each in figures.values()) / len(figures) for key in next(iter(figures.values()))}
def cell(figures, best):
    text = "{psnr_mean_db:.2f} / {psnr_sample_db:.2f}, {ssim_mean:.3f}, {coverage:.2f}, {spread:.2f}, {reduced_chi2:.3g}".format(**mean_of(figures))
    behind = [best[key]["psnr_mean_db"] - each["psnr_mean_db"] for key, each in figures.items()]
    least, most = f"{min(behind):.2f}", f"{max(behind):.2f}"
    return text + (f"; {least if least == most else f'{least} to {most}'} on {len(behind)}" if any(behind) else "")
rows, nothing = {}, (float("-inf"), ["", ""])
for kind in ("mri", "ct"):
    start = f"{which}-{kind}-"
    tables = {path.stem[len(start):]: slices(path) for path in folder.glob(start + "*x*[0-9].json")}
    best = next(figures for name, figures in tables.items() if name.startswith("bridge-"))
    for name, figures in tables.items():
        method, size = name.rsplit("-", 1)
        row = rows.setdefault(method.replace(",", ":"), {})
        row[kind] = max(row.get(kind, nothing), (mean_of(figures)["psnr_mean_db"], [size.replace("x", " x "), cell(figures, best)]))  # of several shares of the time the best
print("PSNR of the mean / of a sample, SSIM, truth inside, spread over error, chi-square; decibels behind the bridge, on how many slices\n")
print("| method | samples x levels | MRI, R = 8 | samples x levels | CT, 60 views |\n|---|---|---|---|---|")
for method, cells in sorted(rows.items(), key=lambda row: -row[1].get("mri", nothing)[0]):
    print("| " + " | ".join([method, *cells.get("mri", nothing)[1], *cells.get("ct", nothing)[1]]) + " |")
PYTHON

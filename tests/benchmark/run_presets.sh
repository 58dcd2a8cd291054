#!/usr/bin/env bash
# What the presets are chosen from: the bridge at several numbers of levels, with the network's Jacobian and without, on validation scans with the shipped priors, and on the beds
# whose posteriors are known.
#
#   run_presets.sh BIN_FOLDER SCANS_FOLDER FOLDER [LEVELS...]
#
# BIN_FOLDER holds postrec and postrec_sampler_study, SCANS_FOLDER mr_brain_t1_stripped/val and ct/val. FOLDER keeps a table for each number of levels, so that a second run
# costs nothing. Prints two markdown tables. Eight samples a slice, whose range holds .78 of the truth when it is right. One thread.
set -euo pipefail

[ $# -ge 3 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64; }
bin=$(realpath "$1")
scans=$(realpath "$2")
mkdir -p "$3"
folder=$(realpath "$3")
shift 3
levels=("$@")
[ ${#levels[@]} -gt 0 ] || levels=(5 7 10 14 20 30 40)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

compare() {  # name, scan, slices, options
  local name=$1 scan=$2 slices=$3 n method table
  shift 3
  if [ ! -e "$scan" ]; then echo "missing: $scan" >&2; return; fi
  for n in "${levels[@]}"; do
    for method in bridge:jacobian-levels=1 bridge:jacobian-to=0; do
      table="$folder/$method-$name-$n"
      [ -e "$table.json" ] && continue
      "$bin/postrec" evaluate "$scan" --compare "$method" --slices "$slices" --steps "$n" --samples 8 --batch-size 0 "$@" --table "$table.part.json" --on-existing overwrite --quiet > /dev/null
      mv "$table.part.json" "$table.json"
    done
  done
}
compare mri-1036 "$scans/mr_brain_t1_stripped/val/oasis_1036.nii.gz" 60,80 --prior brain-mr --phase smooth --operator mri-fourier --set mask-pattern=equispaced --set acceleration=8 --simulate-coils 8 --noise 0.02
compare mri-1010 "$scans/mr_brain_t1_stripped/val/oasis_1010.nii.gz" 105 --prior brain-mr --phase smooth --operator mri-fourier --set mask-pattern=equispaced --set acceleration=8 --simulate-coils 8 --noise 0.02
compare ct "$scans/ct/val/tcga_luad_slices.nii.gz" 2,6,9 --prior ct --unit hu --operator ct-radon --set n-views=60 --noise 0.5

python3 - "$folder" "${levels[@]}" <<'PYTHON'
import json, pathlib, sys
folder, levels = pathlib.Path(sys.argv[1]), sys.argv[2:]
keys = ["psnr_mean_db", "psnr_sample_db", "ssim_mean", "coverage", "spread", "reduced_chi2", "seconds"]
def cell(pattern):
    slices = [each["figures"] for path in sorted(folder.glob(pattern)) for each in json.loads(path.read_text())["methods"][0]["slices"]]
    if not slices: return ""
    mean = {key: sum(each[key] for each in slices) / len(slices) for key in keys}
    return "{psnr_mean_db:.2f} / {psnr_sample_db:.2f}, {ssim_mean:.3f}, {coverage:.2f}, {spread:.2f}, {reduced_chi2:.2f}, {seconds:.0f}".format(**mean)
print("PSNR of the mean / of a sample, SSIM, truth inside, spread over error, chi-square, seconds\n")
print("| levels | MRI, R = 8, 3 slices | without the Jacobian | CT, 60 views, 3 slices | without the Jacobian |\n|---|---|---|---|---|")
for n in levels: print(f"| {n} | " + " | ".join(cell(f"{method}-{scan}-{n}.json") for scan in ("mri-*", "ct") for method in ("bridge:jacobian-levels=1", "bridge:jacobian-to=0")) + " |")
PYTHON
echo
"$bin/postrec_sampler_study" --methods bridge --nfe "$(IFS=,; echo "${levels[*]}")"

#!/usr/bin/env bash
# The quickstart's two reconstructions by given priors, beside TV and the direct reconstructions: one table in Markdown.
#
#   run_quickstart_comparison.sh BUILD_BIN SCANS_FOLDER FOLDER [KIND=PRIOR...]
#
# BUILD_BIN holds postrec and postrec_tv; SCANS_FOLDER is what setup/example_scans.sh makes; FOLDER gets the results. KIND is mri or ct, PRIOR a
# file or a name that ships; without any, TV is the only row of a case. What FOLDER holds already is not computed again, and a prior is known by its file's name: remove what has changed.
# The measurements are those of quickstart.sh; the samples are 20, where its MRI has 32. TV's strength is the best by the truth, an oracle in its favour.
set -euo pipefail

[ $# -ge 3 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 64; }
bin=$(realpath "$1")
scans=$(realpath "$2")
mkdir -p "$3"
folder=$(realpath "$3")
shift 3

# As in quickstart.sh.
mri=("$scans/head_mr.nii.gz" --slice 90 --phase smooth --noise 0.01
  --operator mri-fourier --simulate-coils 8 --set mask-pattern=variable-density --set acceleration=4 --set n-acs-lines=24)
ct=("$scans/head_ct.mhd" --unit hu --slice 50 --noise 0.5 --operator ct-radon --set n-views=60)

# The iterations are enough for the PSNR of the best strength to move by less than 0.02 dB in the second half.
tv() {  # KIND SCAN SLICE ITERATIONS OPTION...
  local kind=$1 scan=$2 slice=$3 iterations=$4
  shift 4
  [ -e "$folder/$kind/measurement" ] || "$bin/postrec" simulate "$@" --seed 1 --output "$folder/$kind/measurement" >&2
  [ -e "$folder/$kind/tv/tv.json" ] || "$bin/postrec_tv" "$folder/$kind/measurement" "$scan" "$slice" "$folder/$kind/tv" "$iterations" >&2
}

reconstruct() {  # KIND PRIOR OPTION...
  local result
  result=$folder/$1/$(basename "$2" .safetensors)
  local prior=$2
  shift 2
  [ -e "$result/run.json" ] || "$bin/postrec" reconstruct "$@" --simulate --seed 1 --prior "$prior" --output "$result" >&2
}

mkdir -p "$folder/mri" "$folder/ct"
for argument in "$@"; do
  case $argument in
    mri=?*) reconstruct mri "${argument#*=}" "${mri[@]}" ;;
    ct=?*) reconstruct ct "${argument#*=}" "${ct[@]}" ;;
    *) echo "'$argument': give mri=PRIOR or ct=PRIOR" >&2; exit 64 ;;
  esac
done
tv mri "${mri[0]}" 90 400 "${mri[@]}"
tv ct "${ct[0]}" 50 1000 "${ct[@]}"

python3 - "$folder" <<'PYTHON'
import glob, json, os, sys

print("| case | reconstruction | PSNR/dB | SSIM |")
print("|---|---|---:|---:|")
for kind, direct in (("mri", "zero-filled"), ("ct", "FBP")):
    row = lambda name, quality: print(f"| {kind.upper()} | {name} | {quality['psnr_db']:.2f} | {quality['ssim']:.3f} |")
    folder = os.path.join(sys.argv[1], kind)
    runs = {os.path.basename(os.path.dirname(path)): json.load(open(path)) for path in sorted(glob.glob(folder + "/*/run.json"))}
    # One measurement, so one direct reconstruction; else a prior was compared on other data.
    directs = [run["quality"]["pseudo_inverse"] for run in runs.values()]
    if any(quality != directs[0] for quality in directs):
        sys.exit(f"{folder}: the results are of different measurements; remove the old ones")
    if directs:
        row(direct, directs[0])
    tv = json.load(open(folder + "/tv/tv.json"))["best"]
    row(f"TV, best lambda ({tv['strength']:.3g} sigma_y, by the truth)", tv["quality"])
    for name, run in runs.items():
        row(f"posterior mean, {name}", run["quality"]["mean"])
PYTHON

#!/usr/bin/env bash
# Denoising by priors against the stationary Gaussian, BM3D and TV on validation images: the tables of the model cards.
#
#   run_denoising.sh PROGRAM SCANS_FOLDER FOLDER KIND=PRIOR,GAUSSIAN...
#
# PROGRAM is postrec_denoising. SCANS_FOLDER holds mr_brain_t1_stripped/val, mr_brain_multicontrast/val, ct/val and
# colour_blood_smear/val. FOLDER keeps the virtual environment, the images and the results of BM3D and TV, so that another prior costs seconds.
# KIND is brain-mr, ct or blood-smear, PRIOR the file to judge, GAUSSIAN the one to compare with (`postrec train --kind gaussian` on the
# same scans). One process, one thread.
set -euo pipefail

[ $# -ge 4 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64; }
program=$(realpath "$1")
scans=$(realpath "$2")
mkdir -p "$3"
folder=$(realpath "$3")
shift 3
here=$(dirname "$(realpath "$0")")

# The validation scans of a kind, one a line. They are optional, so a kind without any is left out by name.
scans_of() {
  case $1 in
    brain-mr) set -- mr_brain_t1_stripped/val/*.nii.gz mr_brain_multicontrast/val/*.nii.gz ;;
    ct) set -- ct/val/tcga_luad_slices.nii.gz ;;
    blood-smear) set -- colour_blood_smear/val/*.jpg ;;
    *) echo "unknown kind '$1': give brain-mr, ct or blood-smear" >&2; exit 64 ;;
  esac
  local path
  for path in "$@"; do
    if [ -e "$scans/$path" ]; then echo "$scans/$path"; else echo "missing: $scans/$path" >&2; fi
  done
}

if [ ! -x "$folder/venv/bin/python" ]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 bm3d==4.0.3 bm4d==4.2.5 scikit-image==0.26.0
fi

export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
done_folders=()
for argument in "$@"; do
  kind=${argument%%=*}
  IFS=, read -ra priors <<< "${argument#*=}"
  (cd "$scans" && scans_of "$kind") > "$folder/$kind.txt"
  if [ ! -s "$folder/$kind.txt" ]; then
    echo "$kind: no validation scans, left out" >&2
    continue
  fi
  "$program" "$kind" "$folder/$kind" "$folder/$kind.txt" "${priors[@]}"
  done_folders+=("$folder/$kind")
done
[ ${#done_folders[@]} -gt 0 ] || { echo "there are no validation scans below $scans" >&2; exit 66; }
"$folder/venv/bin/python" "$here/denoising_peers.py" "${done_folders[@]}"

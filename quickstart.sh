#!/usr/bin/env bash
# From a bare Debian 12 to two reconstructed scans: installs what is missing, builds build/bin/postrec, and reconstructs an MRI head
# slice from 8-coil k-space at acceleration 4 and a CT head slice from 60 views, both simulated from real scans.
# Run it again at any time: nothing is rebuilt that has not changed. Needs no network once everything is installed.
set -euo pipefail
cd "$(dirname "$0")"

setup/build.sh postrec postrec_builtin_plugins documents
results=results/quickstart
setup/example_scans.sh "$results/scans"

reconstruct() { build/bin/postrec reconstruct "$@" --simulate --seed 1 --on-existing overwrite; }

echo
echo "== MRI: Colin27 head, 8 coils, acceleration 4 =="
reconstruct "$results/scans/head_mr.nii.gz" --output "$results/mri" --slice 90 --samples 32 --prior brain-mr --phase smooth --noise 0.01 \
  --operator mri-fourier --simulate-coils 8 --set mask-pattern=variable-density --set acceleration=4 --set n-acs-lines=24

echo
echo "== CT: head, 60 views, parallel beam =="
reconstruct "$results/scans/head_ct.mhd" --unit hu --output "$results/ct" --slice 50 --prior ct --noise 0.5 \
  --operator ct-radon --set n-views=60

echo
echo "Pictures: $results/mri/*.png and $results/ct/*.png (mean, standard deviation, one sample, truth, and zero-filled or FBP as pseudo_inverse)"
summary() {
  python3 - "$@" <<'PY'
import json, sys
for name, direct, folder in (("MRI", "zero-filled", "mri"), ("CT", "FBP", "ct")):
    quality = json.load(open(f"{sys.argv[1]}/{folder}/run.json"))["quality"]
    print(f"{name}: posterior mean {quality['mean']['psnr_db']:.1f} dB, SSIM {quality['mean']['ssim']:.2f}; "
          f"{direct} {quality['pseudo_inverse']['psnr_db']:.1f} dB, SSIM {quality['pseudo_inverse']['ssim']:.2f}")
PY
}
summary "$results"

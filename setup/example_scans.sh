#!/usr/bin/env bash
# Puts the two real scans of the quickstart into a folder:  setup/example_scans.sh FOLDER
#   head_mr.nii.gz  Colin27 head T1, 1 mm (Debian's mricron-data)
#   head_ct.mhd     CT head, 0.957 mm in plane (Debian's invesalius-examples, a project archive with raw HU inside)
set -euo pipefail
folder=${1:?usage: setup/example_scans.sh FOLDER}
mr=/usr/share/mricron/templates/ch2.nii.gz
ct=/usr/share/doc/invesalius-examples/examples/Cranium.inv3
for file in "$mr" "$ct"; do
  [ -r "$file" ] || { echo "setup/example_scans.sh: '$file' is missing; install mricron-data and invesalius-examples" >&2; exit 66; }
done
mkdir -p "$folder"
[ -e "$folder/head_mr.nii.gz" ] || cp "$mr" "$folder/head_mr.nii.gz"
if [ ! -e "$folder/head_ct.mhd" ]; then
  tar --extract --gzip --to-stdout --file "$ct" --wildcards '*matrix.dat' >"$folder/head_ct.raw"
  # Sizes, type and spacing are those of the archive's main.plist. Its rows run from the back of the head to the front.
  cat >"$folder/head_ct.mhd" <<'MHD'
ObjectType = Image
NDims = 3
BinaryData = True
DimSize = 256 256 108
ElementSpacing = 0.9570312 0.9570312 1.5
TransformMatrix = 1 0 0 0 -1 0 0 0 1
ElementType = MET_SHORT
ElementByteOrderMSB = False
ElementDataFile = head_ct.raw
MHD
fi

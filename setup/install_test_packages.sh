#!/usr/bin/env bash
# Installs programs that only tests drive. A test whose program is missing is skipped by name, so whatever cannot be installed here is left out.
# They bring services with them: on a machine where systemd would start those, nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  bart  # tests/law/espirit_test.cpp, tests/app/raw_kspace_test.cpp
  dicom3tools python3-venv  # tests/data/dicom_write_test.cpp, tests/app/dicom_output_test.cpp
  slurm-wlm munge iproute2  # tests/app/slurm_test.cpp
  orthanc openssl  # tests/app/pacs_orthanc_test.cpp
  dcmtk  # tests/app/disk_full_test.cpp
  chromium  # tests/app/report_page_test.cpp
  groff mandoc zsh  # tests/app/help_test.cpp
)

install_packages() {
  local missing=() package
  for package in "${packages[@]}"; do
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ -d /run/systemd/system ] || ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "Left out, with the tests that need them: ${missing[*]}" >&2
    return
  fi
  echo "Installing for tests: ${missing[*]}" >&2
  apt-get update -q >/dev/null || true
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null || echo "Not all of them can be installed" >&2
}

# tests/app/dicom_output_test.cpp: a reader of DICOM that is not ours
make_dicom_reader() {
  local reader=build/dicom_reader
  "$reader/bin/python" -c 'import highdicom, nibabel' 2>/dev/null && return
  mkdir -p build
  { python3 -m venv "$reader" && "$reader/bin/pip" install --quiet --timeout 10 --retries 1 pydicom==3.0.2 highdicom==0.28.2 nibabel==5.3.2; } >&2 ||
    echo "Left out, with the test that needs it: a Python with highdicom" >&2
}

install_packages
make_dicom_reader

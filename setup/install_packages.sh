#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that PostRec is built from. Does nothing, and needs no network, when they are there.
# Needs root or sudo only when something is missing.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache ca-certificates python3 python3-pip
  libinsighttoolkit5-dev libdcmtk-dev libboost-program-options-dev nlohmann-json3-dev libgtest-dev libbenchmark-dev
  zlib1g-dev libjpeg-dev libpng-dev libhdf5-dev libismrmrd-dev libpugixml-dev
  mricron-data invesalius-examples
)

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "setup/install_packages.sh: this system has no apt-get; install the equivalents of: ${missing[*]}" >&2
  exit 69
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup/install_packages.sh: root or sudo is needed to install: ${missing[*]}" >&2; exit 69; }
  sudo=(sudo)
fi

echo "Installing ${#missing[@]} packages: ${missing[*]}" >&2
"${sudo[@]}" apt-get update -q >/dev/null
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null

#!/usr/bin/env bash
# Installs what is missing, configures build/ once and builds the given targets (all without any). Used by quickstart.sh and test.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

setup/install_packages.sh
libtorch=$(setup/fetch_libtorch.sh)
cmake --preset release -DPOSTREC_LIBTORCH="$libtorch" -DPOSTREC_CUDA="${POSTREC_CUDA:-AUTO}" >build-configure.log 2>&1 || { cat build-configure.log >&2; exit 1; }
sed -n "s/^-- CUDA: /CUDA: /p" build-configure.log
rm -f build-configure.log
targets=()
for target in "$@"; do targets+=(--target "$target"); done
cmake --build build "${targets[@]}"

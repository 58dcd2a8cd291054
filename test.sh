#!/usr/bin/env bash
# Sets up what is missing, builds everything and runs every test.  ./test.sh -L unit  passes its arguments on to ctest.
set -euo pipefail
cd "$(dirname "$0")"
setup/install_test_packages.sh
setup/build.sh
exec ctest --test-dir build --output-on-failure --parallel "$(nproc)" "$@"

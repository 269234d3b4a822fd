#!/usr/bin/env bash
# Installs, builds and runs every test.
#   scripts/test.sh          release build, all tests, three subgroup widths, validation layers
#   scripts/test.sh --asan   the same tests under ASan+UBSan, nothing else
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

step "packages"
scripts/setup.sh

if [ "${1:-}" = "--asan" ]; then
  step "build, ASan+UBSan"
  scripts/build.sh asan
  step "tests, ASan+UBSan"
  scripts/with_sanitizers.sh ctest --preset asan -j "$(nproc)"
  exit 0
fi

step "build"
scripts/build.sh ci
step "validation layers, synchronisation across submits"
scripts/validate.sh build/ci
for width in 128 512; do
  step "tests of kernels, subgroups of $((width / 32))"
  LP_NATIVE_VECTOR_WIDTH=$width ctest --preset ci -j "$(nproc)" -L every-width
done
step "all tests"
ctest --preset ci -j "$(nproc)"
step "done"

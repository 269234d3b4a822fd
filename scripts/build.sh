#!/usr/bin/env bash
# Configures and builds one preset (release, dev, ci, asan) into build/PRESET.
#   scripts/build.sh [PRESET] [ninja targets...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true
# Configuring again is ninja's business once the folder exists: a second run takes a second.
if [ ! -f "build/$preset/build.ninja" ]; then
  cmake --preset "$preset" >&2
fi
cmake --build "build/$preset" --target "${@:-all}" -- -j "$(nproc)" >&2

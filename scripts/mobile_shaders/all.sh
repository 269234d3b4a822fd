#!/usr/bin/env bash
# Every shader through the compilers of seven phones' GPUs, against the stored figures.
#   scripts/mobile_shaders/all.sh            0: nothing is worse; 1: something is; 5: not run, no compilers
#   scripts/mobile_shaders/all.sh --accept   stores the figures and README's tables
# Stands apart from scripts/test.sh, which needs no network beyond its packages.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=scripts/mobile_shaders
"$here/setup.sh"
cmake --preset ci > /dev/null
cmake --build build/ci --target list_pipelines pocket_shaders > /dev/null
python3 "$here/measure.py"
python3 "$here/check.py" "$@"
if [ "${1:-}" = "--accept" ]; then
  python3 "$here/table.py"
fi

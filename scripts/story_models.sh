#!/usr/bin/env bash
# Exports the two small trained models of the shared data with the pinned exporter and checks the
# build against their expected ids and NLL.
#   scripts/story_models.sh WEIGHTS_DIR OUT_DIR
# WEIGHTS_DIR holds stories260K/ and babyllama-tok105/; OUT_DIR gets a Python environment (about
# 1 GB, PyPI) and the exports. Both lie outside the project.
set -euo pipefail
weights=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "$0")/.."

if [ ! -x "$out/venv/bin/optimum-cli" ]; then
  python3 -m venv "$out/venv"
  "$out/venv/bin/pip" install -q -r scripts/requirements-export-a.txt
fi
if [ ! -f "$out/models/babyllama-tok105/expected.json" ]; then
  "$out/venv/bin/python" scripts/export_story_models.py "$weights" "$out/models"
fi
scripts/setup.sh
scripts/build.sh ci end_to_end_test
POCKET_STORY_MODELS="$out/models" build/ci/test/end_to_end/end_to_end_test "story models*" -s |
  grep -E "NLL|test case|assertion|FAILED|skipped"

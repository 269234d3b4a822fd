#!/usr/bin/env bash
# Converts the bundled model and runs a whole `generate` (prefill, greedy and sampled decode) under
# the Khronos validation layers with synchronisation checks across submits. Any message fails.
#   scripts/validate.sh BUILD_DIR
# Planted faults are the engine tests' business: they must draw a message each.
set -euo pipefail
build=$(realpath "$1")
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Debian's layer takes a colon between the two; with another separator it checks nothing.
export VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation
export VK_LAYER_ENABLES=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT:VALIDATION_CHECK_ENABLE_SYNCHRONIZATION_VALIDATION_QUEUE_SUBMIT
unset VK_LAYER_DISABLES

for weights in f16 m0e4 int4; do
  "$build/llmconvert" models/folktale-2m -o "$folder/$weights.pocket" --weights "$weights" --quiet
  for sampling in "--temperature 0" "--temperature 0.9 --top-k 40 --top-p 0.95 --seed 7"; do
    # shellcheck disable=SC2086
    "$build/llmbench" generate "$folder/$weights.pocket" $sampling -n 40 --chunk 16 \
      --prompt "Once upon a time there was a king who had three sons, and the youngest was the kindest of them all." \
      > "$folder/out" 2> "$folder/err"
    if grep -qE 'Validation|VUID|SYNC-' "$folder/out" "$folder/err"; then
      cat "$folder/err"
      echo "validate: the layers have messages for --weights $weights $sampling" >&2
      exit 1
    fi
  done
done
echo "validate: 6 runs of generate, no message from the validation layers"

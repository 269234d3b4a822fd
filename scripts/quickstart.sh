#!/usr/bin/env bash
# From a bare Debian 12 to tokens per second: installs packages, builds, converts the bundled model,
# lets it speak, measures it. The second run takes seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
scripts/build.sh release llmconvert llmbench
bin=build/release
model=models/folktale-2m
out=build/folktale.pocket

"$bin/llmconvert" "$model" -o "$out" --weights m0e4
echo
"$bin/llmbench" generate "$out" --prompt "Once upon a time there was a little fox" -n 96
echo
"$bin/llmbench" run "$out" -p 64,128 -n 32 -r 3

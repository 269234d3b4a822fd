#!/usr/bin/env python3
"""The self-test many times over every shader variant that small models, formats and lowered limits bring into use.

    python3 scripts/selftest_repeat.py [--build build/ci] [-r 200] [--width 256] [-o OUT.md]

Every model of MODELS is converted to every weight format and tested with each set of limits in fp32 and fp16 sums; each
kernel is compared with the host reference on new inputs in every repetition. Ends with 4 where one result is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODELS = ["tiny-qwen2", "tiny-gpt2"]
FORMATS = ["f16", "int4", "m0e4", "any", "w8a8"]
LIMITS = ["", "no-subgroups", "smallest", "no-texels"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "ci")
    parser.add_argument("-r", "--repetitions", type=int, default=200)
    parser.add_argument("--width", type=int, default=256, help="bits of the software device's vectors")
    parser.add_argument("-o", "--out", type=Path)
    options = parser.parse_args()
    environment = dict(os.environ, LP_NATIVE_VECTOR_WIDTH=str(options.width))
    kernels: dict[str, list[float]] = {}  # runs, wrong entries, worst share of the tolerance
    device = ""
    with tempfile.TemporaryDirectory() as folder:
        # Matrix kernels of this device read texels: without any, the forms of other devices are in use.
        no_texels = Path(folder) / "no-texels.json"
        no_texels.write_text(json.dumps({"schema": "pocketformer-device-limits", "version": 1, "max_texels": 0}))
        for model in MODELS:
            for weights in FORMATS:
                packed = Path(folder) / f"{model}-{weights}.pocket"
                command = [options.build / "llmconvert", ROOT / "models" / model, "-o", packed, "--weights", weights,
                           "--quiet"]
                if weights == "w8a8":  # the scale of an input is measured; which tokens it saw does not matter here
                    tokens = Path(folder) / "tokens.json"
                    tokens.write_text(json.dumps([list(range(first, first + 32)) for first in (4, 36)]))
                    command += ["--calibration", tokens]
                subprocess.run(command, check=True)
                for limits in LIMITS:
                    for accumulate in ("fp32", "fp16"):
                        command = [options.build / "llmbench", "selftest", packed, "-r", str(options.repetitions),
                                   "--accumulate", accumulate, "--no-tuned", "--quiet", "--json", "-"]
                        if limits:
                            kept = ROOT / "test" / "limits" / f"{limits}.json"
                            command += ["--limits", kept if kept.exists() else no_texels]
                        done = subprocess.run(command, capture_output=True, text=True, env=environment)
                        if done.returncode not in (0, 4):
                            sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr}")
                        document = json.loads(done.stdout)
                        device = document["device"]
                        for entry in document["entries"]:
                            for shader in entry["kernel"].split(" + "):
                                row = kernels.setdefault(shader, [0, 0, 0.0])
                                row[0] += entry["runs"]
                                row[1] += not entry["passed"]
                                if entry["tolerance"] > 0:
                                    row[2] = max(row[2], entry["error"] / entry["tolerance"])
                print(f"{model} {weights}: {len(kernels)} variants so far", file=sys.stderr)
    names = [line.split()[0] for line in (ROOT / "shaders" / "variants.txt").read_text().splitlines()
             if line and not line.startswith("#") and "_convert" not in line.split()[0]]  # the lab checks that one
    unused = sorted(set(names) - set(kernels))
    runs, wrong = sum(int(k[0]) for k in kernels.values()), sum(int(k[1]) for k in kernels.values())
    text = (f"{len(kernels)} shader variants, {runs} comparisons with the host reference, {options.repetitions} of "
            f"each use, on `{device}`: {wrong} wrong.\n\n"
            "| variant | comparisons | wrong | worst share of the tolerance |\n|---|--:|--:|--:|\n")
    for name, (count, failed, share) in sorted(kernels.items()):
        text += f"| `{name}` | {count} | {failed} | {share:.2f} |\n"
    text += f"\nNot in use by these models on this device: {', '.join(unused)}.\n"
    if options.out:
        options.out.write_text(f"`python3 scripts/selftest_repeat.py {' '.join(sys.argv[1:])}`\n\n{text}")
    print(text)
    return 4 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Converts a large export and reports minutes and memory, then tokens per second: one row of a Markdown table.

    python3 scripts/measure_conversion.py EXPORT_FOLDER OUT.pocket [--build build/release] [--weights m0e4] [-p 64 -n 16 -r 3]

Memory is what process_watch.py sees; the limit of the anonymous part is 1.5 GiB above the largest tensor.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

from process_watch import watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--build", type=Path, default=Path(__file__).resolve().parent.parent / "build/release")
    parser.add_argument("--weights", default="m0e4")
    parser.add_argument("-p", default="64")
    parser.add_argument("-n", default="16")
    parser.add_argument("-r", default="3")
    args = parser.parse_args()
    report = args.out.with_suffix(".report.json")
    made = watch([str(args.build / "llmconvert"), str(args.export), "-o", str(args.out), "--weights", args.weights,
                  "--report", str(report), "--quiet"], args.out.with_suffix(".log"))
    weights = json.loads(report.read_text())["weights"]
    source = sum(file.stat().st_size for file in args.export.glob("model.onnx*"))
    # The export holds fp16: two bytes a value.
    largest = max(2 * w["shape"][0] * (w["shape"][1] if len(w["shape"]) > 1 else 1) for w in weights)
    run = json.loads(subprocess.run(
        [str(args.build / "llmbench"), "run", str(args.out), "-p", args.p, "-n", args.n, "-r", args.r, "--quiet",
         "--json", "-"], check=True, capture_output=True, text=True).stdout)["results"][0]
    print("| export | weights | ONNX GB | .pocket GB | minutes | peak anonymous MiB | largest tensor MiB | prefill tok/s "
          "| decode tok/s |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    print(f"| {args.export.name} | `{args.weights}` | {source / 1e9:.2f} | {args.out.stat().st_size / 1e9:.2f} "
          f"| {made.seconds / 60:.1f} | {made.anonymous / 2**20:.0f} | {largest / 2**20:.0f} "
          f"| {run['prefill_tokens_per_second']['median']:.2f} | {run['decode_tokens_per_second']['median']:.2f} |")
    if made.anonymous > largest + 1.5 * 2**30:
        raise SystemExit(f"peak anonymous memory of {made.anonymous} bytes exceeds {largest} + 1.5 GiB")


if __name__ == "__main__":
    main()

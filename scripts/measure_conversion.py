#!/usr/bin/env python3
"""Converts a large export and reports minutes and memory, then tokens per second: one row of a Markdown table.

    python3 scripts/measure_conversion.py EXPORT_FOLDER OUT.pocket [--build build/release] [--weights m0e4] [-p 64 -n 16 -r 3]

Anonymous resident memory is RssAnon of /proc/PID/status, read every 20 ms: what the process itself allocated, without
the pages of mapped files, which the kernel may drop. The limit is 1.5 GiB above the largest tensor.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import time
from pathlib import Path


def run_watched(command: list[str]) -> tuple[float, int]:
    """Seconds and peak of RssAnon in bytes."""
    begin, peak = time.monotonic(), 0
    process = subprocess.Popen(command)
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            found = re.search(r"RssAnon:\s+(\d+) kB", status)
            peak = max(peak, int(found.group(1)) * 1024 if found else 0)
        except OSError:
            pass
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.monotonic() - begin, peak


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
    seconds, peak = run_watched([str(args.build / "llmconvert"), str(args.export), "-o", str(args.out), "--weights",
                                 args.weights, "--report", str(report), "--quiet"])
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
          f"| {seconds / 60:.1f} | {peak / 2**20:.0f} | {largest / 2**20:.0f} "
          f"| {run['prefill_tokens_per_second']['median']:.2f} | {run['decode_tokens_per_second']['median']:.2f} |")
    if peak > largest + 1.5 * 2**30:
        raise SystemExit(f"peak anonymous memory of {peak} bytes exceeds {largest} + 1.5 GiB")


if __name__ == "__main__":
    main()

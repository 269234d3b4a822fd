#!/usr/bin/env python3
"""Tables of what the kernels reach on the device at hand, in Markdown and JSON.

    python3 scripts/kernel_tables.py matrix OUT_FOLDER                 GEMV and GEMM by the kernel lab, shares of peaks
    python3 scripts/kernel_tables.py context OUT_FOLDER MODEL.pocket   decode time against the context
    python3 scripts/kernel_tables.py step OUT_FOLDER MODEL.pocket...   host time, submissions, dispatches, start-up
    common: [--build build/ci]

Shares refer to the read bandwidth and the fp32 peak that micro-kernels measure in the same run. The table's rows are
those that `config.cpp` chooses; "before" is the row 16 x 4 that reads storage buffers, of the first kernels.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

GEMV_SHAPES = [(5632, 2048), (32000, 2048)]
GEMM_TOKENS = [64, 256, 512]
ENCODINGS = ["f16", "w8a8", "int4", "m0e4"]


def run_json(command: list[str]) -> dict:
    print(" ".join(command), file=sys.stderr)
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {result.returncode}: {result.stderr.strip()[-2000:]}")
    return json.loads(result.stdout)


def lab(build: Path, rows: int, columns: int, tokens: list[int], *more: str) -> dict:
    return run_json([str(build / "pocket_kernel_lab"), "--rows", str(rows), "--columns", str(columns), "--tokens",
                     ",".join(map(str, tokens)), "--encoding", ",".join(ENCODINGS), "--f16-activations", "--peaks",
                     "--json", "-", *more])


def matrix(build: Path) -> tuple[str, dict]:
    documents, gemv, gemm = {}, [], []
    for rows, columns in GEMV_SHAPES:
        document = documents[f"gemv {rows} x {columns}"] = lab(build, rows, columns, [1], "--all", "-r", "9")
        peak = document["peaks"]["read_bytes_per_second"]
        for run in document["runs"]:
            timed = [r for r in run["results"] if "wall_seconds" in r]
            after = next(r for r in timed if r["chosen"])
            before = next(r for r in timed if (r["lanes"], r["rows"], r["splits"], r["texels"]) == (16, 4, 1, False))
            cells = []
            for r in (before, after):
                share = r["share_of_read_bandwidth"]
                cells.append(f"{1e3 * r['wall_seconds']:.2f} | {share * peak / 1e9:.2f} | {100 * share:.1f} %")
            gemv.append(f"| {columns} x {rows} | `{run['encoding']}` | {' | '.join(cells)} | {peak / 1e9:.1f} |")
    document = documents["gemm"] = lab(build, 5632, 2048, GEMM_TOKENS)
    peak = document["peaks"]["fp32_operations_per_second"]
    for run in document["runs"]:
        result = run["results"][0]
        share = result["share_of_fp32_peak"]
        gemm.append(f"| {run['tokens']} | `{run['encoding']}` | {1e3 * result['wall_seconds']:.1f} "
                    f"| {share * peak / 1e9:.1f} | {100 * share:.1f} % | {peak / 1e9:.0f} |")
    device = documents["gemm"]["runs"][0]["device"]
    text = (f"Device `{device}`, weights in groups of 32, f16 activations, medians by wall time.\n\n"
            "Decode, GEMV, columns x rows:\n\n"
            "| shape | weights | before ms | GB/s | of read | now ms | GB/s | of read | read GB/s |\n"
            "|---|---|--:|--:|--:|--:|--:|--:|--:|\n" + "\n".join(gemv) + "\n\n"
            "Prefill, GEMM of 2048 columns x 5632 rows:\n\n"
            "| tokens | weights | ms | GFLOP/s | of fp32 peak | peak GFLOP/s |\n|--:|---|--:|--:|--:|--:|\n"
            + "\n".join(gemm) + "\n")
    return text, documents


def context(build: Path, model: Path) -> tuple[str, dict]:
    generated = 33
    prompts = [1, 1024, 2048, 4096]
    report = run_json([str(build / "llmbench"), "run", str(model), "-p", ",".join(map(str, prompts)), "-n",
                       str(generated), "-r", "3", "--warmup", "0", "--context", str(prompts[-1] + 256), "--no-tuned",
                       "--quiet", "--json", "-"])
    places, times, ranges = [], [], []
    for result in report["results"]:
        tokens = [ns / 1e6 for sample in result["samples"] for ns in sample["token_ns"]]
        medians = [statistics.median(sample["token_ns"]) / 1e6 for sample in result["samples"]]
        places.append(result["prompt"] + generated / 2)
        times.append(statistics.median(tokens))
        ranges.append((min(medians), max(medians)))
    slope, start = statistics.linear_regression(places, times)
    position_bytes = report["memory"]["planned"]["kv"] // report["options"]["context"]  # K and V of every layer
    read = report["probes"]["read"]["bytes_per_second"]
    bound = position_bytes / read * 1e3
    lines = ["| context | ms a token | range of medians | on the line | grown with the context | KV GB/s |",
             "|--:|--:|--:|--:|--:|--:|"]
    for place, time, (low, high) in zip(places, times, ranges):
        grown = slope * place
        rate = f"{position_bytes * place / ((time - start) / 1e3) / 1e9:.2f}" if place > 100 else ""
        lines.append(f"| {place:.0f} | {time:.2f} | [{low:.2f}, {high:.2f}] | {start + grown:.2f} "
                     f"| {100 * grown / (start + grown):.1f} % | {rate} |")
    text = "\n".join([
        f"Device `{report['device']['name']}`, decode at context 0 to 4k, {generated - 1} tokens, 3 repetitions:", "",
        *lines, "",
        f"Line: {start:.2f} ms + {1e3 * slope:.3f} ms per 1000 positions of {position_bytes} bytes of K and V, "
        f"which is {position_bytes / (slope / 1e3) / 1e9:.2f} GB/s; at the read bandwidth of {read / 1e9:.1f} GB/s the "
        f"bytes alone take {1e3 * bound:.3f} ms, {100 * bound / slope:.0f} % of it.", ""])
    return text, report


def step(build: Path, models: list[Path]) -> tuple[str, dict]:
    documents, lines = {}, []
    for model in models:
        report = documents[model.name] = run_json(
            [str(build / "llmbench"), "run", str(model), "-p", "64", "-n", "64", "-r", "5", "--no-tuned", "--quiet",
             "--json", "-"])
        result, start = report["results"][0], report["start_up"]
        lines.append(f"| `{model.name}` | {result['host_work_microseconds_per_step']:.1f} "
                     f"| {result['submissions_per_token']:.0f} | {result['dispatches_per_token']:.0f} "
                     f"| {result['barriers_per_token']:.0f} | {1e3 * result['empty_dispatch_seconds_per_token']:.2f} "
                     f"| {1e3 / result['decode_tokens_per_second']['median']:.2f} "
                     f"| {start['cold']['total_seconds']:.2f} | {start['warm']['total_seconds']:.2f} "
                     f"| {start['cold']['pipelines']} |")
    text = ("A decoded token (prompt 64, 64 tokens, 5 repetitions), and the start up to the first token:\n\n"
            "| model | host us | submissions | dispatches | barriers | x empty dispatch ms | ms a token | cold s "
            "| warm s | pipelines |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n" + "\n".join(lines) + "\n")
    return text, documents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("matrix", "context", "step"):
        command = commands.add_parser(name)
        command.add_argument("out", type=Path)
        if name == "context":
            command.add_argument("model", type=Path)
        if name == "step":
            command.add_argument("models", type=Path, nargs="+")
        command.add_argument("--build", type=Path, default=Path("build/ci"))
    options = parser.parse_args()
    text, document = (matrix(options.build) if options.command == "matrix"
                      else context(options.build, options.model) if options.command == "context"
                      else step(options.build, options.models))
    # Folders outside of the tree are the machine's own.
    words = re.sub(r"(^| )/[^ ]*/", r"\1", " ".join(sys.argv[1:]))
    text = f"`python3 scripts/kernel_tables.py {words}`\n\n{text}"
    stored = re.sub(r'"/[^"]*/([^"/]*)"', r'"\1"', json.dumps(document, indent=1))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"kernels-{options.command}.md").write_text(text)
    (options.out / f"kernels-{options.command}.json").write_text(stored + "\n")
    print(text)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Tables of what the kernels reach on the device at hand, in Markdown and JSON.

    python3 scripts/kernel_tables.py matrix OUT_FOLDER                 GEMV and GEMM by the kernel lab, shares of peaks
    python3 scripts/kernel_tables.py codes OUT_FOLDER                  decode of 4-bit codes three ways, instructions
    python3 scripts/kernel_tables.py context OUT_FOLDER MODEL.pocket   decode time against the context
    python3 scripts/kernel_tables.py step OUT_FOLDER MODEL.pocket...   host time, submissions, dispatches, start-up
    common: [--build build/ci]; codes: [--runs 5] [-r 9] [--mobile bench_results/mobile-shaders]

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
FIRST = ["--lanes", "16", "--tile-rows", "4", "--subgroup"]  # the row of the first kernels
CODES = {"m0e4": "gemv_m0e4", "int4": "gemv_int4", "int4-convert": "gemv_int4_convert"}
PHONES = {"adreno-740": "Adreno 740", "adreno-750": "Adreno 750", "mali-g610": "Mali G610", "mali-g720": "Mali G720"}


def run_json(command: list[str]) -> dict:
    print(" ".join(command), file=sys.stderr)
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {result.returncode}: {result.stderr.strip()[-2000:]}")
    return json.loads(result.stdout)


def lab(build: Path, rows: int, columns: int, tokens: list[int], *more: str, encodings=ENCODINGS) -> dict:
    return run_json([str(build / "pocket_kernel_lab"), "--rows", str(rows), "--columns", str(columns), "--tokens",
                     ",".join(map(str, tokens)), "--encoding", ",".join(encodings), "--f16-activations", "--peaks",
                     "--json", "-", *more])


def matrix(build: Path) -> tuple[str, dict]:
    documents, gemv, gemm = {}, [], []
    for rows, columns in GEMV_SHAPES:
        document = documents[f"gemv {rows} x {columns}"] = lab(build, rows, columns, [1], "--all", "-r", "9", *FIRST)
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


def times_of_codes(build: Path, runs: int, repetitions: int) -> tuple[str, dict]:
    """Rounds of the three in turn; the ratio of their medians in each run of the lab, and its range over the runs."""
    documents, lines = {}, []
    for rows, columns in GEMV_SHAPES:
        every = [lab(build, rows, columns, [1], "--interleave", "-r", str(repetitions), encodings=CODES)
                 for _ in range(runs)]
        documents[f"gemv {rows} x {columns}"] = every
        times = {form: [next(run for run in document["runs"] if run["encoding"] == form)["results"][0]
                        for document in every] for form in CODES}
        base = [r["wall_seconds"] for r in times["m0e4"]]
        for form, results in times.items():
            ratios = [r["wall_seconds"] / m for r, m in zip(results, base)]
            lines.append(f"| {columns} x {rows} | `{results[0]['shader']}` | "
                         f"{1e3 * statistics.median(r['wall_seconds'] for r in results):.2f} | "
                         f"{100 * statistics.median(r['share_of_read_bandwidth'] for r in results):.1f} % | "
                         f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}] |")
    run = documents[f"gemv {GEMV_SHAPES[0][0]} x {GEMV_SHAPES[0][1]}"][0]["runs"][0]
    return (f"Device `{run['device']}`, configuration `{run['results'][0]['config']}`, f16 activations; {runs} runs of "
            f"{repetitions} rounds, which time the three in turn. Medians by wall time, ratios with their range over "
            "the runs:\n\n| columns x rows | kernel | ms | of read bandwidth | time : m0e4's |\n|---|---|--:|--:|--:|\n"
            + "\n".join(lines) + "\n"), documents


def instructions_of_codes(folder: Path) -> str:
    """Per weight, of the three under the same constants."""
    gpus = {name: json.loads((folder / f"{name}.json").read_text()) for name in PHONES}

    def rows_of(name: str, shader: str) -> dict:
        found = {str(row["constants"]): row for row in gpus[name]["shaders"]
                 if row["shader"] == shader and "per_weight_with_group" in row.get("inner", {})}
        if not found:
            sys.exit(f"{folder / name}.json has no figures of {shader}; run scripts/mobile_shaders/measure.py and "
                     "scripts/mobile_shaders/check.py --accept")
        return found

    def cell(row: dict, prefix: str = "") -> str:
        loop = row["spirv_inner" if prefix else "inner"]
        converted = loop[f"{prefix}conversions"] / row["inner"]["weights"]
        return f"{loop[f'{prefix}per_weight_with_group']:.2f} ({converted:g})"

    lines = []
    for form in ("_sg", "_half_sg"):
        for shader in (stem + form for stem in CODES.values()):
            cells, source = [], ""
            for name in PHONES:
                # The tile that costs the baseline least.
                best = min(rows_of(name, CODES["int4-convert"] + form).items(),
                           key=lambda item: item[1]["inner"]["per_weight_with_group"])[0]
                rows = rows_of(name, shader)
                if best not in rows:
                    sys.exit(f"{folder / name}.json has no {shader} under {best}; measure and accept it anew")
                cells.append(cell(rows[best]))
                source = source or next((cell(row, "scalar_") for row in rows.values() if "spirv_inner" in row), "")
            lines.append(f"| `{shader}` | " + " | ".join(cells) + f" | {source} |")
    return (f"{gpus['adreno-740']['driver']}, and SPIR-V after spirv-opt: instructions per weight in the inner loop, "
            "scale and bias (or zero point) of a group of 32 included, SPIR-V's vectors by their components; in "
            "brackets conversions of integers to float per weight (`scripts/mobile_shaders`).\n\n"
            f"| kernel | {' | '.join(PHONES.values())} | SPIR-V |\n|---|" + "--:|" * (len(PHONES) + 1) + "\n"
            + "\n".join(lines) + "\n")


def codes(options: argparse.Namespace) -> tuple[str, dict]:
    instructions = instructions_of_codes(options.mobile)  # says at once what is missing
    times, documents = times_of_codes(options.build, options.runs, options.repetitions)
    text = ("Decode of the same bytes: 4-bit codes, a pair for each group of 32, one layout. `m0e4` and our `int4` put "
            "a code into the fraction of a float; `int4_convert` is int4 as others write it (shift, mask, conversion, "
            "less the zero point, scaled once a group), a baseline that no plan asks for.\n\n")
    return text + times + "\n" + instructions, documents


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
    for name in ("matrix", "codes", "context", "step"):
        command = commands.add_parser(name)
        command.add_argument("out", type=Path)
        if name == "codes":
            command.add_argument("--runs", type=int, default=5, help="of the kernel lab")
            command.add_argument("-r", "--repetitions", type=int, default=9, help="rounds of a run")
            command.add_argument("--mobile", type=Path, default=Path("bench_results/mobile-shaders"))
        if name == "context":
            command.add_argument("model", type=Path)
        if name == "step":
            command.add_argument("models", type=Path, nargs="+")
        command.add_argument("--build", type=Path, default=Path("build/ci"))
    options = parser.parse_args()
    text, document = (matrix(options.build) if options.command == "matrix"
                      else codes(options) if options.command == "codes"
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

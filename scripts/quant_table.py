#!/usr/bin/env python3
"""The quality table of the quantisers: weights x method x group size on held-out tokens.

    python3 scripts/quant_table.py LLMCONVERT TOKENS_DIR OUT_DIR MODEL_FOLDER ... [--weights m0e4,int4]
        [--groups 32,64,128] [--methods plain,rtn,awq,gptq,awq+gptq] [--w8a8 64,1] [--table bench_results/quality/NAME]

TOKENS_DIR holds MODEL.calibration.json and MODEL.heldout.json (scripts/quant_tokens.py). For every row the model is
converted with `llmconvert --held-out --report`, which compares the file's weights with the model's own in floats.
OUT_DIR keeps the report of each row: an interrupted table goes on where it ended, and one that is asked for again is
only printed. --table writes NAME.md and NAME.json.

--w8a8 adds rows of that encoding, one for each clip threshold, scales per tensor and per channel, and outliers cut off
or added as a shadow: method `per-tensor@64`, `per-tensor@64+shadow` and so on. --weights "" leaves the other rows out.

Methods are those of llmconvert; `plain` is round-to-nearest without the clip search, and a method that ends in
`+order` is run with --act-order. Differences of the KL divergence per token are paired, with their 95 %
interval. Tokens of one window are not independent, so the interval is that of a mean over windows.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import subprocess
from pathlib import Path

COLUMNS = ("model", "group", "weights", "method", "bits per weight", "file bytes", "perplexity", "KL to float", "top-1",
           "KL - rtn", "KL - default")
HEAD = """# What the quantisers keep

    python scripts/quant_tokens.py ../shared/data TOKENS_DIR      # environment: scripts/requirements-export-a.txt
    python3 scripts/quant_table.py build/release/llmconvert TOKENS_DIR OUT_DIR MODEL_FOLDER ... --table HERE

Perplexity, KL divergence from the model's own weights and top-1 agreement per held-out token, in floats. `plain` is
round-to-nearest over the whole range of a group, `rtn` the same with the clip search. Differences of KL are paired,
with their 95 % interval; below zero is better. Bits per weight count all: codes, scales, padding, and norms in f32.

"""
NUMBERS = ("bits", "file_bytes", "tokens", "model_perplexity", "perplexity", "kl", "top1")
DEFAULT = ("m0e4", "awq+gptq")  # of llmconvert with a text, at any group size


def options_of(method: str) -> list[str]:
    if method == "plain":
        return ["--method", "rtn", "--no-clip"]
    if method.endswith("+order"):
        return ["--method", method.removesuffix("+order"), "--act-order"]
    return ["--method", method]


def w8a8_options(method: str) -> list[str]:
    scales, _, rest = method.partition("@")
    threshold, _, outliers = rest.partition("+")
    return ["--w8a8-weights", scales, "--w8a8-clip-threshold", threshold, "--w8a8-outliers", outliers or "none"]


class Model:
    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self.folder, self.args, self.name = folder, args, folder.name
        self.tokens = {kind: args.tokens / f"{self.name}.{kind}.json" for kind in ("calibration", "heldout")}

    def report(self, weights: str, method: str, group: int) -> dict:
        """What llmconvert said of one row; kept in OUT_DIR."""
        stem = f"{self.name}.{weights}.{method}.{group}"
        kept, path = self.args.out / f"{stem}.json", self.args.out / f"{stem}.pocket"
        if not kept.exists():
            text = [] if method in ("plain", "rtn") else ["--calibration", self.tokens["calibration"]]
            how = w8a8_options(method) if weights == "w8a8" else ["--group-size", group, *options_of(method)]
            words = [self.args.llmconvert, self.folder, "-o", path, "--weights", weights, *text, *how,
                     "--held-out", self.tokens["heldout"], "--report", kept, "--quiet"]
            subprocess.run([str(word) for word in words], check=True)
            path.unlink()
        return json.loads(kept.read_text())

    def rows(self) -> dict[tuple[int, str, str], dict]:
        found = {}
        for group, weights, method in self.args.wanted:
            report = self.report(weights, method, group)
            count = sum(math.prod(weight["shape"]) for weight in report["weights"])
            row = report["quality"] | {"bits": 8 * report["file"]["weight_bytes"] / count,
                                       "file_bytes": report["file"]["bytes"]}
            found[group, weights, method] = row
            print(f"{self.name} {group} {weights} {method}: KL {row['kl']:.5f}", flush=True)
        return found


def wanted_rows(args: argparse.Namespace) -> list[tuple[int, str, str]]:
    """Group, weights and method of each row; w8a8 has no groups."""
    grouped = itertools.product(map(int, args.groups.split(",")), filter(None, args.weights.split(",")),
                                args.methods.split(","))
    w8a8 = itertools.product(filter(None, args.w8a8.split(",")), ("per-tensor", "per-channel"), ("", "+shadow"))
    return [*grouped, *((0, "w8a8", f"{scales}@{threshold}{outliers}") for threshold, scales, outliers in w8a8)]


def paired(row: dict, base: dict) -> list[float]:
    """Mean difference of the KL divergence per token and half its 95 % interval, windows being the sample."""
    counts = row["window_tokens"]
    assert counts == base["window_tokens"], "two rows were measured on different windows"
    sums = [(a - b) * count for a, b, count in zip(row["window_kl"], base["window_kl"], counts, strict=True)]
    tokens, windows = sum(counts), len(counts)
    mean = sum(sums) / tokens
    spread = sum((difference - mean * count) ** 2 for difference, count in zip(sums, counts))
    return [mean, 1.96 * math.sqrt(spread * windows / (windows - 1)) / tokens]


def summary(name: str, rows: dict[tuple[int, str, str], dict]) -> list[dict]:
    out = []
    for (group, weights, method), row in rows.items():
        one = {"model": name, "group": group, "weights": weights, "method": method}
        one |= {key: row[key] for key in NUMBERS}
        for key, base in (("kl_minus_rtn", (group, weights, "rtn")), ("kl_minus_default", (group, *DEFAULT))):
            if base in rows and base != (group, weights, method):
                one[key] = paired(row, rows[base])
        if method.endswith("+shadow"):
            one["kl_minus_cut"] = paired(row, rows[group, weights, method.removesuffix("+shadow")])
        out.append(one)
    return out


def line(row: dict) -> str:
    def difference(key: str) -> str:
        return "{:+.5f} ± {:.5f}".format(*row[key]) if key in row else ""

    cells = (f"`{row['model']}`", row["group"] or "", f"`{row['weights']}`", row["method"], f"{row['bits']:.2f}",
             row["file_bytes"], f"{row['perplexity']:.3f}", f"{row['kl']:.5f}", f"{100 * row['top1']:.1f} %",
             difference("kl_minus_rtn"), difference("kl_minus_default"))
    return "| " + " | ".join(map(str, cells)) + " |\n"


def verdicts(rows: list[dict]) -> list[str]:
    """What the intervals say: a row is better than another where its difference lies wholly below zero."""
    out, shadows = [], []
    for row in rows:
        what = f"{row['model']}, group {row['group']}, {row['weights']}"
        if "gptq" in row["method"] and "kl_minus_rtn" in row:
            mean, half = row["kl_minus_rtn"]
            if mean + half >= 0:
                out.append(f"{what}: {row['method']} does not beat rtn ({mean:+.5f} ± {half:.5f})")
        if "kl_minus_cut" in row:
            mean, half = row["kl_minus_cut"]
            shadows.append(f"{row['model']}, w8a8 {row['method']}: KL {mean:+.5f} ± {half:.5f} to outliers cut off")
        if "kl_minus_default" in row:
            mean, half = row["kl_minus_default"]
            if mean + half < 0:
                out.append(f"{what}: {row['method']} beats the default {' '.join(DEFAULT)} ({mean:+.5f} ± {half:.5f})")
    if not out and any("kl_minus_rtn" in row for row in rows):
        out.append("GPTQ and AWQ+GPTQ beat rtn on every row, and no row of its size beats the default.")
    return out + shadows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("llmconvert", type=Path)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--weights", default="m0e4,int4")
    parser.add_argument("--groups", default="32,64,128")
    parser.add_argument("--methods", default="plain,rtn,awq,gptq,awq+gptq")
    parser.add_argument("--w8a8", default="")
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    args.wanted = wanted_rows(args)
    args.out.mkdir(parents=True, exist_ok=True)
    rows, texts = [], {}
    for folder in args.models:
        model = Model(folder.resolve(), args)
        rows += summary(model.name, model.rows())
        texts[model.name] = {kind: hashlib.sha256(path.read_bytes()).hexdigest() for kind, path in model.tokens.items()}
    said = verdicts(rows)
    table = "| " + " | ".join(COLUMNS) + " |\n" + "|---|--:|---|---|--:|--:|--:|--:|--:|--:|--:|\n"
    table += "".join(map(line, rows)) + "\n" + "".join(f"- {sentence}\n" for sentence in said)
    print(table, end="")
    if args.table:
        args.table.parent.mkdir(parents=True, exist_ok=True)
        args.table.with_suffix(".md").write_text(HEAD + table)
        document = {"schema": "pocketformer.quality", "version": 1, "token_files_sha256": texts, "rows": rows,
                    "verdicts": said}
        args.table.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes what README says of the quantisers' quality from the pages in bench_results/quality.

    python3 scripts/quality_readme.py

The pages are made by scripts/quant_table.py, any_precision_table.py and public_comparison.py; their sentences are
counted from their rows and taken over as they are.
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "bench_results" / "quality"
BEGIN, END = "<!-- quality -->\n", "<!-- /quality -->"
METHODS = ("plain", "rtn", "awq", "gptq", "awq+gptq")
W8A8 = ("per-tensor@64", "per-channel@64", "per-tensor@1", "per-tensor@1+shadow")
WIDTHS = (4, 3, 2)
GROUP = 32


def page(name: str) -> dict:
    return json.loads((PAGES / f"{name}.json").read_text())


def table(columns: list[str], rows: list[list[str]]) -> str:
    head = "| " + " | ".join(columns) + " |\n|---" + "|--:" * (len(columns) - 1) + "|\n"
    return head + "".join("| " + " | ".join(row) + " |\n" for row in rows)


def listed(sentences: list[str]) -> str:
    return "\n" + "".join(f"- {sentence}\n" for sentence in sentences) + "\n"


def by(rows: list[dict], *keys: str) -> dict[tuple, dict]:
    return {tuple(row[key] for key in keys): row for row in rows}


def methods() -> str:
    document = page("methods")
    rows = by(document["rows"], "model", "weights", "group", "method")
    models = list(dict.fromkeys(row["model"] for row in document["rows"]))
    groups = sorted({row["group"] for row in document["rows"]} - {GROUP})
    tokens = {row["tokens"] for row in document["rows"]}
    cells = [(GROUP, method) for method in METHODS] + [(group, METHODS[-1]) for group in groups]

    def cell(model: str, group: int, method: str) -> str:
        row = rows[model, "m0e4", group, method]
        bits = "" if group == GROUP else f" ({row['bits']:.2f} bits)"
        return f"{row['kl']:.4f}{bits}"

    lines = [[f"`{model}`, {rows[model, 'm0e4', GROUP, 'rtn']['bits']:.2f} bits",
              *(cell(model, *which) for which in cells)] for model in models]
    columns = [f"`m0e4`, group {GROUP}", *(f"`{method}`" if group == GROUP else f"group {group}"
                                           for group, method in cells)]
    return (f"KL divergence from the model's own weights, {min(tokens)} held-out tokens a model; other groups with "
            f"`{METHODS[-1]}`\n([methods.md](bench_results/quality/methods.md) has `int4`, perplexity, agreement and "
            "the intervals):\n\n" + table(columns, lines) + listed(document["verdicts"]))


def w8a8() -> str:
    document = page("w8a8")
    rows = by(document["rows"], "model", "method")
    models = list(dict.fromkeys(row["model"] for row in document["rows"]))
    lines = [[f"`{model}`", *(f"{rows[model, method]['kl']:.4f}" for method in W8A8)] for model in models]
    return ("The same of `w8a8`, whole ranges, and at a clip threshold of 1, where every input has outliers\n"
            "([w8a8.md](bench_results/quality/w8a8.md)):\n\n"
            + table(["model", "per tensor", "per channel", "per tensor, 1: cut off", "per tensor, 1: added"], lines)
            + listed(document["verdicts"]))


def widths() -> str:
    document = page("any-precision")
    read = by(document["rows"], "model", "matrices", "width")
    models = list(dict.fromkeys(row["model"] for row in document["rows"]))
    kinds = ("any, calibrated", "nested m0e4")
    lines = [[f"`{model}`, {kind}", *(f"{read[model, kind, width]['bits']:.2f}: "
                                       f"{read[model, kind, width]['perplexity']:.2f}" for width in WIDTHS)]
             for model in models for kind in kinds]
    return ("Bits read of a weight and perplexity of one `any` file at each of its widths, and of `m0e4` codes cut\n"
            "short with refitted pairs, the cheap alternative, which the runtime has not\n"
            "([any-precision.md](bench_results/quality/any-precision.md)):\n\n"
            + table(["model, matrices", *(f"{width} bits" for width in WIDTHS)], lines) + listed(document["verdicts"]))


def public() -> str:
    document = page("public-comparison")
    versions = ", ".join(f"{name.replace('_', '-')} {version}" for name, version in document["versions"].items()
                         if name != "torch")
    return ("Error of a linear's output beside public implementations on the same linears, inputs and grid\n"
            f"({versions}, [public-comparison.md](bench_results/quality/public-comparison.md)):\n"
            + listed(document["claims"]))


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text()
    head, rest = text.split(BEGIN)
    said = methods() + w8a8() + widths() + public()
    readme.write_text(head + BEGIN + said.rstrip("\n") + "\n" + END + rest.split(END, 1)[1])
    print(said, end="")


if __name__ == "__main__":
    main()

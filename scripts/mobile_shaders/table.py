#!/usr/bin/env python3
"""Markdown of the stored figures: a line a hot kernel, a column a GPU; and instructions per weight.

    python3 scripts/mobile_shaders/table.py [--baselines bench_results/mobile-shaders] [--readme README.md]

Prints both tables and, where README.md has the marks for them, writes them there."""

import argparse
import sys
from pathlib import Path

from check import load
from gpus import GPUS

ROOT = Path(__file__).resolve().parent.parent.parent
BEGIN, END = "<!-- mobile-shaders -->\n", "<!-- /mobile-shaders -->"
NAMES = {"adreno-660": "A660", "adreno-740": "A740", "adreno-750": "A750", "adreno-840": "A840", "mali-g52": "G52",
         "mali-g610": "G610", "mali-g720": "G720"}


def dots_of(rows) -> str:
    meant = [row for row in rows if row.get("dots_meant")]
    return "" if not meant else " dot" if all(row["dots"] for row in meant) else " **no dot**"


def cell(rows, full: int) -> str:
    """The worst of a kernel's configurations: instructions, registers, occupancy; memory only where there is any."""
    if not rows:
        return ""
    if any("error" in row for row in rows):
        return "**refused**"
    spills, scratch = max(row["spills"] + row["fills"] for row in rows), max(row["scratch_bytes"] for row in rows)
    text = (f"{max(row['instructions'] for row in rows)} / {max(row['registers'] for row in rows)} / "
            f"{min(row['occupancy'] for row in rows)}:{full}")
    text += f" **{spills} spills**" if spills else ""
    return text + (f" **{scratch} B scratch**" if scratch else "") + dots_of(rows)


def kernel_table(gpus: dict) -> str:
    names = sorted({row["shader"] for g in gpus.values() for row in g["shaders"] if row["hot"] and row["planned"]})
    text = "| kernel | " + " | ".join(NAMES[name] for name in gpus) + " |\n|---|" + "--:|" * len(gpus) + "\n"
    for shader in names:
        cells = [cell([row for row in g["shaders"] if row["shader"] == shader and row["planned"]], g["full_occupancy"])
                 for g in gpus.values()]
        text += f"| `{shader}` | " + " | ".join(cells) + " |\n"
    return text


def per_weight_table(gpus: dict) -> str:
    """Loop over groups where there is one: its round of 32 weights and the scale and bias of the group."""
    def figure(shader, rows):
        inner = [row["inner"] for row in rows
                 if row["shader"] == shader and row["planned"] and "per_weight" in row.get("inner", {})]
        best = min(inner, key=lambda i: i["per_weight"], default=None)
        if best is None:
            return ""
        text = f"{best.get('per_weight_with_group', best['per_weight']):.2f}"
        return text + (f" ({best['per_product']:.2f})" if "per_product" in best else "")

    def source(shader):
        loops = [row["spirv_inner"] for g in gpus.values() for row in g["shaders"]
                 if row["shader"] == shader and "spirv_inner" in row]
        best = min((loop.get("per_weight_with_group", loop["per_weight"]) for loop in loops), default=None)
        return "" if best is None else f"{best:.2f}"

    shaders = sorted({row["shader"] for g in gpus.values() for row in g["shaders"]
                      if row["planned"] and "per_weight" in row.get("inner", {}) and "_gated" not in row["shader"]})
    text = "| kernel | " + " | ".join(NAMES[name] for name in gpus) + " | SPIR-V |\n"
    text += "|---|" + "--:|" * (len(gpus) + 1) + "\n"
    for shader in shaders:
        cells = [figure(shader, g["shaders"]) for g in gpus.values()]
        text += f"| `{shader}` | " + " | ".join(cells) + f" | {source(shader)} |\n"
    return text


def conversions(gpus: dict) -> list:
    """Integers made floats in the inner loops of the m0e4 kernels: of each compiler's code, and of SPIR-V."""
    return [loop["conversions"] for g in gpus.values() for row in g["shaders"] if "_m0e4" in row["shader"]
            for loop in (row.get("inner"), row.get("spirv_inner")) if loop]


def main() -> int:
    parser = argparse.ArgumentParser(description="Markdown of the stored figures.")
    parser.add_argument("--baselines", type=Path, default=ROOT / "bench_results" / "mobile-shaders")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    options = parser.parse_args()
    gpus = {name: load(options.baselines / f"{name}.json") for name in GPUS}
    faults = sum(row["spills"] + row["fills"] + row["scratch_bytes"] != 0
                 for g in gpus.values() for row in g["shaders"] if row["hot"] and "error" not in row)
    pipelines = sum(row["hot"] for g in gpus.values() for row in g["shaders"])
    meant = sum("dots_meant" in row for g in gpus.values() for row in g["shaders"] if row["hot"])
    converted = conversions(gpus)
    driver = next(iter(gpus.values()))["driver"]
    text = (f"{driver}. Instructions / registers / occupancy of its full value (waves a core on Adreno, whose\n"
            "registers are vectors of four; on Mali 2 is full, 1 half), the worst of each kernel's configurations in\n"
            f"use. Spills and scratch are named where there are any: {faults} of {pipelines} hot pipelines. "
            f"Kernels that mean an\nint8 dot product, whose instruction must be there: {meant}.\n\n"
            f"{kernel_table(gpus)}\n"
            "Instructions per weight in the inner loop, scale and bias of a group of 32 (`_g16`: of 16) included, of the\n"
            "machine code and of SPIR-V after spirv-opt; in brackets per product. Conversions of integers to float in the\n"
            f"inner loops of m0e4 kernels: {sum(converted)} in {len(converted)} loops.\n\n{per_weight_table(gpus)}")
    print(text, end="")
    readme = options.readme.read_text()
    if BEGIN in readme:
        head, rest = readme.split(BEGIN)
        options.readme.write_text(head + BEGIN + text + END + rest.split(END, 1)[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())

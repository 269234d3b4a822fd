#!/usr/bin/env python3
"""Writes README's table of dispatches before and after fusion from what `llmconvert --report` counts.

    python3 scripts/fusion_table.py [BUILD_FOLDER] [MODEL ...]

Needs nothing but the built llmconvert; default: build/release and the three structures in models/.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- fusion-table -->\n", "<!-- /fusion-table -->"


def count(converter: Path, model: str) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        subprocess.run([converter, ROOT / "models" / model, "-o", Path(folder) / "model.pocket", "--weights", "f16",
                        "--report", report, "--quiet"], check=True)
        return json.loads(report.read_text())["dispatches"]


def row(model: str, fusion: dict) -> str:
    layers = [max(fusion[side]["per_layer"]) for side in ("before", "after")]
    totals = [fusion[side]["total"] for side in ("before", "after")]
    return f"| `{model}` | {fusion['layers']} | {layers[0]} | {layers[1]} | {totals[0]} | {totals[1]} |\n"


def main() -> None:
    build = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "release").resolve()
    models = sys.argv[2:] or ["folktale-2m", "tiny-gpt2", "tiny-qwen2"]
    table = ("| model | layers | per layer before | per layer after | whole model before | after |\n"
             "|---|--:|--:|--:|--:|--:|\n")
    table += "".join(row(model, count(build / "llmconvert", model)) for model in models)
    print(table, end="")
    readme = ROOT / "README.md"
    text = readme.read_text()
    head, rest = text.split(BEGIN)
    readme.write_text(head + BEGIN + table + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()

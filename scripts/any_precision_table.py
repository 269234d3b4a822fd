#!/usr/bin/env python3
"""Perplexity of one --weights any file at each of its widths, beside the cheap alternative: uniform codes cut short.

    ENV/bin/python scripts/sensitivity.py MODEL_FOLDER CALIBRATION SENSITIVITY
    ENV/bin/python scripts/any_precision_table.py BUILD MODEL_FOLDER CALIBRATION SENSITIVITY HELDOUT OUT_DIR
                                                  [--calibration-tokens N] [--table bench_results/quality/any-precision]

ENV is that of scripts/requirements-export-a.txt. CALIBRATION and HELDOUT are token files (scripts/quant_tokens.py).
Four ways to the matrices, embedding and head in f16 in each:

  any, even          clusters of the weights alone
  any, calibrated    clusters weighed by the mean square of the inputs
  any, sensitivity   clusters weighed by the mean squared gradient of each weight
  nested m0e4        4-bit codes of a group of 32; fewer bits are their leading bits, with a scale and a bias of the
                     group fitted anew by least squares, in fp16. The decoded numbers go into the model's own ONNX
                     file, which is then converted to f16: the runtime has no such encoding.

Bits are what a run at that width reads of a matrix, tables or scales included. KL and top-1 are against the f16 file.
--table writes NAME.md and NAME.json. Exits with 1 when a perplexity does not fall with the bits.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

WIDTHS = (4, 3, 2)
GROUP = 32
COLUMNS = "| matrices | width | bits per weight | perplexity | KL to f16 | top-1 |\n|---|--:|--:|--:|--:|--:|\n"
HEAD = """# Widths of one file

    ENV/bin/python scripts/quant_tokens.py ../shared/data TOKENS_DIR
    ENV/bin/python scripts/sensitivity.py MODEL_FOLDER TOKENS_DIR/MODEL.calibration.json SENSITIVITY
    ENV/bin/python scripts/any_precision_table.py build/release MODEL_FOLDER TOKENS_DIR/MODEL.calibration.json \\
        SENSITIVITY TOKENS_DIR/MODEL.heldout.json OUT_DIR --table HERE

`any` holds its widths in one file: the code of b bits begins every longer one. `nested m0e4` is the cheap alternative,
uniform 4-bit codes cut short, with a scale and a bias of each group of 32 for each width. Bits are what a run at that
width reads of a matrix, tables or scales included; embedding and head are f16 in every row.

"""


def line(row: dict) -> str:
    return (f"| {row['matrices']} | {row['width']} | {row['bits']:.2f} | {row['perplexity']:.3f} | {row['kl']:.4f} "
            f"| {100 * row['top1']:.1f} % |\n")


def nested(rows: np.ndarray, bits: int) -> np.ndarray:
    """[N, K] by the leading bits of 4-bit codes, scale and bias of a group fitted to them."""
    out = np.empty_like(rows)
    for first in range(0, rows.shape[1], GROUP):
        x = rows[:, first:first + GROUP].astype(np.float64)
        low, high = x.min(axis=1, keepdims=True), x.max(axis=1, keepdims=True)
        step = np.where(high > low, (high - low) / 15, 1)
        q = np.clip(np.rint((x - low) / step), 0, 15).astype(np.int64) >> (4 - bits)
        y = 1 + q / 2.0 ** bits  # what the shader makes of the code
        spread = y - y.mean(axis=1, keepdims=True)
        squares = (spread ** 2).sum(axis=1, keepdims=True)
        scale = np.where(squares > 0, (spread * x).sum(axis=1, keepdims=True) / np.maximum(squares, 1e-300), 0)
        scale = scale.astype(np.float16).astype(np.float64)
        bias = (x.mean(axis=1, keepdims=True) - scale * y.mean(axis=1, keepdims=True)).astype(np.float16)
        out[:, first:first + GROUP] = scale * y + bias.astype(np.float64)
    return out


def write_nested(folder: Path, out: Path, bits: int) -> None:
    shutil.copytree(folder, out, dirs_exist_ok=True)
    model = onnx.load(str(folder / "model.onnx"))
    constants = {one.name: one for one in model.graph.initializer}
    vocab = json.loads((folder / "config.json").read_text())["vocab_size"]
    changed = set()
    for node in model.graph.node:
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in constants or node.input[1] in changed:
            continue
        constant = constants[node.input[1]]
        values = numpy_helper.to_array(constant)
        if values.ndim != 2 or vocab in values.shape:
            continue  # the head stays f16
        transposed = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
        rows = nested(values if transposed else values.T, bits)
        result = (rows if transposed else rows.T).astype(values.dtype)
        constant.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(result), constant.name))
        changed.add(constant.name)
    if not changed:
        raise SystemExit(f"{folder} holds no matrices as constants of MatMul or Gemm")
    onnx.save(model, str(out / "model.onnx"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("build", "model", "calibration", "sensitivity", "heldout", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--calibration-tokens", type=int, default=32768)
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    def run(program: str, *words: object) -> str:
        return subprocess.run([str(args.build / program), *map(str, words), "--quiet"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout

    def convert(folder: Path, name: str, *words: object) -> Path:
        path = args.out / f"{name}.pocket"
        run("llmconvert", folder, "-o", path, *words)
        return path

    reference = convert(args.model, "f16", "--weights", "f16")
    even = convert(args.model, "any-even", "--weights", "any")
    calibrated = convert(args.model, "any-calibrated", "--weights", "any", "--calibration", args.calibration,
                         "--calibration-tokens", args.calibration_tokens)
    sensitive = convert(args.model, "any-sensitivity", "--weights", "any", "--sensitivity", args.sensitivity)

    def measure(path: Path, *words: object) -> dict:
        return json.loads(run("llmbench", "perplexity", path, "--text", args.heldout, "--against", reference, "--json",
                              "-", *words))

    matrices = [one for one in json.loads(subprocess.run(
        [str(args.build / "llmbench"), "inspect", str(even), "--json", "-"], check=True, stdout=subprocess.PIPE,
        text=True).stdout)["weights"] if one["encoding"] == "any"]
    count = sum(one["rows"] * one["columns"] for one in matrices)

    def any_bits(width: int) -> float:
        read = sum(one["rows"] * (width * -(-one["columns"] // 32) * 4 + 2 * 2 ** width) for one in matrices)
        return 8 * read / count

    def nested_bits(width: int) -> float:
        read = sum(one["rows"] * (width * one["columns"] + 32 * -(-one["columns"] // GROUP)) for one in matrices)
        return read / count

    rows = []

    def row(name: str, width: int, bits: float, result: dict) -> None:
        rows.append({"matrices": name, "width": width, "bits": bits, "tokens": result["tokens"],
                     "perplexity": result["perplexity"], "kl": result["kl"], "top1": result["top1"]})
        print(line(rows[-1]), end="", flush=True)

    print(COLUMNS, end="")
    row("f16", 16, 16, measure(reference))
    for name, path in (("any, even", even), ("any, calibrated", calibrated), ("any, sensitivity", sensitive)):
        for width in WIDTHS:
            row(name, width, any_bits(width), measure(path, "--precision", width))
    for width in WIDTHS:
        folder = args.out / f"nested-{width}"
        write_nested(args.model, folder, width)
        row("nested m0e4", width, nested_bits(width), measure(convert(folder, f"nested-{width}", "--weights", "f16")))
    if args.table:
        args.table.parent.mkdir(parents=True, exist_ok=True)
        note = (f"`{args.model.resolve().name}`, {rows[0]['tokens']} held-out tokens, calibration and sensitivities on "
                f"{args.calibration_tokens} others; KL and top-1 against the f16 file.\n\n")
        args.table.with_suffix(".md").write_text(HEAD + note + COLUMNS + "".join(map(line, rows)))
        document = {"schema": "pocketformer.any_precision", "version": 1, "model": args.model.resolve().name,
                    "calibration_tokens": args.calibration_tokens, "rows": rows}
        args.table.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    for worse, better in zip(rows[2:], rows[1:]):
        if worse["matrices"] == better["matrices"] and worse["perplexity"] <= better["perplexity"]:
            raise SystemExit(f"{worse['matrices']}: {worse['width']} bits are no worse than {better['width']}")


if __name__ == "__main__":
    main()

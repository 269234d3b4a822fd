#!/usr/bin/env python3
"""Quality of one --weights any file at each of its widths, beside the cheap alternative: uniform codes cut short.

    ENV/bin/python scripts/any_precision_table.py BUILD TOKENS_DIR OUT_DIR MODEL_FOLDER ...
                                                  [--calibration-tokens N] [--table bench_results/quality/any-precision]

ENV is that of scripts/requirements-export-a.txt; BUILD holds llmconvert and llmbench; TOKENS_DIR as for
scripts/quant_table.py. Four ways to the matrices, embedding and head in f16 in each:

  any, even          clusters of the weights alone
  any, calibrated    clusters weighed by the mean square of the inputs
  any, sensitivity   clusters weighed by the mean squared gradient of each weight (scripts/sensitivity.py)
  nested m0e4        4-bit codes of a group of 32; fewer bits are their leading bits, with a scale and a bias of the
                     group fitted anew by least squares, in fp16. The decoded numbers go into the model's own ONNX
                     file, which is then converted to f16: the runtime has no such encoding.

Bits are what a run at that width reads of a matrix, tables or scales included. Every row is a run of llmbench, on its
device; KL and top-1 are against the f16 file. OUT_DIR keeps files and rows: an interrupted table goes on where it
ended. --table writes NAME.md and NAME.json. Exits with 1 when a perplexity does not fall with the bits.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import quant_interval

WIDTHS = (4, 3, 2)
GROUP = 32
BASE = "any, calibrated"  # what llmconvert does with a text
COLUMNS = ("| model | matrices | width | bits per weight | perplexity | KL to f16 | top-1 | KL - calibrated |\n"
           "|---|---|--:|--:|--:|--:|--:|--:|\n")
HEAD = """# Widths of one file

    ENV/bin/python scripts/quant_tokens.py ../shared/data TOKENS_DIR
    ENV/bin/python scripts/any_precision_table.py build/release TOKENS_DIR OUT_DIR MODEL_FOLDER ... --table HERE

ENV is that of `scripts/requirements-export-a.txt`. `any` holds its widths in one file: the code of b bits begins every
longer one. `nested m0e4` is the cheap alternative, uniform 4-bit codes cut short, with a scale and a bias of each group
of 32 for each width. Bits are what a run at that width reads of a matrix, tables or scales included (a table of 2^b
entries a row: dear where rows are short); embedding and head are f16 in every row. `calibrated` weighs a column by the
mean square of its input, `sensitivity` a weight by its squared gradient. Intervals are of 95 %; the last column is
paired, at the same width, below zero is better.

"""


def line(row: dict) -> str:
    return (f"| `{row['model']}` | {row['matrices']} | {row['width']} | {row['bits']:.2f} | {row['perplexity']:.3f} "
            f"| {row['kl']:.5f} ± {row['kl_interval']:.5f} | {100 * row['top1']:.1f} % "
            f"| {quant_interval.signed(row.get('kl_minus_calibrated'))} |\n")


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


def write_nested(folder: Path, out: Path, bits: int) -> Path:
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
    return out


class Model:
    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self.folder, self.build, self.name = folder, args.build, folder.name
        self.out = args.out / self.name
        self.out.mkdir(parents=True, exist_ok=True)
        self.calibration = args.tokens / f"{self.name}.calibration.json"
        self.heldout = args.tokens / f"{self.name}.heldout.json"
        self.calibration_tokens = args.calibration_tokens

    def run(self, program: str, *words: object) -> str:
        return subprocess.run([str(self.build / program), *map(str, words)], check=True, stdout=subprocess.PIPE,
                              text=True).stdout

    def convert(self, folder: Path, name: str, *words: object) -> Path:
        path = self.out / f"{name}.pocket"
        if not path.exists():
            self.run("llmconvert", folder, "-o", path, *words, "--quiet")
        return path

    def sensitivity(self) -> Path:
        path = self.out / "sensitivity.safetensors"
        if not path.exists():
            part = path.with_suffix(".part")
            subprocess.run([sys.executable, str(Path(__file__).with_name("sensitivity.py")), str(self.folder),
                            str(self.calibration), str(part), "--tokens", str(self.calibration_tokens)], check=True)
            part.rename(path)
        return path

    def measure(self, path: Path, width: int, *words: object) -> dict:
        """Of a run of the file at a width; kept in OUT_DIR."""
        kept = self.out / f"{path.stem}.{width}.json"
        if not kept.exists():
            said = json.loads(self.run("llmbench", "perplexity", path, "--text", self.heldout, "--against",
                                       self.out / "f16.pocket", "--per-token", "--json", "-", *words, "--quiet"))
            windows = said.pop("token_kl")
            del said["token_nll"]
            said["window_tokens"] = [len(window) for window in windows]
            said["window_kl"] = [math.fsum(window) / len(window) for window in windows]
            kept.write_text(json.dumps(said) + "\n")
        return json.loads(kept.read_text())

    def rows(self) -> list[dict]:
        reference = self.convert(self.folder, "f16", "--weights", "f16")
        files = {"any, even": self.convert(self.folder, "any-even", "--weights", "any"),
                 BASE: self.convert(self.folder, "any-calibrated", "--weights", "any", "--calibration",
                                    self.calibration, "--calibration-tokens", self.calibration_tokens),
                 "any, sensitivity": self.convert(self.folder, "any-sensitivity", "--weights", "any", "--sensitivity",
                                                  self.sensitivity())}
        matrices = [one for one in json.loads(self.run("llmbench", "inspect", files[BASE], "--json", "-"))["weights"]
                    if one["encoding"] == "any"]
        weights = sum(one["rows"] * one["columns"] for one in matrices)

        def any_bits(width: int) -> float:
            read = sum(one["rows"] * (width * -(-one["columns"] // 32) * 4 + 2 * 2 ** width) for one in matrices)
            return 8 * read / weights

        def nested_bits(width: int) -> float:
            read = sum(one["rows"] * (width * one["columns"] + 32 * -(-one["columns"] // GROUP)) for one in matrices)
            return read / weights

        found = {("f16", 16): (16.0, self.measure(reference, 16))}
        for name, path in files.items():
            for width in WIDTHS:
                found[name, width] = (any_bits(width), self.measure(path, width, "--precision", width))
        for width in WIDTHS:
            stem = f"nested-{width}"
            folder = self.folder if (self.out / f"{stem}.pocket").exists() else write_nested(
                self.folder, self.out / stem, width)
            found["nested m0e4", width] = (nested_bits(width),
                                           self.measure(self.convert(folder, stem, "--weights", "f16"), width))
        rows = []
        for (name, width), (bits, measured) in found.items():
            row = {"model": self.name, "matrices": name, "width": width, "bits": bits}
            row |= {key: measured[key] for key in ("tokens", "perplexity", "kl", "top1")}
            row["kl_interval"] = quant_interval.kl(measured)[1]
            if (BASE, width) in found and name != BASE:
                row["kl_minus_calibrated"] = quant_interval.paired(measured, found[BASE, width][1])
            rows.append(row)
            print(line(row), end="", flush=True)
        return rows


def verdicts(rows: list[dict]) -> list[str]:
    out = []
    # What an even seed loses is what calibration is for: there the rows that lose less are named.
    for name, against in (("any, even", "less"), ("any, sensitivity", "more"), ("nested m0e4", "more")):
        some = {f"{row['model']} {row['width']}": row["kl_minus_calibrated"] for row in rows if row["matrices"] == name}
        out.append(quant_interval.verdict(f"`{name}` against `{BASE}`", some, against))
    return out


def rising(rows: list[dict]) -> list[str]:
    """Where fewer bits have no higher perplexity."""
    return [f"{worse['model']}, {worse['matrices']}: {worse['width']} bits are no worse than {better['width']}"
            for better, worse in zip(rows, rows[1:])
            if (worse["model"], worse["matrices"]) == (better["model"], better["matrices"])
            and worse["perplexity"] <= better["perplexity"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("build", "tokens", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--calibration-tokens", type=int, default=32768)
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    rows, texts, notes = [], {}, []
    print(COLUMNS, end="")
    for folder in map(Path.resolve, args.models):
        model = Model(folder, args)
        rows += model.rows()
        texts[model.name] = {one.name.split(".")[-2]: hashlib.sha256(one.read_bytes()).hexdigest()
                             for one in (model.calibration, model.heldout)}
        notes.append(f"`{model.name}` {rows[-1]['tokens']}")
    said, wrong = verdicts(rows), rising(rows)
    said.append("Perplexity falls with the bits in every file." if not wrong else "; ".join(wrong) + ".")
    note = (f"Held-out tokens: {', '.join(notes)}; calibration and sensitivities on {args.calibration_tokens} "
            "others.\n\n")
    sentences = "\n" + "".join(f"- {sentence}\n" for sentence in said)
    print(sentences, end="")
    if args.table:
        args.table.parent.mkdir(parents=True, exist_ok=True)
        args.table.with_suffix(".md").write_text(HEAD + note + COLUMNS + "".join(map(line, rows)) + sentences)
        document = {"schema": "pocketformer.any_precision", "version": 2, "token_files_sha256": texts,
                    "calibration_tokens": args.calibration_tokens, "rows": rows, "verdicts": said}
        args.table.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    if wrong:
        raise SystemExit("; ".join(wrong))


if __name__ == "__main__":
    main()

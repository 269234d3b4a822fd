#!/usr/bin/env python3
"""What embedding and head should be encoded as: quality against bytes, with the matrices in m0e4.

    python3 scripts/head_table.py LLMCONVERT TOKENS_DIR OUT_DIR MODEL_FOLDER ... [--method M] [--windows N] [--table NAME]

TOKENS_DIR as for scripts/quant_table.py; the first N held-out windows are measured. OUT_DIR keeps each row's report: an
interrupted table goes on where it ended. --table writes NAME.md and NAME.json.

A row is a group size of the matrices and an encoding of the head (and of a tied embedding, stored once). What a byte
buys is compared: f16 in place of m0e4 for the head, and groups of 32 in place of 64 for everything, each as the fall of
the KL divergence per bit and weight that it adds. The encoding that is worth its bytes is the default.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from pathlib import Path

ROWS = (("f16", 32), ("m0e4", 32), ("int4", 32), ("f16", 64), ("m0e4", 64))
COLUMNS = ("| model | head | group | bits per weight | perplexity | KL to float | top-1 |\n"
           "|---|---|--:|--:|--:|--:|--:|\n")
HEAD = """# Embedding and head

    python3 scripts/head_table.py LLMCONVERT TOKENS_DIR OUT_DIR MODEL_FOLDER ... --table HERE

Matrices in `m0e4`, embedding and head (tied in all three models, stored once) as the row says, in groups of the same
size. Bits per weight count all. Measured in floats on held-out tokens.

"""


def report(args: argparse.Namespace, folder: Path, head: str, group: int) -> dict:
    name = folder.name
    kept, path = args.out / f"{name}.{head}.{group}.json", args.out / f"{name}.pocket"
    if not kept.exists():
        held_out = args.out / f"{name}.heldout.json"
        windows = json.loads((args.tokens / f"{name}.heldout.json").read_text())
        held_out.write_text(json.dumps(windows[:args.windows]))
        text = [] if args.method == "rtn" else ["--calibration", args.tokens / f"{name}.calibration.json"]
        words = [args.llmconvert, folder, "-o", path, "--head-weights", head, "--group-size", group, "--method",
                 args.method, *text, "--held-out", held_out, "--report", kept, "--quiet"]
        subprocess.run([str(word) for word in words], check=True)
        path.unlink()
    return json.loads(kept.read_text())


def price(rows: dict, worse: tuple, better: tuple) -> float:
    """Fall of KL for each bit and weight that `better` has more."""
    return (rows[worse]["kl"] - rows[better]["kl"]) / (rows[better]["bits"] - rows[worse]["bits"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("llmconvert", "tokens", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--method", default="awq+gptq")
    parser.add_argument("--windows", type=int, default=80)
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    table, notes, all_rows = COLUMNS, "", []
    for folder in map(Path.resolve, args.models):
        rows = {}
        for head, group in ROWS:
            one = report(args, folder, head, group)
            count = sum(math.prod(weight["shape"]) for weight in one["weights"])
            rows[head, group] = row = {"model": folder.name, "head": head, "group": group,
                                       "bits": 8 * one["file"]["weight_bytes"] / count}
            row |= {key: one["quality"][key] for key in ("tokens", "perplexity", "kl", "top1")}
            line = (f"| `{folder.name}` | {head} | {group} | {row['bits']:.2f} | {row['perplexity']:.3f} "
                    f"| {row['kl']:.5f} | {100 * row['top1']:.1f} % |\n")
            print(line, end="", flush=True)
            table += line
        all_rows += rows.values()
        head_price, group_price = price(rows, ("m0e4", 32), ("f16", 32)), price(rows, ("m0e4", 64), ("m0e4", 32))
        notes += (f"- `{folder.name}`, {row['tokens']} tokens: a bit for each weight buys {head_price:.5f} of KL when "
                  f"the head takes f16, {group_price:.5f} when all take groups of 32 for 64.\n")
    print(notes, end="")
    if args.table:
        args.table.parent.mkdir(parents=True, exist_ok=True)
        args.table.with_suffix(".md").write_text(HEAD + f"Method {args.method}.\n\n" + table + "\n" + notes)
        document = {"schema": "pocketformer.head_weights", "version": 1, "method": args.method, "rows": all_rows}
        args.table.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

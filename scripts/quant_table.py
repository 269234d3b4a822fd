#!/usr/bin/env python3
"""The quality tables of the quantisers: weights x method x group size on held-out tokens, and W8A8.

    python3 scripts/quant_table.py LLMCONVERT TOKENS_DIR OUT_DIR MODEL_FOLDER ... [--weights m0e4,int4]
        [--groups 16,32,64,128] [--methods plain,rtn,awq,gptq,awq+gptq] [--table bench_results/quality/methods]
    python3 scripts/quant_table.py LLMCONVERT TOKENS_DIR OUT_DIR MODEL_FOLDER ... --w8a8 64,1
        [--table bench_results/quality/w8a8]

TOKENS_DIR holds MODEL.calibration.json and MODEL.heldout.json (scripts/quant_tokens.py). For every row the model is
converted with `llmconvert --held-out --report`, which compares the file's weights with the model's own in floats.
OUT_DIR keeps the report of each row: an interrupted table goes on where it ended, and one that is asked for again is
only printed. --table writes NAME.md and NAME.json; the sentences under a table are counted from its rows.

--w8a8 makes the table of that encoding instead: rows for each clip threshold, scales per tensor and per channel, and
outliers cut off or added as a shadow (method `per-tensor@64`, `per-tensor@64+shadow` and so on).

Methods are those of llmconvert; `plain` is round-to-nearest without the clip search, and a method that ends in
`+order` is run with --act-order.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import subprocess
from pathlib import Path
from typing import NamedTuple

import quant_interval

Key = tuple[int, str, str]  # group, weights, method
NUMBERS = ("bits", "file_bytes", "tokens", "model_perplexity", "perplexity", "kl", "top1")
DEFAULT = ("m0e4", "awq+gptq")  # of llmconvert with a text, at any group size
DEFAULT_GROUP = 32


class Page(NamedTuple):
    head: str
    differences: dict[str, str]  # title of a column: key of a summary
    foot: str


def head(title: str, options: str, text: str) -> str:
    return f"""# {title}

    ENV/bin/python scripts/quant_tokens.py ../shared/data TOKENS_DIR
    python3 scripts/quant_table.py LLMCONVERT TOKENS_DIR OUT_DIR MODEL_FOLDER ... {options} --table HERE

ENV is that of `scripts/requirements-export-a.txt`. Perplexity, KL divergence from the model's own weights and top-1
agreement per held-out token, in floats. Intervals are of 95 %; differences of KL are paired, below zero is better.
{text}
"""


METHODS = Page(head("What the quantisers keep", "--groups 16,32,64,128", """\
`plain` is round-to-nearest over the whole range of a group, `rtn` the same with the clip search; `+order` is
`--act-order`. Bits per weight count all: codes, scales, padding, and norms in f32.
"""), {"KL - rtn": "kl_minus_rtn", "KL - default": "kl_minus_default"}, """
Most matrices of `folktale-2m` have 192 columns, which groups of 128 pad to 256: its file grows.
""")
W8A8 = Page(head("W8A8", "--w8a8 64,1", """\
A method is the scales of the weights @ the clip threshold. The largest magnitude of an input over its 99.9th
percentile, where it reaches the threshold, makes its tail outliers (the column counts inputs): they are cut off, or
with `+shadow` added in floats. Without outliers a scale spans the whole range of the calibration text.
"""), {"KL - per-tensor": "kl_minus_tensor", "KL - cut off": "kl_minus_cut"}, "")


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

    def rows(self) -> dict[Key, dict]:
        found = {}
        for group, weights, method in self.args.wanted:
            report = self.report(weights, method, group)
            count = sum(math.prod(weight["shape"]) for weight in report["weights"])
            row = report["quality"] | {"bits": 8 * report["file"]["weight_bytes"] / count,
                                       "file_bytes": report["file"]["bytes"]}
            if weights == "w8a8":
                inputs = [one["quantisation"]["activation"] for one in report["weights"] if one["quantisation"]]
                row["inputs"] = sum(one is not None for one in inputs)
                row["inputs_with_outliers"] = sum(bool(one and one["outlier"]) for one in inputs)
            found[group, weights, method] = row
            print(f"{self.name} {group} {weights} {method}: KL {row['kl']:.5f}", flush=True)
        return found


def wanted_rows(args: argparse.Namespace) -> list[Key]:
    if args.w8a8:  # it has no groups
        return [(0, "w8a8", f"{scales}@{threshold}{outliers}") for threshold, scales, outliers in itertools.product(
            args.w8a8.split(","), ("per-tensor", "per-channel"), ("", "+shadow"))]
    return list(itertools.product(map(int, args.groups.split(",")), args.weights.split(","), args.methods.split(",")))


def bases(key: Key) -> dict[str, Key]:
    """What a row is compared with, where the table has it."""
    group, weights, method = key
    if weights == "w8a8":
        return {"kl_minus_tensor": (group, weights, method.replace("per-channel", "per-tensor")),
                "kl_minus_cut": (group, weights, method.removesuffix("+shadow"))}
    found = {"kl_minus_rtn": (group, weights, "rtn"), "kl_minus_default": (group, *DEFAULT),
             "kl_minus_default_32": (DEFAULT_GROUP, *DEFAULT)}
    if method == "awq":
        found["kl_minus_plain"] = (group, weights, "plain")
    if method == "awq+gptq":
        found["kl_minus_gptq"] = (group, weights, "gptq")
    if method.endswith("+order"):
        found["kl_minus_unordered"] = (group, weights, method.removesuffix("+order"))
    if weights == "m0e4":
        found["kl_minus_int4"] = (group, "int4", method)
    return found


def summary(name: str, rows: dict[Key, dict]) -> list[dict]:
    out = []
    for key, row in rows.items():
        one = dict(zip(("model", "group", "weights", "method"), (name, *key)))
        one |= {number: row[number] for number in (*NUMBERS, "inputs", "inputs_with_outliers") if number in row}
        one["kl_interval"] = quant_interval.kl(row)[1]
        for what, base in bases(key).items():
            if base in rows and base != key:
                one[what] = quant_interval.paired(row, rows[base])
        out.append(one)
    return out


def table_of(page: Page, rows: list[dict]) -> str:
    w8a8 = page is W8A8
    columns = ("model", "outliers" if w8a8 else "group", "weights", "method", "bits per weight", "file bytes",
               "perplexity", "KL to float", "top-1", *page.differences)
    out = "| " + " | ".join(columns) + " |\n|---|--:|---|---|" + "--:|" * (len(columns) - 4) + "\n"
    for row in rows:
        place = f"{row['inputs_with_outliers']} of {row['inputs']}" if w8a8 else row["group"]
        cells = (f"`{row['model']}`", place, f"`{row['weights']}`", row["method"], f"{row['bits']:.2f}",
                 row["file_bytes"], f"{row['perplexity']:.3f}", f"{row['kl']:.5f} ± {row['kl_interval']:.5f}",
                 f"{100 * row['top1']:.1f} %",
                 *(quant_interval.signed(row.get(key)) for key in page.differences.values()))
        out += "| " + " | ".join(map(str, cells)) + " |\n"
    return out


def differences(rows: list[dict], key: str) -> dict[str, quant_interval.Pair]:
    return {f"{row['model']} {row['group'] or ''} {row['weights']} {row['method']}".replace("  ", " "): row[key]
            for row in rows if key in row}


def verdicts(page: Page, rows: list[dict]) -> list[str]:
    """What the intervals say of the rows; the claims of README stand on these sentences."""
    if page is W8A8:
        outliers = [row for row in rows if row["inputs_with_outliers"]]
        asked = [("Scales per channel against per tensor", "kl_minus_tensor", rows, "more"),
                 ("Outliers added against cut off, where there are any", "kl_minus_cut", outliers, "more")]
    else:
        gptq = [row for row in rows if row["method"].endswith("gptq")]
        default_bytes = {row["model"]: row["file_bytes"] for row in rows
                         if (row["group"], row["weights"], row["method"]) == (DEFAULT_GROUP, *DEFAULT)}
        small = [row for row in rows if row["file_bytes"] <= default_bytes.get(row["model"], 0)]
        asked = [("`gptq` and `awq+gptq` against `rtn`", "kl_minus_rtn", gptq, "more"),
                 ("`awq` against `plain`", "kl_minus_plain", rows, "more"),
                 ("`awq+gptq` against `gptq`", "kl_minus_gptq", rows, "more"),
                 ("`awq+gptq` with `--act-order` against without", "kl_minus_unordered", rows, "less"),
                 ("`m0e4` against `int4`, same group and method", "kl_minus_int4", rows, "more"),
                 ("Every row against the default of its group, `m0e4 awq+gptq`", "kl_minus_default", rows, "less"),
                 (f"Rows of at most as many bytes against the default at group {DEFAULT_GROUP}",
                  "kl_minus_default_32", small, "less")]
    found = [(what, differences(some, key), against) for what, key, some, against in asked]
    return [quant_interval.verdict(what, pairs, against) for what, pairs, against in found if pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("llmconvert", type=Path)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--weights", default="m0e4,int4")
    parser.add_argument("--groups", default="16,32,64,128")
    parser.add_argument("--methods", default="plain,rtn,awq,gptq,awq+gptq,awq+gptq+order")
    parser.add_argument("--w8a8", default="")
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    args.wanted, page = wanted_rows(args), W8A8 if args.w8a8 else METHODS
    args.out.mkdir(parents=True, exist_ok=True)
    rows, texts = [], {}
    for folder in args.models:
        model = Model(folder.resolve(), args)
        rows += summary(model.name, model.rows())
        texts[model.name] = {kind: hashlib.sha256(path.read_bytes()).hexdigest() for kind, path in model.tokens.items()}
    said = verdicts(page, rows)
    tokens = ", ".join(f"`{name}` {next(row['tokens'] for row in rows if row['model'] == name)}" for name in texts)
    table = f"Held-out tokens: {tokens}.\n\n" + table_of(page, rows)
    table += "\n" + "".join(f"- {sentence}\n" for sentence in said) + page.foot
    print(table, end="")
    if args.table:
        args.table.parent.mkdir(parents=True, exist_ok=True)
        args.table.with_suffix(".md").write_text(page.head + table)
        document = {"schema": "pocketformer.quality", "version": 1, "token_files_sha256": texts, "rows": rows,
                    "verdicts": said}
        args.table.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()

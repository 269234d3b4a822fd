#!/usr/bin/env python3
"""Structure x export form, converted and compared with the golden logits, as a Markdown table.

    python3 scripts/structure_table.py ZOO [--build build/release] [--only S ...] [--forms F ...] [--out TABLE.md]

ZOO is the folder that make_zoo.py, zoo_quant.py, zoo_dynamo.py and zoo_genai.py filled; --models adds the exports in
models/. Every row runs `llmconvert --weights f16`, then `llmbench logits` with the prompt in one prefill, in chunks and
with decode steps, and compares every row of logits with golden_logits.bin by relative L2. Needs no package beyond
Python. With --json the rows are kept as they are measured: a run that was stopped goes on where it ended, as long as
both programs and the export are byte for byte the same. With --minutes no row is begun after that time, and what is
left is named at the end. Exit code 1 when an export is not measured, does not convert, does not run or misses the
tolerance; a graph without a cache may be refused with the sentence that says which export to use.
"""

from __future__ import annotations

import argparse
import array
import hashlib
import json
import math
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 5e-3
CHUNK = 20            # of the chunked prefill: no window, tile or prompt length is a multiple of it
SECONDS = 900

INTRODUCTION = """# Structures and export forms

Every structure as a tiny random-weight model of the real `transformers` class (ChatGLM2: our module), exported by the
form's own tool, converted with `llmconvert --weights f16`, run by `llmbench logits` on {device}
and compared row by row (prompt of 64 whole and in chunks of 20, 32 decode steps) with the golden logits: PyTorch
float32; quantised and rounded forms: float32 of the values that the file holds. This page is what
`scripts/structure_table.py` wrote, every row measured with the same build of the two programs:

```
A/bin/python scripts/make_zoo.py ZOO; B/bin/python scripts/zoo_quant.py ZOO
B/bin/python scripts/zoo_dynamo.py ZOO; B/bin/python scripts/zoo_genai.py ZOO
python3 scripts/structure_table.py ZOO --build build/release --out models/STRUCTURES.md
```

A and B are the environments of `scripts/requirements-export-{{a,b}}.txt`. Versions that made the exports:

{versions}

* `a`: optimum, TorchScript, opset 18 (ChatGLM2, which optimum does not know: torch.onnx.export, opset 17). `ts14`,
  `ts17`: the same at that opset. `eager`: attention without sdpa. `no-position-ids`, `no-attention-mask`: without that
  input. `no-kv`: no cache in or out. `fp16`, `bf16`: exported in that type.
* `split`: `decoder_model.onnx` and `decoder_with_past_model.onnx` exported by optimum (`use_past_in_inputs` False and
  True); `merged`: optimum's own `merge_decoders` of the two under `If`.
* `dynN`: `torch.onnx.export(dynamo=True)` at opset N; from 23 on with the standard `Attention`. `-functions`: with
  model-local functions. `dyn23-std`, `dyn18-ort`, `dyn18-ort-sdpa`: with onnxscript's fusions to standard operators
  and to ONNX Runtime's.
* `ort-*`: onnxruntime.transformers.optimizer by model type. `ort-packed`: packed past, assembled by
  `scripts/zoo_fused.py`, because onnxruntime's own exporter stops with `RuntimeError: unordered_map::at`.
* `genai*`: onnxruntime-genai's builder; it leaves Mistral's window out, which is therefore judged without.
  `q4*`, `q8`: MatMulNBitsQuantizer (`-zp` with zero points, `-gather` with GatherBlockQuantized). `int8-dynamic`:
  quantize_dynamic. `fp16-convert`: onnxruntime's float16 converter.
* vicuna, tinyllama, mobilellama and smollm are LLaMA's structure in other sizes, gpt-neox-serial GPT-NeoX's: main form
  only. olmo1, gptj, codegen, mpt, nemotron, smollm3 and helium are tests of the house: no line was written for them.
* Opsets 19 to 22 and 25 to 27 are made for llama3 only: the exporter writes the same operators in between, and gives
  up above 25.
"""


def golden(folder: Path) -> tuple[list[int], int, list[array.array]]:
    """(ids, how many of them are prompt, rows)."""
    doc = json.loads((folder / "golden.json").read_text())
    flat = array.array("f")
    flat.frombytes((folder / doc["logits_file"]).read_bytes())
    width = doc["vocab"]
    rows = [flat[i * width:(i + 1) * width] for i in range(doc["rows"])]
    return doc["prompt"] + doc["continuation"], len(doc["prompt"]), rows


def worst_relative_l2(got: list, expected: list) -> float:
    worst = 0.0
    for a, b in zip(got, expected, strict=True):
        if len(a) != len(b):
            return math.inf
        error = math.fsum((x - y) ** 2 if x is not None else math.inf for x, y in zip(a, b))
        worst = max(worst, math.sqrt(error / math.fsum(y * y for y in b)))
        if math.isnan(error):
            return math.nan
    return worst


def call(words: list) -> tuple[str, str]:
    """(stdout, error sentence or '')."""
    try:
        done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "", f"no answer in {SECONDS} s"
    if done.returncode == 0:
        return done.stdout, ""
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return "", f"exit code {done.returncode}: {last}"


def device(build: Path) -> str:
    """Name of the device that llmbench takes by itself."""
    out, error = call([build / "llmbench", "devices", "--json", "-"])
    if error:
        return "an unknown device"
    return next((d["name"] for d in json.loads(out)["devices"] if d["usable"]), "no device")


def logits(bench: Path, pocket: Path, tokens: Path, prompt: int, chunk: int | None) -> tuple[list, str]:
    more = ["--chunk", chunk] if chunk else []
    out, error = call([bench, "logits", pocket, "--tokens", tokens, "--decode-from", prompt, *more, "--json", "-"])
    return (json.loads(out)["logits"], "") if not error else ([], error)


def without_names(value):
    if isinstance(value, dict):
        return {k: without_names(v) for k, v in value.items() if k != "name"}
    return [without_names(v) for v in value] if isinstance(value, list) else value


def computation(pocket: Path) -> str:
    """Digest of what a package computes: program and hashes of the weights, without names and provenance. The JSON of
    the package begins at byte 64, its length stands at byte 16."""
    with open(pocket, "rb") as file:
        head = file.read(64)
        document = json.loads(file.read(int.from_bytes(head[16:24], "little")))
    del document["provenance"], document["program"]["weights"]  # the latter: names, in the order of document["weights"]
    return hashlib.sha256(json.dumps(without_names(document), sort_keys=True).encode()).hexdigest()[:16]


def measure(folder: Path, file: str, build: Path, runs: dict) -> dict:
    """One row of the table. `runs` holds the logits of the programs that ran already: two exports of which the same
    program is made need one run."""
    with tempfile.TemporaryDirectory() as work:
        pocket, report, tokens = (Path(work) / n for n in ("model.pocket", "report.json", "tokens.json"))
        source = folder if file == "model.onnx" else folder / file
        _, error = call([build / "llmconvert", source, "-o", pocket, "--weights", "f16", "--report", report, "--quiet"])
        if error:
            return {"error": error}
        ids, prompt, expected = golden(folder)
        tokens.write_text(json.dumps(ids))
        try:
            document = json.loads(report.read_text())
            dispatches = document["dispatches"]
        except (ValueError, KeyError) as error:
            return {"error": f"llmconvert's report is damaged: {error}"}
        row = {"before": max(dispatches["before"]["per_layer"], default=0),
               "after": max(dispatches["after"]["per_layer"], default=0),
               "unfused": dict(Counter(item["operator"] for item in document.get("unfused", []))),
               "program": computation(pocket)}
        for name, chunk in (("whole", None), ("chunked", CHUNK)):
            key = (row["program"], chunk, tokens.read_text(), prompt)
            if key not in runs:
                runs[key] = logits(build / "llmbench", pocket, tokens, prompt, chunk)
            got, error = runs[key]
            if error:
                return {**row, "run_error": error}
            row[name] = worst_relative_l2(got, expected)
        return row


def digest(files: list[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()[:16]


class Kept:
    """Rows of --json by what was measured: both programs, the export and its golden rows."""

    def __init__(self, file: Path | None, build: Path):
        self.file, self.lock = file, threading.Lock()
        self.programs = digest([build / "llmconvert", build / "llmbench"])
        self.rows = json.loads(file.read_text()) if file and file.exists() else []
        self.runs = {}

    def measured(self, entry: dict, build: Path) -> dict:
        files = sorted(f for f in entry["folder"].iterdir() if ".onnx" in f.name or f.name == "golden_logits.bin")
        key = {"structure": entry["structure"], "form": entry["form"], "programs": self.programs,
               "export": digest(files)}
        for row in self.rows:
            if key.items() <= row.items():
                return row["row"]
        row = measure(entry["folder"], entry["file"], build, self.runs)
        with self.lock:
            same = (entry["structure"], entry["form"])
            self.rows = [r for r in self.rows if (r["structure"], r["form"]) != same] + [{**key, "row": row}]
            if self.file:
                self.file.write_text(json.dumps(self.rows, indent=1) + "\n")
        return row


def entries(zoo: Path | None, models: bool) -> list[dict]:
    found = []
    if models:
        for folder in sorted((ROOT / "models").iterdir()):
            if (folder / "golden.json").exists():
                found.append({"structure": folder.name, "form": "models/", "folder": folder, "file": "model.onnx"})
    if zoo:
        for entry in json.loads((zoo / "index.json").read_text())["entries"]:
            found.append({**entry, "folder": zoo / entry["path"] if "path" in entry else None,
                          "file": entry.get("file", "model.onnx")})
    return found


def not_made(zoo: Path | None) -> list[str]:
    """Pairs that the scripts planned and the index does not hold."""
    if not zoo:
        return []
    index = json.loads((zoo / "index.json").read_text())
    held = {(e["structure"], e["form"]) for e in index["entries"]}
    return [f"{name}/{form}" for plan in index["planned"].values() for name, forms in plan.items() for form in forms
            if (name, form) not in held]


def versions(chosen: list[dict]) -> str:
    """One line per environment that made an export."""
    found = Counter(", ".join(f"{k} {v}" for k, v in e.get("versions", {}).items()) for e in chosen)
    return "\n".join(f"* {count} exports: {text}." for text, count in found.most_common() if text)


def short(text: str, limit: int = 150) -> str:
    text = re.sub(r"\s+", " ", text).replace("|", "\\|")
    text = re.sub(r"(?<![\w:])/(?:[^/\s]+/)+(?=[^/\s])", "", text)  # folders of this machine
    return text if len(text) <= limit else text[:limit - 3] + "..."


def line(entry: dict, row: dict) -> str:
    head = f"| {entry['structure']} | {entry['form']} |"
    if "error" in entry:
        return f"{head} the tool cannot: {short(entry['error'])} | | | | |"
    if not row:
        return f"{head} not measured | | | | |"
    if "error" in row:
        return f"{head} {'refused' if refused(entry, row) else 'no'}: {short(row['error'])} | | | | |"
    rest = f"{row['before']} -> {row['after']} | {unfused(row)} |"
    if "run_error" in row:
        return f"{head} yes, but the run: {short(row['run_error'])} | | | {rest}"
    mark = "" if passed(row) else " **over**"
    return f"{head} yes | {row['whole']:.1e}{mark} | {row['chunked']:.1e} | {rest}"


def unfused(row: dict) -> str:
    kinds = ", ".join(f"{n} {k}" for k, n in sorted(row["unfused"].items(), key=lambda s: -s[1])[:6])
    return f"{sum(row['unfused'].values())}" + (f" ({kinds})" if kinds else "")


def cell(entry: dict, row: dict) -> str:
    """One pair in one word: the worst error in thousandths, or why there is none."""
    if "error" in entry:
        return "tool"
    if not row:
        return "-"
    if "error" in row:
        return "refused" if refused(entry, row) else "**no**"
    if "run_error" in row:
        return "**run**"
    text = f"{1000 * max(row['whole'], row['chunked']):.1f}"
    return text if passed(row) else f"**{text}**"


def matrix(pairs: list[tuple[dict, dict]]) -> str:
    """Structures down, forms across: what the long table says, on one screen."""
    forms = sorted({e["form"] for e, _ in pairs}, key=lambda f: (f != "a", f))
    cells = {(e["structure"], e["form"]): cell(e, r) for e, r in pairs}
    names = list(dict.fromkeys(e["structure"] for e, _ in pairs))
    return "\n".join([
        "Worst relative L2 error of a row in thousandths; `tool`: its tool cannot make it; `-`: not measured; "
        "empty: not made.", "",
        "| structure | " + " | ".join(forms) + " |", "|---" + "|--:" * len(forms) + "|",
        *("| " + " | ".join([name, *(cells.get((name, f), "") for f in forms)]) + " |" for name in names), ""])


def refused(entry: dict, row: dict) -> bool:
    """A graph without a cache need not convert, if the sentence says which export to use."""
    return entry["form"] == "no-kv" and "text-generation-with-past" in row.get("error", "")


def closing(pairs: list[tuple[dict, dict]], missing: list[str]) -> str:
    """The sums, and by name everything that is not as it should be."""
    made = [(e, r) for e, r in pairs if "error" not in e]
    programs = len({r["program"] for _, r in made if "program" in r})
    lines = [f"{len(pairs)} pairs: {len(pairs) - len(made)} that their tool cannot make, {len(made)} made; "
             f"{sum('after' in r for _, r in made)} converted, {sum(passed(r) for _, r in made)} within {TOLERANCE:g} "
             f"of the golden logits. Their programs are {programs} different ones, names apart; each was run once."]
    for what, test in (
            ("refused", refused),
            ("not converted", lambda e, r: "error" in r and not refused(e, r)),
            ("converted and stopped in the run", lambda e, r: "run_error" in r),
            (f"over {TOLERANCE:g}", lambda e, r: "whole" in r and not passed(r)),
            ("made and not measured", lambda e, r: not r)):
        names = [f"{e['structure']}/{e['form']}" for e, r in made if test(e, r)]
        lines.append(f"{what.capitalize()} ({len(names)}): {', '.join(names) or 'none'}.")
    lines.append(f"Planned and not made ({len(missing)}): {', '.join(missing) or 'none'}.")
    return "\n\n".join(lines) + "\n"


def passed(row: dict) -> bool:
    return "whole" in row and max(row["whole"], row["chunked"]) <= TOLERANCE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoo", type=Path, nargs="?")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--models", action="store_true", help="also the exports in models/")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--forms", nargs="*")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="begin no row after this time")
    parser.add_argument("--out", type=Path, help="write the table there too")
    parser.add_argument("--json", type=Path, help="keep the numbers there")
    args = parser.parse_args()
    if not args.zoo and not args.models:
        parser.error("give the folder of make_zoo.py, or --models")
    chosen = [e for e in entries(args.zoo, args.models) if (not args.only or e["structure"] in args.only) and
              (not args.forms or e["form"] in args.forms)]

    build, start = args.build.resolve(), time.monotonic()
    kept = Kept(args.json, build)

    def run(entry: dict) -> dict:
        late = args.minutes is not None and time.monotonic() - start > 60 * args.minutes
        row = {} if "error" in entry or late else kept.measured(entry, build)
        print(line(entry, row), file=sys.stderr, flush=True)
        return row

    order = sorted(chosen, key=lambda e: e["form"] != "a")  # main forms first, should the time not suffice
    with ThreadPoolExecutor(args.jobs) as pool:
        rows = {(e["structure"], e["form"]): row for e, row in zip(order, pool.map(run, order))}
    pairs = [(e, rows[e["structure"], e["form"]]) for e in chosen]
    text = "\n".join([
        INTRODUCTION.format(device=device(build), versions=versions(chosen)),
        *([matrix(pairs)] if len({e["form"] for e in chosen}) > 1 else []),
        "| structure | form | converted | worst relative L2 | chunked prefill | dispatches per layer "
        "| operators left unfused |",
        "|---|---|---|--:|--:|--:|---|", *(line(e, r) for e, r in pairs), "", closing(pairs, not_made(args.zoo))])
    print(text, end="")
    if args.out:
        args.out.write_text(text)
    return 0 if all("error" in e or passed(r) or refused(e, r) for e, r in pairs) else 1


if __name__ == "__main__":
    sys.exit(main())

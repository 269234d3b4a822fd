#!/usr/bin/env python3
"""Structure x export form, converted and compared with the golden logits, as a Markdown table.

    python3 scripts/structure_table.py ZOO [--build build/release] [--only S ...] [--forms F ...] [--out TABLE.md]

ZOO is the folder that make_zoo.py, zoo_quant.py, zoo_dynamo.py and zoo_genai.py filled; --models adds the exports in models/.
Every row runs `llmconvert --weights f16`, then `llmbench logits` with the prompt in one prefill, in chunks and with decode
steps, and compares every row of logits with golden_logits.bin by relative L2. Needs no package beyond Python.
Exit code 1 when a converted model misses the tolerance.
"""

from __future__ import annotations

import argparse
import array
import json
import math
import re
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = 5e-3
CHUNK = 20            # of the chunked prefill: no window, tile or prompt length is a multiple of it
SECONDS = 300


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


def logits(bench: Path, pocket: Path, tokens: Path, prompt: int, chunk: int | None) -> tuple[list, str]:
    more = ["--chunk", chunk] if chunk else []
    out, error = call([bench, "logits", pocket, "--tokens", tokens, "--decode-from", prompt, *more, "--json", "-"])
    return (json.loads(out)["logits"], "") if not error else ([], error)


def measure(folder: Path, file: str, build: Path) -> dict:
    """One row of the table."""
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
               "unfused": dict(Counter(item["operator"] for item in document.get("unfused", [])))}
        for name, chunk in (("whole", None), ("chunked", CHUNK)):
            got, error = logits(build / "llmbench", pocket, tokens, prompt, chunk)
            if error:
                return {**row, "run_error": error}
            row[name] = worst_relative_l2(got, expected)
        return row


def entries(zoo: Path, models: bool) -> list[dict]:
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


def short(text: str, limit: int = 150) -> str:
    text = re.sub(r"\s+", " ", text).replace("|", "\\|")
    text = re.sub(r"(?<![\w:])/(?:[^/\s]+/)+(?=[^/\s])", "", text)  # folders of this machine
    return text if len(text) <= limit else text[:limit - 3] + "..."


def line(entry: dict, row: dict) -> str:
    head = f"| {entry['structure']} | {entry['form']} |"
    if "error" in entry:
        return f"{head} the tool cannot: {short(entry['error'])} | | | | |"
    if "error" in row and entry["form"] == "no-kv" and "text-generation-with-past" in row["error"]:
        return f"{head} refused: {short(row['error'])} | | | | |"
    if "error" in row:
        return f"{head} no: {short(row['error'])} | | | | |"
    if "run_error" in row:
        return f"{head} yes, but the run: {short(row['run_error'])} | | | {row['before']} -> {row['after']} | {unfused(row)} |"
    mark = "" if passed(row) else " **over**"
    return (f"{head} yes | {row['whole']:.1e}{mark} | {row['chunked']:.1e} | {row['before']} -> {row['after']} "
            f"| {unfused(row)} |")


def unfused(row: dict) -> str:
    kinds = ", ".join(f"{n} {k}" for k, n in sorted(row["unfused"].items(), key=lambda s: -s[1])[:6])
    return f"{sum(row['unfused'].values())}" + (f" ({kinds})" if kinds else "")


def cell(entry: dict, row: dict) -> str:
    """One pair in one word: the worst error in thousandths, or why there is none."""
    if "error" in entry:
        return "tool"
    if "error" in row:
        return "refused" if entry["form"] == "no-kv" else "**no**"
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
        "Worst relative L2 error of a row in thousandths; `tool`: its tool cannot make it; empty: not made.", "",
        "| structure | " + " | ".join(forms) + " |", "|---" + "|--:" * len(forms) + "|",
        *("| " + " | ".join([name, *(cells.get((name, f), "") for f in forms)]) + " |" for name in names), ""])


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
    parser.add_argument("--out", type=Path, help="write the table there too")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    args = parser.parse_args()
    if not args.zoo and not args.models:
        parser.error("give the folder of make_zoo.py, or --models")
    chosen = [e for e in entries(args.zoo, args.models) if (not args.only or e["structure"] in args.only) and
              (not args.forms or e["form"] in args.forms)]

    def run(entry: dict) -> dict:
        row = {} if "error" in entry else measure(entry["folder"], entry["file"], args.build.resolve())
        print(line(entry, row), file=sys.stderr, flush=True)
        return row

    with ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(run, chosen))
    pairs = list(zip(chosen, rows))
    made = [r for e, r in zip(chosen, rows) if "error" not in e]
    text = "\n".join([
        *([matrix(pairs)] if len({e["form"] for e in chosen}) > 1 else []),
        "| structure | form | converted | worst relative L2 | chunked prefill | dispatches per layer | operators left unfused |",
        "|---|---|---|--:|--:|--:|---|", *(line(e, r) for e, r in pairs), "",
        f"{len(chosen)} pairs: {len(made)} made by their tool, {sum('error' not in r for r in made)} converted, "
        f"{sum(map(passed, made))} within {TOLERANCE:g} of the golden logits.", ""])
    print(text, end="")
    if args.out:
        args.out.write_text(text)
    if args.json:
        args.json.write_text(json.dumps([{"structure": e["structure"], "form": e["form"], **({"tool_error": e["error"]}
                             if "error" in e else {}), **r} for e, r in zip(chosen, rows)], indent=1) + "\n")
    return 0 if all(passed(r) or "error" in r for r in made) else 1


if __name__ == "__main__":
    sys.exit(main())

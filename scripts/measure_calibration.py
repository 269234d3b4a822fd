#!/usr/bin/env python3
"""Calibrates a large export on random tokens: wall and CPU time, peak memory, and what a killed run resumes to.

    python3 scripts/measure_calibration.py EXPORT_FOLDER OUT_FOLDER [--build build/release] [--weights m0e4]
        [--method gptq] [--windows 64] [--length 512] [--kill]

The tokens are drawn from the model's vocabulary by a fixed seed: OUT_FOLDER/tokens.json. With --kill a second
conversion gets SIGKILL in the middle of a layer, half-way through the model, and is started again; both files must have
the same bytes. Prints one row of a Markdown table; memory as process_watch.py sees it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import signal
import time
from pathlib import Path
from typing import Callable

from process_watch import watch


def write_tokens(path: Path, vocabulary: int, windows: int, length: int) -> None:
    draw = random.Random(1)
    path.write_text(json.dumps([[draw.randrange(vocabulary) for _ in range(length)] for _ in range(windows)]))


def middle_of_layer(state: Path, layer: int) -> Callable[[], bool]:
    """True half-way between the end of `layer` and that of the next one, as long as the one before it took."""
    def reached() -> bool:
        ends = [state / f"layer-{index}" for index in (layer - 1, layer)]
        if not all(end.exists() for end in ends):
            return False
        before, last = (end.stat().st_mtime for end in ends)
        return time.time() >= last + (last - before) / 2
    return reached


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--build", type=Path, default=Path(__file__).resolve().parent.parent / "build/release")
    parser.add_argument("--weights", default="m0e4")
    parser.add_argument("--method", default="gptq")
    parser.add_argument("--windows", type=int, default=64)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--kill", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    config = json.loads((args.export / "config.json").read_text())
    tokens = args.out / "tokens.json"
    write_tokens(tokens, config["vocab_size"], args.windows, args.length)

    def command(name: str) -> list[str]:
        return [str(word) for word in (
            args.build / "llmconvert", args.export, "-o", args.out / f"{name}.pocket", "--weights", args.weights,
            "--method", args.method, "--calibration", tokens, "--calibration-tokens", args.windows * args.length)]

    whole = watch(command("whole"), args.out / "whole.log")
    resumed = ""
    if args.kill:
        layer = config["num_hidden_layers"] // 2 - 1  # the last one that is kept
        state = args.out / "killed.pocket.calibration"
        killed = watch(command("killed"), args.out / "killed.log", middle_of_layer(state, layer))
        if killed.signal != signal.SIGKILL or not state.exists():
            raise SystemExit("the conversion ended before it could be killed")
        again = watch(command("killed"), args.out / "resumed.log")
        found = re.search(r"resumed behind (\d+) layers", again.messages)
        if not found or int(found.group(1)) != layer + 1:
            raise SystemExit(f"the conversion did not resume behind {layer + 1} layers:\n{again.messages}")
        if digest(args.out / "whole.pocket") != digest(args.out / "killed.pocket"):
            raise SystemExit("the resumed conversion wrote other bytes than the whole one")
        if state.exists():
            raise SystemExit(f"{state} was left behind")
        resumed = f"behind {layer + 1} of {config['num_hidden_layers']} layers, same bytes"
    print("| export | weights | method | tokens | minutes | CPU minutes | peak anonymous MiB | peak resident MiB "
          "| killed and resumed |")
    print("|---|---|---|--:|--:|--:|--:|--:|---|")
    print(f"| {args.export.name} | `{args.weights}` | `{args.method}` | {args.windows} x {args.length} "
          f"| {whole.seconds / 60:.1f} | {whole.cpu_seconds / 60:.1f} | {whole.anonymous / 2**20:.0f} "
          f"| {whole.resident / 2**20:.0f} | {resumed} |")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Calibration and held-out token files for the quality table of the quantisers (scripts/quant_table.py).

    python scripts/quant_tokens.py ../shared/data OUT_DIR

The bundled model gets folk tales for calibration and all of Aesop's fables, which training never read,
held out. The two story models know nothing but TinyStories, so each speaks for itself: text is sampled from it at
temperature 1, with one seed for calibration and another for the held-out ids. Needs the environment of
scripts/requirements-export-a.txt. OUT_DIR must lie outside the project.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import torch
from tokenizers import Tokenizer

import bundled_text
import import_llama2c
from import_llama2c import BOS, EOS

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = ROOT / "models" / "folktale-2m"
CALIBRATION_FILES = ("grimms-fairy-tales.txt", "russian-fairy-tales.txt", "myths-north-american-indians.txt",
                     "joseph-jacobs-fairy-tales.txt")
STORY_MODELS = {"stories260K": "stories260K.bin", "babyllama-tok105": "model5000.bin"}
WINDOW, CALIBRATION, HELD_OUT = 256, 33_024, 20_480
SEEDS = {"calibration": 1, "heldout": 2}
BATCH = 32


def write(out: Path, model: str, kind: str, windows: list[list[int]]) -> None:
    windows = windows[:(CALIBRATION if kind == "calibration" else HELD_OUT) // WINDOW]
    (out / f"{model}.{kind}.json").write_text(json.dumps(windows) + "\n")
    print(f"{model}: {sum(map(len, windows))} {kind} tokens in {len(windows)} windows", flush=True)


def cut(ids: list[int], limit: int) -> list[list[int]]:
    return [ids[at:at + WINDOW] for at in range(0, min(len(ids), limit) - 1, WINDOW)]


def bundled(folktales: Path, out: Path) -> None:
    tokenizer = Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))
    share = CALIBRATION // len(CALIBRATION_FILES)
    windows = []
    for name in CALIBRATION_FILES:
        text = "\n".join(bundled_text.stories(folktales / name))
        windows += cut(tokenizer.encode(text).ids, share)
    write(out, BUNDLED.name, "calibration", windows)
    # Every paragraph: what the training filter keeps of the fables is less than 20,000 tokens.
    raw = (folktales / bundled_text.HELDOUT_FILE).read_text(encoding="utf-8").replace("\r", "")
    text = "\n".join(filter(None, map(bundled_text.plain, re.split(r"\n\s*\n", raw))))
    write(out, BUNDLED.name, "heldout", cut(tokenizer.encode(text).ids, HELD_OUT))


@torch.no_grad()
def sample(model: torch.nn.Module, tokens: int, seed: int) -> list[list[int]]:
    """Windows from BOS on. The models write BOS between two stories, so a window may hold several."""
    torch.manual_seed(seed)
    windows: list[list[int]] = []
    while sum(map(len, windows)) < tokens:
        start = torch.full((BATCH, 1), BOS)
        ids = model.generate(start, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_length=WINDOW,
                             eos_token_id=None, pad_token_id=EOS, attention_mask=torch.ones_like(start))
        windows += ids.tolist()
    return windows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    bundled(args.data / "text" / "folktales", args.out)
    for name, checkpoint in STORY_MODELS.items():
        model = import_llama2c.load(args.data / "weights" / name / checkpoint)
        for kind, seed in SEEDS.items():
            write(args.out, name, kind, sample(model, CALIBRATION if kind == "calibration" else HELD_OUT, seed))


if __name__ == "__main__":
    main()

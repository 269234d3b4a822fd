#!/usr/bin/env python3
"""Samples simple stories from the small trained llama2.c models: extra training text for the bundled model.

    python scripts/sample_stories.py WEIGHTS_DIR OUT.txt [--megabytes 1.2] [--seed 1]

Folk tales alone are too few and too ornate for a model of two million parameters to learn plain sentences from. Two
parts in three come from stories260K, which sees whole stories; the rest from babyllama-tok105, whose 256
characters end early, so its texts are cut after their last full sentence. Stories are separated by an empty line.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

import torch

import import_llama2c
from import_llama2c import BOS, EOS

SOURCES = (("stories260K", "stories260K.bin", "tok512.bin", 2 / 3),
           ("babyllama-tok105", "model5000.bin", "tok105.bin", 1 / 3))
BATCH, TEMPERATURE, SHORTEST = 256, 0.8, 80


def whole_sentences(text: str) -> str:
    """The text up to its last full stop: a cut word would be learnt as an ending."""
    ends = [m.end() for m in re.finditer(r'[.!?]"?(?=\s|$)', text)]
    return re.sub(r"\s+", " ", text[:ends[-1]]).strip() if ends else ""


@torch.no_grad()
def batch_of_stories(model: torch.nn.Module, tokenizer: import_llama2c.Tokenizer) -> list[str]:
    """One batch from BOS. Both models write BOS where one story ends and the next begins, so it ends a story too."""
    start = torch.full((BATCH, 1), BOS)
    ids = model.generate(start, do_sample=True, temperature=TEMPERATURE, top_k=0, top_p=0.95,
                         max_length=model.config.max_position_embeddings, eos_token_id=[BOS, EOS], pad_token_id=EOS,
                         attention_mask=torch.ones_like(start))
    stories = []
    for row in ids[:, 1:].tolist():
        end = next((i for i, token in enumerate(row) if token in (BOS, EOS)), len(row))
        stories.append(whole_sentences(tokenizer.decode(row[:end])))
    return [story for story in stories if len(story) >= SHORTEST]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--megabytes", type=float, default=1.2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)  # many tiny operators: threads that wait for each other cost more than they bring
    stories: list[str] = []
    for name, checkpoint, tokenizer_file, share in SOURCES:
        model = import_llama2c.load(args.weights / name / checkpoint)
        tokenizer = import_llama2c.Tokenizer(args.weights / name / tokenizer_file)
        size, start = 0, time.time()
        while size < share * args.megabytes * 1e6:
            batch = batch_of_stories(model, tokenizer)
            stories += batch
            size += sum(map(len, batch))
            print(f"{name}: {size} characters, {time.time() - start:.0f} s", flush=True)
    args.out.write_text("\n\n".join(stories) + "\n")


if __name__ == "__main__":
    main()

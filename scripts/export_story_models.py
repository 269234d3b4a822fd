#!/usr/bin/env python3
"""Exports the small trained llama2.c models and checks them against somebody else's numbers.

    python scripts/export_story_models.py WEIGHTS_DIR OUT_DIR [--env a|b] [--text TINYSTORIES_SAMPLE.txt]

WEIGHTS_DIR holds stories260K/ and babyllama-tok105/, each with a .bin and an expected.json that an independent
implementation wrote. A model is exported only after PyTorch gives the same greedy ids and mean NLL: what llmbench
says of the export is then a statement about llmbench. The data is outside the project, so OUT_DIR must be too.
Each export gets `tokens.json`, the windows of ids that mean_nll was measured on (a list of lists; each is run by
itself and predicts all but its first id), and a copy of expected.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import export_hf
import golden
import import_llama2c
import torch

TOKENIZERS = {"stories260K": "tok512.bin", "babyllama-tok105": "tok105.bin"}


EXPECTED_CONTEXT = 256


def stories(tokenizer: import_llama2c.Tokenizer, text: str) -> list[list[int]]:
    """The windows that mean_nll was measured on: every story by itself, with BOS, cut to 256 ids."""
    parts = [part.strip() for part in text.split("<|endoftext|>")]
    return [tokenizer.encode(part)[:EXPECTED_CONTEXT] for part in parts if part]


def check(model: torch.nn.Module, tokenizer: import_llama2c.Tokenizer, expected: dict, windows: list) -> dict:
    tokens, _ = golden.greedy(model, expected["prompt_ids"], len(expected["greedy_ids"]))
    parts = [golden.perplexity(model, window, EXPECTED_CONTEXT) for window in windows]
    count = sum(part["predicted"] for part in parts)
    return {"greedy_equal": tokens == expected["greedy_ids"], "tokens_equal": count == expected["tokens"],
            "prompt_ids_equal": tokenizer.encode(expected["prompt"]) == expected["prompt_ids"],
            "tokens": count, "nll": sum(part["nll"] * part["predicted"] for part in parts) / count,
            "expected_nll": expected["mean_nll"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--env", choices=("a", "b"), default="a")
    parser.add_argument("--text", type=Path, help="default: where the data folder keeps it")
    args = parser.parse_args()
    text = args.text or args.weights.parent / "text" / "tinystories" / "tinystories_sample.txt"
    for name, tokenizer_file in TOKENIZERS.items():
        folder = args.weights / name
        if not folder.is_dir():
            sys.exit(f"{folder} is missing: WEIGHTS_DIR is the folder `weights` of the shared data")
        expected = json.loads((folder / "expected.json").read_text())
        model = import_llama2c.load(args.weights / expected["model"])
        tokenizer = import_llama2c.Tokenizer(folder / tokenizer_file)
        windows = stories(tokenizer, text.read_text())
        result = check(model, tokenizer, expected, windows)
        print(name, result, flush=True)
        if not result["greedy_equal"] or abs(result["nll"] / result["expected_nll"] - 1) > 0.01:
            sys.exit(f"{name}: PyTorch does not agree with expected.json, so it is not exported")
        out = args.out / name
        with tempfile.TemporaryDirectory() as source:
            model.save_pretrained(source)
            export_hf.export(Path(source), out, args.env, extra={"weights": name, "check_torch": result})
            export_hf.write_golden(Path(source), out)
        shutil.copyfile(folder / "expected.json", out / "expected.json")
        (out / "tokens.json").write_text(json.dumps(windows) + "\n")


if __name__ == "__main__":
    main()

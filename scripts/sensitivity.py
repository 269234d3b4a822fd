#!/usr/bin/env python3
"""What each weight does to the loss, for `llmconvert --weights any --sensitivity FILE`: mean squared gradients.

    ENV/bin/python scripts/sensitivity.py MODEL_FOLDER TOKENS.json OUT.safetensors [--tokens N]

ENV is that of scripts/requirements-export-a.txt. MODEL_FOLDER holds an ONNX export of a HuggingFace decoder with its
config.json; TOKENS.json is a list of windows of ids, as scripts/quant_tokens.py writes them. Of every window the
gradient of its mean NLL is squared; OUT holds the mean over the windows, in float32, a tensor for each matrix of
model.onnx with the constant's own name and shape.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

import torch_from_onnx


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokens", dest="limit", type=int, default=32768)
    args = parser.parse_args()
    torch.set_num_threads(2)
    model, places = torch_from_onnx.load(args.model)
    parameters = {name: value for name, value in model.named_parameters() if value.dim() == 2}
    sums = {name: torch.zeros_like(value) for name, value in parameters.items()}
    windows = seen = 0
    for window in json.loads(args.tokens.read_text()):
        if len(window) < 2 or seen + len(window) > args.limit:
            continue
        ids = torch.tensor([window])
        model.zero_grad()
        model(ids, labels=ids).loss.backward()
        for name, value in parameters.items():
            sums[name] += value.grad ** 2
        windows, seen = windows + 1, seen + len(window)
    if windows == 0:
        raise SystemExit(f"{args.tokens} holds no window of at most {args.limit} tokens")
    tensors = {}
    for name, place in places.items():
        if place.parameter in sums:
            mean = sums[place.parameter] / windows
            tensors[name] = (mean.T if place.transposed else mean).contiguous()
    save_file(tensors, args.out, {"windows": str(windows), "tokens": str(seen)})
    print(f"{args.out}: {len(tensors)} matrices, {windows} windows of {seen} tokens in all")


if __name__ == "__main__":
    main()

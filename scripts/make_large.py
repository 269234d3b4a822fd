#!/usr/bin/env python3
"""Exports a random-weight model of a published shape in fp16 with external data (environment A).

    python scripts/make_large.py tinyllama-1.1b|gemma-2b|llama-110m OUT_FOLDER [--layers N]

The real exporter writes the graph and the files as it would for the trained model; only the values are random, so the
result is for memory, time and speed. About three times the model's size of memory and twice of disk is needed while it
runs (Gemma-2B: 17 GB of memory). --layers cuts the model down.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from transformers import GemmaConfig, GemmaForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.modeling_utils import no_init_weights

import export_hf

# From the models' published config.json; llama-110m is llama2.c's largest story model.
SHAPES = {
    "tinyllama-1.1b": (LlamaForCausalLM, LlamaConfig, dict(
        vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32,
        num_key_value_heads=4, max_position_embeddings=2048, tie_word_embeddings=False)),
    "gemma-2b": (GemmaForCausalLM, GemmaConfig, dict(
        vocab_size=256000, hidden_size=2048, intermediate_size=16384, num_hidden_layers=18, num_attention_heads=8,
        num_key_value_heads=1, head_dim=256, max_position_embeddings=8192)),
    "llama-110m": (LlamaForCausalLM, LlamaConfig, dict(
        vocab_size=32000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=1024, tie_word_embeddings=False)),
}


def random_model(name: str, layers: int | None, seed: int = 1) -> torch.nn.Module:
    model_class, config_class, options = SHAPES[name]
    if layers:
        options = options | dict(num_hidden_layers=layers)
    with no_init_weights():
        torch.set_default_dtype(torch.float16)
        model = model_class(config_class(**options))
        torch.set_default_dtype(torch.float32)
    model.tie_weights()
    # One block of numbers again and again, each time from another place: drawing 10^9 numbers takes minutes.
    draw = torch.Generator().manual_seed(seed)
    block = torch.randn(1 << 20, generator=draw).half()
    for index, (parameter_name, parameter) in enumerate(model.named_parameters()):
        if "norm" in parameter_name:
            parameter.data.fill_(0.0 if model_class is GemmaForCausalLM else 1.0)
            continue
        flat = parameter.data.view(-1)
        scale = parameter.shape[-1] ** -0.5
        shift = (index * 7919) % block.numel()
        for start in range(0, flat.numel(), block.numel()):
            part = flat[start:start + block.numel()]
            part.copy_(torch.roll(block, shift + start // 1024)[:part.numel()] * scale)
    return model.half().eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(SHAPES))
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.out.parent) as folder, torch.no_grad():
        source = Path(folder) / args.name
        random_model(args.name, args.layers).save_pretrained(source)
        cut = f" --layers {args.layers}" if args.layers else ""
        doc = export_hf.export(source, args.out, dtype="float16", command=f"scripts/make_large.py {args.name} OUT{cut}",
                               post_process=False)
    if not list(args.out.glob("model.onnx_data*")):
        export_hf.make_external(args.out / "model.onnx")
    print(f"{args.out}: {doc['nodes']} nodes, {doc['bytes']} bytes")


if __name__ == "__main__":
    main()

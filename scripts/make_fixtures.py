#!/usr/bin/env python3
"""Makes the tiny random-weight models under models/ (environment A: scripts/requirements-export-a.txt).

    python scripts/make_fixtures.py [--out models] [--only NAME ...]

They exist for structure, not for language: sizes are odd on purpose (vocabularies that no tile divides, short last
groups), biases and norm weights are not 0 and 1, and the scales keep the logits at a standard deviation of 1 to 3, so
that greedy margins are real and a swapped weight changes the text. Of the first 60 to 80 seeds these write the most
different greedy ids before their first margin under 0.05.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

import export_hf


def randomise(model: torch.nn.Module, seed: int, embedding_std: float, gain: float) -> None:
    """Linear weights get `gain / sqrt(fan_in)`. HuggingFace's own 0.02 leaves logits that are all alike; a gain well
    above 1 saturates the softmax, and rounding the weights alone to f16 then moves a row of logits by 0.7 %."""
    draw = torch.Generator().manual_seed(seed)

    def normal(parameter, std, mean=0.0):
        parameter.data.copy_(torch.randn(parameter.shape, generator=draw) * std + mean)

    for name, parameter in model.named_parameters():
        if "wte" in name or "embed_tokens" in name:
            normal(parameter, embedding_std)
        elif "wpe" in name:
            normal(parameter, embedding_std * 1.5)
        elif "ln_" in name or "norm" in name:
            normal(parameter, 0.2, 0.0 if name.endswith("bias") else 1.0)
        elif name.endswith("bias"):
            normal(parameter, 0.2)
        else:
            fan_in = parameter.shape[0 if isinstance(model, GPT2LMHeadModel) else 1]
            normal(parameter, (1.5 if "lm_head" in name else gain) / fan_in ** 0.5)


def gpt2() -> torch.nn.Module:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=97, n_positions=160, n_embd=48, n_layer=2, n_head=3,
                                       bos_token_id=0, eos_token_id=0))
    randomise(model, seed=16, embedding_std=0.3, gain=0.9)
    return model


def qwen2(seed: int, layers: int = 2) -> torch.nn.Module:
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=211, hidden_size=48, intermediate_size=88, num_hidden_layers=layers, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=160, rope_theta=10000.0, tie_word_embeddings=False,
        bos_token_id=0, eos_token_id=1))
    randomise(model, seed=seed, embedding_std=0.5, gain=0.9)
    return model


FIXTURES = {
    "tiny-gpt2": (gpt2, {}),
    "tiny-qwen2": (lambda: qwen2(23), {}),
    "tiny-qwen2-fp16-external": (lambda: qwen2(12, layers=1), {"dtype": "float16", "external": True}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "models")
    parser.add_argument("--only", nargs="*", choices=sorted(FIXTURES), default=sorted(FIXTURES))
    args = parser.parse_args()
    for name in args.only:
        build, options = FIXTURES[name]
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / name
            model = build().to(getattr(torch, options.get("dtype", "float32")))
            model.save_pretrained(source)
            doc = export_hf.export(source, args.out / name, command="scripts/make_fixtures.py", **options,
                                   extra={"weights": "random", "seeds": "in scripts/make_fixtures.py"})
            export_hf.write_golden(source, args.out / name)
        print(f"{name}: {doc['nodes']} nodes, {doc['bytes']} bytes")


if __name__ == "__main__":
    main()

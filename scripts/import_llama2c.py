#!/usr/bin/env python3
"""Loads a llama2.c legacy checkpoint into transformers.LlamaForCausalLM and saves it as a HuggingFace folder.

    python scripts/import_llama2c.py MODEL.bin OUT_DIR

The file is 7 int32 (dim, hidden_dim, layers, heads, kv heads, vocab, sequence; a negative vocab means an untied head)
and then float32 arrays, one kind for all layers at a time. llama2.c rotates neighbouring pairs while HuggingFace
rotates the two halves of a head, so the rows of wq and wk are permuted; the products q.k do not change.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

BOS, EOS = 1, 2


def half_split(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows (head, pair, even/odd) -> (head, even/odd, pair)."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def load(path: Path) -> LlamaForCausalLM:
    raw = path.read_bytes()
    if len(raw) < 28:
        raise ValueError(f"{path} is too short for a llama2.c checkpoint")
    dim, hidden, layers, heads, kv_heads, vocab, length = struct.unpack("<7i", raw[:28])
    tied, vocab = vocab > 0, abs(vocab)
    if min(dim, hidden, layers, heads, kv_heads, vocab, length) <= 0 or dim % heads or heads % kv_heads:
        raise ValueError(f"{path} has no llama2.c legacy header")
    data = np.frombuffer(raw, "<f4", offset=28)
    head_dim, at = dim // heads, 0
    kv_dim = head_dim * kv_heads

    def take(*shape: int) -> np.ndarray:
        nonlocal at
        size = int(np.prod(shape))
        if at + size > len(data):
            raise ValueError(f"{path} ends before its weights do")
        at += size
        return data[at - size:at].reshape(shape)

    parts = {"embed_tokens": take(vocab, dim), "input_layernorm": take(layers, dim),
             "self_attn.q_proj": take(layers, dim, dim), "self_attn.k_proj": take(layers, kv_dim, dim),
             "self_attn.v_proj": take(layers, kv_dim, dim), "self_attn.o_proj": take(layers, dim, dim),
             "post_attention_layernorm": take(layers, dim), "mlp.gate_proj": take(layers, hidden, dim),
             "mlp.down_proj": take(layers, dim, hidden), "mlp.up_proj": take(layers, hidden, dim),
             "norm": take(dim)}
    take(2, length, head_dim // 2)  # rotary tables: HuggingFace computes its own
    head = parts["embed_tokens"] if tied else take(vocab, dim)

    state = {"model.embed_tokens.weight": parts.pop("embed_tokens"), "model.norm.weight": parts.pop("norm"),
             "lm_head.weight": head}
    for name, stacked in parts.items():
        for layer in range(layers):
            weight = stacked[layer]
            if name == "self_attn.q_proj":
                weight = half_split(weight, heads)
            elif name == "self_attn.k_proj":
                weight = half_split(weight, kv_heads)
            state[f"model.layers.{layer}.{name}.weight"] = weight
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=vocab, hidden_size=dim, intermediate_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=length, rms_norm_eps=1e-5,
        rope_theta=10000.0, tie_word_embeddings=tied, bos_token_id=BOS, eos_token_id=EOS))
    model.load_state_dict({name: torch.tensor(np.array(value)) for name, value in state.items()})
    return model.eval()


class Tokenizer:
    """llama2.c's tok.bin: int32 longest piece, then per id a float32 score, an int32 length and the bytes."""

    def __init__(self, path: Path):
        raw, at = path.read_bytes(), 4
        self.pieces, self.scores = [], []
        while at + 8 <= len(raw):
            score, size = struct.unpack_from("<fi", raw, at)
            self.pieces.append(raw[at + 8:at + 8 + size])
            self.scores.append(score)
            at += 8 + size
        self.ids = {piece: i for i, piece in reversed(list(enumerate(self.pieces)))}

    def encode(self, text: str) -> list[int]:
        """run.c's encode: a space in front, characters with byte fallback, then the best-scored merge until none."""
        ids = []
        for char in " " + text:
            piece = char.encode()
            ids += [self.ids[piece]] if piece in self.ids else [byte + 3 for byte in piece]
        while True:
            best = (-1e10, -1, -1)
            for i in range(len(ids) - 1):
                merged = self.ids.get(self.pieces[ids[i]] + self.pieces[ids[i + 1]])
                if merged is not None and self.scores[merged] > best[0]:
                    best = (self.scores[merged], i, merged)
            if best[1] < 0:
                return [BOS, *ids]
            ids[best[1]:best[1] + 2] = [best[2]]

    def decode(self, ids: list[int]) -> str:
        out = b""
        for i in ids:
            piece = self.pieces[i]
            is_byte = len(piece) == 6 and piece.startswith(b"<0x")
            out += bytes([int(piece[3:5], 16)]) if is_byte else piece
        return out.decode("utf-8", "replace")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    try:
        model = load(args.model)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    model.save_pretrained(args.out)
    print(f"{args.out}: {sum(p.numel() for p in model.parameters())} parameters")


if __name__ == "__main__":
    main()

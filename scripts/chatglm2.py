"""A decoder in the published form of ChatGLM2, whose own class is remote code that we neither ship nor run.

What the published form is: activations lie sequence first `[tokens, batch, hidden]`; RMSNorm; one merged projection
`query_key_value` with bias, split into heads * d, groups * d and groups * d; rotary embedding of neighbouring pairs on
the first half of each head, from a table of `(cos, sin)` pairs; keys and values expanded from 2 groups by a 5-D
`expand`; `dense_h_to_4h` makes both halves of SwiGLU; a head of its own without bias. The cache of the original is
`[tokens, batch, groups, d]` (`cache_first="tokens"`); with `cache_first="batch"` it is `[batch, groups, tokens, d]`.
"""

from __future__ import annotations

import dataclasses
import json
import types
from pathlib import Path

import torch
from torch import nn


@dataclasses.dataclass
class Config:
    vocab_size: int = 131
    hidden_size: int = 48
    num_layers: int = 2
    num_attention_heads: int = 4
    kv_channels: int = 12
    multi_query_group_num: int = 2
    ffn_hidden_size: int = 80
    seq_length: int = 160
    layernorm_epsilon: float = 1e-5
    cache_first: str = "batch"


class RMSNorm(nn.Module):
    def __init__(self, size: int, epsilon: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x):
        variance = x.to(torch.float32).pow(2).mean(-1, keepdim=True)
        return (self.weight * (x * torch.rsqrt(variance + self.epsilon))).to(x.dtype)


def rotary_table(length: int, dim: int) -> torch.Tensor:
    """[length, dim / 2, 2]: cosine and sine of position * 10000^(-2 i / dim)."""
    theta = 1.0 / (10000.0 ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    angle = torch.outer(torch.arange(length, dtype=torch.float32), theta)
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def rotate(x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """x [tokens, batch, heads, d]; table [tokens, batch, d / 4, 2] turns the first half of d, in neighbouring pairs."""
    tokens, heads, rotary = x.size(0), x.size(2), table.shape[-2] * 2
    x, rest = x[..., :rotary], x[..., rotary:]
    pairs = x.reshape(tokens, -1, heads, rotary // 2, 2)
    table = table.view(tokens, -1, 1, rotary // 2, 2)
    turned = torch.stack([pairs[..., 0] * table[..., 0] - pairs[..., 1] * table[..., 1],
                          pairs[..., 1] * table[..., 0] + pairs[..., 0] * table[..., 1]], -1).flatten(3)
    return torch.cat((turned, rest), dim=-1)


class Block(nn.Module):
    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        merged = (c.num_attention_heads + 2 * c.multi_query_group_num) * c.kv_channels
        self.input_layernorm = RMSNorm(c.hidden_size, c.layernorm_epsilon)
        self.query_key_value = nn.Linear(c.hidden_size, merged, bias=True)
        self.dense = nn.Linear(c.num_attention_heads * c.kv_channels, c.hidden_size, bias=False)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.layernorm_epsilon)
        self.dense_h_to_4h = nn.Linear(c.hidden_size, 2 * c.ffn_hidden_size, bias=False)
        self.dense_4h_to_h = nn.Linear(c.ffn_hidden_size, c.hidden_size, bias=False)

    def attend(self, x, mask, table, past):
        c, groups, d = self.c, self.c.multi_query_group_num, self.c.kv_channels
        q, k, v = self.query_key_value(x).split([c.num_attention_heads * d, groups * d, groups * d], dim=-1)
        q = rotate(q.view(q.size()[:-1] + (c.num_attention_heads, d)), table)
        k = rotate(k.view(k.size()[:-1] + (groups, d)), table)
        v = v.view(v.size()[:-1] + (groups, d))
        if c.cache_first == "tokens":
            k, v = torch.cat((past[0], k), dim=0), torch.cat((past[1], v), dim=0)
            present = (k, v)
        else:
            present = tuple(torch.cat((old, new.permute(1, 2, 0, 3)), dim=2) for old, new in zip(past, (k, v)))
            k, v = (part.permute(2, 0, 1, 3) for part in present)
        share = c.num_attention_heads // groups
        k, v = (part.unsqueeze(-2).expand(-1, -1, -1, share, -1).contiguous()
                .view(part.size()[:2] + (c.num_attention_heads, d)) for part in (k, v))
        q, k, v = (part.permute(1, 2, 0, 3) for part in (q, k, v))
        scores = torch.matmul(q, k.transpose(-1, -2)) / d ** 0.5
        weights = torch.softmax(scores.masked_fill(mask, float("-inf")).float(), dim=-1).to(v.dtype)
        context = torch.matmul(weights, v).permute(2, 0, 1, 3)
        return self.dense(context.reshape(context.size()[:2] + (c.num_attention_heads * d,))), present

    def forward(self, x, mask, table, past):
        attended, present = self.attend(self.input_layernorm(x), mask, table, past)
        x = x + attended
        gate, up = torch.chunk(self.dense_h_to_4h(self.post_attention_layernorm(x)), 2, dim=-1)
        return x + self.dense_4h_to_h(nn.functional.silu(gate) * up), present


class ChatGLM2(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.c = config
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.final_layernorm = RMSNorm(config.hidden_size, config.layernorm_epsilon)
        self.output_layer = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.register_buffer("table", rotary_table(config.seq_length, config.kv_channels // 2), persistent=False)

    @property
    def config(self):
        """What golden.py and export_hf.py ask of any model."""
        return types.SimpleNamespace(vocab_size=self.c.vocab_size)

    def get_input_embeddings(self):
        return self.word_embeddings

    def get_output_embeddings(self):
        return self.output_layer

    def empty_past(self, batch: int, tokens: int = 0) -> list[torch.Tensor]:
        groups, d = self.c.multi_query_group_num, self.c.kv_channels
        shape = (tokens, batch, groups, d) if self.c.cache_first == "tokens" else (batch, groups, tokens, d)
        return [torch.zeros(shape) for _ in range(2 * self.c.num_layers)]

    def run(self, input_ids, attention_mask, position_ids, past):
        total = attention_mask.shape[1]
        tokens = input_ids.shape[1]
        rows = torch.arange(total - tokens, total)[:, None]
        mask = (torch.arange(total)[None, :] > rows)[None, None] | (attention_mask[:, None, None, :] == 0)
        x = self.word_embeddings(input_ids).transpose(0, 1).contiguous()
        table = self.table[position_ids].transpose(0, 1).contiguous()
        presents = []
        for i, layer in enumerate(self.layers):
            x, present = layer(x, mask, table, past[2 * i:2 * i + 2])
            presents += present
        logits = self.output_layer(self.final_layernorm(x)).transpose(0, 1).contiguous()
        return (logits, *presents)

    def forward(self, input_ids, use_cache=False):
        """As golden.py calls a model: whole sequences, no cache."""
        tokens = input_ids.shape[1]
        out = self.run(input_ids, torch.ones_like(input_ids), torch.arange(tokens)[None], self.empty_past(1))
        return types.SimpleNamespace(logits=out[0])


class Exported(nn.Module):
    def __init__(self, model: ChatGLM2):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, *past):
        return self.model.run(input_ids, attention_mask, position_ids, list(past))


def export(model: ChatGLM2, out_dir: Path, opset: int = 17) -> None:
    """TorchScript export with past, and a config.json in the original's words."""
    tokens, past = 3, 5
    seq = 0 if model.c.cache_first == "tokens" else 2
    names = [f"{i}.{kind}" for i in range(model.c.num_layers) for kind in ("key", "value")]
    batch = {0: "batch_size"}
    axes = {"input_ids": {**batch, 1: "sequence_length"}, "position_ids": {**batch, 1: "sequence_length"},
            "attention_mask": {**batch, 1: "past_sequence_length + sequence_length"},
            "logits": {**batch, 1: "sequence_length"}}
    for prefix, length in (("past_key_values.", "past_sequence_length"),
                           ("present.", "past_sequence_length + sequence_length")):
        for name in names:
            axes[prefix + name] = {1 if seq == 0 else 0: "batch_size", seq: length}
    torch.onnx.export(
        Exported(model),
        (torch.ones(2, tokens, dtype=torch.int64), torch.ones(2, past + tokens, dtype=torch.int64),
         torch.arange(past, past + tokens)[None].repeat(2, 1), *model.empty_past(2, past)),
        str(out_dir / "model.onnx"), dynamo=False, opset_version=opset,
        input_names=["input_ids", "attention_mask", "position_ids", *("past_key_values." + n for n in names)],
        output_names=["logits", *("present." + n for n in names)], dynamic_axes=axes)
    words = {"model_type": "chatglm", "architectures": ["ChatGLMModel"], "eos_token_id": 1, "pad_token_id": 2,
             **{k: v for k, v in dataclasses.asdict(model.c).items() if k != "cache_first"}, "multi_query_attention":
             True, "rmsnorm": True, "add_qkv_bias": True, "add_bias_linear": False}
    (out_dir / "config.json").write_text(json.dumps(words, indent=1) + "\n")

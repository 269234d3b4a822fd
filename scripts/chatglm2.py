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
    if turned.dtype != x.dtype:  # the table stays float32 in a model of 16 bits
        turned = turned.to(x.dtype)
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
            if past:
                k, v = torch.cat((past[0], k), dim=0), torch.cat((past[1], v), dim=0)
            present = (k, v)
        else:
            present = tuple(new.permute(1, 2, 0, 3) for new in (k, v))
            if past:
                present = tuple(torch.cat(parts, dim=2) for parts in zip(past, present))
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

    def _apply(self, change, recurse=True):
        """Another type or device for the weights; the table stays float32, as its users keep it."""
        table = self.table
        super()._apply(change, recurse)
        self.table = table
        return self

    @property
    def length_axis(self) -> int:
        """Of a tensor of the cache, the axis that grows."""
        return 0 if self.c.cache_first == "tokens" else 2

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


@dataclasses.dataclass
class Form:
    """What an export takes and gives beside the ids and the logits."""

    attention_mask: bool = True
    position_ids: bool = True
    past_in: bool = True
    past_out: bool = True


class Exported(nn.Module):
    """Flat tensors in and out, in the order of `signature`."""

    def __init__(self, model: ChatGLM2, form: Form):
        super().__init__()
        self.model, self.form = model, form

    def forward(self, *values):
        left = list(values)
        input_ids = left.pop(0)
        mask = left.pop(0) if self.form.attention_mask else None
        positions = left.pop(0) if self.form.position_ids else None
        batch, tokens = input_ids.shape
        length = left[0].shape[self.model.length_axis] if left else 0
        if mask is None:
            mask = torch.ones(batch, length + tokens, dtype=torch.int64)
        if positions is None:
            positions = torch.arange(length, length + tokens)[None].expand(batch, -1)
        logits, *presents = self.model.run(input_ids, mask, positions, left)
        return (logits, *presents) if self.form.past_out else logits


def signature(model: ChatGLM2, form: Form, dtype: torch.dtype = torch.float32) -> tuple[dict, list[str], dict]:
    """(example inputs by name, names of the outputs, {name: {axis: the name of its length}})."""
    tokens, past = 3, 5 if form.past_in else 0
    length = model.length_axis
    names = [f"{i}.{kind}" for i in range(model.c.num_layers) for kind in ("key", "value")]
    batch, total = {0: "batch_size"}, "past_sequence_length + sequence_length" if past else "sequence_length"
    inputs = {"input_ids": torch.ones(2, tokens, dtype=torch.int64)}
    axes = {"input_ids": {**batch, 1: "sequence_length"}, "logits": {**batch, 1: "sequence_length"}}
    if form.attention_mask:
        inputs["attention_mask"] = torch.ones(2, past + tokens, dtype=torch.int64)
        axes["attention_mask"] = {**batch, 1: total}
    if form.position_ids:
        inputs["position_ids"] = torch.arange(past, past + tokens)[None].repeat(2, 1)
        axes["position_ids"] = {**batch, 1: "sequence_length"}
    outputs = ["logits"]
    of_batch = {1 if length == 0 else 0: "batch_size"}
    if form.past_in:
        inputs |= {"past_key_values." + n: t.to(dtype) for n, t in zip(names, model.empty_past(2, past), strict=True)}
        axes |= {"past_key_values." + n: {**of_batch, length: "past_sequence_length"} for n in names}
    if form.past_out:
        outputs += ["present." + n for n in names]
        axes |= {"present." + n: {**of_batch, length: total} for n in names}
    return inputs, outputs, axes


def export(model: ChatGLM2, out_dir: Path, opset: int = 17, form: Form = Form(), file: str = "model.onnx",
           dtype: torch.dtype = torch.float32) -> None:
    """TorchScript export, and a config.json in the original's words."""
    inputs, outputs, axes = signature(model, form, dtype)
    torch.onnx.export(Exported(model, form), tuple(inputs.values()), str(out_dir / file), dynamo=False,
                      opset_version=opset, input_names=list(inputs), output_names=outputs, dynamic_axes=axes)
    words = {"model_type": "chatglm", "architectures": ["ChatGLMModel"], "eos_token_id": 1, "pad_token_id": 2,
             **{k: v for k, v in dataclasses.asdict(model.c).items() if k != "cache_first"}, "multi_query_attention":
             True, "rmsnorm": True, "add_qkv_bias": True, "add_bias_linear": False}
    (out_dir / "config.json").write_text(json.dumps(words, indent=1) + "\n")

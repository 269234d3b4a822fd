"""GPT-2 in ONNX Runtime's fused operators with the packed past `[2, batch, heads, past, d]`, assembled by us.

onnxruntime.transformers once made this form (models/gpt2/convert_to_onnx.py), but its export stops in current
transformers (`unordered_map::at` in the mask's trace) and its optimizer no longer recognises the attention of a current
export. Operators, attributes and input names are those of that tool: EmbedLayerNormalization with the embedding sum,
Attention (unidirectional, past), SkipLayerNormalization with bias and the residual as fourth output, FastGelu with
bias.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    def __init__(self):
        self.nodes, self.initializers = [], []

    def weight(self, name: str, array) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def node(self, op: str, inputs: list[str], outputs: list[str], domain: str = "com.microsoft", **attributes) -> str:
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"{op}_{len(self.nodes)}", domain=domain,
                                           **attributes))
        return outputs[0]

    def matmul(self, x: str, weight: str, out: str) -> str:
        return self.node("MatMul", [x, weight], [out], domain="")


def gpt2(model) -> onnx.ModelProto:
    """`model` is a GPT2LMHeadModel in float32."""
    config = model.config
    heads, hidden, epsilon = config.n_head, config.n_embd, config.layer_norm_epsilon
    state = {k: v.detach().numpy() for k, v in model.state_dict().items()}
    b = Builder()
    table = b.weight("wte", state["transformer.wte.weight"])
    blocks = [f"transformer.h.{i}" for i in range(config.n_layer)]

    def norm_weights(name: str) -> list[str]:
        return [b.weight(f"{name}.{part}", state[f"{name}.{part}"]) for part in ("weight", "bias")]

    def cast32(name: str) -> str:
        return b.node("Cast", [name], [name + ".int32"], domain="", to=TensorProto.INT32)

    x, total = "embedding_norm", "embedding_sum"
    b.node("EmbedLayerNormalization",
           [cast32("input_ids"), "", table, b.weight("wpe", state["transformer.wpe.weight"]), "",
            *norm_weights(f"{blocks[0]}.ln_1"), "", cast32("position_ids")], [x, "", total], epsilon=epsilon)
    mask = cast32("attention_mask")
    for i, block in enumerate(blocks):
        qkv = [b.weight(f"{block}.qkv.{part}", state[f"{block}.attn.c_attn.{part}"]) for part in ("weight", "bias")]
        attended = b.node("Attention", [x, *qkv, mask, f"past_{i}"], [f"attention_{i}", f"present_{i}"],
                          num_heads=heads, unidirectional=1)
        out = b.matmul(attended, b.weight(f"{block}.proj", state[f"{block}.attn.c_proj.weight"]), f"projected_{i}")
        x, before = f"norm_{i}.2", total
        total = f"sum_{i}.1"
        bias = b.weight(f"{block}.proj.bias", state[f"{block}.attn.c_proj.bias"])
        b.node("SkipLayerNormalization", [before, out, *norm_weights(f"{block}.ln_2"), bias], [x, "", "", total],
               epsilon=epsilon)
        inner = b.matmul(x, b.weight(f"{block}.fc", state[f"{block}.mlp.c_fc.weight"]), f"inner_{i}")
        bias = b.weight(f"{block}.fc.bias", state[f"{block}.mlp.c_fc.bias"])
        inner = b.node("FastGelu", [inner, bias], [f"gelu_{i}"])
        out = b.matmul(inner, b.weight(f"{block}.down", state[f"{block}.mlp.c_proj.weight"]), f"mlp_{i}")
        following = f"{blocks[i + 1]}.ln_1" if i + 1 < len(blocks) else "transformer.ln_f"
        x, before = f"norm_{i}.1", total
        total = f"sum_{i}.2"
        bias = b.weight(f"{block}.down.bias", state[f"{block}.mlp.c_proj.bias"])
        b.node("SkipLayerNormalization", [before, out, *norm_weights(following), bias], [x, "", "", total],
               epsilon=epsilon)
    b.matmul(x, b.weight("head", state["transformer.wte.weight"].T), "logits")

    def value(name: str, kind: int, shape: list):
        return helper.make_tensor_value_info(name, kind, shape)

    integer, real = TensorProto.INT64, TensorProto.FLOAT
    inputs = [value("input_ids", integer, ["batch_size", "seq_len"]),
              value("position_ids", integer, ["batch_size", "seq_len"]),
              value("attention_mask", integer, ["batch_size", "total_seq_len"])]
    outputs = [value("logits", real, ["batch_size", "seq_len", config.vocab_size])]
    for i in range(config.n_layer):
        inputs.append(value(f"past_{i}", real, [2, "batch_size", heads, "past_seq_len", hidden // heads]))
        outputs.append(value(f"present_{i}", real, [2, "batch_size", heads, "total_seq_len", hidden // heads]))
    graph = helper.make_graph(b.nodes, "gpt2_packed_past", inputs, outputs, b.initializers)
    return helper.make_model(graph, ir_version=8, producer_name="scripts/zoo_fused.py",
                             opset_imports=[helper.make_opsetid("", 14), helper.make_opsetid("com.microsoft", 1)])

"""Writes contrib_cases.json: ONNX Runtime's own results for its fused operators on small random
inputs, as numbers that the C++ tests read (the format of onnx_cases.json, plus a domain).

  python make_contrib_cases.py        needs onnx, onnxruntime and numpy (scripts' environment A)
"""
import json
import os

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = {np.dtype("float32"): 1, np.dtype("uint8"): 2, np.dtype("int8"): 3, np.dtype("int32"): 6,
         np.dtype("int64"): 7, np.dtype("bool"): 9}
rng = np.random.default_rng(3)
cases = []


def tensor(array):
    values = []
    for value in np.asarray(array).reshape(-1).tolist():
        values.append(float(f"{value:.8g}") if isinstance(value, float) else int(value))
    return {"type": TYPES[np.asarray(array).dtype], "shape": list(np.shape(array)),
            "values": values}


def attribute(value):
    if isinstance(value, list):
        return {"ints": value}
    if isinstance(value, float):
        return {"float": float(np.float32(value))}
    return {"string": value} if isinstance(value, str) else {"int": value}


def case(name, op, inputs, outputs, domain="com.microsoft", **attributes):
    """inputs: arrays or None; outputs: how many, or flags which are wanted."""
    wanted = [True] * outputs if isinstance(outputs, int) else outputs
    inputs = [None if x is None else np.asarray(x) for x in inputs]
    node = helper.make_node(op, ["" if x is None else f"i{k}" for k, x in enumerate(inputs)],
                            [f"o{k}" if flag else "" for k, flag in enumerate(wanted)],
                            domain=domain, **attributes)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info(f"i{k}", TYPES[x.dtype], x.shape)
         for k, x in enumerate(inputs) if x is not None],
        [onnx.ValueInfoProto(name=f"o{k}") for k, flag in enumerate(wanted) if flag])
    model = helper.make_model(graph, ir_version=10, opset_imports=[
        helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)])
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    results = iter(session.run(None, {f"i{k}": x for k, x in enumerate(inputs) if x is not None}))
    cases.append({
        "name": name, "op": op, "domain": domain, "opset": 21,
        "attributes": {key: attribute(value) for key, value in attributes.items()},
        "inputs": [None if x is None else tensor(x) for x in inputs],
        "outputs": [tensor(next(results)) if flag else None for flag in wanted]})


def floats(*shape):
    return rng.normal(size=shape).round(3).astype(np.float32)


def tables(rows, pairs):
    angles = np.arange(rows)[:, None] * (0.3 ** np.arange(pairs))[None]
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


# ---- norms and activations
x, skip, gamma, beta, bias = floats(1, 3, 8), floats(1, 3, 8), floats(8), floats(8), floats(8)
case("skip layer norm", "SkipLayerNormalization", [x, skip, gamma, beta], 1, epsilon=1e-5)
case("skip layer norm, bias and sum", "SkipLayerNormalization", [x, skip, gamma, beta, bias],
     [True, False, False, True], epsilon=1e-5)
case("skip layer norm without beta", "SkipLayerNormalization", [x, skip, gamma], 1, epsilon=1e-5)
case("skip rms norm, sum", "SkipSimplifiedLayerNormalization", [x, skip, gamma],
     [True, False, False, True], epsilon=1e-5)
case("skip rms norm, bias and sum", "SkipSimplifiedLayerNormalization", [x, skip, gamma, bias],
     [True, False, False, True], epsilon=1e-5)
case("rms norm", "SimplifiedLayerNormalization", [x, gamma], 1, domain="", axis=-1, epsilon=1e-5)
ids, segments = np.array([[3, 1, 4]], np.int32), np.array([[0, 1, 1]], np.int32)
words, places, kinds = floats(7, 8), floats(5, 8), floats(2, 8)
case("embed norm", "EmbedLayerNormalization", [ids, None, words, places, None, gamma, beta], 2,
     epsilon=1e-5)
case("embed norm, segments, positions and sum", "EmbedLayerNormalization",
     [ids, segments, words, places, kinds, gamma, beta, None, np.array([[2, 3, 4]], np.int32)],
     [True, True, True], epsilon=1e-5)
case("bias gelu", "BiasGelu", [x, bias], 1)
case("fast gelu", "FastGelu", [x], 1)
case("fast gelu, bias", "FastGelu", [x, bias], 1)
case("gelu", "Gelu", [x], 1)
case("quick gelu", "QuickGelu", [x], 1, alpha=1.702)
case("quick gelu, alpha 1", "QuickGelu", [x], 1, alpha=1.0)
case("fused matmul", "FusedMatMul", [floats(1, 3, 8), floats(5, 8)], 1, transB=1, alpha=0.25)
case("fused matmul, both turned", "FusedMatMul", [floats(2, 4, 3), floats(2, 5, 4)], 1, transA=1,
     transB=1)

# ---- rotation
c, s = tables(9, 4)
for interleaved in (0, 1):
    case(f"rotary rows {interleaved}", "RotaryEmbedding",
         [floats(1, 3, 16), np.array([[2, 3, 4]], np.int64), c, s], 1, interleaved=interleaved)
    case(f"rotary heads at an offset {interleaved}", "RotaryEmbedding",
         [floats(1, 2, 3, 8), np.array([5], np.int64), c, s], 1, interleaved=interleaved)
    c2, s2 = tables(9, 2)
    case(f"rotary, part of the head {interleaved}", "RotaryEmbedding",
         [floats(1, 3, 16), np.array([[2, 3, 4]], np.int64), c2, s2], 1, interleaved=interleaved,
         num_heads=2, rotary_embedding_dim=4)

# ---- attention with packed weights
heads, width, tokens, past = 2, 4, 3, 2
weight, qkv_bias, rows = floats(6, 24), floats(24), floats(1, tokens, 6)
packed = floats(2, 1, heads, past, width)
case("attention, causal", "Attention", [rows, weight, qkv_bias], 1, num_heads=heads,
     unidirectional=1)
case("attention, causal, packed past", "Attention", [rows, weight, qkv_bias, None, packed], 2,
     num_heads=heads, unidirectional=1)
case("attention, causal, mask, packed past", "Attention",
     [rows, weight, qkv_bias, np.ones((1, past + tokens), np.int32), packed], 2, num_heads=heads,
     unidirectional=1, mask_filter_value=-3.4028235e38)
case("attention, mask with holes", "Attention",
     [rows, weight, qkv_bias, np.array([[0, 1, 1]], np.int32)], 1, num_heads=heads)
case("attention, scale and bias of the scores", "Attention",
     [rows, weight, qkv_bias, None, None, floats(1, heads, tokens, tokens)], 1,
     num_heads=heads, unidirectional=1, scale=0.3)
case("attention, values of another width", "Attention",
     [rows, floats(6, 8 + 8 + 12), floats(28)], 1, num_heads=heads, unidirectional=1,
     qkv_hidden_sizes=[8, 8, 12])

# ---- multi-head attention
q, k, v = floats(1, tokens, 8), floats(1, tokens, 8), floats(1, tokens, 8)
past_k, past_v = floats(1, heads, past, width), floats(1, heads, past, width)
case("multi-head", "MultiHeadAttention", [q, k, v], 1, num_heads=heads)
case("multi-head, causal, past", "MultiHeadAttention",
     [q, k, v, None, None, None, past_k, past_v], 3, num_heads=heads, unidirectional=1)
case("multi-head, bias, mask of the scores, past", "MultiHeadAttention",
     [q, k, v, floats(24), None, floats(1, heads, tokens, past + tokens), past_k, past_v], 3,
     num_heads=heads, scale=0.4)
case("multi-head, causal, padding mask, past", "MultiHeadAttention",
     [q, k, v, None, np.ones((1, past + tokens), np.int32), None, past_k, past_v], 3,
     num_heads=heads, unidirectional=1)

# ---- grouped queries
kv_heads, width = 2, 32  # ONNX Runtime rotates heads of multiples of 16, by tables of multiples of 8
heads = 4


def grouped(name, tokens, past, packed=False, extra=(), **attributes):
    q = floats(1, tokens, heads * width)
    k, v = floats(1, tokens, kv_heads * width), floats(1, tokens, kv_heads * width)
    inputs = [np.concatenate([q, k, v], -1), None, None] if packed else [q, k, v]
    inputs += [floats(1, kv_heads, past, width), floats(1, kv_heads, past, width),
               np.array([past + tokens - 1], np.int32), np.array([past + tokens], np.int32)]
    case(name, "GroupQueryAttention", inputs + list(extra), 3, num_heads=heads,
         kv_num_heads=kv_heads, **attributes)


full, part = tables(6, 16), tables(6, 8)
for tokens, past in ((4, 0), (1, 5)):
    label = f"grouped, {tokens} behind {past}"
    grouped(label, tokens, past)
    grouped(label + ", packed", tokens, past, packed=True)
    grouped(label + ", rotation", tokens, past, extra=full, do_rotary=1)
    grouped(label + ", packed, interleaved rotation", tokens, past, packed=True, extra=full,
            do_rotary=1, rotary_interleaved=1)
    grouped(label + ", partial rotation", tokens, past, extra=part, do_rotary=1)
    grouped(label + ", window", tokens, past, local_window_size=2)
    grouped(label + ", soft cap", tokens, past, softcap=1.5, scale=0.9)

# ---- integer codes
for bits, zeros, n_bias in ((4, False, False), (4, True, True), (8, False, True), (8, True, False)):
    n, k, block = 5, 40, 16
    blocks = -(-k // block)
    inputs = [floats(1, 2, k), rng.integers(0, 256, (n, blocks, block * bits // 8), np.uint8),
              rng.uniform(0.1, 1, (n, blocks)).astype(np.float32)]
    row = -(-blocks * bits // 8)
    inputs.append(rng.integers(0, 256, (n, row), np.uint8) if zeros else None)
    inputs += [None, floats(n)] if n_bias else []
    case(f"n bits: {bits}, zero points {zeros}, bias {n_bias}", "MatMulNBits", inputs, 1, K=k, N=n,
         bits=bits, block_size=block)
for bits, zeros in ((4, False), (4, True), (8, False)):
    inputs = [rng.integers(0, 256, (6, 32 * bits // 8), np.uint8), np.array([[4, 0]], np.int64),
              rng.uniform(0.1, 1, (6, 2)).astype(np.float32)]
    if zeros:
        inputs.append(rng.integers(0, 256, (6, 1), np.uint8))
    case(f"gather blocks of bytes: {bits}, zero points {zeros}", "GatherBlockQuantized", inputs, 1,
         bits=bits, block_size=16, gather_axis=0, quantize_axis=1)
codes = rng.integers(0, 256, (6, 5), np.uint8)
case("dequantise, one scale", "DequantizeLinear",
     [codes, np.float32(0.1), np.uint8(120)], 1, domain="")
case("dequantise, by column", "DequantizeLinear",
     [codes, rng.uniform(0.1, 1, 5).astype(np.float32), rng.integers(0, 256, 5, np.uint8)], 1,
     domain="", axis=1)
case("dequantise, by row", "DequantizeLinear",
     [codes.astype(np.int8), rng.uniform(0.1, 1, 6).astype(np.float32)], 1, domain="", axis=0)
case("dequantise, blocks of rows", "DequantizeLinear",
     [codes, rng.uniform(0.1, 1, (3, 5)).astype(np.float32),
      rng.integers(0, 256, (3, 5), np.uint8)], 1, domain="", axis=0, block_size=2)
case("dynamic product", "DynamicQuantizeMatMul",
     [floats(1, 3, 6), codes, np.float32(0.02), np.uint8(120), floats(5)], 1)
case("integer product to float", "MatMulIntegerToFloat",
     [rng.integers(0, 256, (3, 6), np.uint8), codes, np.float32(0.1), np.float32(0.2),
      np.uint8(9), np.uint8(100), floats(5)], 1)
case("fused matmul, rows before batches", "FusedMatMul", [floats(3, 2, 8), floats(4, 2, 8)], 1,
     transBatchA=1, transBatchB=1, transB=1, alpha=0.5)
case("fused matmul, rows before batches, turned", "FusedMatMul",
     [floats(3, 2, 2, 4), floats(2, 2, 3, 5)], 1, transBatchA=1, transA=1)

with open(os.path.join(HERE, "contrib_cases.json"), "w") as file:
    file.write('{"cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n")
print(len(cases), "cases")

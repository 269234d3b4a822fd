#!/usr/bin/env python3
"""Pre-quantised forms of the zoo: onnxruntime's quantisers on the main form of each structure.

    python scripts/zoo_quant.py OUT [--only STRUCTURE ...] [--forms FORM ...]

(environment B: MatMulNBitsQuantizer needs onnx_ir). The judge of a quantised form is ONNX Runtime on the file itself,
because PyTorch never saw these weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np
import onnx
from onnx import numpy_helper

import make_zoo
import zoo_check
from zoo_forms import Job

FORMS: dict[str, Callable[[Job], dict]] = {}


def form(name: str):
    def register(function):
        FORMS[name] = function
        return function

    return register


def own_rows(job: Job, file: Path, note: str) -> None:
    """Golden rows by ONNX Runtime on the file itself."""
    prompt, continuation = zoo_check.prompt_and_continuation()
    rows = zoo_check.onnx_rows(file, [prompt, *([t] for t in continuation)])
    zoo_check.write_rows(job.out, rows, note)


def matmul_nbits(symmetric: bool, block: int, bits: int = 4, gather: bool = False) -> Callable[[Job], dict]:
    def make(job: Job) -> dict:
        from onnxruntime.quantization import matmul_nbits_quantizer as q

        model = onnx.load(job.main)
        if gather:
            lift_embedding(model)
        config = q.DefaultWeightOnlyQuantConfig(
            block_size=block, is_symmetric=symmetric, bits=bits,
            op_types_to_quantize=("MatMul", "Gather") if gather else ("MatMul",),
            quant_axes=(("MatMul", 0), ("Gather", 1)))
        quantiser = q.MatMulNBitsQuantizer(model, algo_config=config)
        quantiser.process()
        onnx.save_model(quantiser.model.model, job.out / "model.onnx")
        made = [n.op_type for n in quantiser.model.model.graph.node]
        wanted = "GatherBlockQuantized" if gather else "MatMulNBits"
        if wanted not in made:
            raise RuntimeError(f"MatMulNBitsQuantizer made no {wanted}")
        own_rows(job, job.out / "model.onnx", "ONNX Runtime on this very file")
        return {"tool": f"onnxruntime MatMulNBitsQuantizer, bits {bits}, block {block}, "
                + ("symmetric (no zero points)" if symmetric else "with zero points"),
                "quantised": {op: made.count(op) for op in ("MatMulNBits", "GatherBlockQuantized") if op in made}}

    return make


def lift_embedding(model: onnx.ModelProto) -> None:
    """Gives a Gather its own initialiser where the exporter stored the table once for embedding and head."""
    graph = model.graph
    if any(i.name == n.input[0] for n in graph.node if n.op_type == "Gather" for i in graph.initializer
           if len(i.dims) == 2):
        return
    raise RuntimeError("no Gather reads a matrix that is an initialiser")


form("q4")(matmul_nbits(True, 16))
form("q4-zp")(matmul_nbits(False, 16))
form("q4-b32")(matmul_nbits(True, 32))
form("q4-gather")(matmul_nbits(True, 16, gather=True))
form("q4-gather-zp")(matmul_nbits(False, 16, gather=True))
form("q8")(matmul_nbits(True, 16, bits=8))


def dequantised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The float graph of a dynamic-int8 one: DynamicQuantizeLinear, MatMulInteger, Cast, Mul -> MatMul of the weights
    that the file holds. It is what remains when activations are not rounded, and what a converter recovers."""
    graph = model.graph
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    made = {o: n for n in graph.node for o in n.output}
    readers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    drop, replace = set(), {}
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        cast = readers[node.output[0]][0]
        final = readers[cast.output[0]][0]
        scales = made[next(i for i in final.input if i != cast.output[0])]
        scale = values[node.input[1].removesuffix("_quantized") + "_scale"]
        zero = values[node.input[3]] if len(node.input) > 3 and node.input[3] else np.uint8(0)
        weight = ((values[node.input[1]].astype(np.float32) - zero.astype(np.float32)) * scale).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(weight, node.input[1] + ".float"))
        quantise = made[node.input[0]]
        if quantise.op_type == "DynamicQuantizeLinear":
            rows = quantise.input[0]
        else:  # rows of a quantised table: the tool reads their codes as they are, and somebody else their values
            rows = next(n.output[0] for n in readers[node.input[0]] if n.op_type == "DequantizeLinear")
        replace[id(final)] = onnx.helper.make_node("MatMul", [rows, node.input[1] + ".float"], list(final.output),
                                                   final.name)
        drop |= {id(node), id(cast), id(scales)}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in values:
            scale, zero = (values[n] for n in node.input[1:3])
            weight = ((values[node.input[0]].astype(np.float32) - zero.astype(np.float32)) * scale).astype(np.float32)
            graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
            drop.add(id(node))
    nodes = [replace.get(id(n), n) for n in graph.node if id(n) not in drop]
    del graph.node[:]
    graph.node.extend(nodes)
    used = {i for n in graph.node for i in n.input}
    nodes = [n for n in graph.node if n.op_type != "DynamicQuantizeLinear" or any(o in used for o in n.output)]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


@form("int8-dynamic")
def int8_dynamic(job: Job) -> dict:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    file = job.out / "model.onnx"
    quantize_dynamic(str(job.main), str(file), weight_type=QuantType.QInt8, per_channel=False)
    made = [n.op_type for n in onnx.load(file).graph.node]
    if "MatMulInteger" not in made:
        raise RuntimeError("quantize_dynamic made no MatMulInteger")
    plain = job.out / "float.tmp.onnx"
    onnx.save_model(dequantised(onnx.load(file)), plain)
    prompt, continuation = zoo_check.prompt_and_continuation()
    steps = [prompt, *([t] for t in continuation)]
    rows = zoo_check.onnx_rows(plain, steps)
    plain.unlink()
    zoo_check.write_rows(job.out, rows, "ONNX Runtime, float graph of the file's dequantised weights "
                         "(activations are not rounded)")
    return {"tool": "onnxruntime quantize_dynamic, QInt8", "own_rows": "dequantised weights, float activations",
            "quantised": {op: made.count(op) for op in ("MatMulInteger", "DynamicQuantizeLinear") if op in made},
            "onnxruntime_rounded_activations": zoo_check.relative_l2(zoo_check.onnx_rows(file, steps), rows)}


def main() -> None:
    make_zoo.run(__doc__, FORMS, needs_model=False)


if __name__ == "__main__":
    main()

"""Writes onnx_cases.json: the node tests that the onnx package ships for the operators of
converter/ir/operators.cpp, as small numbers that the C++ tests read.

  python make_onnx_cases.py        needs onnx and numpy (scripts' environment A)

Kept are cases of one node with tensors of at most MOST elements in the types that the reference
executor holds; the graph's own inputs and outputs are what onnx's authors computed with numpy.
"""
import json
import os
import re

import numpy as np
import onnx
from onnx import AttributeProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

MOST = 400
MOST_OF_SLICE = 1100  # onnx has no smaller ones
PER_OPERATOR = 9
PER_FUSED_OPERATOR = 30  # operators with many options: Attention, RotaryEmbedding
HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float64": 11,
}


def tensor(array):
    array = np.asarray(array)
    values = []
    for value in array.reshape(-1).tolist():
        if isinstance(value, float):
            value = str(value) if not np.isfinite(value) else float(f"{value:.8g}")
        values.append(int(value) if isinstance(value, bool) else value)
    return {"type": TYPES[str(array.dtype)], "shape": list(array.shape), "values": values}


def attribute(a):
    if a.type == AttributeProto.TENSOR:
        return {"tensor": tensor(numpy_helper.to_array(a.t))}
    value = onnx.helper.get_attribute_value(a)
    return {
        AttributeProto.INT: lambda: {"int": value},
        AttributeProto.FLOAT: lambda: {"float": value},
        AttributeProto.STRING: lambda: {"string": value.decode()},
        AttributeProto.INTS: lambda: {"ints": list(value)},
        AttributeProto.FLOATS: lambda: {"floats": list(value)},
    }[a.type]()


def rows_of_the_table():
    text = open(os.path.join(HERE, "../../converter/ir/operators.cpp")).read()
    return set(re.findall(r'\{"", "(\w+)"', text))


def main():
    wanted, count, cases = rows_of_the_table(), {}, []
    for case in sorted(collect_testcases(""), key=lambda c: c.name):
        graph = case.model.graph
        if len(graph.node) != 1 or graph.node[0].op_type not in wanted or graph.node[0].domain:
            continue
        node, (inputs, outputs) = graph.node[0], case.data_sets[0]
        fused = node.op_type in ("Attention", "RotaryEmbedding")
        if count.get(node.op_type, 0) >= (PER_FUSED_OPERATOR if fused else PER_OPERATOR) or "training" in case.name:
            continue
        if node.op_type == "Pad" and any(a.name == "mode" and a.s != b"constant"
                                         for a in node.attribute):
            continue  # refused by the importer's table
        try:
            given = {v.name: tensor(x) for v, x in zip(graph.input, inputs)}
            made = {v.name: tensor(x) for v, x in zip(graph.output, outputs)}
            attributes = {a.name: attribute(a) for a in node.attribute}
        except (KeyError, AttributeError, TypeError, ValueError):
            continue  # a type that the reference executor does not hold
        most = MOST_OF_SLICE if node.op_type == "Slice" else MOST
        if any(len(t["values"]) > most for t in [*given.values(), *made.values()]):
            continue
        count[node.op_type] = count.get(node.op_type, 0) + 1
        cases.append({
            "name": case.name, "op": node.op_type,
            "opset": case.model.opset_import[0].version,
            "attributes": attributes,
            "inputs": [given.get(name) for name in node.input],
            "outputs": [made.get(name) for name in node.output],
        })
    with open(os.path.join(HERE, "onnx_cases.json"), "w") as out:
        out.write('{"made_by": "onnx %s, make_onnx_cases.py",\n"cases": [\n' % onnx.__version__)
        out.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases))
        out.write("\n]}\n")
    print(len(cases), "cases;", "none for", sorted(wanted - set(count)))


if __name__ == "__main__":
    main()

"""A HuggingFace decoder in PyTorch with the weights of its own ONNX export (environment A).

The export's folder has config.json beside model.onnx. Constants that carry a parameter's name are that parameter; the
constant of a product without a bias is named by the exporter's node, /model/layers.0/mlp/up_proj/MatMul, and lies
transposed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import onnx
import torch
from onnx import numpy_helper
from transformers import AutoConfig, AutoModelForCausalLM


class Place(NamedTuple):
    """Where a constant of the ONNX file lies in the model."""
    parameter: str
    transposed: bool


def places(graph: onnx.GraphProto, parameters: set[str]) -> dict[str, Place]:
    constants = {one.name for one in graph.initializer}
    found = {name: Place(name, False) for name in constants & parameters}
    for node in graph.node:
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in constants or node.input[1] in found:
            continue
        parameter = ".".join(node.name.strip("/").split("/")[:-1]) + ".weight"
        kept = node.op_type == "Gemm" and any(one.name == "transB" and one.i for one in node.attribute)
        if parameter in parameters:
            found[node.input[1]] = Place(parameter, not kept)
    return found


@torch.no_grad()
def load(folder: Path) -> tuple[torch.nn.Module, dict[str, Place]]:
    """The model in floats, and the place of each constant that is a parameter."""
    graph = onnx.load(str(folder / "model.onnx")).graph
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).float().eval()
    parameters = dict(model.named_parameters())
    found = places(graph, set(parameters))
    missing = set(parameters) - {place.parameter for place in found.values()}
    if missing:
        sys.exit(f"{folder}: no constant of model.onnx is {min(missing)} ({len(missing)} parameters are missing)")
    for one in graph.initializer:
        if one.name not in found:
            continue
        values = torch.from_numpy(numpy_helper.to_array(one).astype("float32"))
        place = found[one.name]
        values = values.T if place.transposed else values
        if values.shape != parameters[place.parameter].shape:
            sys.exit(f"{folder}: {one.name} is {tuple(values.shape)} and {place.parameter} "
                     f"{tuple(parameters[place.parameter].shape)}")
        parameters[place.parameter].copy_(values)
    return model, found

#!/usr/bin/env python3
"""The forms of `torch.onnx.export(dynamo=True)`: one torch.export per attention implementation, one file per opset.

    python scripts/zoo_dynamo.py OUT [--only STRUCTURE ...] [--forms FORM ...] [--missing]     (environment B)

From the checkpoints that make_zoo.py left in OUT/<structure>/source, with the golden rows beside them. `dyn<N>` is
opset N: below 23 with eager attention, from 23 on with sdpa, which the exporter then writes as the standard Attention
operator. `dyn23-std` adds onnxscript's fusions to standard operators (RMSNormalization, RotaryEmbedding); `dyn18-ort`
its fusions to ONNX Runtime's operators.
"""

from __future__ import annotations

import inspect
from typing import Callable

import numpy as np
import onnx
import torch

import chatglm2
import export_hf
import golden
import make_zoo
import zoo_check
import zoo_models
from zoo_forms import Job

FORMS: dict[str, Callable[[Job], dict]] = {}
PROGRAMS: dict[tuple, tuple] = {}        # of the structure that is being exported
CONVERTED: dict[tuple, object] = {}      # its ONNX programs that are saved and that a fusion may take and change


class WithPast(torch.nn.Module):
    """Flat tensors in and out; what the class's forward does not take is not passed on."""

    def __init__(self, model: torch.nn.Module, has_positions: bool):
        super().__init__()
        self.model, self.has_positions = model, has_positions

    def forward(self, input_ids, attention_mask, position_ids, *past):
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        more = {"position_ids": position_ids} if self.has_positions else {}
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True,
                         **more)
        present = [part for layer in out.past_key_values.layers for part in (layer.keys, layer.values)]
        return (out.logits, *present)


class WithoutPositions(WithPast):
    def forward(self, input_ids, attention_mask, *past):
        return super().forward(input_ids, attention_mask, None, *past)


def loaded(job: Job, attention: str, dtype: torch.dtype) -> torch.nn.Module:
    """The checkpoint of make_zoo.py; our module, which has none, is built again with the same weights."""
    from transformers import AutoModelForCausalLM

    source = job.root / job.name / "source"
    if not (source / "config.json").exists():
        return zoo_models.build(job.name, zoo_check.ids()[0]).to(dtype)
    try:
        return AutoModelForCausalLM.from_pretrained(source, dtype=dtype, attn_implementation=attention).eval()
    except ValueError:  # the class has no sdpa
        return AutoModelForCausalLM.from_pretrained(source, dtype=dtype, attn_implementation="eager").eval()


def signature(job: Job, model: torch.nn.Module, dtype: torch.dtype) -> tuple:
    """(module of flat tensors, {input: example}, output names, dynamic shapes)."""
    batch, dynamic = torch.export.Dim("batch_size"), torch.export.Dim.DYNAMIC
    tokens, past = torch.export.Dim("sequence_length"), torch.export.Dim("past_sequence_length")
    if isinstance(model, chatglm2.ChatGLM2):
        inputs, outputs, axes = chatglm2.signature(model, chatglm2.Form(), dtype)
        lengths = {"batch_size": batch, "sequence_length": tokens, "past_sequence_length": past}
        dims = tuple({axis: lengths.get(length, dynamic) for axis, length in axes[name].items()} for name in inputs)
        return chatglm2.Exported(model, chatglm2.Form()), inputs, outputs, (dims,)
    shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim]
              for v in onnx.load(job.main, load_external_data=False).graph.input if v.name.startswith("past")]
    has_positions = "position_ids" in inspect.signature(model.forward).parameters
    names = [f"{i}.{kind}" for i in range(len(shapes) // 2) for kind in ("key", "value")]
    inputs = {"input_ids": torch.ones(2, 3, dtype=torch.int64), "attention_mask": torch.ones(2, 8, dtype=torch.int64)}
    dims = [{0: batch, 1: tokens}, {0: batch, 1: dynamic}]
    if has_positions:
        inputs["position_ids"] = torch.arange(5, 8)[None].repeat(2, 1)
        dims.append({0: batch, 1: tokens})
    inputs |= {"past_key_values." + n: torch.zeros(2, s[1], 5, s[3], dtype=dtype) for n, s in zip(names, shapes)}
    dims.append(tuple({0: batch, 2: past} for _ in names))
    wrapper = (WithPast if has_positions else WithoutPositions)(model, has_positions)
    return wrapper, inputs, ["logits", *("present." + n for n in names)], tuple(dims)


def exported(job: Job, attention: str, dtype: torch.dtype = torch.float32):
    """(program, input names, output names), kept for the other forms of this structure."""
    key = (job.name, attention, dtype)
    if key in PROGRAMS:
        return PROGRAMS[key]
    if PROGRAMS and next(iter(PROGRAMS))[0] != job.name:
        PROGRAMS.clear()
        CONVERTED.clear()
    wrapper, inputs, outputs, dims = signature(job, loaded(job, attention, dtype), dtype)
    with torch.no_grad():
        program = torch.export.export(wrapper, tuple(inputs.values()), dynamic_shapes=dims, strict=False)
    PROGRAMS[key] = (program, list(inputs), outputs)
    return PROGRAMS[key]


def to_onnx(job: Job, opset: int, attention: str, dtype: torch.dtype = torch.float32, optimize: bool = True):
    key = (job.name, opset, attention, dtype, optimize)
    if key in CONVERTED:
        return CONVERTED.pop(key)
    program, inputs, outputs = exported(job, attention, dtype)
    return torch.onnx.export(program, dynamo=True, opset_version=opset, external_data=False, input_names=inputs,
                             output_names=outputs, optimize=optimize, verbose=False)


def save(job: Job, program, opset: int) -> None:
    file = job.out / "model.onnx"
    program.save(str(file), external_data=False)
    export_hf.tidy_dynamo(file)
    imported = onnx.load(file, load_external_data=False).opset_import
    actual = next(o.version for o in imported if o.domain in ("", "ai.onnx"))
    if actual != opset:
        raise RuntimeError(f"asked for opset {opset}, the exporter wrote opset {actual}")


def own_rows(job: Job, attention: str) -> str:
    """Falcon's sdpa computes other numbers than its eager attention where ALiBi is on: the judge is then PyTorch with
    the attention that is exported. Returns a note for the index."""
    if attention == "eager":
        return ""
    rows = golden.logits_of(loaded(job, attention, torch.float32), zoo_check.ids()[0]).numpy()
    main = np.fromfile(job.root / job.name / "source" / "golden_logits.bin", "<f4").reshape(rows.shape)
    difference = zoo_check.relative_l2(rows, main)
    if difference < 1e-4:
        return ""
    zoo_check.write_rows(job.out, rows, f"PyTorch float32 with attention {attention}")
    return f", judged by PyTorch's {attention}, which is {difference:.1e} from its eager attention"


def with_opset(opset: int, attention: str) -> Callable[[Job], dict]:
    def make(job: Job) -> dict:
        program = to_onnx(job, opset, attention)
        save(job, program, opset)
        CONVERTED[job.name, opset, attention, torch.float32, True] = program
        return {"tool": f"torch.onnx.export(dynamo=True, opset_version={opset}), attention {attention}"
                + own_rows(job, attention)}

    return make


for number in range(18, 23):
    FORMS[f"dyn{number}"] = with_opset(number, "eager")
for number in range(23, onnx.defs.onnx_opset_version() + 1):
    FORMS[f"dyn{number}"] = with_opset(number, "sdpa")


def std(job: Job) -> dict:
    from onnxscript.rewriter import onnx_fusions

    program = to_onnx(job, 23, "sdpa")
    counts = onnx_fusions.fuse(program.model)
    save(job, program, 23)
    if not any(counts.values()):
        raise RuntimeError("onnxscript.rewriter.onnx_fusions fused nothing")
    return {"tool": "torch.onnx.export(dynamo=True, opset_version=23), onnxscript.rewriter.onnx_fusions"
            + own_rows(job, "sdpa"), "fused": counts}


def ort(attention: str) -> Callable[[Job], dict]:
    def make(job: Job) -> dict:
        from onnxscript.rewriter.ort_fusions import optimize_for_ort

        program = to_onnx(job, 18, attention)
        program.model, counts = optimize_for_ort(program.model)
        counts = {k: v for k, v in counts.items() if v}
        if not counts:
            raise RuntimeError("onnxscript.rewriter.ort_fusions fused nothing")
        file = job.out / "model.onnx"
        program.save(str(file), external_data=False)
        export_hf.tidy_dynamo(file)
        return {"tool": f"torch.onnx.export(dynamo=True, opset_version=18), attention {attention}, "
                "onnxscript.rewriter.ort_fusions" + own_rows(job, attention), "fused": counts}

    return make


def half(dtype: torch.dtype) -> Callable[[Job], dict]:
    """Weights and activations in 16 bits; judged by float32 with the rounded weights."""

    def make(job: Job) -> dict:
        program = to_onnx(job, 18, "eager", dtype)
        save(job, program, 18)
        model = loaded(job, "eager", dtype)
        with torch.no_grad():
            for part in model.modules():
                if type(part).__name__.endswith("LayerNorm1P"):  # adds 1 in `dtype`: the file holds that sum, rounded
                    part.weight.data = (part.weight + 1).float() - 1
        rows = golden.logits_of(model.float(), zoo_check.ids()[0]).numpy()
        zoo_check.write_rows(job.out, rows, "PyTorch float32 with the rounded weights")
        return {"tool": f"torch.onnx.export(dynamo=True, opset_version=18), {dtype}"}

    return make


def functions(job: Job) -> dict:
    program = to_onnx(job, 18, "eager", optimize=False)
    save(job, program, 18)
    count = len(onnx.load(job.out / "model.onnx").functions)
    if not count:
        raise RuntimeError("the exporter left no model-local function with optimize=False")
    return {"tool": f"torch.onnx.export(dynamo=True, opset_version=18, optimize=False), {count} functions"}


FORMS |= {"dyn23-std": std, "dyn18-ort": ort("eager"), "dyn18-ort-sdpa": ort("sdpa"), "dyn18-fp16": half(torch.float16),
          "dyn18-bf16": half(torch.bfloat16), "dyn18-functions": functions}


def main() -> None:
    # Between 18 and 23 the operators of these graphs do not change; above 24 the exporter only relabels or gives up.
    between = frozenset(f for f in FORMS if f[3:].isdigit() and (18 < int(f[3:]) < 23 or int(f[3:]) > 24))
    make_zoo.run(__doc__, FORMS, needs_model=False, one_is_enough=between)


if __name__ == "__main__":
    main()

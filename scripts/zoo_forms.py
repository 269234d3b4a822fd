"""The export forms of environment A: what each tool makes of a tiny model of zoo_models.py.

A form is a function (Job) -> dict that fills `job.out` with ONNX files and says which tool made them. Forms with
weights of their own (rounded, quantised) write their own golden rows; all others are judged by those of the main form.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
import torch
from onnx import numpy_helper

import chatglm2
import export_hf
import golden
import zoo_check
import zoo_fused
import zoo_models


@dataclasses.dataclass
class Job:
    name: str
    root: Path
    out: Path
    model: torch.nn.Module      # float32, eager attention

    @property
    def main(self) -> Path:
        return self.root / self.name / "a" / "model.onnx"


FORMS: dict[str, Callable[[Job], dict]] = {}


def form(name: str):
    def register(function):
        FORMS[name] = function
        return function

    return register


def ours(job: Job) -> bool:
    """Optimum exports classes of transformers only, and ChatGLM2's is remote code: our module goes to torch itself."""
    return isinstance(job.model, chatglm2.ChatGLM2)


def torch_export(job: Job, opset: int = 17, file: str = "model.onnx", dtype: torch.dtype = torch.float32,
                 **form: bool) -> str:
    """Our module's export; `form` are the fields of chatglm2.Form. Returns how it was called."""
    chatglm2.export(job.model, job.out, opset, chatglm2.Form(**form), file, dtype)
    return f"torch.onnx.export(dynamo=False, opset_version={opset})"


# --- optimum's exporter with other options ---


def onnx_config_class(model_type: str):
    """Optimum's class, for structures that it does not list the nearest listed one: inputs and outputs are alike."""
    from optimum.exporters.onnx.model_configs import Qwen2OnnxConfig
    from optimum.exporters.tasks import TasksManager

    if model_type == "starcoder2":
        return Qwen2OnnxConfig
    if model_type == "falcon":
        return falcon_config_class()
    constructor = TasksManager.get_exporter_config_constructor(
        exporter="onnx", model_type=model_type, task=export_hf.TASK, library_name="transformers")
    return constructor.func if isinstance(constructor, functools.partial) else constructor


def falcon_config_class():
    """With grouped keys the class widens them to all heads before it stores them; optimum's dummy cache has one head
    per group, and its export stops with `Sizes of tensors must match`."""
    from optimum.exporters.onnx.model_configs import FalconOnnxConfig
    from optimum.utils.input_generators import DummyTextInputGenerator, FalconDummyPastKeyValuesGenerator

    class AllHeads(FalconDummyPastKeyValuesGenerator):
        def __init__(self, task, normalized_config, **kwargs):
            super().__init__(task, normalized_config, **kwargs)
            if normalized_config.new_decoder_architecture:
                self.num_kv_heads = self.num_attention_heads

    class Config(FalconOnnxConfig):
        DUMMY_INPUT_GENERATOR_CLASSES = (DummyTextInputGenerator, AllHeads)
        DUMMY_PKV_GENERATOR_CLASS = AllHeads

    return Config


def without(config_class, *removed: str):
    """The same export with fewer inputs: the model makes what is missing itself."""

    class Fewer(config_class):
        @property
        def inputs(self):
            return {k: v for k, v in super().inputs.items() if k not in removed}

    return Fewer


def optimum_export(job: Job, configs: dict | None = None, opset: int | None = None,
                   attention: str | None = None) -> str:
    """Runs onnx_export_from_model on the loaded model and keeps the .onnx files; returns how it was called."""
    from optimum.exporters.onnx import onnx_export_from_model

    model, structure = job.model, zoo_models.STRUCTURES[job.name]
    # What from_pretrained would choose: sdpa, except where it cannot express the computation.
    model.set_attn_implementation(attention or ("eager" if structure.eager or not model._supports_sdpa else "sdpa"))
    model_type = model.config.model_type
    patched = {"starcoder2": " with Qwen2OnnxConfig", "falcon": " with a dummy cache of all heads"}.get(model_type, "")
    if configs is None and patched:
        configs = {"model": make_config(job)}
    work = job.out / "optimum.tmp"
    try:
        onnx_export_from_model(model, output=work, task=export_hf.TASK, opset=opset, do_validation=False,
                               custom_onnx_configs=configs, **structure.export)
        for file in work.glob("*.onnx*"):
            file.replace(job.out / file.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        model.set_attn_implementation("eager")
    return f"optimum onnx_export_from_model{patched}" + (f", opset {opset}" if opset else "")


def make_config(job: Job, past_in: bool = True, use_past: bool = True, config_class=None, float_dtype: str = "fp32"):
    config_class = config_class or onnx_config_class(job.model.config.model_type)
    return config_class(job.model.config, task="text-generation", use_past=use_past, use_past_in_inputs=past_in,
                        float_dtype=float_dtype)


@form("a")
def main_form(job: Job) -> dict:
    return {"tool": torch_export(job) if ours(job) else optimum_export(job)}


def with_opset(opset: int) -> Callable[[Job], dict]:
    def make(job: Job) -> dict:
        return {"tool": torch_export(job, opset) if ours(job) else optimum_export(job, opset=opset)}

    return make


form("ts14")(with_opset(14))
form("ts17")(with_opset(17))


@form("eager")
def eager(job: Job) -> dict:
    if zoo_models.STRUCTURES[job.name].eager or ours(job):
        raise NotImplementedError("the main form already has eager attention")
    return {"tool": optimum_export(job, attention="eager") + ", attn_implementation=eager"}


@form("no-position-ids")
def no_position_ids(job: Job) -> dict:
    if ours(job):
        return {"tool": torch_export(job, position_ids=False) + " without position_ids"}
    base = onnx_config_class(job.model.config.model_type)
    if "position_ids" not in make_config(job).inputs:
        raise NotImplementedError("the main form has no position_ids")
    return {"tool": optimum_export(job, {"model": make_config(job, config_class=without(base, "position_ids"))})
            + " without position_ids"}


@form("no-attention-mask")
def no_attention_mask(job: Job) -> dict:
    if ours(job):
        return {"tool": torch_export(job, attention_mask=False) + " without attention_mask"}
    base = onnx_config_class(job.model.config.model_type)
    return {"tool": optimum_export(job, {"model": make_config(job, config_class=without(base, "attention_mask"))})
            + " without attention_mask"}


@form("no-kv")
def no_kv(job: Job) -> dict:
    """Task text-generation: whole sequences, no cache in or out."""
    if ours(job):
        return {"tool": torch_export(job, past_in=False, past_out=False) + " without cache"}
    return {"tool": optimum_export(job, {"model": make_config(job, use_past=False, past_in=False)}) + " without cache"}


@form("split")
def split(job: Job) -> dict:
    """decoder_model.onnx (no past in, cache out) and decoder_with_past_model.onnx, as optimum <= 1.13 left them."""
    if ours(job):
        tool = torch_export(job, file="decoder_model.onnx", past_in=False) + " without and with a past"
    else:
        tool = optimum_export(job, {"model": make_config(job, past_in=False)})
        tool += " with use_past_in_inputs False and True"
        (job.out / "model.onnx").replace(job.out / "decoder_model.onnx")
    shutil.copyfile(job.main, job.out / "decoder_with_past_model.onnx")
    return {"tool": tool}


@form("merged")
def merged(job: Job) -> dict:
    from optimum.onnx import merge_decoders

    parts = job.root / job.name / "split"
    if not (parts / "decoder_model.onnx").exists():
        raise FileNotFoundError("the split form is missing")
    merge_decoders(parts / "decoder_model.onnx", parts / "decoder_with_past_model.onnx",
                   save_path=job.out / "decoder_model_merged.onnx", strict=False)
    return {"tool": "optimum.onnx.merge_decoders of the split form"}


# --- other float types ---


def float_rows(job: Job, made_by: str) -> None:
    zoo_check.write_rows(job.out, golden.logits_of(job.model, zoo_check.ids()[0]).numpy(), made_by)


def rounded(job: Job, dtype: torch.dtype) -> None:
    """Golden rows of the rounded weights in float32: a checkpoint is judged by the values it holds."""
    state = {k: v.clone() for k, v in job.model.state_dict().items()}
    job.model.load_state_dict({k: v.to(dtype).float() if v.is_floating_point() else v for k, v in state.items()})
    float_rows(job, f"PyTorch float32 with weights rounded to {dtype}")
    job.model.load_state_dict(state)


def as_type(dtype: torch.dtype, short: str) -> Callable[[Job], dict]:
    def make(job: Job) -> dict:
        rounded(job, dtype)
        state = {k: v.clone() for k, v in job.model.state_dict().items()}
        try:
            job.model.to(dtype)
            if ours(job):
                return {"tool": torch_export(job, dtype=dtype) + f", {short}"}
            return {"tool": optimum_export(job, {"model": make_config(job, float_dtype=short)}) + f", {short}"}
        finally:
            job.model.float()
            job.model.load_state_dict(state)

    return make


form("fp16")(as_type(torch.float16, "fp16"))
form("bf16")(as_type(torch.bfloat16, "bf16"))


def rounded_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every float constant as float16 holds it."""
    tensors = list(model.graph.initializer)
    tensors += [a.t for n in model.graph.node for a in n.attribute if n.op_type == "Constant" and a.name == "value"]
    for tensor in tensors:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            limit = float(np.finfo(np.float16).max)
            rounded = np.clip(values, -limit, limit).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    return model


@form("fp16-convert")
def fp16_convert(job: Job) -> dict:
    """The main form after onnxruntime's float16 converter, as the *_fp16.onnx files of transformers.js are made."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(job.main), keep_io_types=False, min_positive_val=6e-8)
    onnx.save_model(model, job.out / "model.onnx")
    # The converter rounds every constant, rotary frequencies too: the judge is the float32 graph of those constants.
    plain = job.out / "float.tmp.onnx"
    onnx.save_model(rounded_constants(onnx.load(job.main)), plain)
    prompt, continuation = zoo_check.prompt_and_continuation()
    rows = zoo_check.onnx_rows(plain, [prompt, *([t] for t in continuation)])
    plain.unlink()
    zoo_check.write_rows(job.out, rows, "ONNX Runtime, float32 graph with every constant rounded to float16")
    return {"tool": "onnxruntime.transformers.float16.convert_float_to_float16"}


# --- ONNX Runtime's transformer optimizer ---


def sizes(job: Job) -> tuple[int, int]:
    c = job.model.config
    heads = getattr(c, "num_attention_heads", None) or c.n_head
    return heads, getattr(c, "hidden_size", None) or c.n_embd


def ort_optimizer(model_type: str) -> Callable[[Job], dict]:
    def make(job: Job) -> dict:
        from onnxruntime.transformers import optimizer
        from onnxruntime.transformers.fusion_options import FusionOptions

        heads, hidden = (4, 48) if ours(job) else sizes(job)
        options = FusionOptions(model_type)
        fused = optimizer.optimize_model(str(job.main), model_type=model_type, num_heads=heads, hidden_size=hidden,
                                         optimization_options=options, opt_level=0, only_onnxruntime=False)
        fused.save_model_to_file(str(job.out / "model.onnx"))
        counts = {k: v for k, v in fused.get_fused_operator_statistics().items() if v}
        if not counts:
            raise RuntimeError(f"onnxruntime.transformers.optimizer (model_type={model_type}) fused nothing")
        return {"tool": f"onnxruntime.transformers.optimizer, model_type={model_type}", "fused": counts}

    return make


form("ort-gpt2")(ort_optimizer("gpt2"))
form("ort-bert")(ort_optimizer("bert"))
form("ort-phi")(ort_optimizer("phi"))


@form("ort-packed")
def ort_packed(job: Job) -> dict:
    """The tool that made this form fails on current transformers (zoo_fused.py says how)."""
    onnx.save_model(zoo_fused.gpt2(job.model), job.out / "model.onnx")
    return {"tool": "assembled by scripts/zoo_fused.py: onnxruntime.transformers.models.gpt2.convert_to_onnx stops "
            "with 'RuntimeError: unordered_map::at'"}


ort_packed.only = "gpt2"

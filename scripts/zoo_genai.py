#!/usr/bin/env python3
"""The forms of onnxruntime-genai's model builder: GroupQueryAttention, SkipSimplifiedLayerNormalization, MatMulNBits.

    python scripts/zoo_genai.py OUT [--only STRUCTURE ...] [--forms FORM ...] [--missing]

Environment: environment B with `pip install --no-deps onnxruntime-genai==0.18.0`. The builder is given the checkpoints
that make_zoo.py left in OUT/<structure>/source. int4 weights are judged by what the file holds.
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper

import export_hf
import golden
import make_zoo
import zoo_check
from zoo_forms import Job


def with_tokenizer(source: Path, work: Path) -> Path:
    """The checkpoint with a tokenizer of one word per id: the builder stops without one."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    shutil.copytree(source, work)
    size = json.loads((source / "config.json").read_text())["vocab_size"]
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(size)}, unk_token="w2"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="w0", eos_token="w1", pad_token="w2",
                            unk_token="w2").save_pretrained(work)
    return work


def float_activations(folder: Path) -> Path:
    """The builder lets MatMulNBits round activations to int8 (accuracy_level 4), no property of the weights."""
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for node in model.graph.node:
        kept = [a for a in node.attribute if a.name != "accuracy_level"]
        del node.attribute[:]
        node.attribute.extend(kept)
    plain = folder / "float.tmp.onnx"
    onnx.save_model(model, plain)
    return plain


def call_builder(words: list[str]) -> None:
    """`python -m onnxruntime_genai.models.builder` in this process, which has loaded torch and transformers already."""
    kept = sys.argv
    sys.argv = ["builder", *words]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            runpy.run_module("onnxruntime_genai.models.builder", run_name="__main__")
    except SystemExit as end:
        if end.code:
            last = (said.getvalue().strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"exit {end.code}: {last}") from end
    finally:
        sys.argv = kept


def dequantised(model: onnx.ModelProto) -> list[np.ndarray]:
    """[N, K] of every MatMulNBits of 4 bits."""
    values = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type != "MatMulNBits":
            continue
        size = {a.name: a.i for a in node.attribute}
        packed = values[node.input[1]]  # [N, blocks, bytes], low nibble first
        codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:2], -1).astype(np.float32)
        scales = values[node.input[2]].reshape(*packed.shape[:2], 1)
        zeros = np.float32(8)
        if len(node.input) > 3 and node.input[3]:
            pairs = values[node.input[3]].reshape(packed.shape[0], -1)
            zeros = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(packed.shape[0], -1)[:, :packed.shape[1], None]
        found.append(((codes - zeros.astype(np.float32)) * scales).reshape(packed.shape[0], -1)[:, :size["K"]])
    return found


def window_lost(source: Path, file: onnx.ModelProto) -> bool:
    """Whether the checkpoint has a sliding window and no attention of the file: the builder leaves Mistral's out."""
    windows = [a.i for n in file.graph.node for a in n.attribute if a.name == "local_window_size"]
    config = json.loads((source / "config.json").read_text())
    return bool(config.get("sliding_window")) and config["model_type"] == "mistral" and max(windows, default=0) <= 0


def model_of(source: Path, file: onnx.ModelProto) -> torch.nn.Module:
    """The checkpoint in float32, without a window where the file has none."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(source)
    if window_lost(source, file):
        config.sliding_window = None
    return AutoModelForCausalLM.from_pretrained(source, config=config, dtype=torch.float32).eval()


def with_weights_of(source: Path, file: onnx.ModelProto) -> torch.nn.Module:
    """The checkpoint in float32 with each matrix product's weight as the file holds it. Either side may merge several
    matrices; which rows are whose is seen from the values: rounding moves them by far less than their size."""
    model = model_of(source, file)
    matrices = dequantised(file)
    table = model.get_input_embeddings().weight if any(
        n.op_type == "GatherBlockQuantized" for n in file.graph.node) else None  # the head's codes, read as table too
    used = set()
    for module in (m for m in model.modules() if isinstance(m, torch.nn.Linear)):
        plain = module.weight.detach().numpy()
        held = np.full_like(plain, np.nan)
        for index, matrix in enumerate(matrices):
            if matrix.shape[1] != plain.shape[1]:
                continue
            rows = min(len(matrix), len(plain))  # the shorter one is looked for in the longer one
            at = min(((i, j) for i in range(len(matrix) - rows + 1) for j in range(len(plain) - rows + 1)),
                     key=lambda ij: np.linalg.norm(matrix[ij[0]:ij[0] + rows] - plain[ij[1]:ij[1] + rows]))
            found, original = matrix[at[0]:at[0] + rows], plain[at[1]:at[1] + rows]
            if np.linalg.norm(found - original) < 0.3 * np.linalg.norm(original):
                held[at[1]:at[1] + rows] = found
                used.add(index)
        if np.isnan(held).any():
            raise RuntimeError(f"the file does not hold all of a weight of shape {plain.shape} of the checkpoint")
        if module.weight is table:
            table.data.copy_(torch.from_numpy(held))
        else:  # a tied table in float keeps its own values
            module.weight = torch.nn.Parameter(torch.from_numpy(held))
    if len(used) != len(matrices):
        raise RuntimeError(f"{len(matrices) - len(used)} matrices of the file are no weights of the checkpoint")
    return model


def write_int4_rows(job: Job, source: Path) -> None:
    """ONNX Runtime judges the file where its operators can run it; else PyTorch with the file's dequantised weights."""
    prompt, continuation = zoo_check.prompt_and_continuation()
    plain = float_activations(job.out)
    try:
        rows = zoo_check.onnx_rows(plain, [prompt, *([t] for t in continuation)])
        made_by = "ONNX Runtime on this very file without accuracy_level (activations are not rounded to int8)"
    except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument:  # GroupQueryAttention wants heads of 8 n
        model = with_weights_of(source, onnx.load(job.out / "model.onnx"))
        rows = golden.logits_of(model, zoo_check.ids()[0]).numpy()
        made_by = "PyTorch float32 with the file's dequantised weights"
    finally:
        plain.unlink()
    zoo_check.write_rows(job.out, rows, made_by)


def builder(precision: str, provider: str = "cpu", *options: str):
    def make(job: Job) -> dict:
        source = job.root / job.name / "source"
        if not (source / "config.json").exists():
            raise NotImplementedError("no transformers checkpoint: the builder reads those only")
        with tempfile.TemporaryDirectory() as work:
            checkpoint = with_tokenizer(source, Path(work) / "checkpoint")
            words = ["-i", str(checkpoint), "-o", str(job.out), "-p", precision, "-e", provider,
                     "-c", str(Path(work) / "cache")]
            call_builder(words + (["--extra_options", *options] if options else []))
        for text in (*export_hf.TEXT_FILES, "genai_config.json"):  # of the stand-in tokenizer
            (job.out / text).unlink(missing_ok=True)
        counts = {}
        for node in onnx.load(job.out / "model.onnx", load_external_data=False).graph.node:
            if node.domain == "com.microsoft":
                counts[node.op_type] = counts.get(node.op_type, 0) + 1
        file = onnx.load(job.out / "model.onnx")
        if json.loads((source / "config.json").read_text()).get("clip_qkv") and all(
                n.op_type != "Clip" for n in file.graph.node):
            raise RuntimeError("the builder leaves out clip_qkv and writes RMS norms for LayerNorm: another model")
        if precision == "int4":
            write_int4_rows(job, source)
        elif window_lost(source, file):
            rows = golden.logits_of(model_of(source, file), zoo_check.ids()[0]).numpy()
            zoo_check.write_rows(job.out, rows, "PyTorch float32 without the window, which the builder leaves out")
        return {"tool": f"onnxruntime_genai.models.builder -p {precision} -e {provider} {' '.join(options)}".strip()
                + (", judged without the window that it leaves out" if window_lost(source, file) else ""),
                "fused": counts}

    return make


FORMS = {"genai": builder("fp32"), "genai-fp16": builder("fp16", "cuda"),
         "genai-int4": builder("int4", "cpu", "block_size=16", "is_symmetric=true"),
         "genai-int4-zp": builder("int4", "cpu", "block_size=16", "is_symmetric=false")}


def main() -> None:
    make_zoo.run(__doc__, FORMS, needs_model=False)


if __name__ == "__main__":
    main()

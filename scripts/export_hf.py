#!/usr/bin/env python3
"""Exports a local HuggingFace causal LM to ONNX (text-generation-with-past) in a folder that llmconvert reads.

    python scripts/export_hf.py MODEL_DIR OUT_DIR [--env a|b] [--dtype float32|float16] [--external] [--golden]

--env a   optimum, TorchScript path (scripts/requirements-export-a.txt): the main form.
--env b   torch.onnx.export(dynamo=True) (scripts/requirements-export-b.txt): for models that only a newer
          transformers knows. Both give the same inputs and outputs, so nothing after the import has to ask which.

Only local folders: an export that depends on what a hub serves today cannot be repeated.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnx
import torch

import golden

TASK = "text-generation-with-past"
TEXT_FILES = ("generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
              "chat_template.jinja", "vocab.json", "merges.txt")
PACKAGES = ("torch", "transformers", "optimum", "optimum-onnx", "onnx", "onnxscript", "onnxruntime",
            "onnxruntime-genai", "tokenizers", "numpy")


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            pass
    return found


def export_optimum(model_dir: Path, out_dir: Path, dtype: str, post_process: bool) -> None:
    """Environment A. Optimum writes into its own folder: it also leaves files there that we do not keep.

    Its post-processing (tied weights stored once) loads the whole graph beside the model: 20 GB at the Gemma-2B shape.
    """
    from optimum.exporters.onnx import main_export

    work = out_dir / "optimum.tmp"
    try:
        main_export(str(model_dir), output=work, task=TASK, dtype={"float32": "fp32", "float16": "fp16"}[dtype],
                    local_files_only=True, library_name="transformers", do_validation=dtype == "float32",
                    no_post_process=not post_process)
        for file in work.glob("model.onnx*"):
            file.replace(out_dir / file.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


class WithPast(torch.nn.Module):
    """Flat tensors in and out: `torch.export` cannot name the leaves of a DynamicCache (optimum#2219)."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, *past):
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                         past_key_values=cache, use_cache=True)
        present = [part for layer in out.past_key_values.layers for part in (layer.keys, layer.values)]
        return (out.logits, *present)


def export_dynamo(model_dir: Path, out_dir: Path, dtype: str, opset: int) -> None:
    """Environment B. Example sizes are 2 and more, because torch.export specialises dimensions of 0 and 1."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=getattr(torch, dtype),
                                                 attn_implementation="eager").eval()
    config = model.config
    heads = config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    tokens, past = 3, 5
    ids = torch.ones(2, tokens, dtype=torch.int64)
    mask = torch.ones(2, past + tokens, dtype=torch.int64)
    positions = torch.arange(past, past + tokens)[None].repeat(2, 1)
    cache = [torch.zeros(2, kv_heads, past, head_dim, dtype=model.dtype) for _ in range(2 * config.num_hidden_layers)]

    kinds = ("key", "value")
    past_names = [f"past_key_values.{i}.{k}" for i in range(config.num_hidden_layers) for k in kinds]
    present_names = [f"present.{i}.{k}" for i in range(config.num_hidden_layers) for k in kinds]
    batch_dim, dynamic = torch.export.Dim("batch_size"), torch.export.Dim.DYNAMIC
    shapes = ({0: batch_dim, 1: torch.export.Dim("sequence_length")}, {0: batch_dim, 1: dynamic},
              {0: batch_dim, 1: torch.export.Dim("sequence_length")},
              tuple({0: batch_dim, 2: torch.export.Dim("past_sequence_length")} for _ in cache))
    program = torch.onnx.export(
        WithPast(model), (ids, mask, positions, *cache), dynamo=True, opset_version=opset, external_data=False,
        input_names=["input_ids", "attention_mask", "position_ids", *past_names],
        output_names=["logits", *present_names], dynamic_shapes=shapes)
    program.save(str(out_dir / "model.onnx"), external_data=False)
    tidy_dynamo(out_dir / "model.onnx")


def tidy_dynamo(model_file: Path) -> None:
    """Gives the mask's length the name that the outputs use for it, and drops stack traces: paths of this machine."""
    model = onnx.load(model_file)
    mask = next(v for v in model.graph.input if v.name == "attention_mask").type.tensor_type.shape.dim[1].dim_param
    total = "past_sequence_length + sequence_length"
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == mask:
                dim.dim_param = total
    for item in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input,
                 *model.graph.output, *model.graph.initializer):
        item.ClearField("metadata_props")
    onnx.save_model(model, model_file)


def make_external(model_file: Path) -> None:
    """Moves the weights into model.onnx_data, the name and layout that optimum uses above 2 GB."""
    model = onnx.load(model_file)
    data = model_file.with_name("model.onnx_data")
    data.unlink(missing_ok=True)
    onnx.save_model(model, model_file, save_as_external_data=True, all_tensors_to_one_file=True,
                    location=data.name, size_threshold=256)
    data.chmod(0o644)


def copy_texts(model_dir: Path, out_dir: Path) -> None:
    """config.json is copied as it is stored, without optimum's additions; the rest where it exists."""
    for name in ("config.json", *TEXT_FILES):
        if (model_dir / name).exists() and model_dir.resolve() != out_dir.resolve():
            shutil.copyfile(model_dir / name, out_dir / name)


def describe(out_dir: Path, file: Path | None = None) -> dict:
    """What a reader of the folder wants to know before opening the ONNX file."""
    file = file or out_dir / "model.onnx"
    model = onnx.load(file, load_external_data=False)

    def shape(value):
        return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]

    return {
        "opset": {o.domain or "ai.onnx": o.version for o in model.opset_import},
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "inputs": {v.name: shape(v) for v in model.graph.input},
        "outputs": {v.name: shape(v) for v in model.graph.output},
        "nodes": len(model.graph.node),
        "operators": dict(Counter(n.op_type for n in model.graph.node).most_common()),
        "bytes": sum(f.stat().st_size for f in out_dir.glob(f"{file.name}*")),
    }


def export(model_dir: Path, out_dir: Path, env: str = "a", dtype: str = "float32", external: bool = False,
           opset: int = 18, command: str = "", extra: dict | None = None, post_process: bool = True) -> dict:
    """Exports and writes model.json; returns its contents."""
    out_dir.mkdir(parents=True, exist_ok=True)
    if env == "a":
        export_optimum(model_dir, out_dir, dtype, post_process)
    else:
        export_dynamo(model_dir, out_dir, dtype, opset)
    if external:
        make_external(out_dir / "model.onnx")
    copy_texts(model_dir, out_dir)
    exporter = ("optimum.exporters.onnx.main_export (TorchScript path)" if env == "a"
                else "torch.onnx.export(dynamo=True)")
    doc = {"schema": "pocketformer.model", "version": 1, "exporter": exporter, "environment": env, "task": TASK,
           "dtype": dtype, "external_data": external, "command": command,
           "python": ".".join(map(str, sys.version_info[:3])), "versions": versions(), **describe(out_dir),
           **(extra or {})}
    (out_dir / "model.json").write_text(json.dumps(doc, indent=1) + "\n")
    return doc


def random_ids(vocab: int, seed: int = 1) -> tuple[list[int], list[int]]:
    """Ids for a model without text: 96 for the logits, 8 to start the greedy run."""
    draw = random.Random(seed)
    ids = [draw.randrange(vocab) for _ in range(golden.PROMPT_TOKENS + golden.CONTINUATION_TOKENS)]
    return ids, [draw.randrange(vocab) for _ in range(8)]


def add_to_model_json(out_dir: Path, extra: dict) -> None:
    path = out_dir / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **extra}, indent=1) + "\n")


def write_golden(model_dir: Path, out_dir: Path) -> None:
    model = golden.load(model_dir)
    golden.write_golden(model, out_dir, *random_ids(model.config.vocab_size))
    add_to_model_json(out_dir, {"check": golden.check_onnx(out_dir)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--env", choices=("a", "b"), default="a")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32")
    parser.add_argument("--external", action="store_true", help="weights in model.onnx_data")
    parser.add_argument("--opset", type=int, default=18, help="for --env b")
    parser.add_argument("--golden", action="store_true", help="PyTorch float32 logits for random ids")
    args = parser.parse_args()
    if not (args.model / "config.json").exists():
        sys.exit(f"{args.model} has no config.json: give the folder of a saved HuggingFace model")
    command = "scripts/export_hf.py MODEL OUT " + " ".join(sys.argv[3:])
    doc = export(args.model, args.out, args.env, args.dtype, args.external, args.opset, command.strip())
    if args.golden:
        write_golden(args.model, args.out)
    print(f"{args.out}: opset {doc['opset']}, {doc['nodes']} nodes, {doc['bytes']} bytes")


if __name__ == "__main__":
    main()

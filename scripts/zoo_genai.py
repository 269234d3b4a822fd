#!/usr/bin/env python3
"""The forms of onnxruntime-genai's model builder: GroupQueryAttention, SkipSimplifiedLayerNormalization, MatMulNBits.

    python scripts/zoo_genai.py OUT [--only STRUCTURE ...] [--forms FORM ...] [--missing]

Environment: environment B with `pip install --no-deps onnxruntime-genai==0.18.0`. The builder is given the checkpoints
that make_zoo.py left in OUT/<structure>/source. int4 weights are judged by ONNX Runtime on the file itself.
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

import onnx

import export_hf
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
        if precision == "int4":
            prompt, continuation = zoo_check.prompt_and_continuation()
            plain = float_activations(job.out)
            rows = zoo_check.onnx_rows(plain, [prompt, *([t] for t in continuation)])
            plain.unlink()
            zoo_check.write_rows(job.out, rows, "ONNX Runtime on this very file without accuracy_level "
                                 "(activations are not rounded to int8)")
        return {"tool": f"onnxruntime_genai.models.builder -p {precision} -e {provider} {' '.join(options)}".strip(),
                "fused": counts}

    return make


FORMS = {"genai": builder("fp32"), "genai-fp16": builder("fp16", "cuda"),
         "genai-int4": builder("int4", "cpu", "int4_block_size=16", "int4_is_symmetric=true"),
         "genai-int4-zp": builder("int4", "cpu", "int4_block_size=16", "int4_is_symmetric=false")}


def main() -> None:
    make_zoo.run(__doc__, FORMS, needs_model=False)


if __name__ == "__main__":
    main()

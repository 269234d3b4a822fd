"""Golden rows of the zoo: ids, ONNX Runtime as the runtime will call it, and the comparison."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime

import export_hf
import golden
import zoo_models

CHUNKS = (20, 20, 24)      # a prompt of 64 in chunks that no window or tile divides
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def ids() -> tuple[list[int], list[int]]:
    return export_hf.random_ids(zoo_models.VOCAB)


def prompt_and_continuation() -> tuple[list[int], list[int]]:
    row = ids()[0]
    return row[:golden.PROMPT_TOKENS], row[golden.PROMPT_TOKENS:]


def relative_l2(got: np.ndarray, expected: np.ndarray) -> float:
    """Of the worst row."""
    return float((np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)).max())


def model_file(folder: Path) -> Path:
    """The graph that a converter takes: the one that accepts a past."""
    for name in ("model.onnx", "decoder_model_merged.onnx", "decoder_with_past_model.onnx"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{folder} holds no ONNX file")


def onnx_rows(file: Path, steps: list[list[int]]) -> np.ndarray:
    """Logits of every row; each step is fed with the cache that the one before returned. A graph without a cache gets
    the whole sequence at every step."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    outputs = [o.name for o in session.get_outputs()]
    inputs = {value.name: value for value in session.get_inputs()}
    past = {}
    for name, value in inputs.items():
        if name.startswith("past"):
            past[name] = np.zeros(empty_past(value.shape, file), TYPES[value.type])
    rows, done, seen = [], 0, []
    for step in steps:
        total = done + len(step)
        seen = seen + step
        fed, start = (step, done) if past else (seen, 0)
        feed = {"input_ids": np.array([fed]), "attention_mask": np.ones((1, total), np.int64),
                "position_ids": np.arange(start, total)[None], "use_cache_branch": np.array([True]), **past}
        if "input_ids" in inputs and inputs["input_ids"].type == "tensor(int32)":
            feed = {k: v.astype(np.int32) if v.dtype == np.int64 else v for k, v in feed.items()}
        result = dict(zip(outputs, session.run(outputs, {k: v for k, v in feed.items() if k in inputs})))
        rows.append(result["logits"][0][-len(step):].astype(np.float32))
        past = {k: result[present_of(k, result)] for k in past}
        done = total
    return np.concatenate(rows)


def empty_past(shape: list[int | str], file: Path) -> list[int]:
    """Batch 1, no tokens. Exporters give every symbolic dimension a name, and not always a telling one."""
    symbolic = [i for i, dim in enumerate(shape) if not isinstance(dim, int)]
    result = [dim if isinstance(dim, int) else 0 for dim in shape]
    if shape[-1] == "kv_cache_dim":  # onnxruntime-genai names even the head's size
        config = json.loads((file.parent.parent / "source" / "config.json").read_text())
        result[-1] = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        symbolic.pop()
    # Of the two that are left, one is the batch: the one that says so, else the first.
    batch = next((i for i in symbolic if "batch" in shape[i]), symbolic[0])
    result[batch] = 1
    return result


def present_of(past: str, outputs: dict) -> str:
    for name in (past.replace("past_key_values", "present"), past.replace("past", "present")):
        if name in outputs:
            return name
    raise KeyError(f"no output continues {past}; outputs are {sorted(outputs)[:6]} ...")


def write_rows(out_dir: Path, rows: np.ndarray, made_by: str) -> None:
    """golden.json and golden_logits.bin as golden.py writes them, without a greedy text."""
    prompt, continuation = prompt_and_continuation()
    (out_dir / "golden_logits.bin").write_bytes(np.ascontiguousarray(rows, "<f4").tobytes())
    doc = {"schema": "pocketformer.golden", "version": 1, "made_by": made_by, "prompt": prompt,
           "continuation": continuation, "rows": len(rows), "vocab": int(rows.shape[1]),
           "logits_file": "golden_logits.bin", "greedy": {"prompt": [], "tokens": [], "margins": []}}
    (out_dir / "golden.json").write_text(json.dumps(doc, indent=1) + "\n")


def check(folder: Path) -> dict:
    """The export in ONNX Runtime, whole prompt and in chunks, then decode, against the golden rows."""
    doc = json.loads((folder / "golden.json").read_text())
    expected = np.fromfile(folder / doc["logits_file"], "<f4").reshape(doc["rows"], doc["vocab"])
    decode = [[token] for token in doc["continuation"]]
    chunks, start = [], 0
    for size in CHUNKS:
        chunks.append(doc["prompt"][start:start + size])
        start += size
    file = model_file(folder)
    return {"onnxruntime_worst_relative_l2": relative_l2(onnx_rows(file, [doc["prompt"], *decode]), expected),
            "onnxruntime_chunked": relative_l2(onnx_rows(file, [*chunks, *decode]), expected),
            "logits_std": float(expected.std())}

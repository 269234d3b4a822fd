"""Golden numbers of a HuggingFace model: what the runtime is compared with.

PyTorch float32 is the judge for every other implementation in this project, so the numbers are taken from
`transformers` itself and never from the ONNX file: a fault of the exporter must show up as a difference too.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

PROMPT_TOKENS = 64
CONTINUATION_TOKENS = 32
GREEDY_TOKENS = 64
WINDOW = 256
PROTOCOL = (
    "ids = tokenizer.encode(text) with BOS prepended if the tokenizer adds it; cut into consecutive non-overlapping "
    "windows of W tokens; in each window predict tokens 1..W-1; nll = mean"
)


def load(model_dir: Path) -> torch.nn.Module:
    """The model in float32 whatever the stored type: an fp16 checkpoint is judged by the values it holds."""
    return AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()


@torch.no_grad()
def logits_of(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()


@torch.no_grad()
def greedy(model: torch.nn.Module, prompt: list[int], count: int = GREEDY_TOKENS) -> tuple[list[int], list[float]]:
    """Greedy ids and the margin top1 - top2 of each step.

    Stop ids do not stop it: a comparison needs the same number of steps from every model. The whole sequence is run
    again at each step, so that no cache can be wrong in the same way in both implementations.
    """
    ids, margins = list(prompt), []
    for _ in range(count):
        row = logits_of(model, ids)[-1]
        top = torch.topk(row, 2)
        best = int((row == top.values[0]).nonzero()[0])  # lowest id wins ties, as in the runtime
        margins.append(float(top.values[0] - top.values[1]))
        ids.append(best)
    return ids[len(prompt):], margins


@torch.no_grad()
def perplexity(model: torch.nn.Module, ids: list[int], window: int = WINDOW) -> dict:
    """Mean NLL over non-overlapping windows; the last window may be short, one of a single token predicts nothing."""
    total, count = 0.0, 0
    for start in range(0, len(ids), window):
        part = ids[start:start + window]
        if len(part) < 2:
            break
        log_probs = torch.log_softmax(logits_of(model, part[:-1]).double(), dim=-1)
        total -= float(log_probs.gather(1, torch.tensor(part[1:])[:, None]).sum())
        count += len(part) - 1
    nll = total / count
    return {"tokens": len(ids), "predicted": count, "nll": nll, "perplexity": float(torch.tensor(nll).exp()),
            "window": window, "protocol": PROTOCOL}


def write_golden(model: torch.nn.Module, out_dir: Path, ids: list[int], greedy_prompt: list[int],
                 extra: dict | None = None) -> dict:
    """Writes golden.json and golden_logits.bin (little-endian float32 [rows, vocab], row i = after token i)."""
    rows = PROMPT_TOKENS + CONTINUATION_TOKENS
    assert len(ids) == rows, f"golden needs exactly {rows} ids, got {len(ids)}"
    logits = logits_of(model, ids).contiguous().numpy().astype("<f4")
    (out_dir / "golden_logits.bin").write_bytes(logits.tobytes())
    tokens, margins = greedy(model, greedy_prompt)
    doc = {
        "schema": "pocketformer.golden", "version": 1,
        "made_by": "PyTorch float32, scripts/golden.py",
        "prompt": ids[:PROMPT_TOKENS], "continuation": ids[PROMPT_TOKENS:],
        "rows": rows, "vocab": int(logits.shape[1]), "logits_file": "golden_logits.bin",
        "greedy": {"prompt": greedy_prompt, "tokens": tokens, "margins": [round(m, 6) for m in margins]},
    }
    doc.update(extra or {})
    (out_dir / "golden.json").write_text(json.dumps(doc, indent=1) + "\n")
    return doc


def check_onnx(out_dir: Path) -> dict:
    """Runs the export in ONNX Runtime as the runtime will (prefill, then one token at a time) against the golden rows.

    A golden that the exported file itself cannot meet would send people hunting in the wrong program.
    """
    import numpy as np
    import onnxruntime

    doc = json.loads((out_dir / "golden.json").read_text())
    expected = np.fromfile(out_dir / doc["logits_file"], "<f4").reshape(doc["rows"], doc["vocab"])
    session = onnxruntime.InferenceSession(str(out_dir / "model.onnx"), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    past = {}
    for value in session.get_inputs():
        if value.name.startswith("past_key_values"):
            kind = np.float16 if "float16" in value.type else np.float32
            past[value.name] = np.zeros((1, value.shape[1], 0, value.shape[3]), kind)
    rows, done = [], 0
    for step in [doc["prompt"], *([token] for token in doc["continuation"])]:
        total = done + len(step)
        feed = {"input_ids": np.array([step]), "attention_mask": np.ones((1, total), np.int64),
                "position_ids": np.arange(done, total)[None], **past}
        wanted = {value.name for value in session.get_inputs()}
        result = dict(zip(names, session.run(names, {k: v for k, v in feed.items() if k in wanted})))
        rows.append(result["logits"][0].astype(np.float32))
        past = {k: result[k.replace("past_key_values", "present")] for k in past}
        done = total
    got = np.concatenate(rows)
    errors = np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)
    return {"onnxruntime_worst_relative_l2": float(errors.max()), "logits_std": float(expected.std())}

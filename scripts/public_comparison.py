#!/usr/bin/env python3
"""GPTQ and AWQ of two public packages beside ours: the same linears, the same inputs, int4 asymmetric.

    ENV/bin/pip install --no-deps --target PUBLIC auto-gptq==0.7.1
    ENV/bin/pip install --no-deps --no-build-isolation --target PUBLIC autoawq==0.2.9
    ENV/bin/python scripts/public_comparison.py TOOL PUBLIC TOKENS_DIR WORK_DIR MODEL_FOLDER ... [--table NAME]

ENV is that of scripts/requirements-export-a.txt; TOOL is BUILD/test/quant/quant_one_linear; TOKENS_DIR is made by
scripts/quant_tokens.py. PUBLIC and WORK_DIR lie outside the project. --table writes NAME.md and NAME.json.

PyTorch runs the model in floats over the first calibration windows and keeps what each linear reads. Linears that read
one value (q, k, v; gate, up) are one matrix, as AWQ takes them. Each implementation gets that matrix and those inputs.
Their classes run on the CPU as they are: of the packages only the modules with the algorithms are loaded, because the
others ask for a GPU. The error is |X (W - W^)|^2 over |X W|^2, in doubles, on those inputs.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import statistics
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import torch

import torch_from_onnx

WINDOWS = 8  # of 256 tokens
DAMPING = 0.01
SITES = {"qkv": ("self_attn", ("q_proj", "k_proj", "v_proj")), "o": ("self_attn", ("o_proj",)),
         "gate up": ("mlp", ("gate_proj", "up_proj")), "down": ("mlp", ("down_proj",))}
# What is compared: the method of TOOL beside that of the package.
ROWS = {"GPTQ, whole range": ("gptq-plain", "gptq"), "GPTQ, clip search": ("gptq", "gptq+mse"),
        "GPTQ, clip search, act-order": ("gptq-order", "gptq+mse+order"), "AWQ, scales": ("awq-plain", "awq"),
        "AWQ, scales and clip search": ("awq", "awq+clip")}
HEAD = """# GPTQ and AWQ beside public implementations

    ENV/bin/pip install --no-deps --target PUBLIC auto-gptq==0.7.1
    ENV/bin/pip install --no-deps --no-build-isolation --target PUBLIC autoawq==0.2.9
    ENV/bin/python scripts/public_comparison.py BUILD/test/quant/quant_one_linear PUBLIC TOKENS_DIR WORK_DIR \\
        MODEL_FOLDER ... --table HERE

The ratio is the squared error of the output with our codes over that with theirs: below 1, ours lose less. In the rows
`whole range` and `scales` both do the same thing on the same grid; ours keeps the scale in fp16. The rows with a clip
search compare two searches: auto-gptq tries 80 ranges by the 2.4th power of the error of values at rest; ours tries 7,
each with and without zero on the grid, and rounds the group under each with GPTQ's feedback (in act-order, where a
group's columns lie apart, it weighs values at rest by what GPTQ cannot make good). AutoAWQ cuts both ends of a group at
one magnitude, ours shrinks its range around the middle.

"""


def package(root: Path, name: str, **stubs: dict) -> None:
    """Makes `name` importable without running its __init__, and what its modules import beside the algorithm empty."""
    module = types.ModuleType(name)
    module.__path__ = [str(root / name.replace(".", "/"))]
    sys.modules[name] = module
    for stub, members in stubs.items():
        empty = types.ModuleType(stub)
        empty.__dict__.update(members)
        sys.modules[stub] = empty


def load_public(root: Path) -> tuple[type, type]:
    if not torch.cuda.is_available():  # the class ends by waiting for a GPU
        torch.cuda.synchronize = lambda *_: None
    package(root, "auto_gptq")
    gptq = importlib.import_module("auto_gptq.quantization.gptq").GPTQ
    kernels = dict.fromkeys(("WQLinear_GEMM", "WQLinear_GEMV", "WQLinear_Marlin", "WQLinear_GEMVFast"))
    package(root, "awq", **{"awq.utils.calib_data": {"get_calib_dataset": None}, "awq.modules.linear": kernels,
                            "awq.quantize.scale": {"apply_scale": None, "apply_clip": None}})
    awq = importlib.import_module("awq.quantize.quantizer").AwqQuantizer
    return gptq, awq


class Public:
    def __init__(self, root: Path) -> None:
        self.gptq_class, self.awq_class = load_public(root)

    def quantise(self, method: str, group: int, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return (self.gptq if method.startswith("gptq") else self.awq)(method, group, x, weight)

    def gptq(self, method: str, group: int, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = weight.clone()
        solver = self.gptq_class(linear)
        solver.quantizer.configure(4, perchannel=True, sym=False, mse="mse" in method)
        solver.add_batch(x, None)
        # Blocks of one group: with larger ones it chooses a group's scale before the block's feedback has reached it.
        order = "order" in method
        solver.fasterquant(blocksize=group, percdamp=DAMPING, group_size=group, actorder=order, static_groups=order)
        return linear.weight.data

    @torch.no_grad()
    def awq(self, method: str, group: int, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        solver = self.awq_class.__new__(self.awq_class)
        solver.w_bit, solver.group_size, solver.zero_point, solver.duo_scaling = 4, group, True, False
        solver.n_parallel_calib_samples, solver.max_chunk_memory = None, 1 << 30
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = weight.clone()
        linear.weight.requires_grad_(False)
        unused = torch.ones(weight.shape[1])  # mean of the weights: only for its duo_scaling
        scales = solver._compute_best_scale(x, unused, x.abs().mean(0), linear, [linear], linear(x))
        scaled = weight * scales
        if "clip" in method:
            rows = -(-weight.shape[0] // 64) * 64  # it takes rows by 64
            padded = torch.zeros(rows, weight.shape[1])
            padded[:weight.shape[0]] = scaled
            most = solver._compute_best_clip(padded, x / scales)[:weight.shape[0]]
            shape = scaled.shape
            scaled = scaled.reshape(shape[0], -1, group).clamp(-most, most).reshape(shape)
        return solver.pseudo_quantize_tensor(scaled)[0] / scales


class Ours:
    def __init__(self, tool: Path, work: Path) -> None:
        self.tool, self.work = tool, work

    def quantise(self, method: str, group: int, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        files = [self.work / name for name in ("inputs.f32", "weight.f32", "out.f32")]
        x.numpy().astype("<f4").tofile(files[0])
        weight.numpy().astype("<f4").tofile(files[1])
        subprocess.run([str(word) for word in (self.tool, method, group, *weight.shape, *files)], check=True)
        return torch.from_numpy(np.fromfile(files[2], "<f4").reshape(weight.shape))


@torch.no_grad()
def sites(folder: Path, tokens: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """By name: the inputs [T, K] and the matrix [N, K]."""
    model, _ = torch_from_onnx.load(folder)
    found, inputs = {}, {}
    for number, layer in enumerate(model.model.layers):
        for site, (block, names) in SITES.items():
            linears = [getattr(getattr(layer, block), name) for name in names]
            key = f"{number} {site}"
            inputs[key] = []
            linears[0].register_forward_hook(
                lambda _, given, __, to=inputs[key]: to.append(given[0].reshape(-1, given[0].shape[-1])))
            found[key] = torch.cat([linear.weight for linear in linears]).clone()
    windows = json.loads(tokens.read_text())[:WINDOWS]
    for window in windows:
        model(torch.tensor([window]))
    return {key: (torch.cat(inputs[key]).contiguous(), weight) for key, weight in found.items()}


def error(x: torch.Tensor, weight: torch.Tensor, made: torch.Tensor) -> float:
    inputs, exact = x.double(), weight.double()
    return float(((inputs @ (made.double() - exact).T) ** 2).sum() / ((inputs @ exact.T) ** 2).sum())


def summary_of(rows: list[dict]) -> str:
    out = "| model | method | sites | ratio, mean | least | most |\n|---|---|--:|--:|--:|--:|\n"
    for model in dict.fromkeys(row["model"] for row in rows):
        for name in ROWS:
            ratios = [row["ratio"] for row in rows if (row["model"], row["method"]) == (model, name)]
            out += (f"| `{model}` | {name} | {len(ratios)} | {statistics.fmean(ratios):.4f} | {min(ratios):.4f} "
                    f"| {max(ratios):.4f} |\n")
    return out


def claims_of(rows: list[dict]) -> list[str]:
    """How far the two are apart: without a clip search in either, and with each one's own."""
    out = []
    for what, kinds in (("Without a clip search", ("GPTQ, whole range", "AWQ, scales")),
                        ("With each one's own clip search", [name for name in ROWS if "clip" in name])):
        ratios = [row["ratio"] for row in rows if row["method"] in kinds]
        means = [statistics.fmean(row["ratio"] for row in rows if (row["model"], row["method"]) == key)
                 for key in dict.fromkeys((row["model"], row["method"]) for row in rows if row["method"] in kinds)]
        near, worse = sum(abs(ratio - 1) <= 0.03 for ratio in ratios), sum(ratio > 1.03 for ratio in ratios)
        out.append(f"{what}: {min(ratios):.3f} to {max(ratios):.3f} times theirs (means of a model and method "
                   f"{min(means):.3f} to {max(means):.3f}); within 3 % in {near} of {len(ratios)} rows, ours lose "
                   f"more than that in {worse}, less in {len(ratios) - near - worse}.")
    return out


def write_table(path: Path, group: int, versions: dict[str, str], rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join("| `{model}` | {site} | {group} | {method} | {ours:.4e} | {theirs:.4e} | {ratio:.4f} |\n"
                    .format(**row) for row in rows)
    note = ", ".join(f"{name} {version}" for name, version in versions.items())
    path.with_suffix(".md").write_text(
        HEAD + f"With {note}. int4 asymmetric, groups of {group} (a row that they do not divide is one group),\n"
        f"damping {DAMPING}, {rows[0]['tokens']} tokens of the calibration text. Error is relative to the output.\n\n"
        + summary_of(rows) + "\n" + "".join(f"- {claim}\n" for claim in claims_of(rows))
        + "\n| model | site | group | method | ours | theirs | ratio |\n|---|---|--:|---|--:|--:|--:|\n"
        + lines)
    document = {"schema": "pocketformer.public_comparison", "version": 1, "versions": versions, "rows": rows,
                "claims": claims_of(rows)}
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tool", "public", "tokens", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--group", type=int, default=32)
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    public, ours = Public(args.public), Ours(args.tool, args.work)
    found = {one.metadata["Name"].lower(): one.version
             for one in importlib.metadata.distributions(path=[str(args.public)])}
    versions = {"torch": torch.__version__} | {name: found[name] for name in ("auto-gptq", "auto_gptq", "autoawq")
                                               if name in found}
    rows = []
    for folder in map(Path.resolve, args.models):
        tokens = args.tokens / f"{folder.name}.calibration.json"
        for site, (x, weight) in sites(folder, tokens).items():
            group = args.group if weight.shape[1] % args.group == 0 else weight.shape[1]  # theirs take whole groups
            for name, (own, their) in ROWS.items():
                errors = [error(x, weight, one.quantise(method, group, x, weight))
                          for one, method in ((ours, own), (public, their))]
                rows.append({"model": folder.name, "site": site, "group": group, "tokens": len(x), "method": name,
                             "ours": errors[0], "theirs": errors[1], "ratio": errors[0] / errors[1]})
                print("{model} {site}, group {group}, {method}: ours {ours:.3e}, theirs {theirs:.3e}, ratio {ratio:.4f}"
                      .format(**rows[-1]), flush=True)
    print(summary_of(rows), *claims_of(rows), sep="\n")
    if args.table:
        write_table(args.table, args.group, versions, rows)


if __name__ == "__main__":
    main()

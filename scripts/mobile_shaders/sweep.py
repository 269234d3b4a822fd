#!/usr/bin/env python3
"""Tile shapes of a matrix kernel on one phone's compiler: the figures behind rows of runtime/kernels/config.cpp.

    python3 scripts/mobile_shaders/sweep.py mali-g610 gemm_m0e4_sg --rows 2,4 --tokens 2,4,8
    python3 scripts/mobile_shaders/sweep.py adreno-740 attention_prefill_sg --set QUERIES=4,8,16

Starts from the constants that the planner gives the kernel there; prints a line a shape, no decision."""

import argparse
import itertools
import sys
from pathlib import Path

from drivers import Cache, Compiler, Unavailable
from gpus import GPUS
from measure import ROOT, pipelines
from metrics import figures
from spirv import Module


def numbers(text: str) -> list:
    return [int(word) for word in text.split(",")]


def line(values: dict, row: dict, gpu) -> str:
    inner = row.get("inner", {})
    stall = row.get("stall_cycles", f"{row.get('worst_pipe')} {row.get('worst_pipe_cycles')}")
    return (" ".join(f"{key}={value}" for key, value in values.items()) +
            f": instructions {row['instructions']}, registers {row['registers']}, "
            f"occupancy {row['occupancy']}/{gpu.full_occupancy}, "
            f"spills {row['spills']}:{row['fills']}, scratch {row['scratch_bytes']}, stall {stall}, inner loop "
            f"{inner.get('instructions', '-')}" +
            "".join(f", {inner[key]} {key.replace('_', ' ')}"
                    for key in ("per_weight", "per_product", "per_weight_with_group") if key in inner))


def main() -> int:
    parser = argparse.ArgumentParser(description="Figures of one kernel over tile shapes.")
    parser.add_argument("gpu", choices=list(GPUS))
    parser.add_argument("shader")
    parser.add_argument("--rows", type=numbers)
    parser.add_argument("--tokens", type=numbers)
    parser.add_argument("--lanes", type=numbers)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=1,2", help="any constant by its name")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "ci")
    parser.add_argument("--compilers", type=Path, default=ROOT / "build" / "mobile-shaders")
    options = parser.parse_args()
    axes = {name: numbers(text) for name, text in (item.split("=") for item in options.set)}
    axes |= {name.upper(): getattr(options, name) for name in ("lanes", "rows", "tokens") if getattr(options, name)}
    gpu = GPUS[options.gpu]
    try:
        planned = [job for job in pipelines(options.build, [gpu])[gpu.name] if job["shader"] == options.shader]
        if not planned:
            print(f"sweep: no shader {options.shader}; see shaders/variants.txt", file=sys.stderr)
            return 2
        module = Module(options.build / "shaders" / f"{options.shader}.spv")
        ids = {name: number for number, name in module.constant_names.items()}
        if unknown := [name for name in axes if name not in ids]:
            print(f"sweep: {options.shader} has no constant {unknown[0]}, only {', '.join(ids)}", file=sys.stderr)
            return 2
        cache, compiler = Cache(options.compilers, gpu), Compiler(options.compilers, gpu)
        for values in itertools.product(*axes.values()):
            constants = list(planned[0]["constants"])
            named = dict(zip(axes, values))
            for name, value in named.items():
                constants[ids[name]] = value
            if "LANES" in ids:
                constants[0] = constants[ids["LANES"]] * (constants[ids["SPLITS"]] if "SPLITS" in ids else 1)
            answer = cache.load(module, constants)
            if answer is None:
                answer = compiler.compile(module, constants)
                if "error" not in answer:
                    cache.store(module, constants, answer | {"device": compiler.device})
            if "error" in answer:
                print(" ".join(f"{key}={value}" for key, value in named.items()) + f": {answer['error']}")
                continue
            print(line(named, figures(gpu, module, options.shader, module.named(constants), answer), gpu), flush=True)
        compiler.close()
    except Unavailable as error:
        print(f"mobile_shaders: {error}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compiles what the planner asks for on each phone with that phone's compiler and writes the figures.

    python3 scripts/mobile_shaders/measure.py [--build build/ci] [--compilers build/mobile-shaders]
                                              [--out build/mobile-shaders/results] [--gpu NAME]... [--planned]
                                              [--only REGEX] [-j 2]

Needs the compilers (setup.sh) and the built target list_pipelines. Exit code 5 when there are none."""

import argparse
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

from drivers import Cache, Compiler, Unavailable
from gpus import GPUS
from metrics import NOT_FOR_PHONES, figures, is_hot, weights_per_iteration
from spirv import Module
from spirv_loop import inner_loop

DECODE = re.compile(r"gemv_[a-z0-9]+(_convert)?_sg")
BASELINE = re.compile(r"_convert_")  # of the kernel lab, beside a planned kernel
ROOT = Path(__file__).resolve().parent.parent.parent


def pipelines(build: Path, gpus) -> dict:
    program = build / "test" / "mobile_shaders" / "list_pipelines"
    if not program.exists():
        raise Unavailable(f"{program} is not built; build the target list_pipelines")
    limits = [f"test/devices/{gpu.name}.json" for gpu in gpus]
    out = subprocess.run([program.resolve(), *limits], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    listed = json.loads(out)
    return {gpu.name: listed[path] for gpu, path in zip(gpus, limits)}


def add_source_loops(rows: list, modules: dict, known: dict):
    """To the first row of each encoding's decode kernel that the GPU is given, and of the baseline beside it: its inner
    loop as SPIR-V itself has it.
    `known` keeps the answers from one GPU to the next: spirv-opt takes seconds for one."""
    done = set()
    for row in rows:
        shader, constants = row["shader"], row["constants"]
        decode = DECODE.fullmatch(shader) and (row["planned"] or BASELINE.search(shader))
        if shader in done or not decode or "inner" not in row:
            continue
        done.add(shader)
        key = modules[shader].hash, tuple(constants.items())
        if key not in known:
            known[key] = inner_loop(modules[shader], constants, weights_per_iteration(shader, constants))
        row["spirv_inner"] = known[key]


def measure_gpu(gpu, jobs, modules: dict, bundle: Path, workers: int) -> dict:
    cache, pool, device = Cache(bundle, gpu), Queue(), {}
    for _ in range(workers):
        pool.put(Compiler(bundle, gpu))

    def one(job):
        module = modules[job["shader"]]
        answer = cache.load(module, job["constants"])
        if answer is None:
            compiler = pool.get()
            try:
                answer = compiler.compile(module, job["constants"])
                answer["device"] = compiler.device
            finally:
                pool.put(compiler)
            if "error" not in answer:
                cache.store(module, job["constants"], answer)
        constants = module.named(job["constants"])
        row = {"shader": job["shader"], "constants": constants, "planned": job["planned"],
               "hot": job["given"] and is_hot(job["shader"]), "use": job["uses"][0], "spirv": module.hash[:16]}
        if "error" in answer:
            return row | {"error": answer["error"]}
        device.update(answer["device"])
        return row | figures(gpu, module, job["shader"], constants, answer)

    with ThreadPoolExecutor(workers) as threads:
        rows = list(threads.map(one, jobs))
    while not pool.empty():
        pool.get().close()
    return {"schema": "pocketformer-mobile-shaders", "version": 1, "gpu": gpu.name, "family": gpu.family,
            "full_occupancy": gpu.full_occupancy, "device": device.get("name"), "driver": device.get("driver"),
            "shaders": rows}


def write(path: Path, result: dict):
    """A line a shader, so that a changed baseline reads as a diff."""
    head = json.dumps({key: value for key, value in result.items() if key != "shaders"}, indent=1)[:-2]
    rows = ",\n".join("  " + json.dumps(row) for row in result["shaders"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{head},\n "shaders": [\n{rows}\n ]\n}}\n')


def main() -> int:
    parser = argparse.ArgumentParser(description="Figures of every shader from the phones' compilers.")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "ci")
    parser.add_argument("--compilers", type=Path, default=ROOT / "build" / "mobile-shaders")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "mobile-shaders" / "results")
    parser.add_argument("--gpu", action="append", choices=list(GPUS), help="default: all")
    parser.add_argument("--planned", action="store_true", help="leave out the forms for phones with fewer features")
    parser.add_argument("--only", type=re.compile, help="shaders whose names match; check.py stores no such results")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    options = parser.parse_args()
    gpus = [GPUS[name] for name in options.gpu or GPUS]
    try:
        jobs = pipelines(options.build, gpus)
        jobs = {name: [job for job in rows if not NOT_FOR_PHONES.match(job["shader"])] for name, rows in jobs.items()}
        if options.planned:
            jobs = {name: [job for job in rows if job["planned"] or BASELINE.search(job["shader"])]
                    for name, rows in jobs.items()}
        if options.only:
            jobs = {name: [job for job in rows if options.only.fullmatch(job["shader"])] for name, rows in jobs.items()}
        shaders = {job["shader"] for rows in jobs.values() for job in rows}
        modules = {name: Module(options.build / "shaders" / f"{name}.spv") for name in sorted(shaders)}
        known = {}
        for gpu in gpus:
            start = time.monotonic()
            result = measure_gpu(gpu, jobs[gpu.name], modules, options.compilers, options.jobs)
            add_source_loops(result["shaders"], modules, known)
            if options.only:
                result = {"only": options.only.pattern} | result
            write(options.out / f"{gpu.name}.json", result)
            print(f"{gpu.name}: {len(result['shaders'])} pipelines, {result['device']}, {result['driver']}, "
                  f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    except Unavailable as error:
        print(f"mobile_shaders: {error}; nothing was checked", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())

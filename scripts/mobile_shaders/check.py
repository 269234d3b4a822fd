#!/usr/bin/env python3
"""Compares fresh figures with the stored ones and says no where a kernel became worse for phones.

    python3 scripts/mobile_shaders/check.py [--results build/mobile-shaders/results]
                                            [--baselines bench_results/mobile-shaders] [--accept]

Fails (exit code 1) on any spill or scratch in a hot kernel, on lower occupancy, on more than 10 % more
instructions in an inner loop, on a dot-product kernel without its instruction, on an integer made a float in
the inner loop of an m0e4 kernel, on a shader that a compiler refuses, on a hot kernel without a baseline, and on one
that no plan asks for.
--accept stores the results as baselines unless a fault stands that no baseline excuses. Figures of two Mesa
versions do not compare: exit code 3."""

import argparse
import json
import shutil
import sys
from pathlib import Path

from metrics import NOT_FOR_PHONES, TILE, is_hot

ROOT = Path(__file__).resolve().parent.parent.parent
MORE_INSTRUCTIONS = 1.10


def name_of(row: dict) -> str:
    tile = "x".join(str(row["constants"][k]) for k in ("LANES", "ROWS", "TOKENS", "SPLITS", "QUERIES", "PARTS")
                    if k in row["constants"])
    return row["shader"] + (f" {tile}" if tile else "") + f" ({row['use']})"


def identity(row: dict) -> tuple:
    return row["shader"], tuple(sorted(row["constants"].items()))


def purpose(row: dict) -> tuple:
    """What the kernel is asked for, whatever configuration row does it."""
    return row["shader"], tuple(sorted(item for item in row["constants"].items() if item[0] not in TILE))


def faults(row: dict) -> list:
    """What is wrong with a shader by itself."""
    if "error" in row:
        return [row["error"]]
    found = []
    if row["hot"] and (row["spills"] or row["fills"]):
        found.append(f"spills {row['spills']} and fills {row['fills']} registers, none may")
    if row["hot"] and row["scratch_bytes"]:
        found.append(f"keeps an array of {row['scratch_bytes']} bytes a thread in memory, none may: "
                     "look for a local array indexed by a loop that is not unrolled")
    for unit, loop in (("machine code", row.get("inner")), ("SPIR-V", row.get("spirv_inner"))):
        if loop and loop["conversions"] and "_m0e4" in row["shader"]:
            found.append(f"converts {loop['conversions']} integers to float in the inner loop of its {unit}, where "
                         "m0e4 needs none")
    if row.get("dots_meant") and not row["dots"]:
        found.append(f"has no dot-product instruction for its {' and '.join(row['dots_meant'])} products")
    return found


def cost(row: dict) -> tuple:
    """(figure of the inner loop, its unit) that compares across tile shapes where it can."""
    inner = row.get("inner")
    if not inner:
        return None, ""
    for key in ("per_product", "per_weight"):
        if key in inner:
            return inner[key], f"instructions {key.replace('_', ' ')}"
    return inner["instructions"], "instructions"


def regressions(row: dict, old: dict) -> list:
    """What is worse than the baseline `old`, of the same constants or of another tile for the same purpose."""
    if "error" in row or "error" in old or not row["hot"]:
        return []
    found = []
    if row["occupancy"] < old["occupancy"]:
        found.append(f"occupancy {row['occupancy']}, baseline {old['occupancy']}: registers "
                     f"{row['registers']}, baseline {old['registers']}")
    (new_cost, unit), (old_cost, old_unit) = cost(row), cost(old)
    comparable = unit == old_unit and (unit != "instructions" or identity(row) == identity(old))
    if comparable and new_cost and old_cost and new_cost > MORE_INSTRUCTIONS * old_cost:
        found.append(f"inner loop of {new_cost:g} {unit}, baseline {old_cost:g}, allowed 10 % more")
    if old.get("dots", 0) and not row.get("dots", 0) and not faults(row):
        found.append(f"lost the {old['dots']} dot-product instructions of its baseline")
    return found


def check(baseline: dict, results: dict) -> list:
    """Sentences, none when all is well."""
    found = []
    known = {identity(row): row for row in baseline["shaders"]}
    for row in results["shaders"]:
        said = faults(row)
        old = known.get(identity(row))
        if old is None:
            # A changed configuration row: the best figures that another tile had for the same purpose.
            others = [r for r in baseline["shaders"] if purpose(r) == purpose(row) and "error" not in r]
            old = max(others, key=lambda r: (r["occupancy"], -(cost(r)[0] or 0)), default=None)
        if old is not None:
            said += regressions(row, old)
        elif row["hot"] and not said:
            said.append("has no baseline; look at its figures, then accept them with --accept")
        found += [f"{results['gpu']}: {name_of(row)}: {text}" for text in said]
    return found


def unplanned(everywhere: list) -> list:
    """Kernels for phones that no phone's plan asks for, so that they were not measured as phones run them."""
    rows = [row for results in everywhere for row in results["shaders"]]
    given = {row["shader"] for row in rows if row["hot"]}
    missing = {row["shader"] for row in rows if is_hot(row["shader"]) and not NOT_FOR_PHONES.match(row["shader"])} - given
    return [f"every GPU: {shader} is in no plan of test/mobile_shaders/list_pipelines.cpp; add a shape or a form that "
            "asks for it" for shader in sorted(missing)]


def load(path: Path) -> dict:
    data = json.loads(path.read_text())
    if data.get("schema") != "pocketformer-mobile-shaders" or data.get("version") != 1:
        raise ValueError(f"{path} is no figures of mobile shaders, version 1; make it with measure.py")
    return data


def main() -> int:
    parser = argparse.ArgumentParser(description="Figures of the phones' compilers against the stored ones.")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "mobile-shaders" / "results")
    parser.add_argument("--baselines", type=Path, default=ROOT / "bench_results" / "mobile-shaders")
    parser.add_argument("--accept", action="store_true", help="store the results as baselines")
    options = parser.parse_args()
    paths = sorted(options.results.glob("*.json"))
    if not paths:
        print(f"check: no results in {options.results}; run scripts/mobile_shaders/measure.py", file=sys.stderr)
        return 3
    found, everywhere = [], []
    try:
        for path in paths:
            results = load(path)
            everywhere.append(results)
            if options.accept:
                if "only" in results:
                    raise ValueError(f"{path} holds {results['only']} only; measure every shader, then accept")
                said = [f"{results['gpu']}: {name_of(r)}: {text}" for r in results["shaders"] for text in faults(r)]
                if not said:
                    options.baselines.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, options.baselines / path.name)
                found += said
                continue
            stored = options.baselines / path.name
            if not stored.exists():
                raise ValueError(f"no baseline {stored}; look at the results, then accept them with --accept")
            baseline = load(stored)
            if baseline["driver"] != results["driver"]:
                raise ValueError(f"{stored} is of {baseline['driver']} and the results are of {results['driver']}: "
                                 "figures of two versions do not compare; measure with the pinned one or accept anew")
            found += check(baseline, results)
    except (ValueError, KeyError) as error:
        print(f"check: {error}", file=sys.stderr)
        return 3
    found += unplanned(everywhere)
    for sentence in found:
        print(sentence)
    print(f"check: {len(paths)} GPUs, {len(found)} faults", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

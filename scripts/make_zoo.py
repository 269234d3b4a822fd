#!/usr/bin/env python3
"""Exports the tiny models of zoo_models.py in the forms of zoo_forms.py, with golden logits beside each.

    python scripts/make_zoo.py OUT [--only STRUCTURE ...] [--forms FORM ...]      (environment A)

Writes OUT/<structure>/source (the HuggingFace checkpoint), OUT/<structure>/<form> and OUT/index.json: one entry per
(structure, form) with its path, or the error of the tool that could not make it. `zoo_dynamo.py` (environment B) and
`zoo_genai.py` (onnxruntime-genai) add their forms to the same folder.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path

import torch

import export_hf
import golden
import zoo_check
import zoo_models

MAIN_ONLY = ("a",)      # forms of a structure that is another one in a different size
SAMPLE = "llama3"


@torch.no_grad()
def trait_distances(name: str, model: torch.nn.Module) -> dict:
    """How far the logits move when a trait is taken away: a trait that moves nothing would test nothing."""
    ids = zoo_check.ids()[0]
    base = golden.logits_of(model, ids)
    found = {}
    for trait, changes in zoo_models.STRUCTURES[name].traits.items():
        other = golden.logits_of(zoo_models.build(name, ids, changes), ids)
        found[trait] = float(((other - base).norm(dim=1) / base.norm(dim=1)).max())
        if not found[trait] > 0.05:
            raise RuntimeError(f"{name}: removing '{trait}' moves no row of logits by 5 % ({found[trait]:.2e})")
    return found


def prepare(name: str, root: Path) -> torch.nn.Module:
    """The model; its checkpoint and golden rows lie in OUT/<structure>/source."""
    model = zoo_models.build(name, zoo_check.ids()[0])
    source = root / name / "source"
    if not (source / "golden.json").exists():
        source.mkdir(parents=True, exist_ok=True)
        traits = trait_distances(name, model)
        if hasattr(model, "save_pretrained"):
            model.save_pretrained(source)
        golden.write_golden(model, source, *zoo_check.ids(), extra={"traits_moved_logits_by": traits})
    return model


@contextlib.contextmanager
def index_of(root: Path):
    """The contents of index.json, written back at the end; several scripts may fill one folder at once."""
    path = root / "index.json"
    with open(root / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        index = json.loads(path.read_text()) if path.exists() else {
            "schema": "pocketformer.zoo", "version": 1, "planned": {}, "entries": []}
        yield index
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps(index, indent=1) + "\n")
        fresh.replace(path)


def record(root: Path, entry: dict) -> None:
    """Replaces the (structure, form) entry of index.json."""
    with index_of(root) as index:
        others = [e for e in index["entries"] if (e["structure"], e["form"]) != (entry["structure"], entry["form"])]
        order = {name: i for i, name in enumerate(zoo_models.STRUCTURES)}
        index["entries"] = sorted([*others, entry], key=lambda e: (order.get(e["structure"], len(order)), e["form"]))


def finish(out: Path, name: str, made: dict) -> dict:
    """Golden rows, texts, model.json and the check in ONNX Runtime for a form whose ONNX files lie in `out`."""
    source = out.parent / "source"
    if not (out / "golden.json").exists():
        for file in ("golden.json", "golden_logits.bin"):
            shutil.copyfile(source / file, out / file)
    if (source / "config.json").exists():
        export_hf.copy_texts(source, out)
    try:
        verdict = zoo_check.check(out)
    except Exception as error:  # noqa: BLE001  ONNX Runtime has no bfloat16 on the CPU, for one
        if "ShapeInferenceError" in str(error):  # breaks the operator's definition: no model that anyone could run
            raise RuntimeError(f"wrote an invalid graph: {error}") from error
        verdict = {"onnxruntime": f"{type(error).__name__}: {error}"[:300]}
    file = zoo_check.model_file(out)
    doc = {"schema": "pocketformer.model", "version": 1, "exporter": made["tool"], "task": export_hf.TASK,
           "weights": "random", "structure": zoo_models.STRUCTURES[name].note, "file": file.name,
           "versions": export_hf.versions(), **export_hf.describe(out, file), "check": verdict}
    (out / "model.json").write_text(json.dumps(doc, indent=1) + "\n")
    return {**made, "file": file.name, "bytes": doc["bytes"], **verdict}


def attempt(root: Path, name: str, form: str, make) -> None:
    """One form that fails must not stop the others: the tool's last words go into the index. `make(out)` fills a folder
    that replaces the old one only when it is whole."""
    start = time.time()
    entry = {"structure": name, "form": form, "versions": export_hf.versions()}
    out, work = root / name / form, root / name / f".{form}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        entry |= {"path": f"{name}/{form}", **finish(work, name, make(work))}
        shutil.rmtree(out, ignore_errors=True)
        work.rename(out)
    except Exception as error:  # noqa: BLE001  any tool, any error
        entry.pop("path", None)
        entry["error"] = f"{type(error).__name__}: {error}".strip()[:600]
        entry["where"] = "; ".join(line.strip() for line in traceback.format_exc().splitlines()[-4:-1])[-300:]
    shutil.rmtree(work, ignore_errors=True)
    record(root, entry)
    note = entry.get("error") or " ".join(f"{k.removeprefix('onnxruntime_')}={v:.1e}" for k, v in entry.items()
                                          if isinstance(v, float)) + f" {entry.get('onnxruntime', '')}"
    print(f"{name:16} {form:16} {time.time() - start:5.1f} s  {note.splitlines()[0][:200]}", flush=True)


def quiet() -> None:
    torch.set_num_threads(1)     # the models are tiny: threads that wait for each other cost more than they bring
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


def forms_of(name: str, forms: dict, one_is_enough: frozenset) -> list[str]:
    """Those of `forms` that are made for this structure."""
    if zoo_models.STRUCTURES[name].same_as:
        return [f for f in forms if f in MAIN_ONLY]
    return [f for f in forms if getattr(forms[f], "only", name) == name and (name == SAMPLE or f not in one_is_enough)]


def run(description: str, forms: dict, needs_model: bool = True, one_is_enough: frozenset = frozenset()) -> None:
    """The command line that the four scripts share. `forms` maps a name to a function of a zoo_forms.Job; those in
    `one_is_enough` are made for SAMPLE only, and one with an attribute `only` for that structure."""
    import zoo_forms

    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(zoo_models.STRUCTURES), default=list(zoo_models.STRUCTURES))
    parser.add_argument("--forms", nargs="*", choices=list(forms), default=list(forms))
    parser.add_argument("--missing", action="store_true", help="only what the index does not hold yet")
    args = parser.parse_args()
    quiet()
    args.out.mkdir(parents=True, exist_ok=True)
    plan = {name: forms_of(name, forms, one_is_enough) for name in zoo_models.STRUCTURES}
    with index_of(args.out) as index:  # what the table names as not made when a run ends early
        index.setdefault("planned", {})[Path(sys.argv[0]).stem] = plan
        held = {(e["structure"], e["form"]) for e in index["entries"]} if args.missing else set()
    for name in args.only:
        wanted = [f for f in plan[name] if f in args.forms and (name, f) not in held]
        if not wanted:
            continue
        model = prepare(name, args.out) if needs_model else None
        for form in wanted:
            attempt(args.out, name, form, lambda out: forms[form](zoo_forms.Job(name, args.out, out, model)))


def main() -> None:
    import zoo_forms

    run(__doc__, zoo_forms.FORMS)


if __name__ == "__main__":
    main()

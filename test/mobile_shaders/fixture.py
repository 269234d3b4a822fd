"""What the phones' compilers answered for the kernels in shaders/, as fixtures/KERNEL.GPU.txt: statistics, the NIR's
header, machine code."""

import sys
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "scripts" / "mobile_shaders"))

from gpus import GPUS  # noqa: E402
from metrics import figures  # noqa: E402

DOTS = {"dot_signed": {"signed"}, "dot_mixed": {"mixed"}}


def answer(kernel: str, gpu: str) -> dict:
    sections, current = {}, None
    for line in (HERE / "fixtures" / f"{kernel}.{gpu}.txt").read_text().splitlines():
        if line.startswith("== "):
            current = sections.setdefault(line[3:], [])
        else:
            current.append(line)
    numbers = (line.split(": ") for line in sections.pop("stats"))
    return {"stats": {name: float(value) if "." in value else int(value) for name, value in numbers},
            "texts": {name: "\n".join(lines) + "\n" for name, lines in sections.items()}}


def row(kernel: str, gpu: str) -> dict:
    """As measure.py would store it."""
    module = SimpleNamespace(dots=DOTS.get(kernel, set()))
    constants = {"LOCAL_SIZE": 64}
    return {"shader": kernel, "constants": constants, "planned": True, "hot": True, "use": "fixture", "spirv": "0"} | \
        figures(GPUS[gpu], module, kernel, constants, answer(kernel, gpu))


def results(*rows, gpu: str = "mali-g610") -> dict:
    return {"schema": "pocketformer-mobile-shaders", "version": 1, "gpu": gpu, "family": GPUS[gpu].family,
            "full_occupancy": GPUS[gpu].full_occupancy, "device": gpu, "driver": "Mesa 26.1.6-1~bpo13+1",
            "shaders": list(rows)}

"""One compiled shader -> the figures that the baselines hold."""

import re

import machine
from gpus import Gpu
from spirv import Module

# Kernels that run for every token or every layer are hot, in the forms for phones with fewer features too. The generic
# operators stand in for what no kernel was written for, the probes measure the device, and the kernel lab's baselines
# are what others do: all are listed, none is held to anything.
COLD = re.compile(r"generic_|probe_|advance$|.*_convert_")
# Forms that only the rows of the software device ask for; and two matrices at once by signed dot products without
# subgroups: Malis, which alone have those, take the matrices apart then (gates_apart of config.cpp).
NOT_FOR_PHONES = re.compile(r".*_tx$|.*_lanes_sg$|gem[mv]_w8a8_gated_sdot$")
PIPES = ("FMA", "CVT", "SFU", "Arithmetic", "Varying", "Texture", "Load/store")
# Constants of a configuration row (runtime/kernels/config.cpp); the others say what the kernel is asked for.
TILE = {"LOCAL_SIZE", "LANES", "ROWS", "TOKENS", "SPLITS", "SPREAD", "QUERIES", "PARTS"}


def is_hot(shader: str) -> bool:
    return not COLD.match(shader)


def scratch_bytes(texts: dict) -> int:
    """Arrays that stay in memory, a thread. Mali counts them nowhere but in the NIR."""
    return max((int(n) for text in texts.values() for n in re.findall(r"^scratch: (\d+)$", text, re.M)), default=0)


def weights_per_iteration(shader: str, constants: dict):
    """Weights that a lane takes in one turn of the innermost loop of a matrix kernel (common/matmul.glsl):
    one round of 32 columns of each of its rows, of both matrices where there are two. None: no such loop, as in
    the forms that read texels, whose innermost loop runs over parts of a round; no phone is given those."""
    if not shader.startswith(("gemv_", "gemm_")) or shader.endswith("_tx") or "ROWS" not in constants:
        return None
    if shader.endswith("_any"):  # a loop over parts of a round, whose planes lie in registers
        return 4 * constants["ROWS"]
    columns = 16 if "_w8a8" in shader else 32  # common/w8a8.glsl goes by units of 16
    return columns * constants["ROWS"] * (2 if "_gated" in shader else 1)


def bits_per_weight(shader: str) -> int:
    return 4 if re.search("_(int4|m0e4)", shader) else 8 if re.search("_(int8|w8a8)", shader) else \
        16 if "_f16" in shader else 32


def weights_loaded(gpu: Gpu, shader: str, body) -> int:
    """The same from Adreno's code: loads of the buffers that hold codes (bindings 2 and, of a second matrix, 6).
    A check of the formula above."""
    wanted = {gpu.descriptors * binding for binding in ((2, 6) if "_gated" in shader else (2,))}
    loaded = 0
    for instruction in body:
        if match := re.search(r"\bisam\.v\S* \(u32\)\(([xyzw]+)\).*t#(\d+)$", instruction.text):
            words, descriptor = len(match[1]), int(match[2])
        elif match := re.search(r"\bldib\.\S*\.(\d)\.imm\S* .*, (\d+)$", instruction.text):
            words, descriptor = int(match[1]), int(match[2])
        else:
            continue
        if descriptor in wanted:
            loaded += words * 32 // bits_per_weight(shader)
    return loaded


def figures(gpu: Gpu, module: Module, shader: str, constants: dict, answer: dict) -> dict:
    stats, texts = answer["stats"], answer["texts"]
    if shader == "probe_empty" and not stats:  # Mali's driver makes no program of it
        return {"instructions": 0, "registers": 0, "occupancy": gpu.full_occupancy, "spills": 0, "fills": 0,
                "scratch_bytes": 0, "loops": []}
    result = {"instructions": stats.get("Instruction Count", stats.get("Instructions")),
              "registers": stats["Registers used"]}
    if gpu.family == "adreno":
        result |= {"occupancy": stats["Max Waves Per Core"], "spills": stats["STP Count"], "fills": stats["LDP Count"],
                   "stall_cycles": stats["Estimated cycles stalled on SS"] + stats["Estimated cycles stalled on SY"]}
    else:
        pipes = {name: stats[name] for name in PIPES if name in stats}
        worst = max(pipes, key=pipes.get)
        result |= {"occupancy": stats["Threads"], "spills": stats["Spills"], "fills": stats["Fills"],
                   "worst_pipe": worst, "worst_pipe_cycles": pipes[worst]}
    result["scratch_bytes"] = scratch_bytes(texts)

    assembly = next(text for name, text in texts.items() if name.endswith("Assembly"))
    code = machine.parse(gpu.family, assembly)
    found = machine.loops(code)
    if len(found) != stats["Loops"]:
        raise ValueError(f"{len(found)} loops seen in the machine code of {shader} on {gpu.name}, "
                         f"the driver counts {stats['Loops']}: scripts/mobile_shaders/machine.py misreads it")
    result["loops"] = [machine.busy(loop.body(code)) for loop in found if loop.innermost]
    if module.dots:
        result["dots_meant"] = sorted(module.dots & gpu.dots)
        result["dots"] = machine.count(code, machine.DOT)
    inner = max((loop for loop in found if loop.innermost), key=lambda l: machine.busy(l.body(code)), default=None)
    if inner is not None:
        body = inner.body(code)
        result["inner"] = {"instructions": machine.busy(body),
                           "conversions": machine.count(body, machine.CONVERSION)}
        if module.dots:
            result["inner"]["dots"] = machine.count(body, machine.DOT)
        weights = weights_per_iteration(shader, constants)
        if weights:
            from_planes = shader.endswith("_any")
            if gpu.family == "adreno" and not from_planes and (loaded := weights_loaded(gpu, shader, body)) != weights:
                raise ValueError(f"the innermost loop of {shader} on {gpu.name} loads {loaded} weights a turn, not "
                                 f"{weights}: mend weights_per_iteration in scripts/mobile_shaders/metrics.py")
            result["inner"] |= {"weights": weights, "per_weight": round(machine.busy(body) / weights, 3)}
            if shader.startswith("gemm_"):
                result["inner"]["per_product"] = round(machine.busy(body) / weights / constants["TOKENS"], 3)
            # The loop over groups of 32 weights, which takes one round and applies scale and bias.
            around = [loop for loop in found
                      if loop is not inner and loop.first <= inner.first and inner.last <= loop.last]
            if around:
                group = machine.busy(max(around, key=lambda loop: loop.first).body(code))
                result["inner"]["per_weight_with_group"] = round(group / weights, 3)
    return result

"""Operations per weight in the inner loop of a matrix kernel, counted in SPIR-V itself.

spirv-opt puts the constants of a configuration in, unrolls the loops over rows and tokens as every driver
does, and leaves the loop over columns. What a compiler turns into registers and nothing else is not counted:
moves between vectors and scalars, variables of the invocation, control flow."""

import re
import struct
import subprocess
import tempfile
from pathlib import Path

from spirv import Module, instructions

OP_LOOP_MERGE, UNROLL = 246, 1
PASSES = """--freeze-spec-const --fold-spec-const-op-composite --eliminate-dead-functions --eliminate-dead-branches
  --merge-return --inline-entry-points-exhaustive --private-to-local --eliminate-dead-branches --merge-blocks
  --convert-local-access-chains --eliminate-local-single-block --eliminate-local-single-store --ssa-rewrite --ccp
  --simplify-instructions --loop-unroll --eliminate-dead-branches --merge-blocks --simplify-instructions --ccp
  --scalar-replacement=0 --convert-local-access-chains --eliminate-local-single-block --eliminate-local-single-store
  --ssa-rewrite --ccp --eliminate-dead-branches --simplify-instructions --redundancy-elimination
  --simplify-instructions --eliminate-dead-code-aggressive --merge-blocks""".split()
FREE = re.compile(r"Op(Label|Branch|SelectionMerge|LoopMerge|Phi|Composite|VectorShuffle|AccessChain|Load|Store|"
                  r"CopyObject|Undef|Bitcast|Unreachable|Return)")
CONVERSION = re.compile(r"OpConvert[SU]ToF\b")


def marked_for_unrolling(path: Path) -> bytes:
    words = list(struct.unpack(f"<{path.stat().st_size // 4}I", path.read_bytes()))
    at = 5
    for op, operands in instructions(tuple(words)):
        if op == OP_LOOP_MERGE:
            words[at + 3] = UNROLL
        at += len(operands) + 1
    return struct.pack(f"<{len(words)}I", *words)


def specialised(module: Module, constants: dict) -> str:
    ids = {name: number for number, name in module.constant_names.items()}
    values = " ".join(f"{ids[name]}:{value}" for name, value in constants.items() if name in ids)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.spv", Path(folder) / "out.spv"
        source.write_bytes(marked_for_unrolling(module.path))
        subprocess.run(["spirv-opt", f"--set-spec-const-default-value={values}", *PASSES, source, "-o", target],
                       check=True, stderr=subprocess.DEVNULL)
        return subprocess.run(["spirv-dis", "--no-color", target], check=True, stdout=subprocess.PIPE, text=True).stdout


def operation(line: str) -> str:
    return line.split(" = ", 1)[-1].split()[0]


def counts(line: str, buffers: set) -> bool:
    name = operation(line)
    if name in ("OpLoad", "OpStore", "OpAccessChain"):  # of buffers only: an address, and the access
        return any(word in buffers for word in line.split())
    return not FREE.match(name)


def components(line: str) -> int:
    """Of an operation's result: a vector's are as many operations of a GPU that has no vectors."""
    match = re.match(r"%\w+ = Op\w+ %v([234])\w+ ", line)
    return int(match[1]) if match else 1


def loops(text: str) -> list:
    """Lines of each loop, from its merge instruction to the label it ends at; outer ones first."""
    lines = [line.strip() for line in text.splitlines()]
    labels = {line.split()[0]: at for at, line in enumerate(lines) if line.endswith("OpLabel")}
    return [lines[at + 1:labels[line.split()[1]]] for at, line in enumerate(lines) if line.startswith("OpLoopMerge")]


def inner_loop(module: Module, constants: dict, weights: int) -> dict:
    """Of the largest loop that holds no other: operations, conversions of integers to float among them, and
    operations per weight; and of the loop around it, which does a group of 32 weights. `scalar`: an operation on
    vectors counts once a component."""
    text = specialised(module, constants)
    buffers = set(re.findall(r"(%\w+) = OpVariable %\w*StorageBuffer", text))
    buffers |= {match[1] for match in re.finditer(r"(%\w+) = OpAccessChain %\w+ (%\w+)", text) if match[2] in buffers}

    def operations(body):
        return sum(counts(line, buffers) for line in body)

    def scalar(body, pattern=re.compile("")):
        return sum(components(line) for line in body if counts(line, buffers) and pattern.match(operation(line)))

    every = loops(text)
    innermost = [body for body in every if not any(line.startswith("OpLoopMerge") for line in body)]
    body = max(innermost, key=operations)
    result = {"operations": operations(body), "per_weight": round(operations(body) / weights, 3),
              "conversions": sum(bool(CONVERSION.match(operation(line))) for line in body),
              "scalar_conversions": scalar(body, CONVERSION)}
    around = [outer for outer in every if outer is not body and body[0] in outer]
    if around:
        group = min(around, key=len)
        result["per_weight_with_group"] = round(operations(group) / weights, 3)
        result["conversions_with_group"] = sum(bool(CONVERSION.match(operation(line))) for line in group)
        result["scalar_per_weight_with_group"] = round(scalar(group) / weights, 3)
    return result

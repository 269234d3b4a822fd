"""Machine code as Mesa prints it -> instructions and loops.

Three notations: ir3 (Adreno: labels `l51:`, prefixes such as `(sy)(rpt1)`), Valhall (Mali from G57 on: one
instruction a line, branches by distance), Bifrost (Mali-G52: clauses of `*` and `+` halves). A loop is the
stretch between a branch and the label before it that it goes back to."""

import re
from dataclasses import dataclass

CONVERSION = re.compile(r"cov\.[us]\d+f\d+|(V\d)?[SU]\d+_TO_(V\d)?F\d+")
DOT = re.compile(r"dp[24]acc\b|V?\dx?\w*IDP|IDP(ADD|4A)?\b")
IDLE = re.compile(r"nop$|NOP(\.|$)")


@dataclass
class Instruction:
    name: str          # without prefixes, with its type suffixes
    text: str
    count: int = 1     # repeated by a prefix
    target: int = -1   # of a branch: index of the instruction it goes to, len(code) beyond the last


@dataclass
class Loop:
    first: int
    last: int          # the branch back
    innermost: bool = True

    def body(self, code):
        return code[self.first:self.last + 1]


def parse_ir3(text: str) -> list:
    code, labels, jumps = [], {}, {}
    for line in text.splitlines():
        line = line.strip()
        if match := re.fullmatch(r"(l\d+):", line):
            labels[match[1]] = len(code)
            continue
        prefix = re.match(r"(\([a-z0-9]+\)\s*)*", line)[0]
        rest = line[len(prefix):]
        name = re.match(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", rest)
        if not name or line.startswith(("Native code", "shader:")):
            continue
        repeat = re.search(r"\(rpt(\d)\)", prefix)
        if match := re.search(r"#(l\d+)$", line):
            jumps[len(code)] = match[1]
        code.append(Instruction(name[0], line, 1 + int(repeat[1]) if repeat else 1))
        if name[0] == "end":
            break
    for at, label in jumps.items():
        code[at].target = labels.get(label, len(code))
    return code


def parse_valhall(text: str) -> list:
    code = []
    for line in text.splitlines():
        line = line.strip()
        if not re.match(r"[A-Z][A-Z0-9_]+[. ]?", line):
            continue
        code.append(Instruction(line.split(" ")[0], line))
        if match := re.search(r"offset:(-?\d+)$", line):
            if line.startswith("BRANCH"):
                code[-1].target = len(code) + int(match[1])
    return code


def parse_bifrost(text: str) -> list:
    code, labels, jumps = [], {}, {}
    for line in text.splitlines():
        line = line.strip()
        if match := re.fullmatch(r"(clause_\d+):", line):
            labels[match[1]] = len(code)
        elif match := re.match(r"[*+]([A-Z][A-Z0-9_]+[.\w]*)", line):
            if match := re.search(r", (clause_\d+)$", line):
                jumps[len(code)] = match[1]
            code.append(Instruction(re.match(r"[*+](\S+)", line)[1], line))
    for at, label in jumps.items():
        code[at].target = labels.get(label, len(code))
    return code


def parse(family: str, text: str) -> list:
    if family == "adreno":
        return parse_ir3(text)
    return parse_bifrost(text) if "clause_0:" in text else parse_valhall(text)


def busy(code) -> int:
    """Instructions without the ones that only wait."""
    return sum(i.count for i in code if not IDLE.match(i.name))


def count(code, pattern) -> int:
    return sum(i.count for i in code if pattern.match(i.name))


def loops(code) -> list:
    """Outer loops before the loops within them; several branches back to one label are one loop. Adreno's compiler
    makes a subgroup's sum of a loop over clusters of lanes, which ends in getone: that is part of the operation."""
    ends = {}
    for at, instruction in enumerate(code):
        if 0 <= instruction.target <= at and instruction.name != "getone":
            ends[instruction.target] = max(at, ends.get(instruction.target, at))
    found = [Loop(first, last) for first, last in sorted(ends.items(), key=lambda item: (item[0], -item[1]))]
    for outer in found:
        outer.innermost = not any(outer.first <= inner.first and inner.last <= outer.last
                                  for inner in found if inner is not outer)
    return found

"""What a SPIR-V compute module declares, read from its words: enough to build a pipeline of it."""

import hashlib
import struct
from pathlib import Path

OP_NAME, OP_TYPE_IMAGE, OP_TYPE_POINTER, OP_VARIABLE, OP_DECORATE, OP_MEMBER_DECORATE = 5, 25, 32, 59, 71, 72
SPEC_ID, BINDING, OFFSET = 1, 33, 35
PUSH_CONSTANT, DIM_BUFFER = 9, 5
DOTS = {4450: "signed", 4451: "unsigned", 4452: "mixed", 4453: "signed", 4454: "unsigned", 4455: "mixed"}


def instructions(words):
    """(opcode, operand words) of every instruction; the header's five words are skipped."""
    at = 5
    while at < len(words):
        count = words[at] >> 16
        if count == 0 or at + count > len(words):
            raise ValueError(f"instruction of {count} words at word {at} of {len(words)}")
        yield words[at] & 0xFFFF, words[at + 1:at + count]
        at += count


def text_of(words):
    return struct.pack(f"<{len(words)}I", *words).split(b"\0", 1)[0].decode()


class Module:
    def __init__(self, path: Path):
        data = path.read_bytes()
        self.path = path
        self.hash = hashlib.sha256(data).hexdigest()
        words = struct.unpack(f"<{len(data) // 4}I", data)
        if len(data) % 4 or words[:1] != (0x07230203,):
            raise ValueError(f"{path} is no little-endian SPIR-V module; build the target pocket_shaders again")
        names, spec_ids, bindings, offsets, pointers, variables, texel_buffers = {}, {}, {}, {}, {}, {}, set()
        self.dots = set()       # signedness of integer dot products
        self.opcodes = {}       # opcode -> how many
        push_struct = None
        for op, operands in instructions(words):
            self.opcodes[op] = self.opcodes.get(op, 0) + 1
            if op == OP_NAME:
                names[operands[0]] = text_of(operands[1:])
            elif op == OP_DECORATE and operands[1] == SPEC_ID:
                spec_ids[operands[0]] = operands[2]
            elif op == OP_DECORATE and operands[1] == BINDING:
                bindings[operands[0]] = operands[2]
            elif op == OP_MEMBER_DECORATE and operands[2] == OFFSET:
                offsets[operands[0]] = max(offsets.get(operands[0], 0), operands[3])
            elif op == OP_TYPE_POINTER:
                pointers[operands[0]] = (operands[1], operands[2])
            elif op == OP_TYPE_IMAGE and operands[2] == DIM_BUFFER:
                texel_buffers.add(operands[0])
            elif op == OP_VARIABLE:
                variables[operands[1]] = operands[0]
                if operands[2] == PUSH_CONSTANT:
                    push_struct = pointers[operands[0]][1]
            elif op in DOTS:
                self.dots.add(DOTS[op])
        # {binding: whether it is a texel buffer}; several views of one binding are of one kind.
        self.bindings = {bindings[i]: pointers[variables[i]][1] in texel_buffers for i in bindings}
        # Members of our push constants are 4 bytes wide, so that the last one ends 4 after its offset.
        self.push_bytes = 0 if push_struct is None else offsets[push_struct] + 4
        self.constant_names = {spec_ids[i]: names.get(i) or f"constant{spec_ids[i]}" for i in spec_ids}
        # The local size is a decoration's operand and may have no name of its own.
        self.constant_names[0] = "LOCAL_SIZE"

    def named(self, constants):
        """{name: value} of a planner's list of constants, whose place is the constant's id."""
        return {self.constant_names.get(i, f"constant{i}"): value for i, value in enumerate(constants)}

"""Machine code and statistics of three instruction sets, read as measure.py reads them."""

import unittest

from fixture import GPUS, answer, row

import machine
from spirv_loop import components

ADRENO, BIFROST, VALHALL = "adreno-740", "mali-g52", "mali-g610"


def code_of(kernel, gpu):
    text = next(text for name, text in answer(kernel, gpu)["texts"].items() if name.endswith("Assembly"))
    return machine.parse(GPUS[gpu].family, text)


class MachineCode(unittest.TestCase):
    def test_a_loop_is_what_lies_between_a_branch_back_and_its_label(self):
        for gpu in (ADRENO, VALHALL):
            code = code_of("sum", gpu)
            loops = machine.loops(code)
            self.assertEqual([loop.innermost for loop in loops], [True], gpu)
            body = loops[0].body(code)
            self.assertEqual(machine.busy(body), 11, gpu)
            self.assertEqual(machine.count(body, machine.re.compile("isam|LD_PKA")), 1, gpu)

    def test_adreno_counts_what_the_driver_counts(self):
        for kernel in ("sum", "planted_scratch", "dot_signed", "dot_mixed"):
            code = code_of(kernel, ADRENO)
            preamble = next(i for i, instruction in enumerate(code) if instruction.name == "shpe")
            stats = answer(kernel, ADRENO)["stats"]
            counted = stats["Instruction Count"] - stats["NOPs Count"]
            self.assertEqual(machine.busy(code[preamble + 1:]), counted, kernel)

    def test_valhall_counts_what_the_driver_counts(self):
        for kernel in ("sum", "planted_scratch", "dot_signed", "dot_mixed"):
            self.assertEqual(len(code_of(kernel, VALHALL)), answer(kernel, VALHALL)["stats"]["Instructions"], kernel)

    def test_bifrost_counts_both_halves_without_idle_ones(self):
        for kernel in ("sum", "planted_scratch", "dot_signed", "dot_mixed"):
            counted = answer(kernel, BIFROST)["stats"]["Instructions"]
            self.assertEqual(machine.busy(code_of(kernel, BIFROST)), counted, kernel)

    def test_nested_loops_and_two_branches_to_one_label(self):
        code = machine.parse_ir3("l0:\nnop\nl1:\nadd.f r0.x, r0.x, r0.y\nbr p0.x, #l0\njump #l1\nbr p0.y, #l0\nend\n")
        self.assertEqual([(l.first, l.last, l.innermost) for l in machine.loops(code)], [(0, 4, False), (1, 3, True)])

    def test_a_sum_over_the_subgroup_is_no_loop_of_the_kernel(self):
        text = "l0:\nadd.f r2.w, r1.y, r2.w\ngetlast.w8 #l1\nmov.u32u32 r49.w, r2.w\ngetone #l0\nl1:\nend\n"
        code = machine.parse_ir3(text)
        self.assertEqual(code[3].target, 0)
        self.assertEqual(machine.loops(code), [])

    def test_conversions_of_integers_are_told_from_those_of_halves(self):
        code = machine.parse_ir3("cov.u32f32 r0.x, r0.y\ncov.f16f32 r0.x, hr0.y\n(sy)cov.s16f16 hr0.x, hr1.x\nend\n")
        self.assertEqual(machine.count(code, machine.CONVERSION), 2)
        code = machine.parse_valhall("   U32_TO_F32 r0, r1\n   F16_TO_F32 r0, r1.h0\n   V2S16_TO_V2F16 r0, r1\n")
        self.assertEqual(machine.count(code, machine.CONVERSION), 2)


class SourceLoop(unittest.TestCase):
    def test_an_operation_on_a_vector_counts_once_a_component(self):
        lines = {"%5 = OpConvertSToF %v4float %4": 4, "%5 = OpExtInst %v2float %1 UnpackHalf2x16 %4": 2,
                 "%5 = OpFMul %float %4 %4": 1, "OpStore %5 %4": 1, "%5 = OpIAdd %uint %v4 %4": 1}
        self.assertEqual({line: components(line) for line in lines}, lines)


class Figures(unittest.TestCase):
    def test_a_sound_kernel_keeps_nothing_in_memory_and_full_occupancy(self):
        for gpu in (ADRENO, BIFROST, VALHALL):
            figures = row("sum", gpu)
            self.assertEqual((figures["spills"], figures["fills"], figures["scratch_bytes"]), (0, 0, 0), gpu)
            self.assertEqual(figures["occupancy"], GPUS[gpu].full_occupancy, gpu)

    def test_the_planted_array_is_seen_on_every_instruction_set(self):
        self.assertGreater(row("planted_scratch", ADRENO)["spills"], 0)
        for gpu in (BIFROST, VALHALL):  # where the driver counts no spill: the NIR says it
            figures = row("planted_scratch", gpu)
            self.assertEqual(figures["spills"], 0, gpu)
            self.assertGreaterEqual(figures["scratch_bytes"], 1024, gpu)

    def test_dot_products_are_meant_only_where_the_gpu_has_them(self):
        found = {(kernel, gpu): (row(kernel, gpu)["dots_meant"], row(kernel, gpu)["dots"])
                 for kernel in ("dot_signed", "dot_mixed") for gpu in (ADRENO, BIFROST, VALHALL)}
        self.assertEqual(found, {("dot_signed", ADRENO): ([], 0), ("dot_mixed", ADRENO): (["mixed"], 1),
                                 ("dot_signed", VALHALL): (["signed"], 1), ("dot_mixed", VALHALL): ([], 0),
                                 ("dot_signed", BIFROST): ([], 0), ("dot_mixed", BIFROST): ([], 0)})

    def test_a_misread_loop_count_is_refused(self):
        import metrics
        said = answer("sum", VALHALL)
        said["stats"]["Loops"] = 2
        module = type("Module", (), {"dots": set()})
        with self.assertRaisesRegex(ValueError, "1 loops seen.*the driver counts 2"):
            metrics.figures(GPUS[VALHALL], module, "sum", {"LOCAL_SIZE": 64}, said)


if __name__ == "__main__":
    unittest.main()

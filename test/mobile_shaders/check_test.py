"""Each way to become worse on a phone is planted into good figures; the check must name it, and nothing else."""

import copy
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from fixture import HERE, results, row

from check import check, unplanned

SCRIPT = HERE.parent.parent / "scripts" / "mobile_shaders" / "check.py"


def gemv(**changes) -> dict:
    inner = {"instructions": 310, "conversions": 0, "weights": 64, "per_weight": 4.844}
    constants = {"LOCAL_SIZE": 64, "LANES": 16, "ROWS": 2, "SPLITS": 4, "X_F16": 1}
    base = {"shader": "gemv_m0e4_sg", "constants": constants, "planned": True, "hot": True, "use": "llama decode",
            "spirv": "1", "instructions": 436, "registers": 30, "occupancy": 2, "spills": 0, "fills": 0,
            "worst_pipe": "Load/store",
            "worst_pipe_cycles": 15, "scratch_bytes": 0, "loops": [310], "inner": inner}
    return copy.deepcopy(base) | changes


class Check(unittest.TestCase):
    def said(self, new, old=None):
        return check(results(gemv() if old is None else old), results(new))

    def one(self, pattern, new, old=None):
        said = self.said(new, old)
        self.assertEqual(len(said), 1, said)
        self.assertRegex(said[0], pattern)

    def test_the_same_figures_pass(self):
        self.assertEqual(self.said(gemv()), [])

    def test_spills_and_fills(self):
        self.one("mali-g610: gemv_m0e4_sg 16x2x4.*spills 3 and fills 0", gemv(spills=3))
        self.one("spills 0 and fills 5", gemv(fills=5))
        self.one("spills 3", gemv(spills=3), gemv(spills=3))  # no baseline excuses them

    def test_scratch_that_the_driver_does_not_count(self):
        self.one("array of 1024 bytes a thread", gemv(scratch_bytes=1024))

    def test_the_compiled_planted_array(self):
        for gpu in ("adreno-740", "mali-g52", "mali-g610"):
            bad = row("planted_scratch", gpu)
            said = check(results(bad, gpu=gpu), results(bad, gpu=gpu))
            self.assertEqual(len(said), 1, said)
            self.assertRegex(said[0], "none may")

    def test_lower_occupancy(self):
        self.one("occupancy 1, baseline 2: registers 37, baseline 30", gemv(occupancy=1, registers=37))
        self.assertEqual(self.said(gemv(), gemv(occupancy=1)), [])

    def test_instructions_of_the_inner_loop(self):
        def longer(by):
            return gemv(inner=gemv()["inner"] | {"instructions": 310 + by, "per_weight": (310 + by) / 64})
        self.assertEqual(self.said(longer(30)), [])
        self.one(r"inner loop of 5\.34375 instructions per weight, baseline 4\.844", longer(32))

    def test_a_loop_without_weights_compares_by_its_instructions(self):
        old, new = row("sum", "mali-g610"), row("sum", "mali-g610")
        new["inner"]["instructions"] = 13
        self.one("inner loop of 13 instructions, baseline 11", new, old)

    def test_a_lost_dot_product(self):
        for gpu, kernel in (("mali-g610", "dot_signed"), ("adreno-740", "dot_mixed")):
            old, new = row(kernel, gpu), row(kernel, gpu)
            new["dots"] = 0
            said = check(results(old, gpu=gpu), results(new, gpu=gpu))
            self.assertEqual(len(said), 1, said)
            self.assertRegex(said[0], "has no dot-product instruction")
        old, new = row("dot_mixed", "adreno-740"), row("dot_mixed", "adreno-740")
        del new["dots"], new["dots_meant"]  # the operation itself went from the shader
        said = check(results(old, gpu="adreno-740"), results(new, gpu="adreno-740"))
        self.assertRegex(" ".join(said), "lost the 1 dot-product instructions")

    def test_an_integer_made_a_float_in_the_m0e4_loop(self):
        inner = gemv()["inner"] | {"conversions": 2}
        self.one("converts 2 integers to float in the inner loop of its machine code", gemv(inner=inner))
        self.one("2 integers to float in the inner loop of its SPIR-V", gemv(spirv_inner=inner))
        other = gemv(shader="gemv_int3_sg", inner=inner)
        self.assertEqual(self.said(other, other), [])

    def test_a_compiler_that_refuses(self):
        broken = {key: gemv()[key] for key in ("shader", "constants", "planned", "hot", "use", "spirv")}
        self.one("VkResult -3", broken | {"error": "the driver refused it with VkResult -3"})

    def test_a_changed_configuration_row_is_held_to_the_old_one(self):
        constants = gemv()["constants"] | {"ROWS": 4, "LOCAL_SIZE": 64}
        self.assertEqual(self.said(gemv(constants=constants)), [])
        self.one("gemv_m0e4_sg 16x4x4.*occupancy 1, baseline 2", gemv(constants=constants, occupancy=1))

    def test_a_new_kernel_wants_a_baseline(self):
        self.one("has no baseline", gemv(shader="gemv_int3_sg"))

    def test_a_kernel_that_no_phone_is_given_on_any_gpu(self):
        idle = gemv(shader="gemv_int3", hot=False, planned=False)
        said = unplanned([results(gemv(), idle), results(gemv(), idle, gpu="mali-g52")])
        self.assertEqual(len(said), 1, said)
        self.assertRegex(said[0], "gemv_int3 is in no plan")
        self.assertEqual(unplanned([results(idle), results(gemv(shader="gemv_int3"), gpu="mali-g52")]), [])
        for name in ("gemv_m0e4_tx", "attention_decode_lanes_sg", "generic_map", "gemv_int4_convert_sg",
                     "gemv_w8a8_gated_sdot"):
            self.assertEqual(unplanned([results(idle | {"shader": name})]), [], name)

    def test_cold_kernels_may_do_as_they_must(self):
        cold = {"shader": "generic_map", "hot": False, "occupancy": 1, "scratch_bytes": 64}
        self.assertEqual(self.said(gemv(**cold), gemv(**cold | {"occupancy": 2})), [])


class Program(unittest.TestCase):
    def run_it(self, baseline, fresh, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / "baselines", Path(folder) / "results"]
            for path, content in zip(paths, (baseline, fresh)):
                path.mkdir()
                if content is not None:
                    (path / "mali-g610.json").write_text(json.dumps(content))
            done = subprocess.run([sys.executable, SCRIPT, "--baselines", paths[0], "--results", paths[1], *arguments],
                                  capture_output=True, text=True, check=False)
            stored = paths[0] / "mali-g610.json"
            return done, json.loads(stored.read_text()) if stored.exists() else None

    def test_exit_codes(self):
        self.assertEqual(self.run_it(results(gemv()), results(gemv()))[0].returncode, 0)
        done, _ = self.run_it(results(gemv()), results(gemv(occupancy=1)))
        self.assertEqual(done.returncode, 1)
        self.assertIn("occupancy 1, baseline 2", done.stdout)
        self.assertEqual(self.run_it(None, results(gemv()))[0].returncode, 3)
        self.assertEqual(self.run_it(results(gemv()), None)[0].returncode, 3)
        self.assertEqual(self.run_it({"schema": "another"}, results(gemv()))[0].returncode, 3)

    def test_two_versions_of_the_compiler_do_not_compare(self):
        done, _ = self.run_it(results(gemv()) | {"driver": "Mesa 26.2.0"}, results(gemv()))
        self.assertEqual(done.returncode, 3)
        self.assertIn("figures of two versions do not compare", done.stderr)

    def test_accept_stores_what_is_sound_and_nothing_else(self):
        done, stored = self.run_it(None, results(gemv(occupancy=1)), "--accept")
        self.assertEqual((done.returncode, stored["shaders"][0]["occupancy"]), (0, 1))
        done, stored = self.run_it(None, results(gemv(spills=1)), "--accept")
        self.assertEqual((done.returncode, stored), (1, None))
        done, stored = self.run_it(None, results(gemv()) | {"only": "gemv_.*"}, "--accept")
        self.assertEqual((done.returncode, stored), (3, None))
        self.assertIn("holds gemv_.* only", done.stderr)


if __name__ == "__main__":
    unittest.main()

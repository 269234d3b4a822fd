"""The phones' GPUs whose compilers we run: how Mesa is told to be one, and what its compiler can do."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Gpu:
    name: str             # of test/devices/NAME.json, whose limits the planner is given
    family: str           # adreno: runs natively; mali: arm64 under qemu-user
    environment: dict     # which chip the preloaded drm-shim answers as
    subgroup_size: int    # asked for by the runtime where it can (runtime/vulkan/device.cpp); 0: cannot
    full_occupancy: int   # waves a core (Adreno) or thread pairs (Mali) with registers to spare
    dots: frozenset = field(default_factory=frozenset)  # signedness of packed int8 dot products with an instruction
    descriptors: int = 0  # Adreno: of one binding, which the machine code numbers


# Dot products as mobile-shaders.md found them in Mesa 26.1.6: Adreno before 750 has unsigned x signed
# only, Valhall Mali has equal signs only, Bifrost none.
GPUS = {gpu.name: gpu for gpu in (
    Gpu("adreno-660", "adreno", {"FD_GPU_ID": "660"}, 64, 16, frozenset({"mixed", "unsigned"}), 1),
    Gpu("adreno-740", "adreno", {"FD_GPU_ID": "740"}, 64, 16, frozenset({"mixed", "unsigned"}), 2),
    Gpu("adreno-750", "adreno", {"FD_GPU_ID": "750"}, 64, 16, frozenset({"mixed", "unsigned", "signed"}), 2),
    Gpu("adreno-840", "adreno", {"SHIM_ADRENO_CHIP": "0x44050a31"}, 64, 16,
        frozenset({"mixed", "unsigned", "signed"}), 2),
    Gpu("mali-g52", "mali", {"PAN_GPU_ID": "7212"}, 0, 2),
    Gpu("mali-g610", "mali", {"PAN_GPU_ID": "a867"}, 0, 2, frozenset({"unsigned", "signed"})),
    Gpu("mali-g720", "mali", {"PAN_GPU_ID": "c800", "SHIM_MALI_VARIANT": "4"}, 0, 2,
        frozenset({"unsigned", "signed"})),
)}

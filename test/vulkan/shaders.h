// The SPIR-V of test/vulkan/shaders, compiled by the build.
#pragma once

#include <cstdint>

namespace pocket::test {
#include "axpy_spv.h"
#include "chain_spv.h"
}  // namespace pocket::test

// The SPIR-V of every line of shaders/variants.txt, embedded in the program.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pocket {

// Throws Error(device) for a name that is not in the table.
std::span<const uint32_t> shader_code(std::string_view variant);

// Sorted by name.
std::vector<std::string_view> shader_variants();

}  // namespace pocket

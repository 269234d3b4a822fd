#include "runtime/vulkan/quirks.h"

#include <algorithm>

namespace pocket {
namespace {

constexpr uint32_t kQualcomm = 0x5143;
constexpr uint32_t kArm = 0x13B5;
constexpr uint32_t kImagination = 0x1010;

constexpr Quirk kQuirks[] = {
    {kQualcomm, "", "", "no_large_tile",
     "large 4-bit matmul tiles give wrong results or do not build",
     "https://github.com/ggml-org/llama.cpp/issues/24877"},
    {kQualcomm, "840", "", "flat_groups_only",
     "two-dimensional local sizes 8x8 and 4x16 are unreliable in tiled kernels",
     "https://github.com/pytorch/executorch/issues/22328"},
    {kQualcomm, "702", "", "no_coop_gemv", "cooperative matrix-vector kernels are unsafe",
     "https://github.com/pytorch/executorch/tree/main/backends/vulkan"},
    {kQualcomm, "", "", "no_coopmat", "cooperative matrix is advertised but not usable",
     "https://github.com/Tencent/ncnn/blob/master/src/gpu.cpp"},
    {kQualcomm, "Adreno (TM) 5", "", "fp16_storage_only", "fp16 arithmetic is wrong on old Adreno",
     "https://github.com/Tencent/ncnn/blob/master/src/gpu.cpp"},
    {kQualcomm, "", "turnip", "subgroup_64",
     "a reported subgroup of 128 makes tiles written for 64 invalid",
     "https://github.com/ggml-org/llama.cpp/issues/22690"},
    {kArm, "G715", "", "no_coopmat", "cooperative matrix is slower or corrupt",
     "https://github.com/tetherto/qvac-fabric-llm.cpp/pull/130"},
    {kArm, "G76", "", "fp32_accum_strict", "fp16 intermediates turn into NaN",
     "https://github.com/pytorch/executorch/issues/22322"},
    {kArm, "G72", "", "no_sg_control", "the subgroup size cannot be controlled",
     "https://github.com/leegao/bionic-vulkan-wrapper/issues/27"},
    {kImagination, "", "", "no_int_dot", "integer dot products give zeros",
     "https://github.com/ggml-org/llama.cpp/issues/28502"},
};

// "G72" must not match "G720".
bool name_matches(std::string_view name, std::string_view part) {
  if (part.empty()) return true;
  for (size_t at = name.find(part); at != std::string_view::npos; at = name.find(part, at + 1)) {
    const size_t end = at + part.size();
    const bool digit_follows = end < name.size() && name[end] >= '0' && name[end] <= '9';
    const bool ends_in_model = part.size() >= 3 && part.find(' ') == std::string_view::npos;
    if (!ends_in_model || !digit_follows) return true;
  }
  return false;
}

bool matches(const Quirk& quirk, uint32_t vendor_id, std::string_view name,
             std::string_view driver) {
  return (quirk.vendor_id == 0 || quirk.vendor_id == vendor_id) &&
         name_matches(name, quirk.name_contains) &&
         driver.find(quirk.driver_contains) != std::string_view::npos;
}

}  // namespace

std::span<const Quirk> quirk_table() { return kQuirks; }

void apply_quirks(DeviceLimits& limits, uint32_t vendor_id, std::string_view driver) {
  for (const Quirk& quirk : kQuirks) {
    if (!matches(quirk, vendor_id, limits.name, driver) || limits.has_quirk(quirk.flag)) continue;
    limits.quirks.emplace_back(quirk.flag);
  }
  if (limits.has_quirk("fp16_storage_only")) limits.fp16_arithmetic = false;
}

}  // namespace pocket

// What kernels may rely on: the limits and features of a device after quirks, fallbacks and
// --limits. Plain data without Vulkan, so that configurations are tested against phones we do not
// own (test/devices/*.json).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace pocket {

struct DeviceLimits {
  std::string name;
  uint32_t max_invocations = 128;  // per workgroup
  uint32_t max_group_size[3] = {128, 128, 64};
  uint32_t max_group_count[3] = {65535, 65535, 65535};
  uint32_t shared_memory = 16384;       // bytes per workgroup
  uint64_t max_binding = 128ull << 20;  // bytes of one storage buffer range
  uint32_t max_storage_buffers = 4;     // bindings per stage
  uint32_t max_push_constants = 128;    // bytes
  uint32_t offset_alignment = 256;      // bytes, of a storage or texel buffer range
  uint32_t max_texels = 0;              // of one texel buffer; 0: kernels may not use any
  uint32_t subgroup_size = 0;           // 0: no subgroup operations may be used
  bool fp16_arithmetic = false;
  bool storage_16bit = false;
  bool storage_8bit = false;
  // Dot products of four packed 8-bit integers: usable at all, and which the device has in hardware.
  bool dot_product = false;
  bool dot_signed = false;  // signed x signed
  bool dot_mixed = false;   // signed x unsigned
  std::vector<std::string> quirks;  // flags of runtime/vulkan/quirks.cpp that apply

  bool has_quirk(std::string_view flag) const;
};

nlohmann::json to_json(const DeviceLimits&);
// Throws Error(bad_input) naming the key that is unknown or has a wrong type.
DeviceLimits limits_from_json(const nlohmann::json&);
// Every limit the lower of the two, every feature only where both have it. `overrides` holds only
// the keys to lower; asking for more than the device has is Error(usage).
DeviceLimits lower_limits(const DeviceLimits& device, const nlohmann::json& overrides);

}  // namespace pocket

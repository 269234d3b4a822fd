// What is known to break on which device: one row per finding, each with its link. Rows change
// limits or set a flag by name that configuration tables ask for (DeviceLimits::has_quirk).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/vulkan/limits.h"

namespace pocket {

struct Quirk {
  uint32_t vendor_id;           // PCI vendor, 0 for any
  const char* name_contains;    // part of the device name, "" for any
  const char* driver_contains;  // part of the driver text, "" for any
  const char* flag;             // name in DeviceLimits::quirks
  const char* why;              // one line for llmbench devices
  const char* link;
};
std::span<const Quirk> quirk_table();

// Appends the flags of every row that matches, without doubles, and lowers the limits that a flag
// takes away (fp16_storage_only: no fp16 arithmetic).
void apply_quirks(DeviceLimits&, uint32_t vendor_id, std::string_view driver);

}  // namespace pocket

// What a driver says about one device, before quirks and --limits (llmbench devices).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/vulkan/instance.h"
#include "runtime/vulkan/limits.h"
#include "runtime/vulkan/loader.h"

namespace pocket {

// `standard` is the command line's "default": nothing is asked of the driver.
enum class QueuePriority : uint8_t { low, medium, high, standard };
const char* queue_priority_name(QueuePriority);            // low, medium, high, default
QueuePriority queue_priority_from_name(std::string_view);  // Throws Error(usage).

struct DeviceInfo {
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  uint32_t index = 0;  // in the order of the loader; --device N
  std::string name;
  std::string type;    // cpu, integrated, discrete, virtual, other
  std::string driver;  // name and version text, e.g. "llvmpipe Mesa 22.3.6 (LLVM 15.0.6)"
  uint32_t vendor_id = 0, device_id = 0, driver_version = 0, api_version = 0;
  uint8_t pipeline_cache_uuid[VK_UUID_SIZE] = {};
  std::vector<std::string> extensions;  // sorted
  std::string unusable;                 // why pocketformer cannot use it, or empty
  uint32_t queue_family = 0;            // compute family that is used
  uint32_t timestamp_bits = 0;          // 0: no timestamps
  float timestamp_period = 1.0f;        // nanoseconds per tick
  uint64_t non_coherent_atom = 1;       // bytes
  uint64_t max_allocation = 0;          // bytes of one allocation; 0: unknown
  uint64_t device_heap_bytes = 0;       // sum of the device-local heaps
  bool shares_host_memory = false;      // device-local memory is the host's: CPU or integrated
  uint64_t host_import_alignment = 0;   // bytes, of host memory that it takes as its own; 0: never
  bool subgroup_size_control = false;
  uint32_t subgroup_min = 0, subgroup_max = 0;
  bool timeline_semaphore = false;
  bool integer_dot_product = false;
  bool cooperative_matrix = false;
  std::vector<QueuePriority> priorities;  // that the queue family advertises
  DeviceLimits limits;                    // without quirks

  bool has_extension(std::string_view) const;
};

// Every device of the loader, unusable ones included.
std::vector<DeviceInfo> list_devices(const Instance&);
nlohmann::json to_json(const DeviceInfo&);

// Index, or part of the name in any case; empty takes the best usable: discrete, integrated, any.
// Throws Error(device) when there is none, Error(usage) when the choice names none.
const DeviceInfo& choose_device(const std::vector<DeviceInfo>&, const std::string& choice);

}  // namespace pocket

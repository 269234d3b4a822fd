// VkDevice with one compute queue: choice, features with fallbacks, queue priority, limits.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/vulkan/device_info.h"
#include "runtime/vulkan/instance.h"
#include "runtime/vulkan/limits.h"
#include "runtime/vulkan/loader.h"
#include "runtime/vulkan/queue.h"

namespace pocket {

class Memory;
class PipelineStore;

struct DeviceOptions {
  std::string device;  // index, or part of the name (any case); empty: discrete, integrated, any
  QueuePriority priority = QueuePriority::standard;
  nlohmann::json limits;     // --limits: keys to lower; null for none
  std::string cache_folder;  // of the pipeline cache; empty: default_cache_folder(); "-": no cache
};

// Neither copied nor moved: everything made from it holds a reference, so it must outlive them all.
class Device {
 public:
  // Throws Error(device) when no device fits, Error(usage) for an unknown device name or limits
  // that the device does not have.
  Device(const Instance&, const DeviceOptions&);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  VkDevice handle() const { return handle_; }
  VkPhysicalDevice physical() const { return info_.handle; }

  // Every device-level call of this project goes through this table. A test may replace pointers in
  // it to count or forbid calls; do so while no other thread uses the device.
  VolkDeviceTable& table() { return table_; }
  const VolkDeviceTable& table() const { return table_; }

  const DeviceInfo& info() const { return info_; }        // what the driver says
  const DeviceLimits& limits() const { return limits_; }  // after quirks and --limits
  QueuePriority granted_priority() const { return granted_priority_; }
  std::string priority_note() const { return priority_note_; }  // why less was granted, or empty
  bool has_timeline_semaphore() const { return timeline_semaphore_; }
  bool has_integer_dot() const { return integer_dot_; }  // enabled, and no quirk speaks against it
  // Size to demand of every pipeline (VK_EXT_subgroup_size_control), 0: leave it to the driver.
  uint32_t required_subgroup_size() const { return required_subgroup_size_; }

  Queue& queue() { return *queue_; }
  Memory& memory() { return *memory_; }
  PipelineStore& pipelines() { return *pipelines_; }

 private:
  void create(const DeviceOptions&, const void* features, std::vector<const char*> extensions);
  void destroy();
  DeviceInfo info_;
  DeviceLimits limits_;
  VkDevice handle_ = VK_NULL_HANDLE;
  VolkDeviceTable table_{};
  QueuePriority granted_priority_ = QueuePriority::standard;
  std::string priority_note_;
  bool timeline_semaphore_ = false, integer_dot_ = false;
  uint32_t required_subgroup_size_ = 0;
  std::unique_ptr<Queue> queue_;
  std::unique_ptr<Memory> memory_;
  std::unique_ptr<PipelineStore> pipelines_;
};

}  // namespace pocket

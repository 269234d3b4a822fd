// Compute pipelines, created at first use and kept by key; the VkPipelineCache behind them is
// loaded from and saved to the user's cache folder.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/vulkan/descriptor.h"
#include "runtime/vulkan/loader.h"

namespace pocket {

class PipelineCache;

struct PipelineKey {
  std::string shader;                    // variant name, for errors and as the identity of the code
  std::vector<uint32_t> specialization;  // constant_id 0, 1, 2, ... (32-bit words)
  BindingKinds bindings;
  uint32_t push_constant_bytes = 0;  // multiple of 4, at most DeviceLimits::max_push_constants
  auto operator<=>(const PipelineKey&) const = default;
};

class Pipeline {
 public:
  Pipeline(Device&, const PipelineKey&, std::span<const uint32_t> code, const DescriptorSetLayout&,
           VkPipelineLayout, VkPipelineCache);
  Pipeline(Pipeline&&) = delete;
  ~Pipeline();
  VkPipeline handle() const { return handle_; }
  VkPipelineLayout layout() const { return layout_; }
  const DescriptorSetLayout& set_layout() const { return set_layout_; }
  uint32_t push_constant_bytes() const { return push_constant_bytes_; }

 private:
  Device& device_;
  const DescriptorSetLayout& set_layout_;
  VkPipelineLayout layout_;
  uint32_t push_constant_bytes_;
  VkPipeline handle_ = VK_NULL_HANDLE;
};

// All pipelines of a device. References stay valid until the device goes.
class PipelineStore {
 public:
  PipelineStore(Device&, const std::string& cache_folder);
  ~PipelineStore();
  PipelineStore(const PipelineStore&) = delete;

  // Compiles on the first call with this key. Throws Error(device) with shader and driver; the code
  // of one shader name must always be the same.
  const Pipeline& get(const PipelineKey&, std::span<const uint32_t> code);

  // Writes the cache file when pipelines were created since the last call: call it right after a
  // burst of compilation, since phones kill programs. A failure to write is not an error.
  void save_cache();

  size_t pipeline_count() const { return pipelines_.size(); }
  // Spent in vkCreateComputePipelines; drivers may compile more at the first dispatch.
  uint64_t create_ns() const { return create_ns_; }
  bool cache_was_loaded() const;   // the file existed and fitted this device and binary
  std::string cache_path() const;  // empty: no cache

 private:
  const DescriptorSetLayout& set_layout(const BindingKinds&);
  VkPipelineLayout pipeline_layout(const DescriptorSetLayout&, uint32_t push_constant_bytes);

  Device& device_;
  std::unique_ptr<PipelineCache> cache_;
  std::map<BindingKinds, DescriptorSetLayout> set_layouts_;
  std::map<std::pair<BindingKinds, uint32_t>, VkPipelineLayout> layouts_;
  std::map<PipelineKey, std::unique_ptr<Pipeline>> pipelines_;
  bool unsaved_ = false;
  uint64_t create_ns_ = 0;
};

}  // namespace pocket

// Descriptor set layouts, pools and sets: set 0 with storage buffers at bindings 0..n-1, exactly as
// many as the shader has (Mali drivers crash on a binding that the layout lacks).
#pragma once

#include <cstdint>
#include <span>

#include "runtime/vulkan/buffer.h"

namespace pocket {

class DescriptorSetLayout {
 public:
  DescriptorSetLayout(Device&, uint32_t storage_buffers);
  DescriptorSetLayout(DescriptorSetLayout&&) noexcept;
  DescriptorSetLayout& operator=(DescriptorSetLayout&&) = delete;
  ~DescriptorSetLayout();
  VkDescriptorSetLayout handle() const { return handle_; }
  uint32_t storage_buffers() const { return storage_buffers_; }

 private:
  Device* device_;
  VkDescriptorSetLayout handle_ = VK_NULL_HANDLE;
  uint32_t storage_buffers_ = 0;
};

// Sets live as long as the pool.
class DescriptorPool {
 public:
  DescriptorPool(Device&, uint32_t sets, uint32_t storage_buffers);  // totals
  DescriptorPool(DescriptorPool&&) noexcept;
  DescriptorPool& operator=(DescriptorPool&&) = delete;
  ~DescriptorPool();

  // Allocates and writes a set. Throws Error(device) when the number of ranges is not the layout's,
  // a range is empty, misaligned or over DeviceLimits::max_binding.
  VkDescriptorSet allocate(const DescriptorSetLayout&, std::span<const BufferRange>);

 private:
  Device* device_;
  VkDescriptorPool handle_ = VK_NULL_HANDLE;
};

}  // namespace pocket

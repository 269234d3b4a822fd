// Descriptor set layouts, pools and sets: set 0 with storage buffers and storage texel buffers at
// bindings 0..n-1, exactly as many as the shader has (Mali drivers crash on a binding that the
// layout lacks).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/vulkan/buffer.h"

namespace pocket {

// What stands at the bindings of a set: `count` of them, those with a bit in `texels` (binding i is
// bit i) storage texel buffers, the others storage buffers.
struct BindingKinds {
  uint32_t count = 0;
  uint32_t texels = 0;
  auto operator<=>(const BindingKinds&) const = default;
};
BindingKinds binding_kinds(std::span<const BufferRange>);

class DescriptorSetLayout {
 public:
  DescriptorSetLayout(Device&, const BindingKinds&);
  DescriptorSetLayout(DescriptorSetLayout&&) noexcept;
  DescriptorSetLayout& operator=(DescriptorSetLayout&&) = delete;
  ~DescriptorSetLayout();
  VkDescriptorSetLayout handle() const { return handle_; }
  const BindingKinds& kinds() const { return kinds_; }

 private:
  Device* device_;
  VkDescriptorSetLayout handle_ = VK_NULL_HANDLE;
  BindingKinds kinds_;
};

// Sets, and the views of texel buffers in them, live as long as the pool.
class DescriptorPool {
 public:
  DescriptorPool(Device&, uint32_t sets, uint32_t bindings);  // totals
  DescriptorPool(DescriptorPool&&) noexcept;
  DescriptorPool& operator=(DescriptorPool&&) = delete;
  ~DescriptorPool();

  // Allocates and writes a set. Throws Error(device) when the kinds of the ranges are not the
  // layout's, a range is empty, misaligned, over DeviceLimits::max_binding or max_texels.
  VkDescriptorSet allocate(const DescriptorSetLayout&, std::span<const BufferRange>);

 private:
  VkBufferView view(const BufferRange&);
  Device* device_;
  VkDescriptorPool handle_ = VK_NULL_HANDLE;
  std::vector<VkBufferView> views_;
};

}  // namespace pocket

#include "runtime/vulkan/descriptor.h"

#include <string>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/vulkan/device.h"
#include "runtime/vulkan/result.h"

namespace pocket {

namespace {

VkDescriptorType type_of(const BindingKinds& kinds, uint32_t binding) {
  return (kinds.texels >> binding & 1u) != 0 ? VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER
                                             : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
}

std::string text(const BindingKinds& kinds) {
  std::string list;
  for (uint32_t i = 0; i < kinds.count; ++i) {
    if ((kinds.texels >> i & 1u) != 0) list += (list.empty() ? "" : ", ") + std::to_string(i);
  }
  return std::to_string(kinds.count) + " bindings" +
         (list.empty() ? "" : " (texels at " + list + ")");
}

}  // namespace

BindingKinds binding_kinds(std::span<const BufferRange> ranges) {
  BindingKinds kinds{static_cast<uint32_t>(ranges.size()), 0};
  for (uint32_t i = 0; i < kinds.count; ++i) {
    if (ranges[i].texel_words != 0) kinds.texels |= 1u << i;
  }
  return kinds;
}

DescriptorSetLayout::DescriptorSetLayout(Device& device, const BindingKinds& kinds)
    : device_(&device), kinds_(kinds) {
  if (kinds.count > device.limits().max_storage_buffers) {
    throw Error(ExitCode::device, "a kernel binds " + std::to_string(kinds.count) +
                                      " storage buffers but the device allows " +
                                      std::to_string(device.limits().max_storage_buffers));
  }
  std::vector<VkDescriptorSetLayoutBinding> bindings(kinds.count);
  for (uint32_t i = 0; i < kinds.count; ++i) {
    bindings[i].binding = i;
    bindings[i].descriptorType = type_of(kinds, i);
    bindings[i].descriptorCount = 1;
    bindings[i].stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  }
  VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  info.bindingCount = kinds.count;
  info.pBindings = bindings.data();
  check(device.table().vkCreateDescriptorSetLayout(device.handle(), &info, nullptr, &handle_),
        "creating a descriptor set layout");
}

DescriptorSetLayout::DescriptorSetLayout(DescriptorSetLayout&& other) noexcept
    : device_(other.device_),
      handle_(std::exchange(other.handle_, VK_NULL_HANDLE)),
      kinds_(other.kinds_) {}

DescriptorSetLayout::~DescriptorSetLayout() {
  if (handle_) device_->table().vkDestroyDescriptorSetLayout(device_->handle(), handle_, nullptr);
}

DescriptorPool::DescriptorPool(Device& device, uint32_t sets, uint32_t bindings)
    : device_(&device) {
  VkDescriptorPoolSize sizes[2] = {};
  sizes[0].type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  sizes[1].type = VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER;
  for (VkDescriptorPoolSize& size : sizes) size.descriptorCount = bindings ? bindings : 1;
  VkDescriptorPoolCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  info.maxSets = sets ? sets : 1;
  info.poolSizeCount = device.limits().max_texels != 0 ? 2 : 1;
  info.pPoolSizes = sizes;
  check(device.table().vkCreateDescriptorPool(device.handle(), &info, nullptr, &handle_),
        "creating a descriptor pool");
}

DescriptorPool::DescriptorPool(DescriptorPool&& other) noexcept
    : device_(other.device_),
      handle_(std::exchange(other.handle_, VK_NULL_HANDLE)),
      views_(std::exchange(other.views_, {})) {}

DescriptorPool::~DescriptorPool() {
  if (handle_) device_->table().vkDestroyDescriptorPool(device_->handle(), handle_, nullptr);
  for (const VkBufferView view : views_) {
    device_->table().vkDestroyBufferView(device_->handle(), view, nullptr);
  }
}

VkBufferView DescriptorPool::view(const BufferRange& range) {
  VkBufferViewCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO};
  info.buffer = range.buffer;
  info.format = range.texel_words == 4 ? VK_FORMAT_R32G32B32A32_UINT : VK_FORMAT_R32_UINT;
  info.offset = range.offset;
  info.range = range.bytes;
  VkBufferView handle = VK_NULL_HANDLE;
  check(device_->table().vkCreateBufferView(device_->handle(), &info, nullptr, &handle),
        "creating a texel view of a buffer");
  views_.push_back(handle);
  return handle;
}

VkDescriptorSet DescriptorPool::allocate(const DescriptorSetLayout& layout,
                                         std::span<const BufferRange> ranges) {
  const BindingKinds kinds = binding_kinds(ranges);
  if (kinds != layout.kinds()) {
    throw Error(ExitCode::device, "a kernel has " + text(layout.kinds()) + " but was given " +
                                      std::to_string(ranges.size()) +
                                      " buffer ranges: " + text(kinds));
  }
  const DeviceLimits& limits = device_->limits();
  std::vector<VkDescriptorBufferInfo> buffers(ranges.size());
  std::vector<VkBufferView> texels(ranges.size(), VK_NULL_HANDLE);
  std::vector<VkWriteDescriptorSet> writes(ranges.size());
  VkDescriptorSet set = VK_NULL_HANDLE;
  for (size_t i = 0; i < ranges.size(); ++i) {
    const BufferRange& range = ranges[i];
    if (!range.buffer || range.bytes == 0 || range.bytes > limits.max_binding ||
        range.offset % limits.offset_alignment != 0) {
      throw Error(ExitCode::device,
                  "binding " + std::to_string(i) + " covers " + std::to_string(range.bytes) +
                      " bytes at offset " + std::to_string(range.offset) +
                      " but the device allows 1 to " + std::to_string(limits.max_binding) +
                      " bytes at multiples of " + std::to_string(limits.offset_alignment));
    }
    const uint64_t texel_bytes = 4 * uint64_t{range.texel_words};
    if (texel_bytes != 0 &&
        (range.bytes % texel_bytes != 0 || range.bytes / texel_bytes > limits.max_texels)) {
      throw Error(ExitCode::device, "binding " + std::to_string(i) + " covers " +
                                        std::to_string(range.bytes) + " bytes in texels of " +
                                        std::to_string(texel_bytes) +
                                        " but the device allows whole texels, at most " +
                                        std::to_string(limits.max_texels));
    }
    buffers[i] = {range.buffer, range.offset, range.bytes};
    if (texel_bytes != 0) texels[i] = view(range);
  }

  const VkDescriptorSetLayout handle = layout.handle();
  VkDescriptorSetAllocateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
  info.descriptorPool = handle_;
  info.descriptorSetCount = 1;
  info.pSetLayouts = &handle;
  check(device_->table().vkAllocateDescriptorSets(device_->handle(), &info, &set),
        "allocating a descriptor set");
  for (size_t i = 0; i < ranges.size(); ++i) {
    writes[i] = {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET};
    writes[i].dstSet = set;
    writes[i].dstBinding = static_cast<uint32_t>(i);
    writes[i].descriptorCount = 1;
    writes[i].descriptorType = type_of(kinds, static_cast<uint32_t>(i));
    writes[i].pBufferInfo = &buffers[i];
    writes[i].pTexelBufferView = &texels[i];
  }
  if (!writes.empty()) {
    device_->table().vkUpdateDescriptorSets(device_->handle(), static_cast<uint32_t>(writes.size()),
                                            writes.data(), 0, nullptr);
  }
  return set;
}

}  // namespace pocket

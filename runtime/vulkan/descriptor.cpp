#include "runtime/vulkan/descriptor.h"

#include <string>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/vulkan/device.h"
#include "runtime/vulkan/result.h"

namespace pocket {

DescriptorSetLayout::DescriptorSetLayout(Device& device, uint32_t storage_buffers)
    : device_(&device), storage_buffers_(storage_buffers) {
  if (storage_buffers > device.limits().max_storage_buffers) {
    throw Error(ExitCode::device, "a kernel binds " + std::to_string(storage_buffers) +
                                      " storage buffers but the device allows " +
                                      std::to_string(device.limits().max_storage_buffers));
  }
  std::vector<VkDescriptorSetLayoutBinding> bindings(storage_buffers);
  for (uint32_t i = 0; i < storage_buffers; ++i) {
    bindings[i].binding = i;
    bindings[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    bindings[i].descriptorCount = 1;
    bindings[i].stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  }
  VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  info.bindingCount = storage_buffers;
  info.pBindings = bindings.data();
  check(device.table().vkCreateDescriptorSetLayout(device.handle(), &info, nullptr, &handle_),
        "creating a descriptor set layout");
}

DescriptorSetLayout::DescriptorSetLayout(DescriptorSetLayout&& other) noexcept
    : device_(other.device_),
      handle_(std::exchange(other.handle_, VK_NULL_HANDLE)),
      storage_buffers_(other.storage_buffers_) {}

DescriptorSetLayout::~DescriptorSetLayout() {
  if (handle_) device_->table().vkDestroyDescriptorSetLayout(device_->handle(), handle_, nullptr);
}

DescriptorPool::DescriptorPool(Device& device, uint32_t sets, uint32_t storage_buffers)
    : device_(&device) {
  VkDescriptorPoolSize size{};
  size.type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  size.descriptorCount = storage_buffers ? storage_buffers : 1;
  VkDescriptorPoolCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  info.maxSets = sets ? sets : 1;
  info.poolSizeCount = 1;
  info.pPoolSizes = &size;
  check(device.table().vkCreateDescriptorPool(device.handle(), &info, nullptr, &handle_),
        "creating a descriptor pool");
}

DescriptorPool::DescriptorPool(DescriptorPool&& other) noexcept
    : device_(other.device_), handle_(std::exchange(other.handle_, VK_NULL_HANDLE)) {}

DescriptorPool::~DescriptorPool() {
  if (handle_) device_->table().vkDestroyDescriptorPool(device_->handle(), handle_, nullptr);
}

VkDescriptorSet DescriptorPool::allocate(const DescriptorSetLayout& layout,
                                         std::span<const BufferRange> ranges) {
  if (ranges.size() != layout.storage_buffers()) {
    throw Error(ExitCode::device, "a kernel has " + std::to_string(layout.storage_buffers()) +
                                      " bindings but was given " + std::to_string(ranges.size()) +
                                      " buffer ranges");
  }
  const DeviceLimits& limits = device_->limits();
  std::vector<VkDescriptorBufferInfo> buffers(ranges.size());
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
    buffers[i] = {range.buffer, range.offset, range.bytes};
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
    writes[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    writes[i].pBufferInfo = &buffers[i];
  }
  if (!writes.empty()) {
    device_->table().vkUpdateDescriptorSets(device_->handle(), static_cast<uint32_t>(writes.size()),
                                            writes.data(), 0, nullptr);
  }
  return set;
}

}  // namespace pocket

#include "runtime/vulkan/command.h"

#include <utility>

#include "runtime/vulkan/device.h"
#include "runtime/vulkan/result.h"

namespace pocket {

Scope operator|(const Scope& a, const Scope& b) {
  return {a.stages | b.stages, a.accesses | b.accesses};
}

void CommandBuffer::begin(bool once) {
  VkCommandBufferBeginInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
  if (once) info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  check(device_->table().vkBeginCommandBuffer(handle_, &info), "beginning a command buffer");
}

void CommandBuffer::end() {
  check(device_->table().vkEndCommandBuffer(handle_), "ending a command buffer");
}

void CommandBuffer::bind(const Pipeline& pipeline, VkDescriptorSet set) {
  const VolkDeviceTable& table = device_->table();
  table.vkCmdBindPipeline(handle_, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.handle());
  table.vkCmdBindDescriptorSets(handle_, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout(), 0, 1,
                                &set, 0, nullptr);
}

void CommandBuffer::push(const Pipeline& pipeline, std::span<const uint32_t> words) {
  if (words.empty()) return;
  device_->table().vkCmdPushConstants(handle_, pipeline.layout(), VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                      static_cast<uint32_t>(words.size_bytes()), words.data());
}

void CommandBuffer::dispatch(const std::array<uint32_t, 3>& groups) {
  device_->table().vkCmdDispatch(handle_, groups[0], groups[1], groups[2]);
}

void CommandBuffer::copy(const Buffer& from, uint64_t from_offset, const Buffer& to,
                         uint64_t to_offset, uint64_t bytes) {
  const VkBufferCopy region = {from_offset, to_offset, bytes};
  device_->table().vkCmdCopyBuffer(handle_, from.handle(), to.handle(), 1, &region);
}

void CommandBuffer::fill(const Buffer& buffer, uint64_t offset, uint64_t bytes, uint32_t word) {
  device_->table().vkCmdFillBuffer(handle_, buffer.handle(), offset, bytes, word);
}

void CommandBuffer::barrier(const Scope& before, const Scope& after) {
  VkMemoryBarrier memory{VK_STRUCTURE_TYPE_MEMORY_BARRIER};
  memory.srcAccessMask = before.accesses;
  memory.dstAccessMask = after.accesses;
  device_->table().vkCmdPipelineBarrier(handle_, before.stages, after.stages, 0, 1, &memory, 0,
                                        nullptr, 0, nullptr);
}

void CommandBuffer::barrier(const BufferRange& range, const Scope& before, const Scope& after) {
  VkBufferMemoryBarrier memory{VK_STRUCTURE_TYPE_BUFFER_MEMORY_BARRIER};
  memory.srcAccessMask = before.accesses;
  memory.dstAccessMask = after.accesses;
  memory.srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
  memory.dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED;
  memory.buffer = range.buffer;
  memory.offset = range.offset;
  memory.size = range.bytes;
  device_->table().vkCmdPipelineBarrier(handle_, before.stages, after.stages, 0, 0, nullptr, 1,
                                        &memory, 0, nullptr);
}

CommandPool::CommandPool(Device& device) : device_(&device) {
  VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  info.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  info.queueFamilyIndex = device.info().queue_family;
  check(device.table().vkCreateCommandPool(device.handle(), &info, nullptr, &handle_),
        "creating a command pool");
}

CommandPool::CommandPool(CommandPool&& other) noexcept
    : device_(other.device_), handle_(std::exchange(other.handle_, VK_NULL_HANDLE)) {}

CommandPool::~CommandPool() {
  if (handle_) device_->table().vkDestroyCommandPool(device_->handle(), handle_, nullptr);
}

CommandBuffer CommandPool::allocate() {
  VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  info.commandPool = handle_;
  info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  info.commandBufferCount = 1;
  VkCommandBuffer buffer = VK_NULL_HANDLE;
  check(device_->table().vkAllocateCommandBuffers(device_->handle(), &info, &buffer),
        "allocating a command buffer");
  return CommandBuffer(device_, buffer);
}

void CommandPool::free(CommandBuffer& buffer) {
  if (!buffer.handle_) return;
  device_->table().vkFreeCommandBuffers(device_->handle(), handle_, 1, &buffer.handle_);
  buffer = CommandBuffer();
}

}  // namespace pocket

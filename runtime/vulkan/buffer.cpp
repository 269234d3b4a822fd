#include "runtime/vulkan/buffer.h"

#include <algorithm>
#include <utility>

#include "runtime/vulkan/device.h"
#include "runtime/vulkan/result.h"

namespace pocket {

Buffer::Buffer(Device& device, uint64_t bytes, MemoryKind kind, MemoryUse use)
    : device_(&device), bytes_(std::max<uint64_t>(16, (bytes + 15) / 16 * 16)) {
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = bytes_;
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
               VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  if (device.limits().max_texels != 0) info.usage |= VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  const VolkDeviceTable& table = device.table();
  check(table.vkCreateBuffer(device.handle(), &info, nullptr, &handle_), "creating a buffer");
  try {
    VkMemoryRequirements needs{};
    table.vkGetBufferMemoryRequirements(device.handle(), handle_, &needs);
    allocation_ = device.memory().allocate(needs, kind, use);
    check(table.vkBindBufferMemory(device.handle(), handle_, allocation_.memory(),
                                   allocation_.offset()),
          "binding a buffer to its memory");
  } catch (...) {
    destroy();
    throw;
  }
}

Buffer Buffer::import_host(Device& device, std::span<const std::byte> bytes, MemoryUse use) {
  VkExternalMemoryBufferCreateInfo external{VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO};
  external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.pNext = &external;
  info.size = bytes.size();
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
  if (device.limits().max_texels != 0) info.usage |= VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  if (device.info().host_import_alignment == 0 || bytes.empty()) return {};
  const VolkDeviceTable& table = device.table();
  Buffer result;
  result.device_ = &device;
  result.bytes_ = bytes.size();
  check(table.vkCreateBuffer(device.handle(), &info, nullptr, &result.handle_),
        "creating a buffer over host memory");
  VkMemoryRequirements needs{};
  table.vkGetBufferMemoryRequirements(device.handle(), result.handle_, &needs);
  if (needs.size > bytes.size()) return {};
  std::optional<Allocation> allocation =
      device.memory().import_host(bytes, needs.memoryTypeBits, use);
  if (!allocation) return {};
  result.allocation_ = std::move(*allocation);
  check(table.vkBindBufferMemory(device.handle(), result.handle_, result.allocation_.memory(), 0),
        "binding a buffer to host memory");
  return result;
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    destroy();
    device_ = other.device_;
    handle_ = std::exchange(other.handle_, VK_NULL_HANDLE);
    bytes_ = std::exchange(other.bytes_, 0);
    allocation_ = std::move(other.allocation_);
  }
  return *this;
}

Buffer::~Buffer() { destroy(); }

void Buffer::destroy() {
  if (handle_) device_->table().vkDestroyBuffer(device_->handle(), handle_, nullptr);
  handle_ = VK_NULL_HANDLE;
  allocation_ = Allocation();
}

std::span<std::byte> Buffer::mapped() const {
  std::byte* pointer = allocation_.mapped();
  return pointer ? std::span<std::byte>(pointer, bytes_) : std::span<std::byte>();
}

namespace {

// Ranges of non-coherent memory grow to whole atoms; allocations begin and end at atoms.
VkMappedMemoryRange atoms(const Device& device, const Allocation& allocation, uint64_t offset,
                          uint64_t bytes) {
  const uint64_t atom = device.info().non_coherent_atom;
  const uint64_t begin = (allocation.offset() + offset) / atom * atom;
  const uint64_t end = std::min((allocation.offset() + offset + bytes + atom - 1) / atom * atom,
                                allocation.offset() + allocation.bytes());
  VkMappedMemoryRange range{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE};
  range.memory = allocation.memory();
  range.offset = begin;
  range.size = end - begin;
  return range;
}

}  // namespace

void Buffer::flush(uint64_t offset, uint64_t bytes) const {
  if (!handle_ || bytes == 0 || allocation_.coherent() || !allocation_.mapped()) return;
  const VkMappedMemoryRange range = atoms(*device_, allocation_, offset, bytes);
  check(device_->table().vkFlushMappedMemoryRanges(device_->handle(), 1, &range),
        "flushing host writes");
}

void Buffer::invalidate(uint64_t offset, uint64_t bytes) const {
  if (!handle_ || bytes == 0 || allocation_.coherent() || !allocation_.mapped()) return;
  const VkMappedMemoryRange range = atoms(*device_, allocation_, offset, bytes);
  check(device_->table().vkInvalidateMappedMemoryRanges(device_->handle(), 1, &range),
        "invalidating the host's view");
}

}  // namespace pocket

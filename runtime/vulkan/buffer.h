// VkBuffer with its memory. One usage for all: storage, texels, copy source and destination.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/vulkan/memory.h"

namespace pocket {

class Buffer {
 public:
  Buffer() = default;
  // Size is rounded up to a multiple of 16 bytes; 0 becomes 16. Contents are undefined.
  Buffer(Device&, uint64_t bytes, MemoryKind, MemoryUse);
  // Over host memory that the device takes as its own, without a copy (Memory::import_host); empty
  // when it does not. The device only reads it; mapped() is empty.
  static Buffer import_host(Device&, std::span<const std::byte>, MemoryUse);
  Buffer(Buffer&&) noexcept;
  Buffer& operator=(Buffer&&) noexcept;
  ~Buffer();

  VkBuffer handle() const { return handle_; }
  uint64_t bytes() const { return bytes_; }
  explicit operator bool() const { return handle_ != VK_NULL_HANDLE; }

  // Host view; empty when the memory is not host visible (device_local on a discrete GPU).
  std::span<std::byte> mapped() const;
  template <typename T>
  T* mapped_as() const {
    return reinterpret_cast<T*>(mapped().data());
  }
  bool host_cached() const { return allocation_.cached(); }  // host reads are fast
  // Needed around host access where memory is not coherent; nothing to do elsewhere.
  void flush(uint64_t offset, uint64_t bytes) const;       // after the host wrote
  void invalidate(uint64_t offset, uint64_t bytes) const;  // before the host reads

 private:
  void destroy();
  Device* device_ = nullptr;
  VkBuffer handle_ = VK_NULL_HANDLE;
  uint64_t bytes_ = 0;
  Allocation allocation_;
};

// A range of a buffer as one binding sees it: never the whole size, always explicit.
struct BufferRange {
  VkBuffer buffer = VK_NULL_HANDLE;
  uint64_t offset = 0;       // multiple of DeviceLimits::offset_alignment
  uint64_t bytes = 0;        // at most DeviceLimits::max_binding
  uint32_t texel_words = 0;  // 0: storage buffer; 1, 4: storage texel buffer of so many words each
};

}  // namespace pocket

// Fence and timeline semaphore.
#pragma once

#include <cstdint>

#include "runtime/vulkan/loader.h"

namespace pocket {

class Device;

class Fence {
 public:
  explicit Fence(Device&, bool signaled = false);
  Fence(Fence&&) noexcept;
  Fence& operator=(Fence&&) = delete;
  ~Fence();
  VkFence handle() const { return handle_; }
  bool signaled() const;
  void wait() const;  // Throws Error(device), on device loss with the last submitted label.
  void reset();

 private:
  Device* device_;
  VkFence handle_ = VK_NULL_HANDLE;
};

// Only where Device::has_timeline_semaphore(); Throws Error(device) elsewhere.
class TimelineSemaphore {
 public:
  explicit TimelineSemaphore(Device&, uint64_t initial = 0);
  TimelineSemaphore(TimelineSemaphore&&) noexcept;
  TimelineSemaphore& operator=(TimelineSemaphore&&) = delete;
  ~TimelineSemaphore();
  VkSemaphore handle() const { return handle_; }
  uint64_t value() const;
  void wait(uint64_t value) const;
  void signal(uint64_t value);

 private:
  Device* device_;
  VkSemaphore handle_ = VK_NULL_HANDLE;
};

}  // namespace pocket

// The compute queue. Submitting allocates no memory of the heap.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/vulkan/loader.h"

namespace pocket {

class Device;
class Fence;
class TimelineSemaphore;

struct TimelinePoint {
  const TimelineSemaphore* semaphore = nullptr;  // null: none
  uint64_t value = 0;
};

struct Submission {
  std::span<const VkCommandBuffer> commands;  // any number, executed in order
  const char* label = "";  // of the last segment in it; kept (63 characters) for device loss
  const Fence* fence = nullptr;
  TimelinePoint wait;  // before any compute or copy of it
  TimelinePoint signal;
};

class Queue {
 public:
  Queue(Device&, VkQueue);
  VkQueue handle() const { return handle_; }
  void submit(const Submission&);  // Throws Error(device).
  void wait_idle();
  const char* last_label() const { return last_label_; }

  // Throws for any result but VK_SUCCESS; on device loss the sentence names the last label.
  void check_result(VkResult, const char* what) const;

 private:
  Device& device_;
  VkQueue handle_;
  char last_label_[64] = {};
};

}  // namespace pocket
